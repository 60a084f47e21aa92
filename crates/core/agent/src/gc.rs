//! Garbage collection of sandboxes (rules 400 and 401).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mezzo_protocol::records::{SandboxDeleted, agent_record::Record};
use mezzo_time::Timestamp;

use crate::{
    agent::{Agent, Moment},
    config::Config,
    effect::Effect,
    timers::Timer,
};

/// How old a sandbox may become when this share of the disk is used.
pub(crate) fn age_max(config: &Config, used: f64) -> Duration {
    let share = (1.0 - config.gc_disk_headroom - used).clamp(0.0, 1.0);
    // A usage that is not a number deletes nothing early.
    if share.is_nan() { config.gc_delay } else { config.gc_delay.mul_f64(share) }
}

impl Agent {
    /// Schedules a folder for deletion; its age counts from this moment, when it was last written.
    pub(crate) fn collect_later(&mut self, m: &Moment<'_>, path: Arc<str>) {
        self.collect_since(m.now, path);
        if !self.disk_watched {
            self.disk_watched = true;
            self.timers.set(m.now + self.state.config.disk_watch_interval, Timer::MeasureDisk);
        }
    }

    pub(crate) fn collect_since(&mut self, since: Timestamp, path: Arc<str>) {
        if let Some(old) = self.gc.insert(path.clone(), since) {
            self.timers.clear(old + self.gc_age(), Timer::Collect(path.clone()));
        }
        self.timers.set(since + self.gc_age(), Timer::Collect(path));
        self.state.gc_pending = self.gc.len();
    }

    pub(crate) fn on_sandboxes_found(&mut self, m: &Moment<'_>, folders: Vec<(Arc<str>, Timestamp)>) {
        let used: BTreeSet<Arc<str>> = self
            .state
            .frameworks
            .values()
            .flat_map(|f| f.executors.values())
            .map(|e| e.directory.clone())
            .chain(self.state.containers.values().map(|c| c.sandbox.clone()))
            .collect();
        for (path, changed) in folders {
            let inside =
                |used: &Arc<str>| used.strip_prefix(&*path).is_some_and(|rest| rest.starts_with('/'));
            if used.contains(&path) || self.gc.contains_key(&path) || used.iter().any(inside) {
                continue;
            }
            self.collect_since(changed, path);
        }
        if !self.disk_watched && !self.gc.is_empty() {
            self.disk_watched = true;
            self.timers.set(m.now + self.state.config.disk_watch_interval, Timer::MeasureDisk);
        }
    }

    /// Takes a folder back, because something runs in it again.
    pub(crate) fn keep(&mut self, path: &str) {
        if let Some(since) = self.gc.remove(path) {
            self.timers.clear(since + self.gc_age(), Timer::Collect(path.into()));
            self.state.gc_pending = self.gc.len();
        }
    }

    fn gc_age(&self) -> Duration {
        Duration::from_secs_f64(self.state.gc_age_max)
    }

    pub(crate) fn on_disk_usage(&mut self, m: &mut Moment<'_>, used: f64) {
        let age = age_max(&self.state.config, used);
        if age != self.gc_age() {
            let paths: Vec<(Arc<str>, Timestamp)> = self.gc.iter().map(|(p, t)| (p.clone(), *t)).collect();
            for (path, since) in &paths {
                self.timers.clear(*since + self.gc_age(), Timer::Collect(path.clone()));
            }
            self.state.gc_age_max = age.as_secs_f64();
            for (path, since) in paths {
                self.timers.set(since + self.gc_age(), Timer::Collect(path));
            }
        }
        // Nothing to collect means no reason to wake up.
        self.disk_watched = !self.gc.is_empty();
        if self.disk_watched {
            self.timers.set(m.now + self.state.config.disk_watch_interval, Timer::MeasureDisk);
        }
    }

    pub(crate) fn on_collect(&mut self, m: &Moment<'_>, path: Arc<str>) {
        let Some(since) = self.gc.get(&path) else { return };
        if *since + self.gc_age() > m.now {
            return;
        }
        self.gc.remove(&path);
        self.state.gc_pending = self.gc.len();
        self.effects.push(Effect::DeleteSandbox(path));
    }

    pub(crate) fn on_sandbox_deleted(&mut self, path: &Arc<str>) {
        self.state.counters.gc_path_removals_succeeded += 1;
        self.effects.push(Effect::Detach { virtual_path: path.to_string() });
        if let Some((_, inside)) = path.split_once("/frameworks/") {
            // The short name of an executor's newest sandbox goes with the executor's folder.
            self.effects.push(Effect::Detach { virtual_path: format!("/frameworks/{inside}") });
        }
        self.persist(Record::SandboxDeleted(SandboxDeleted { directory: path.to_string() }));
    }
}
