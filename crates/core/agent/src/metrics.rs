//! Counters and gauges of the agent, by the part of their name that follows the process (metrics.tsv).

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::records::ExecutorKind;
use mezzo_time::Timestamp;

use crate::{
    resources,
    state::{Phase, Snapshot},
};

/// What has happened since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the metric of the same name")]
pub struct Counters {
    pub tasks_finished: u64,
    pub tasks_failed: u64,
    pub tasks_killed: u64,
    pub tasks_lost: u64,
    pub tasks_gone: u64,
    pub executors_terminated: u64,
    pub executors_preempted: u64,
    pub valid_status_updates: u64,
    pub invalid_status_updates: u64,
    pub valid_framework_messages: u64,
    pub invalid_framework_messages: u64,
    pub container_launch_errors: u64,
    pub recovery_errors: u64,
    pub gc_path_removals_succeeded: u64,
    pub gc_path_removals_failed: u64,
}

impl Counters {
    pub(crate) fn count_end(&mut self, state: v1::TaskState) {
        use v1::TaskState as S;
        match state {
            S::TaskFinished => self.tasks_finished += 1,
            S::TaskFailed => self.tasks_failed += 1,
            S::TaskKilled => self.tasks_killed += 1,
            S::TaskLost => self.tasks_lost += 1,
            S::TaskGone => self.tasks_gone += 1,
            _ => {}
        }
    }
}

/// Names that live below the agent's own process name in /metrics/snapshot, with their values. The
/// daemon puts the process name and a slash in front.
pub fn process_metrics(state: &Snapshot, now: Timestamp) -> Vec<(String, f64)> {
    let mut values: Vec<(String, f64)> = Vec::with_capacity(64);
    let mut put = |name: &str, value: f64| values.push((name.to_owned(), value));
    let c = &state.counters;
    put("uptime_secs", now.since(state.started).as_secs_f64());
    put("registered", f64::from(u8::from(state.registered)));
    put("frameworks_active", state.frameworks.len() as f64);
    let (mut staging, mut starting, mut running, mut killing) = (0u64, 0u64, 0u64, 0u64);
    let (mut registering, mut up, mut terminating) = (0u64, 0u64, 0u64);
    let mut used = Vec::new();
    for executor in state.frameworks.values().flat_map(|f| f.executors.values()) {
        match executor.phase {
            Phase::Registering => registering += 1,
            Phase::Running => up += 1,
            Phase::Terminating => terminating += 1,
            Phase::Terminated => {}
        }
        if executor.phase != Phase::Terminated {
            used.extend(executor.info.resources.iter().cloned());
        }
        for task in executor.tasks.values() {
            match task.state {
                v1::TaskState::TaskStaging => staging += 1,
                v1::TaskState::TaskStarting => starting += 1,
                v1::TaskState::TaskRunning => running += 1,
                v1::TaskState::TaskKilling => killing += 1,
                _ => {}
            }
            if !task.is_terminal() {
                used.extend(task.info.resources.iter().cloned());
            }
        }
    }
    put("tasks_staging", staging as f64);
    put("tasks_starting", starting as f64);
    put("tasks_running", running as f64);
    put("tasks_killing", killing as f64);
    put("tasks_finished", c.tasks_finished as f64);
    put("tasks_failed", c.tasks_failed as f64);
    put("tasks_killed", c.tasks_killed as f64);
    put("tasks_lost", c.tasks_lost as f64);
    put("tasks_gone", c.tasks_gone as f64);
    put("executors_registering", registering as f64);
    put("executors_running", up as f64);
    put("executors_terminating", terminating as f64);
    put("executors_terminated", c.executors_terminated as f64);
    put("executors_preempted", c.executors_preempted as f64);
    put("valid_status_updates", c.valid_status_updates as f64);
    put("invalid_status_updates", c.invalid_status_updates as f64);
    put("valid_framework_messages", c.valid_framework_messages as f64);
    put("invalid_framework_messages", c.invalid_framework_messages as f64);
    put("container_launch_errors", c.container_launch_errors as f64);
    put("recovery_errors", c.recovery_errors as f64);
    put("executor_directory_max_allowed_age_secs", state.gc_age_max);
    for name in ["cpus", "gpus", "mem", "disk"] {
        let total = resources::scalar_sum(&state.total, name, false);
        let taken = resources::scalar_sum(&used, name, false);
        let revocable = resources::scalar_sum(&used, name, true);
        put(&format!("{name}_total"), total);
        put(&format!("{name}_used"), taken);
        put(&format!("{name}_percent"), if total > 0.0 { taken / total } else { 0.0 });
        put(&format!("{name}_revocable_total"), 0.0);
        put(&format!("{name}_revocable_used"), revocable);
        put(&format!("{name}_revocable_percent"), 0.0);
    }
    values
}

/// Names outside the process' own part: garbage collection and resource providers.
pub fn other_metrics(state: &Snapshot) -> Vec<(String, f64)> {
    [
        ("gc/path_removals_succeeded", state.counters.gc_path_removals_succeeded as f64),
        ("gc/path_removals_failed", state.counters.gc_path_removals_failed as f64),
        ("gc/path_removals_pending", state.gc_pending as f64),
        ("resource_provider_manager/subscribed", 0.0),
        ("resource_provider_manager/events/subscribe", 0.0),
        ("resource_provider_manager/events/disconnect", 0.0),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Running executor containers whose statistics belong into /monitor/statistics.
pub fn monitored(state: &Snapshot) -> impl Iterator<Item = (&crate::state::Executor, &ContainerId)> {
    state
        .frameworks
        .values()
        .flat_map(|f| f.executors.values())
        .filter(|e| e.phase != Phase::Terminated && e.kind != ExecutorKind::Unspecified)
        .map(|e| (&**e, &e.container))
}
