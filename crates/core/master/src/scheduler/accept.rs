//! ACCEPT: offers become tasks and changed resources; what is left goes back.

use std::collections::BTreeSet;

use mezzo_allocator::Filter;
use mezzo_ids::{AgentId, FrameworkId, OfferId, Role};
use mezzo_mesos::v1::{
    self, OperationState, TaskState, offer::operation::Type, scheduler::call, task_status::Reason,
};
use mezzo_resources::Resources;

use super::{launch, launch_group};
use crate::{
    master::{Master, Moment},
    metrics::{Counter, OfferFate},
    operations, status,
};

/// The offers of one ACCEPT while its operations are applied to them, in order (rule 100).
pub(crate) struct Acceptance {
    pub(crate) framework: FrameworkId,
    pub(crate) agent: AgentId,
    /// Everything in the offers is allocated to this role.
    pub(crate) role: Role,
    /// All that was offered.
    pub(crate) offered: Resources,
    /// What operations may still use: the offers, less what is used up, with resources changed by
    /// speculative operations in their changed form. What an operation makes that must not be used
    /// by a later one (rule 101) is left out.
    pub(crate) remaining: Resources,
}

/// Applies the operations of the call to its offers.
pub(super) fn on_accept(
    master: &mut Master,
    moment: &mut Moment<'_>,
    framework: &FrameworkId,
    accept: call::Accept,
) {
    // Rule 104: without operations it is a decline.
    let filter = if accept.operations.is_empty() {
        Some(Filter::of_decline(accept.filters.as_ref()))
    } else {
        Filter::of_leftover(accept.filters.as_ref())
    };
    let mut acceptance = match take_offers(master, moment, framework, &accept.offer_ids) {
        Ok(acceptance) => acceptance,
        Err(why) => return refuse(master, moment, framework, &accept.operations, &Refusal::Offers(why)),
    };
    master.counters().offers(framework, OfferFate::Accepted, accept.offer_ids.len());
    if !master.state.agents.get(&acceptance.agent).is_some_and(|agent| agent.connected) {
        acceptance.close(master, moment, None);
        return refuse(master, moment, framework, &accept.operations, &Refusal::Disconnected);
    }
    if accept.operations.is_empty() {
        master.count(Counter::MessagesDeclineOffers);
    }
    for operation in accept.operations {
        master.counters().operation(framework, operation.r#type());
        match operation.r#type() {
            // Without an id nobody can be told of what is not understood.
            Type::Unknown => {}
            Type::Launch => launch::on_launch(master, moment, &mut acceptance, operation),
            Type::LaunchGroup => launch_group::on_launch_group(master, moment, &mut acceptance, operation),
            _ => operations::on_accepted_operation(master, moment, &mut acceptance, operation),
        }
    }
    acceptance.close(master, moment, filter);
}

impl Acceptance {
    /// Gives the rest back: what was offered under the filter, what operations made of it without,
    /// because the framework has not seen that yet (rules 102 and 104).
    fn close(self, master: &mut Master, moment: &Moment<'_>, filter: Option<Filter>) {
        let Self { framework, agent, offered, remaining, .. } = self;
        if remaining.is_empty() {
            return;
        }
        if offered.contains(&remaining) {
            return master.return_offered(moment.now, &framework, &agent, &remaining, filter);
        }
        let mut converted = remaining.clone();
        converted.subtract(&offered);
        let mut declined = remaining;
        declined.subtract(&converted);
        if !declined.is_empty() {
            master.return_offered(moment.now, &framework, &agent, &declined, filter);
        }
        master.allocator.recover(moment.now, &framework, &agent, &converted, None);
    }
}

