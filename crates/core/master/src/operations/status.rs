//! News of operations from agents.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_ids::{AgentId, FrameworkId, Uuid};
use mezzo_mesos::v1::{self, OperationState};
use mezzo_protocol::link;
use mezzo_resources::Resources;

use crate::{
    frameworks::to_agent,
    master::{Master, Moment},
    metrics::Counter,
    scheduler::operation_status::is_terminal,
    state::Operation,
    status::agent_id,
};

/// Books a status of an operation: `latest` decides about its resources, `status` is forwarded when the
/// operation has an id, and acknowledged to the agent when it has none but a uuid.
pub(crate) fn on_status(
    master: &mut Master,
    moment: &mut Moment<'_>,
    agent: &AgentId,
    uuid: &Uuid,
    framework: Option<&FrameworkId>,
    mut status: v1::OperationStatus,
    latest: v1::OperationStatus,
) {
    status.agent_id = Some(agent_id(agent));
    let known = master.agent_mut(agent).and_then(|agent| agent.operations.get_mut(uuid));
    let Some(operation) = known.map(Arc::make_mut) else {
        master.count(Counter::InvalidOperationStatusUpdates);
        return acknowledge(master, agent, uuid, &status);
    };
    let id = operation.info.info.id.clone();
    status.operation_id.clone_from(&id);
    // What came of it is told once, in the statuses of the resources' owner, not kept here.
    let kept = v1::OperationStatus { converted_resources: Vec::new(), ..status.clone() };
    if operation.info.statuses.last().is_none_or(|last| *last != kept) {
        operation.info.statuses.push(kept);
    }
    let ended = is_terminal(latest.state());
    operation.info.latest_status = v1::OperationStatus {
        operation_id: id.clone(),
        agent_id: Some(agent_id(agent)),
        converted_resources: Vec::new(),
        ..latest.clone()
    };
    let kind = operation.info.info.r#type();
    let holds = ended && !operation.recovered;
    operation.recovered |= ended;
    let consumed = operation.consumed.clone();
    let owner = operation.info.framework_id.as_ref().map(|id| FrameworkId::from(id.value.as_str()));
    master.count(Counter::ValidOperationStatusUpdates);
    if ended {
        Arc::make_mut(&mut master.state.counters).operation_ended(kind, latest.state());
    }
    if let (true, Some(owner)) = (holds, &owner) {
        settle(master, moment, agent, owner, &consumed, &latest);
    }
    match (id, owner.as_ref().or(framework)) {
        (Some(_), Some(framework)) => master.send_operation_status(framework, status),
        _ if ended => {
            // Nobody else will say that it was heard.
            acknowledge(master, agent, uuid, &status);
            master.remove_operation(agent, uuid);
        }
        _ => {}
    }
}

/// Tells the agent that nobody waits for this status any more.
fn acknowledge(master: &mut Master, agent: &AgentId, uuid: &Uuid, status: &v1::OperationStatus) {
    let link = master.state.agents.get(agent).and_then(|agent| agent.link);
    if let (Some(link), Some(status_uuid)) = (link, &status.uuid) {
        let message = link::AcknowledgeOperation {
            operation_uuid: uuid.to_vec(),
            status_uuid: status_uuid.value.clone(),
        };
        master.effects.push(to_agent(link, link::to_agent::Message::AcknowledgeOperation(message)));
    }
}

/// An operation that held resources is over: they change if it succeeded, and are free again.
fn settle(
    master: &mut Master,
    moment: &Moment<'_>,
    agent_id: &AgentId,
    framework: &FrameworkId,
    consumed: &Resources,
    latest: &v1::OperationStatus,
) {
    let role = consumed.iter().find_map(|resource| resource.allocation_role().cloned());
    let converted = (latest.state() == OperationState::OperationFinished)
        .then(|| Resources::from_proto(&latest.converted_resources).ok())
        .flatten()
        .and_then(|converted| Some(converted.allocated(&role?)));
    let Some(converted) = converted else { return master.give_back(moment, framework, agent_id, consumed) };
    if let Some(agent) = master.agent_mut(agent_id) {
        agent.release(framework, consumed);
        let total = Arc::make_mut(&mut agent.total);
        total.subtract(&consumed.unallocated());
        *total += &converted.unallocated();
    }
    let back = match master.allocator.convert(framework, agent_id, consumed, &converted) {
        Ok(()) => &converted,
        Err(_) => consumed,
    };
    master.allocator.recover(moment.now, framework, agent_id, back, None);
}

/// An agent is back with these unfinished or unacknowledged operations: those that the master lacks are
/// booked, those that the agent lacks are asked for.
pub(crate) fn on_agent_returned(
    master: &mut Master,
    _moment: &mut Moment<'_>,
    agent_id: &AgentId,
    operations: Vec<v1::Operation>,
) {
    let Some(agent) = master.agent_mut(agent_id) else { return };
    let mut reported = BTreeSet::new();
    let mut added = Vec::new();
    let mut held = Vec::new();
    for operation in operations {
        let Some(uuid) = Uuid::from_slice(&operation.uuid.value) else { continue };
        reported.insert(uuid);
        if agent.operations.contains_key(&uuid) {
            continue;
        }
        let consumed = consumed_by(&operation);
        let ended = is_terminal(operation.latest_status.state());
        let owner = operation.framework_id.as_ref().map(|id| FrameworkId::from(id.value.as_str()));
        let holds = !ended && !consumed.is_empty() && owner.is_some();
        if let (true, Some(owner)) = (holds, owner) {
            agent.hold(&owner, &Arc::new(consumed.clone()));
            held.push((owner, consumed.clone()));
        }
        let entry = Operation { info: operation, consumed, recovered: !holds };
        agent.operations.insert(uuid, Arc::new(entry));
        added.push(uuid);
    }
    let missing: Vec<Vec<u8>> =
        agent.operations.keys().filter(|uuid| !reported.contains(uuid)).map(|uuid| uuid.to_vec()).collect();
    let link = agent.link;
    for uuid in added {
        master.operation_agents.insert(uuid, agent_id.clone());
    }
    for (framework, resources) in held {
        master.allocator.hold(&framework, agent_id, &resources);
    }
    if let (false, Some(link)) = (missing.is_empty(), link) {
        let message = link::ReconcileOperations { operation_uuids: missing };
        master.effects.push(to_agent(link, link::to_agent::Message::ReconcileOperations(message)));
    }
}

/// What a reported operation holds until its end; speculative ones hold nothing.
fn consumed_by(operation: &v1::Operation) -> Resources {
    let create = operation.info.create_disk.as_ref().map(|create| &create.source);
    let destroy = operation.info.destroy_disk.as_ref().map(|destroy| &destroy.source);
    let source = create.or(destroy).map(std::slice::from_ref).unwrap_or_default();
    Resources::from_proto(source).unwrap_or_default()
}
