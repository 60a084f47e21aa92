//! Marathon's conditions in the kernel's words.

use mezzo_services_model::Condition;

/// The kernel's name for a condition; what it does not know yet is staging.
pub fn task_state(condition: Condition) -> &'static str {
    match condition {
        Condition::Scheduled | Condition::Provisioned | Condition::Staging => "TASK_STAGING",
        Condition::Starting => "TASK_STARTING",
        Condition::Running => "TASK_RUNNING",
        Condition::Killing => "TASK_KILLING",
        Condition::Unreachable | Condition::UnreachableInactive => "TASK_UNREACHABLE",
        Condition::Unknown => "TASK_UNKNOWN",
        Condition::Finished => "TASK_FINISHED",
        Condition::Killed => "TASK_KILLED",
        Condition::Failed => "TASK_FAILED",
        Condition::Error => "TASK_ERROR",
        Condition::Gone => "TASK_GONE",
        Condition::Dropped => "TASK_DROPPED",
    }
}
