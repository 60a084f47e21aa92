//! ACKNOWLEDGE: the framework has a status; the agent may send the next.

use mezzo_ids::{AgentId, FrameworkId, TaskId};
use mezzo_mesos::v1::{self, TaskState, scheduler::call};
use mezzo_protocol::link;

use crate::{
    agents,
    frameworks::to_agent,
    master::{Master, Moment},
    metrics::Counter,
    status,
};

/// Passes the receipt on to the agent; the one for a terminal status ends the task here (rule 213).
pub(super) fn on_acknowledge(
    master: &mut Master,
    moment: &mut Moment<'_>,
    framework: &FrameworkId,
    acknowledge: call::Acknowledge,
) {
    master.count(Counter::MessagesStatusUpdateAcknowledgement);
    let agent = AgentId::from(acknowledge.agent_id.value.as_str());
    let Some(link) = master.state.agents.get(&agent).and_then(|agent| agent.link) else {
        return master.count(Counter::InvalidStatusUpdateAcknowledgements);
    };
    master.count(Counter::ValidStatusUpdateAcknowledgements);
    let id = TaskId::from(acknowledge.task_id.value.as_str());
    let ends = master.task(framework, &id).is_some_and(|task| {
        task.info.status_update_uuid.as_deref() == Some(acknowledge.uuid.as_slice())
            && task.info.agent_id.value == agent.as_str()
            && task
                .info
                .status_update_state
                .and_then(|state| TaskState::try_from(state).ok())
                .is_some_and(status::is_terminal)
    });
    if ends {
        master.remove_task(moment, framework, &id);
    }
    let message = link::Acknowledge {
        framework_id: Some(v1::FrameworkId { value: framework.to_string() }),
        task_id: Some(acknowledge.task_id),
        uuid: acknowledge.uuid,
    };
    master.effects.push(to_agent(link, link::to_agent::Message::Acknowledge(message)));
    if ends {
        agents::check_drained(master, moment, &agent);
    }
}
