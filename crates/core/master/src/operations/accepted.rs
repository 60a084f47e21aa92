//! Operations of an ACCEPT.

use std::sync::Arc;

use mezzo_mesos::v1::{self, OperationState, agent_info::capability::Type as AgentCapability};
use mezzo_resources::Resources;

use super::{Plan, Requester, book, plan, plan::needs};
use crate::{
    master::{Master, Moment},
    scheduler::Acceptance,
    status,
};

/// Validates one operation of an ACCEPT that is not a launch against what the acceptance has left, and
/// applies it: `acceptance.remaining` changes, the agent is told. See [`Acceptance`].
pub(crate) fn on_accepted_operation(
    master: &mut Master,
    moment: &mut Moment<'_>,
    acceptance: &mut Acceptance,
    operation: v1::offer::Operation,
) {
    let id = operation.id.clone();
    let kind = operation.r#type();
    let checked = check(master, acceptance, operation);
    let done = checked.and_then(|plan| apply(master, moment, acceptance, plan));
    let Err(why) = done else { return };
    Arc::make_mut(&mut master.state.counters).operation_ended(kind, OperationState::OperationError);
    // Without an id nobody can be told (rule 201).
    let Some(id) = id else { return };
    let status = v1::OperationStatus {
        operation_id: Some(id),
        state: OperationState::OperationError.into(),
        message: Some(format!("Invalid {} operation: {why}", kind.as_str_name())),
        agent_id: Some(status::agent_id(&acceptance.agent)),
        ..Default::default()
    };
    master.send_operation_status(&acceptance.framework, status);
}

fn check(master: &Master, acceptance: &Acceptance, operation: v1::offer::Operation) -> Result<Plan, String> {
    let agent = master.state.agents.get(&acceptance.agent).ok_or("Agent is not registered")?;
    let framework =
        master.state.frameworks.get(&acceptance.framework).ok_or("Framework is not registered")?;
    if operation.id.is_some() {
        // Rule 203. Every framework here is one of the HTTP API.
        needs(agent, AgentCapability::ResourceProvider)?;
        needs(agent, AgentCapability::AgentOperationFeedback)
            .map_err(|why| format!("Operation requested feedback, but {why}"))?;
    }
    let requester = Requester::Framework {
        role: &acceptance.role,
        roles: &framework.roles,
        principal: framework.info.principal.as_deref(),
        capabilities: &framework.capabilities,
    };
    let plan = plan(operation, agent, requester)?;
    if !acceptance.remaining.contains(&plan.conversion.consumed) {
        return Err(format!("{} does not contain {}", acceptance.remaining, plan.conversion.consumed));
    }
    Ok(plan)
}

fn apply(
    master: &mut Master,
    moment: &mut Moment<'_>,
    acceptance: &mut Acceptance,
    plan: Plan,
) -> Result<(), String> {
    let Plan { operation, conversion, speculative, usable } = plan;
    let (framework, agent_id) = (acceptance.framework.clone(), acceptance.agent.clone());
    if speculative {
        let (consumed, converted) = (&conversion.consumed, &conversion.converted);
        master
            .allocator
            .convert(&framework, &agent_id, consumed, converted)
            .map_err(|error| error.to_string())?;
        if let Some(agent) = master.agent_mut(&agent_id) {
            let total = Arc::make_mut(&mut agent.total);
            total.subtract(&consumed.unallocated());
            *total += &converted.unallocated();
        }
        acceptance.remaining.subtract(consumed);
        if usable {
            acceptance.remaining += converted;
        } else {
            // Free again at once, but not for the rest of this ACCEPT (rule 101).
            master.allocator.recover(moment.now, &framework, &agent_id, converted, None);
        }
        rescind_destroyed(master, moment, &agent_id, &operation, consumed);
    } else {
        acceptance.remaining.subtract(&conversion.consumed);
        if let Some(agent) = master.agent_mut(&agent_id) {
            agent.hold(&framework, &Arc::new(conversion.consumed.clone()));
        }
    }
    book(master, moment, &agent_id, Some(&framework), operation, conversion.consumed, !speculative);
    Ok(())
}

/// Other offers may hold copies of a shared volume that is destroyed (rule 196).
fn rescind_destroyed(
    master: &mut Master,
    moment: &Moment<'_>,
    agent: &mezzo_ids::AgentId,
    operation: &v1::offer::Operation,
    consumed: &Resources,
) {
    if operation.destroy.is_none() {
        return;
    }
    let shared = consumed.unallocated().shared();
    let Some(agent) = master.state.agents.get(agent).filter(|_| !shared.is_empty()) else { return };
    let holding: Vec<_> = agent
        .offers
        .values()
        .filter(|offer| {
            let offered = offer.resources.unallocated();
            shared.iter().any(|volume| offered.contains_one(volume))
        })
        .map(|offer| offer.id.clone())
        .collect();
    for offer in holding {
        master.rescind_offer(moment, &offer);
    }
}
