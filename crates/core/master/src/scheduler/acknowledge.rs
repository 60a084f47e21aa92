//! ACKNOWLEDGE: the framework has a status; the agent may send the next.

use mezzo_ids::{FrameworkId, TaskId};
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
    let known = master.state.agents.get_key_value(acknowledge.agent_id.value.as_str());
    let Some((agent, link)) = known.and_then(|(id, agent)| Some((id.clone(), agent.link?))) else {
        return master.count(Counter::InvalidStatusUpdateAcknowledgements);
    };
    master.count(Counter::ValidStatusUpdateAcknowledgements);
    let id = TaskId::from(acknowledge.task_id.value.as_str());
    let ends = master.task_on(&agent, framework, &id).is_some_and(|task| {
        task.info.status_update_uuid.as_deref() == Some(acknowledge.uuid.as_slice())
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
        framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
        task_id: Some(acknowledge.task_id),
        uuid: acknowledge.uuid,
    };
    master.effects.push(to_agent(link, link::to_agent::Message::Acknowledge(message)));
    if ends {
        agents::check_drained(master, moment, &agent);
    }
}
