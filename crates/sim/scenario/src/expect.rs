//! What has to be true of a run.

use std::time::Duration;

/// Checks on the outcome. Those of the engine (nothing offered twice, nothing lost, everything at rest in
/// time, ...) hold always.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Of all frameworks together.
    pub all: Bounds,
    /// Of frameworks by name, copies together.
    pub frameworks: Vec<(String, Bounds)>,
    /// What tasks are at times.
    pub tasks: Vec<TaskAt>,
    /// Tasks that were ended although nobody asked for it: at least, at most.
    pub evictions: (Option<u64>, Option<u64>),
}

/// Bounds of what happened to tasks: at least, at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Ended as planned.
    pub done: (Option<u64>, Option<u64>),
    /// Ended otherwise, and were not launched again.
    pub failed: (Option<u64>, Option<u64>),
    /// Run at the end.
    pub running: (Option<u64>, Option<u64>),
    /// Wait at the end.
    pub waiting: (Option<u64>, Option<u64>),
    /// Launches beyond the first of each task.
    pub relaunched: (Option<u64>, Option<u64>),
    /// No task waited longer to start.
    pub wait_max: Option<Duration>,
    /// Half of all waited no longer.
    pub wait_p50: Option<Duration>,
}

/// What a task is at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAt {
    /// Whose.
    pub framework: String,
    /// In the order of the framework's plans, from 1.
    pub number: usize,
    /// When.
    pub at: Duration,
    /// `waiting`, `running` or `ended`.
    pub state: &'static str,
}
