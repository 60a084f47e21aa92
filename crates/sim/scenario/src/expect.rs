//! What has to be true of a run.

use std::time::Duration;

/// Checks on the outcome. Those of the engine (nothing offered twice, nothing lost, ...) hold always.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Of all frameworks together.
    pub all: Bounds,
    /// Of frameworks by name, with the number of the first and how many copies.
    pub frameworks: Vec<(String, Bounds)>,
    /// States of tasks at times.
    pub tasks: Vec<TaskAt>,
    /// How many agents are registered at the end.
    pub agents: Option<u64>,
}

/// Bounds of what happened to tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// At least so many ended well.
    pub finished_min: Option<u64>,
    /// At most so many ended well.
    pub finished_max: Option<u64>,
    /// At most so many were told as lost, gone, dropped, failed or in error.
    pub lost_max: Option<u64>,
    /// At least so many were told so.
    pub lost_min: Option<u64>,
    /// At most so many were killed.
    pub killed_max: Option<u64>,
    /// At least so many were killed.
    pub killed_min: Option<u64>,
    /// At least so many run at the end.
    pub running_min: Option<u64>,
    /// At most so many run at the end.
    pub running_max: Option<u64>,
    /// No task waited longer to start.
    pub wait_max: Option<Duration>,
    /// Half of all waited no longer.
    pub wait_p50: Option<Duration>,
    /// At most so many still wait at the end.
    pub waiting_max: Option<u64>,
}

/// The state of a task at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAt {
    /// Its id.
    pub task: String,
    /// When.
    pub at: Duration,
    /// `TASK_RUNNING` and its like.
    pub state: String,
}
