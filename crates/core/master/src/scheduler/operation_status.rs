//! ACKNOWLEDGE_OPERATION_STATUS: the framework has a status of an operation.

use mezzo_ids::{AgentId, FrameworkId, Uuid};
use mezzo_mesos::v1::{OperationState, scheduler::call};
use mezzo_protocol::link;

use crate::{
    frameworks::to_agent,
    master::{Master, Moment},
    metrics::Counter,
};

/// Passes the receipt on to the agent; the one for a terminal status ends the operation (rule 204).
pub(super) fn on_acknowledge(
    master: &mut Master,
    moment: &mut Moment<'_>,
    framework: &FrameworkId,
    acknowledge: call::AcknowledgeOperationStatus,
) {
    master.count(Counter::MessagesOperationStatusUpdateAcknowledgement);
    let agent_id = AgentId::from(acknowledge.agent_id.map_or_else(String::new, |agent| agent.value));
    let Some(agent) = master.state.agents.get(&agent_id) else { return };
    let Some(link) = agent.link else { return };
    let found = agent.operations.iter().find(|(_, operation)| {
        operation.info.info.id.as_ref() == Some(&acknowledge.operation_id)
            && operation.info.framework_id.as_ref().is_some_and(|id| id.value == framework.as_str())
    });
    let Some((uuid, operation)) = found else { return };
    let uuid: Uuid = *uuid;
    let ends = operation.info.statuses.iter().any(|status| {
        is_terminal(status.state())
            && status.uuid.as_ref().is_some_and(|known| known.value == acknowledge.uuid)
    });
    let message = link::AcknowledgeOperation { operation_uuid: uuid.to_vec(), status_uuid: acknowledge.uuid };
    master.effects.push(to_agent(link, link::to_agent::Message::AcknowledgeOperation(message)));
    if ends {
        master.remove_operation(&agent_id, &uuid);
        crate::agents::check_drained(master, moment, &agent_id);
    }
}

/// Whether nothing follows this state of an operation.
pub(crate) fn is_terminal(state: OperationState) -> bool {
    use OperationState::*;
    matches!(
        state,
        OperationFinished | OperationFailed | OperationError | OperationDropped | OperationGoneByOperator
    )
}