/// Takes the named offers, which must all be of this framework, one agent and one role. Otherwise none
/// is used, and the valid ones go back (rules 97 and 99).
fn take_offers(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    ids: &[v1::OfferId],
) -> Result<Acceptance, String> {
    let checked = check_offers(master, framework, ids);
    let ids: BTreeSet<OfferId> = ids.iter().map(|id| OfferId::from(id.value.as_str())).collect();
    match checked {
        Ok(()) => {
            let mut acceptance: Option<Acceptance> = None;
            for offer in ids.iter().filter_map(|id| master.take_offer(id)) {
                match &mut acceptance {
                    Some(acceptance) => acceptance.offered += &offer.resources,
                    None => {
                        acceptance = Some(Acceptance {
                            framework: framework.clone(),
                            agent: offer.agent.clone(),
                            role: offer.role.clone(),
                            offered: offer.resources.clone(),
                            remaining: Resources::default(),
                        });
                    }
                }
            }
            let mut acceptance = acceptance.ok_or("No offers specified")?;
            acceptance.remaining = acceptance.offered.clone();
            Ok(acceptance)
        }
        Err(why) => {
            let own = master.framework_offers.get(framework);
            let valid: Vec<OfferId> =
                ids.into_iter().filter(|id| own.is_some_and(|own| own.contains(id))).collect();
            for id in valid {
                master.withdraw_offer(moment, &id, None);
            }
            Err(why)
        }
    }
}

fn check_offers(master: &Master, framework: &FrameworkId, ids: &[v1::OfferId]) -> Result<(), String> {
    if ids.is_empty() {
        return Err("No offers specified".into());
    }
    let mut seen = BTreeSet::new();
    let mut first: Option<(&AgentId, &Role)> = None;
    for id in ids {
        let id = id.value.as_str();
        if !seen.insert(id) {
            return Err(format!("Duplicate offer {id} in offer list"));
        }
        let offer = master
            .offer_agents
            .get(id)
            .and_then(|agent| master.state.agents.get(agent))
            .and_then(|agent| agent.offers.get(id));
        let Some(offer) = offer else { return Err(format!("Offer {id} is no longer valid")) };
        if offer.framework != *framework {
            return Err(format!(
                "Offer {id} has invalid framework {} while framework {framework} is expected",
                offer.framework
            ));
        }
        match first {
            None => first = Some((&offer.agent, &offer.role)),
            Some((agent, _)) if *agent != offer.agent => {
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {id} uses agent {} and agent {agent}",
                    offer.agent
                ));
            }
            Some((_, role)) if *role != offer.role => {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {id} uses role {} and role {role}",
                    offer.role
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Why nothing of an ACCEPT can be done.
enum Refusal {
    /// The offers are not what the call says (rule 98).
    Offers(String),
    /// The agent is away (rule 170).
    Disconnected,
}

/// Tells the framework that no operation of an ACCEPT was done.
fn refuse(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    operations: &[v1::offer::Operation],
    refusal: &Refusal,
) {
    let state = status::state_for(master.is_partition_aware(framework), TaskState::TaskDropped);
    let (reason, text) = match refusal {
        Refusal::Offers(why) => (Reason::InvalidOffers, format!("Task launched with invalid offers: {why}")),
        Refusal::Disconnected => (Reason::AgentDisconnected, "Agent disconnected".to_owned()),
    };
    for operation in operations {
        let launched = operation.launch.iter().flat_map(|launch| &launch.task_infos);
        let grouped = operation.launch_group.iter().flat_map(|group| &group.task_group.tasks);
        for task in launched.chain(grouped) {
            let agent = Some(task.agent_id.clone());
            let update =
                status::made_by_master(moment.now, &task.task_id, agent, state, reason, text.clone());
            master.count_transition(framework, &update);
            master.send_update(framework, update);
        }
        if matches!(operation.r#type(), Type::Launch | Type::LaunchGroup) {
            continue;
        }
        let Some(id) = &operation.id else { continue };
        let (state, message) = match refusal {
            Refusal::Offers(why) => {
                (OperationState::OperationError, format!("Operation attempted with invalid offers: {why}"))
            }
            Refusal::Disconnected => (OperationState::OperationDropped, "Agent disconnected".to_owned()),
        };
        let status = v1::OperationStatus {
            operation_id: Some(id.clone()),
            state: state.into(),
            message: Some(message),
            ..Default::default()
        };
        master.send_operation_status(framework, status);
    }
}
