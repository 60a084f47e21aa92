//! KILL and SHUTDOWN: passed on to the agent that runs the task or executor.

use std::sync::Arc;

use mezzo_ids::{AgentId, FrameworkId, TaskId};
use mezzo_mesos::v1::{self, scheduler::call};
use mezzo_protocol::link;

use super::reconcile;
use crate::{
    frameworks::to_agent,
    master::{Master, Moment},
    metrics::Counter,
};

/// Kills a task that is known; reconciles one that is not (rules 222 to 225).
pub(super) fn on_kill(master: &mut Master, moment: &Moment<'_>, framework: &FrameworkId, kill: call::Kill) {
    master.count(Counter::MessagesKillTask);
    let id = TaskId::from(kill.task_id.value.as_str());
    let Some(agent_id) = master.task_agents.get(framework).and_then(|tasks| tasks.get(&id)).cloned() else {
        let task = call::reconcile::Task { task_id: kill.task_id, agent_id: kill.agent_id };
        return reconcile::reconcile_one(master, moment, framework, &task);
    };
    if kill.agent_id.as_ref().is_some_and(|agent| agent.value != agent_id.as_str()) {
        return;
    }
    let Some(agent) = master.agent_mut(&agent_id) else { return };
    if let Some(task) = agent.tasks_mut().get_mut(&(framework.clone(), id)) {
        // Kept until the task ends: sent again when the agent comes back (rule 224).
        Arc::make_mut(task).kill = Some(kill.kill_policy);
    }
    if let Some(link) = agent.link {
        master.effects.push(to_agent(link, kill_message(framework, kill.task_id, kill.kill_policy)));
    }
}

/// What an agent is told to kill a task.
pub(crate) fn kill_message(
    framework: &FrameworkId,
    task_id: v1::TaskId,
    kill_policy: Option<v1::KillPolicy>,
) -> link::to_agent::Message {
    let framework_id = Some(v1::FrameworkId { value: framework.as_str().into() });
    link::to_agent::Message::Kill(link::Kill { framework_id, task_id: Some(task_id), kill_policy })
}

/// Asks an agent to end an executor; best effort.
pub(super) fn on_shutdown(master: &mut Master, framework: &FrameworkId, shutdown: call::Shutdown) {
    let agent = AgentId::from(shutdown.agent_id.value.as_str());
    let Some(link) = master.state.agents.get(&agent).and_then(|agent| agent.link) else { return };
    let message = link::ShutdownExecutor {
        framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
        executor_id: Some(shutdown.executor_id),
    };
    master.effects.push(to_agent(link, link::to_agent::Message::ShutdownExecutor(message)));
}
