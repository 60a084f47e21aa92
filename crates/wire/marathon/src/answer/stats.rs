//! How many tasks of an app are in which state, and how old they are.

use mezzo_json::Writer;
use mezzo_services_model::{App, Instance};
use mezzo_time::Timestamp;

use super::{
    facts::Facts,
    fields::{key, number},
    state::task_state,
};

/// How many tasks are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Launched, and nothing or only staging is known of them.
    pub staged: u32,
    /// Running.
    pub running: u32,
    /// With at least one result of a health check, all of them good.
    pub healthy: u32,
    /// With a result that is not good.
    pub unhealthy: u32,
}

impl Counts {
    /// Those of all instances of an app.
    pub fn of(app: &App, facts: &Facts<'_>) -> Self {
        let mut counts = Self::default();
        for instance in facts.instances(&app.id).filter(|instance| is_launched(instance)) {
            counts.add(instance, facts);
        }
        counts
    }

    fn add(&mut self, instance: &Instance, facts: &Facts<'_>) {
        match task_state(instance.condition) {
            "TASK_STAGING" => self.staged += 1,
            "TASK_RUNNING" => self.running += 1,
            _ => {}
        }
        let mut health = facts.health(&instance.id).map(|health| health.is_alive()).peekable();
        if health.peek().is_some() {
            if health.all(|alive| alive) {
                self.healthy += 1;
            } else {
                self.unhealthy += 1;
            }
        }
    }
}

/// Whether there is a task that may be counted.
fn is_launched(instance: &Instance) -> bool {
    instance.condition.is_active() && !instance.tasks.is_empty()
}

/// The statistics by version; parts with nothing in them are left out.
pub(crate) fn write_task_stats(w: &mut Writer<'_>, app: &App, facts: &Facts<'_>) {
    let info = app.version_info;
    w.begin_object();
    write_part(w, b"\"startedAfterLastScaling\":", app, facts, &|version| version >= info.last_scaling_at);
    write_part(w, b"\"withLatestConfig\":", app, facts, &|version| version >= info.last_config_change_at);
    write_part(w, b"\"withOutdatedConfig\":", app, facts, &|version| version < info.last_config_change_at);
    write_part(w, b"\"totalSummary\":", app, facts, &|_| true);
    w.end_object();
}

fn write_part(
    w: &mut Writer<'_>,
    key: &'static [u8],
    app: &App,
    facts: &Facts<'_>,
    wanted: &dyn Fn(Timestamp) -> bool,
) {
    let mut counts = Counts::default();
    let mut ages: Vec<f64> = Vec::new();
    let mut any = false;
    let launched = facts.instances(&app.id).filter(|instance| is_launched(instance));
    for instance in launched.filter(|instance| wanted(instance.version)) {
        any = true;
        counts.add(instance, facts);
        if let Some(at) = instance.tasks.values().filter_map(|task| task.started_at).min() {
            ages.push(facts.now().since(at).as_millis() as f64 / 1000.0);
        }
    }
    if !any {
        return;
    }
    w.raw_key(key);
    w.begin_object();
    key!(w, "stats");
    w.begin_object();
    key!(w, "counts");
    w.begin_object();
    key!(w, "staged");
    w.unsigned(counts.staged.into());
    key!(w, "running");
    w.unsigned(counts.running.into());
    key!(w, "healthy");
    w.unsigned(counts.healthy.into());
    key!(w, "unhealthy");
    w.unsigned(counts.unhealthy.into());
    w.end_object();
    if let Some((average, median)) = middle(&mut ages) {
        key!(w, "lifeTime");
        w.begin_object();
        key!(w, "averageSeconds");
        number(w, average);
        key!(w, "medianSeconds");
        number(w, median);
        w.end_object();
    }
    w.end_object();
    w.end_object();
}

/// The mean and the median.
fn middle(ages: &mut [f64]) -> Option<(f64, f64)> {
    let last = ages.len().checked_sub(1)?;
    ages.sort_by(f64::total_cmp);
    let average = ages.iter().sum::<f64>() / ages.len() as f64;
    let median = (ages[last / 2] + ages[ages.len() / 2]) / 2.0;
    Some((average, median))
}
