//! RECONCILE: what the master knows of tasks, asked for again.

use mezzo_ids::{AgentId, FrameworkId, TaskId};
use mezzo_mesos::v1::{self, TaskState, scheduler::call, task_status::Reason};

use crate::{
    master::{Master, Moment},
    metrics::Counter,
    status,
};

/// Answers for the listed tasks, for all when none is listed (rules 231 to 235).
pub(super) fn on_reconcile(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    tasks: &[call::reconcile::Task],
) {
    master.count(Counter::MessagesReconcileTasks);
    if tasks.is_empty() {
        let known: Vec<TaskId> =
            master.task_agents.get(framework).map_or_else(Vec::new, |tasks| tasks.keys().cloned().collect());
        for task in known {
            answer_known(master, moment, framework, &task);
        }
        return;
    }
    for task in tasks {
        reconcile_one(master, moment, framework, task);
    }
}

/// Answers for one task by the table of explicit reconciliation; the first row that fits decides.
pub(super) fn reconcile_one(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    asked: &call::reconcile::Task,
) {
    let id = TaskId::from(asked.task_id.value.as_str());
    if master.task(framework, &id).is_some() {
        return answer_known(master, moment, framework, &id);
    }
    let state = &master.state;
    let agent = asked.agent_id.as_ref().map(|agent| AgentId::from(agent.value.as_str()));
    let mut unreachable_time = None;
    let (found, message) = match &agent {
        // Rule 234: it may come back with the task.
        Some(agent) if state.recovered_agents.contains_key(agent) => return,
        None if !state.recovered_agents.is_empty() => return,
        Some(agent) if state.agents.contains_key(agent) => {
            (TaskState::TaskGone, "Reconciliation: Task is unknown to the agent")
        }
        Some(agent) if state.unreachable_agents.contains_key(agent) => {
            // Rule 235.
            unreachable_time = state.unreachable_agents.get(agent).map(|at| status::time_info(*at));
            (TaskState::TaskUnreachable, "Reconciliation: Task is unreachable")
        }
        Some(agent) if state.gone_agents.contains_key(agent) => {
            (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone by operator")
        }
        _ => (TaskState::TaskUnknown, "Reconciliation: Task is unknown"),
    };
    let found = status::state_for(master.is_partition_aware(framework), found);
    let agent = asked.agent_id.clone();
    let reason = Reason::Reconciliation;
    let mut update = status::made_by_master(moment.now, &asked.task_id, agent, found, reason, message);
    update.unreachable_time = unreachable_time;
    master.send_update(framework, update);
}

/// The state that the agent forwarded last, as a fresh status (rule 233).
fn answer_known(master: &mut Master, moment: &Moment<'_>, framework: &FrameworkId, id: &TaskId) {
    let Some(task) = master.task(framework, id) else { return };
    let forwarded = task.info.status_update_state.and_then(|state| TaskState::try_from(state).ok());
    let state = forwarded.unwrap_or(task.info.state());
    let update: v1::TaskStatus = status::of_task(
        moment.now,
        &task.info,
        state,
        Reason::Reconciliation,
        "Reconciliation: Latest task state",
    );
    master.send_update(framework, update);
}
