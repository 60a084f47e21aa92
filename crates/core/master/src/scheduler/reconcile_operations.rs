//! RECONCILE_OPERATIONS: what the master knows of operations, asked for again (rule 236).

use std::collections::BTreeMap;

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_mesos::v1::{self, OperationState, scheduler::call};

use crate::{
    master::Master,
    metrics::Counter,
    state::{Agent, Operation},
};

/// Answers for the listed operations, for all that have an id when none is listed.
pub(super) fn on_reconcile(
    master: &mut Master,
    framework: &FrameworkId,
    operations: &[call::reconcile_operations::Operation],
) {
    master.count(Counter::MessagesReconcileOperations);
    // One pass over what is known, however much is asked.
    let known: BTreeMap<&str, &Operation> = master
        .state
        .agents
        .values()
        .flat_map(|agent| own(agent, framework))
        .filter_map(|operation| Some((operation.info.info.id.as_ref()?.value.as_str(), operation)))
        .collect();
    let answers: Vec<v1::OperationStatus> = if operations.is_empty() {
        known.into_values().map(latest).collect()
    } else {
        let answer = |asked: &call::reconcile_operations::Operation| {
            let operation = known.get(asked.operation_id.value.as_str());
            operation.map_or_else(|| unknown(master, asked), |operation| latest(operation))
        };
        operations.iter().map(answer).collect()
    };
    for status in answers {
        master.send_operation_status(framework, status);
    }
}

fn own<'a>(agent: &'a Agent, framework: &'a FrameworkId) -> impl Iterator<Item = &'a Operation> {
    agent
        .operations
        .values()
        .map(AsRef::as_ref)
        .filter(move |op| op.info.framework_id.as_ref().is_some_and(|id| id.value == framework.as_str()))
}

/// The latest state, without the uuid, so that nobody acknowledges it.
fn latest(operation: &Operation) -> v1::OperationStatus {
    let last = &operation.info.latest_status;
    v1::OperationStatus {
        operation_id: operation.info.info.id.clone(),
        state: last.state,
        message: Some("Reconciliation: Latest operation state".into()),
        converted_resources: last.converted_resources.clone(),
        uuid: None,
        agent_id: operation.info.agent_id.clone(),
        resource_provider_id: last.resource_provider_id.clone(),
    }
}

/// An operation that the master does not have: the first row of the table of operation reconciliation
/// that fits decides.
fn unknown(master: &Master, asked: &call::reconcile_operations::Operation) -> v1::OperationStatus {
    let state = &master.state;
    let agent = asked.agent_id.as_ref().map(|agent| AgentId::from(agent.value.as_str()));
    let (found, message) = match &agent {
        Some(agent) if state.recovered_agents.contains_key(agent) => (
            OperationState::OperationRecovering,
            "Reconciliation: Agent is recovered but has not re-registered",
        ),
        Some(agent) if state.agents.contains_key(agent) => {
            (OperationState::OperationUnknown, "Reconciliation: Operation is unknown")
        }
        Some(agent) if state.unreachable_agents.contains_key(agent) => {
            (OperationState::OperationUnreachable, "Reconciliation: Agent is unreachable")
        }
        Some(agent) if state.gone_agents.contains_key(agent) => {
            (OperationState::OperationGoneByOperator, "Reconciliation: Agent marked gone by operator")
        }
        _ => (OperationState::OperationUnknown, "Reconciliation: Operation is unknown"),
    };
    v1::OperationStatus {
        operation_id: Some(asked.operation_id.clone()),
        state: found.into(),
        message: Some(message.into()),
        agent_id: asked.agent_id.clone(),
        resource_provider_id: asked.resource_provider_id.clone(),
        ..Default::default()
    }
}
