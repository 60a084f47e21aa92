//! Task states and the statuses that the master makes itself.

use mezzo_ids::AgentId;
use mezzo_mesos::v1::{self, TaskState, task_status};
use mezzo_time::Timestamp;

/// Whether nothing follows this state.
pub(crate) fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskLost
            | TaskError
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
    )
}

/// LOST stands for states that only PARTITION_AWARE frameworks know.
pub(crate) fn state_for(partition_aware: bool, state: TaskState) -> TaskState {
    use TaskState::*;
    match state {
        TaskDropped | TaskUnreachable | TaskGone | TaskGoneByOperator | TaskUnknown if !partition_aware => {
            TaskLost
        }
        state => state,
    }
}

/// A status made by the master: no uuid, so that nobody acknowledges it (rule 206).
pub(crate) fn made_by_master(
    now: Timestamp,
    task: &v1::TaskId,
    agent: Option<v1::AgentId>,
    state: TaskState,
    reason: task_status::Reason,
    message: impl Into<String>,
) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task.clone(),
        state: state.into(),
        message: Some(message.into()),
        source: Some(task_status::Source::Master.into()),
        reason: Some(reason.into()),
        agent_id: agent,
        timestamp: Some(now.as_secs_f64()),
        ..Default::default()
    }
}

/// A status of a task that exists: with what its last status said of executor, health and container.
pub(crate) fn of_task(
    now: Timestamp,
    task: &v1::Task,
    state: TaskState,
    reason: task_status::Reason,
    message: impl Into<String>,
) -> v1::TaskStatus {
    let mut status = made_by_master(now, &task.task_id, Some(task.agent_id.clone()), state, reason, message);
    status.executor_id = task.executor_id.clone();
    if let Some(last) = task.statuses.last() {
        status.healthy = last.healthy;
        status.check_status = last.check_status;
        status.container_status = last.container_status.clone();
    }
    status
}

/// The message form of a time.
pub(crate) fn time_info(at: Timestamp) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: at.as_nanos() }
}

/// The message form of an agent id.
pub(crate) fn agent_id(id: &AgentId) -> v1::AgentId {
    v1::AgentId { value: id.as_str().into() }
}
