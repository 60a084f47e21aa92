//! What is counted and timed, under Marathon's names (marathon rules 275 to 277).

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mezzo_clock::now;
use mezzo_http::{Method, StatusCode};
use mezzo_marathon_api::answer::{METRICS, MetricKind, Metrics, Rates, Timing};
use mezzo_mesos::v1::{self, offer::operation::Type as OperationType, scheduler::call::Type as CallType};
use mezzo_services_model::Condition;

use crate::{shared::Shared, shown::Shown};

/// Recent durations that are kept of each kind, for their spread.
const KEPT_MAX: usize = 1_000;

/// Counts and durations.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Cow<'static, str>, u64>,
    timings: BTreeMap<&'static str, Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    count: u64,
    seconds: VecDeque<f64>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock is released, also in a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It happened so often.
    pub(crate) fn count(&self, name: impl Into<Cow<'static, str>>, times: u64) {
        *self.lock().counts.entry(name.into()).or_default() += times;
    }

    /// A request was answered.
    pub(crate) fn request(&self, method: &Method, status: StatusCode, took: Duration) {
        let class = match status.as_u16() / 100 {
            1 => "marathon.http.responses.1xx.rate.meter",
            2 => "marathon.http.responses.2xx.rate.meter",
            3 => "marathon.http.responses.3xx.rate.meter",
            4 => "marathon.http.responses.4xx.rate.meter",
            _ => "marathon.http.responses.5xx.rate.meter",
        };
        let own = match method.as_str() {
            "GET" => Some("marathon.http.requests.get.duration.timer.seconds"),
            "POST" => Some("marathon.http.requests.post.duration.timer.seconds"),
            "PUT" => Some("marathon.http.requests.put.duration.timer.seconds"),
            "DELETE" => Some("marathon.http.requests.delete.duration.timer.seconds"),
            _ => None,
        };
        let mut state = self.lock();
        *state.counts.entry(class.into()).or_default() += 1;
        for name in own.into_iter().chain(["marathon.http.requests.duration.timer.seconds"]) {
            let recent = state.timings.entry(name).or_default();
            recent.count += 1;
            if recent.seconds.len() == KEPT_MAX {
                recent.seconds.pop_front();
            }
            recent.seconds.push_back(took.as_secs_f64());
        }
    }

    /// A call to the master.
    pub(crate) fn call(&self, call: &v1::scheduler::Call) {
        match call.r#type.and_then(|kind| CallType::try_from(kind).ok()) {
            Some(CallType::Revive) => self.count("marathon.mesos.calls.revive.counter", 1),
            Some(CallType::Suppress) => self.count("marathon.mesos.calls.suppress.counter", 1),
            Some(CallType::Decline) => {
                let offers = call.decline.as_ref().map_or(0, |decline| decline.offer_ids.len());
                self.count("marathon.mesos.offers.declined.counter", offers as u64);
            }
            Some(CallType::Accept) => {
                let Some(accept) = &call.accept else { return };
                self.count("marathon.mesos.offers.used.counter", accept.offer_ids.len() as u64);
                for operation in &accept.operations {
                    let name = match operation.r#type.and_then(|kind| OperationType::try_from(kind).ok()) {
                        Some(OperationType::Launch) => {
                            let tasks = operation.launch.as_ref().map_or(0, |one| one.task_infos.len());
                            self.count("marathon.tasks.launched.counter", tasks as u64);
                            "marathon.mesos.offer-operations.launch.counter"
                        }
                        Some(OperationType::LaunchGroup) => {
                            "marathon.mesos.offer-operations.launch-group.counter"
                        }
                        Some(OperationType::Reserve) => "marathon.mesos.offer-operations.reserve.counter",
                        _ => continue,
                    };
                    self.count(name, 1);
                }
            }
            _ => {}
        }
    }

    /// News of a task (marathon rule 276).
    pub(crate) fn update(&self, status: &v1::TaskStatus) {
        let state = v1::TaskState::try_from(status.state).map_or("unknown", |state| state.as_str_name());
        let state = state.trim_start_matches("TASK_").to_ascii_lowercase().replace('_', "-");
        self.count(format!("marathon.mesos.task-updates.task-{state}.counter"), 1);
    }
}

