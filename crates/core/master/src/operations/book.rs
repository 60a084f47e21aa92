//! An operation in the master's books, on its way to the agent.

use std::sync::Arc;

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_mesos::v1::{self, OperationState};
use mezzo_protocol::link;
use mezzo_resources::Resources;

use crate::{
    frameworks::to_agent,
    master::{Master, Moment},
    state::Operation,
    status,
};

/// Keeps the operation until its end and tells the agent to apply it. `holds`: what it consumes is used
/// until then.
pub(crate) fn book(
    master: &mut Master,
    moment: &mut Moment<'_>,
    agent_id: &AgentId,
    framework: Option<&FrameworkId>,
    operation: v1::offer::Operation,
    consumed: Resources,
    holds: bool,
) {
    let uuid = moment.uuid();
    let framework_id = framework.map(|id| v1::FrameworkId { value: id.as_str().into() });
    let Some(agent) = master.agent_mut(agent_id) else { return };
    let message = link::ApplyOperation {
        framework_id: framework_id.clone(),
        operation: Some(operation.clone()),
        operation_uuid: uuid.to_vec(),
        resource_version_uuid: agent.resource_version.to_vec(),
    };
    let pending = v1::OperationStatus {
        operation_id: operation.id.clone(),
        state: OperationState::OperationPending.into(),
        agent_id: Some(status::agent_id(agent_id)),
        ..Default::default()
    };
    let info = v1::Operation {
        framework_id,
        agent_id: Some(status::agent_id(agent_id)),
        info: operation,
        latest_status: pending,
        statuses: Vec::new(),
        uuid: v1::Uuid { value: uuid.to_vec() },
    };
    agent.operations.insert(uuid, Arc::new(Operation { info, consumed, recovered: !holds }));
    let link = agent.link;
    master.operation_agents.insert(uuid, agent_id.clone());
    if let Some(link) = link {
        master.effects.push(to_agent(link, link::to_agent::Message::ApplyOperation(Box::new(message))));
    }
}
