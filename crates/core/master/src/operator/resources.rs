//! RESERVE_RESOURCES, UNRESERVE_RESOURCES, CREATE_VOLUMES, DESTROY_VOLUMES, GROW_VOLUME, SHRINK_VOLUME.

use std::sync::Arc;

use mezzo_ids::{AgentId, OfferId};
use mezzo_mesos::v1::{
    self,
    master::call,
    offer::{
        Operation,
        operation::{self, Type},
    },
};
use mezzo_resources::Resources;

use super::Served;
use crate::{
    effect::Answer,
    master::{Master, Moment},
    operations::{self, Plan, Requester},
    state::Agent,
};

fn operation(kind: Type) -> Operation {
    Operation { r#type: Some(kind.into()), ..Default::default() }
}

pub(super) fn on_reserve(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    call: call::ReserveResources,
) -> Served {
    let reserve = operation::Reserve { source: call.source, resources: call.resources };
    let operation = Operation { reserve: Some(reserve), ..operation(Type::Reserve) };
    apply(master, moment, principal, Some(call.agent_id), operation)
}

pub(super) fn on_unreserve(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    call: call::UnreserveResources,
) -> Served {
    let unreserve = operation::Unreserve { resources: call.resources };
    let operation = Operation { unreserve: Some(unreserve), ..operation(Type::Unreserve) };
    apply(master, moment, principal, Some(call.agent_id), operation)
}

pub(super) fn on_create(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    call: call::CreateVolumes,
) -> Served {
    let create = operation::Create { volumes: call.volumes };
    let operation = Operation { create: Some(create), ..operation(Type::Create) };
    apply(master, moment, principal, Some(call.agent_id), operation)
}

pub(super) fn on_destroy(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    call: call::DestroyVolumes,
) -> Served {
    let destroy = operation::Destroy { volumes: call.volumes };
    let operation = Operation { destroy: Some(destroy), ..operation(Type::Destroy) };
    apply(master, moment, principal, Some(call.agent_id), operation)
}

pub(super) fn on_grow(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    call: call::GrowVolume,
) -> Served {
    let grow = operation::GrowVolume { volume: call.volume, addition: call.addition };
    let operation = Operation { grow_volume: Some(Box::new(grow)), ..operation(Type::GrowVolume) };
    apply(master, moment, principal, call.agent_id, operation)
}

pub(super) fn on_shrink(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    call: call::ShrinkVolume,
) -> Served {
    let shrink = operation::ShrinkVolume { volume: call.volume, subtract: call.subtract };
    let operation = Operation { shrink_volume: Some(Box::new(shrink)), ..operation(Type::ShrinkVolume) };
    apply(master, moment, principal, call.agent_id, operation)
}

/// Changes free resources of an agent, after rescinding the offers that hold what is needed (rule 202).
fn apply(
    master: &mut Master,
    moment: &mut Moment<'_>,
    principal: Option<&str>,
    agent_id: Option<v1::AgentId>,
    operation: Operation,
) -> Served {
    let agent_id = AgentId::from(agent_id.unwrap_or_default().value);
    let Some(agent) = master.state.agents.get(&agent_id) else {
        return Err(Answer::BadRequest("No agent found with specified ID".into()));
    };
    let kind = operation.r#type();
    let Plan { operation, conversion, .. } =
        operations::plan(operation, agent, Requester::Operator { principal })
            .map_err(|why| Answer::BadRequest(refusal(master, &agent_id, agent, kind, &why)))?;
    for offer in needed_offers(agent, &conversion.consumed) {
        master.rescind_offer(moment, &offer);
    }
    master
        .allocator
        .convert_available(&agent_id, &conversion.consumed, &conversion.converted)
        .map_err(|error| Answer::Conflict(error.to_string()))?;
    if let Some(agent) = master.agent_mut(&agent_id) {
        let total = Arc::make_mut(&mut agent.total);
        total.subtract(&conversion.consumed);
        *total += &conversion.converted;
    }
    operations::book(master, moment, &agent_id, None, operation, conversion.consumed, false);
    Ok(Answer::Accepted)
}

/// Says what is wrong; all but DESTROY and UNRESERVE name the agent, as in Mesos.
fn refusal(master: &Master, id: &AgentId, agent: &Agent, kind: Type, why: &str) -> String {
    let kind_name = kind.as_str_name();
    if matches!(kind, Type::Destroy | Type::Unreserve) {
        return format!("Invalid {kind_name} operation: {why}");
    }
    let process = master.config.agent_url_path.trim_start_matches('/');
    let (ip, port, hostname) = (&agent.ip, agent.port, &agent.info.hostname);
    format!("Invalid {kind_name} operation on agent {id} at {process}@{ip}:{port} ({hostname}): {why}")
}

/// Offers that hold some of what is needed, until all of it is covered. What is free already is not
/// counted, because it may be on its way into an offer.
fn needed_offers(agent: &Agent, needed: &Resources) -> Vec<OfferId> {
    let mut needed = needed.clone();
    let mut offers = Vec::new();
    for offer in agent.offers.values() {
        if needed.is_empty() {
            break;
        }
        let mut rest = needed.clone();
        rest.subtract(&offer.resources.unallocated());
        if rest != needed {
            needed = rest;
            offers.push(offer.id.clone());
        }
    }
    offers
}