/// All values, at this moment.
pub(crate) fn collect(shared: &Shared) -> Metrics {
    let snapshot = shared.snapshot();
    let uptime = now().since(shared.started).as_secs_f64();
    let gauges = gauges(shared, &snapshot, uptime);
    let state = shared.meter.lock();
    let mut metrics = Metrics::default();
    let named = |name: &'static str| shared.renamed(name);
    for metric in METRICS.iter().filter(|metric| metric.is_given() && !metric.name.contains('<')) {
        let count = state.counts.get(metric.name).copied().unwrap_or(0);
        match metric.kind {
            MetricKind::Counter => metrics.counters.push((named(metric.name), count)),
            MetricKind::Gauge => {
                metrics.gauges.push((named(metric.name), gauges.get(metric.name).copied().unwrap_or(0.0)));
            }
            MetricKind::Meter => metrics.meters.push((named(metric.name), rates(count, uptime))),
            MetricKind::Timer => {
                let timing = state.timings.get(metric.name).map(|recent| timing(recent, uptime));
                metrics.timers.push((named(metric.name), timing.unwrap_or_default()));
            }
        }
    }
    for (name, count) in state.counts.range(Cow::Borrowed("marathon.mesos.task-updates.")..) {
        if name.starts_with("marathon.mesos.task-updates.") {
            metrics.counters.push((name.clone(), *count));
        }
    }
    metrics
}

fn gauges(shared: &Shared, snapshot: &Shown, uptime: f64) -> BTreeMap<&'static str, f64> {
    let instances = || snapshot.instances.values().flat_map(|instances| instances.values());
    let count = |wanted: &dyn Fn(Condition) -> bool| {
        instances().filter(|instance| wanted(instance.condition)).count() as f64
    };
    let overdue = |condition| {
        let due = shared.config.core.launch_confirm_timeout;
        let late = instances().filter(|one| one.condition == condition && now().since(one.since) > due);
        late.count() as f64
    };
    let requests = shared.requests.load(std::sync::atomic::Ordering::Relaxed) as f64;
    BTreeMap::from([
        ("marathon.apps.active.gauge", snapshot.root.all_apps().count() as f64),
        ("marathon.pods.active.gauge", snapshot.root.all_pods().count() as f64),
        ("marathon.groups.active.gauge", snapshot.root.all_groups().count() as f64),
        ("marathon.deployments.active.gauge", snapshot.deployments.len() as f64),
        ("marathon.instances.running.gauge", count(&|condition| condition == Condition::Running)),
        (
            "marathon.instances.staged.gauge",
            count(&|condition| matches!(condition, Condition::Staging | Condition::Starting)),
        ),
        ("marathon.instances.launch-overdue.gauge", overdue(Condition::Provisioned)),
        ("marathon.instances.inflight-kills.gauge", count(&|condition| condition == Condition::Killing)),
        ("marathon.http.requests.active.gauge", requests),
        ("marathon.uptime.gauge.seconds", uptime),
        ("marathon.leadership.duration.gauge.seconds", uptime),
    ])
}

/// The rates of the last minutes are not kept: the mean stands for them.
fn rates(count: u64, uptime: f64) -> Rates {
    let mean = if uptime > 0.0 { count as f64 / uptime } else { 0.0 };
    Rates { count, mean, minute: mean, five_minutes: mean, quarter_hour: mean }
}

fn timing(recent: &Recent, uptime: f64) -> Timing {
    let mut sorted: Vec<f64> = recent.seconds.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len().max(1) as f64;
    let mean = sorted.iter().sum::<f64>() / count;
    let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let at = |share: f64| {
        let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(place).copied().unwrap_or_default()
    };
    Timing {
        rates: rates(recent.count, uptime),
        min: at(0.0),
        max: at(1.0),
        mean,
        stddev: variance.sqrt(),
        quantiles: [0.5, 0.75, 0.95, 0.98, 0.99, 0.999].map(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marathon_rule_276_updates_are_counted_by_state() {
        let meter = Meter::default();
        let state = v1::TaskState::TaskGoneByOperator as i32;
        meter.update(&v1::TaskStatus { state, ..Default::default() });
        let counts = meter.lock().counts.clone();
        assert_eq!(counts.get("marathon.mesos.task-updates.task-gone-by-operator.counter"), Some(&1));
    }

    #[test]
    fn durations_have_a_spread() {
        let meter = Meter::default();
        for ms in 1..=KEPT_MAX as u64 + 10 {
            meter.request(&Method::GET, StatusCode::OK, Duration::from_millis(ms));
        }
        let state = meter.lock();
        let timing = timing(&state.timings["marathon.http.requests.get.duration.timer.seconds"], 10.0);
        assert_eq!((timing.rates.count, timing.max), (KEPT_MAX as u64 + 10, 1.01));
        assert_eq!(timing.rates.mean, 101.0);
        assert!(timing.min > 0.01 && timing.quantiles[0] > 0.5, "only recent ones: {timing:?}");
    }
}
