//! Inverse offers: requests to vacate an agent, and the answers that are recorded (rules 277 to 280).

use std::{collections::BTreeMap, sync::Arc};

use mezzo_allocator::{Filter, InverseAllocation};
use mezzo_ids::{AgentId, FrameworkId, OfferId};
use mezzo_mesos::v1::{self, allocator::inverse_offer_status::Status, scheduler};

use crate::{
    events::scheduler_event,
    master::{Master, Moment},
    offers::agent_url,
    status,
};

impl Master {
    /// Sends what the allocator asks frameworks to vacate, one event per framework.
    pub(crate) fn send_inverse_offers(&mut self, allocations: Vec<InverseAllocation>) {
        let mut messages: BTreeMap<FrameworkId, Vec<v1::InverseOffer>> = BTreeMap::new();
        for InverseAllocation { framework, agent: agent_id, unavailability, .. } in allocations {
            if !self.state.frameworks.get(&framework).is_some_and(|f| f.active) {
                continue;
            }
            let id = self.mint_offer();
            let Some(agent) = self.state.agents.get_mut(&agent_id).map(Arc::make_mut) else { continue };
            let message = v1::InverseOffer {
                id: v1::OfferId { value: id.as_str().into() },
                url: Some(agent_url(agent, &self.config.agent_url_path)),
                framework_id: v1::FrameworkId { value: framework.as_str().into() },
                agent_id: Some(status::agent_id(&agent_id)),
                unavailability,
                resources: Vec::new(),
            };
            agent.inverse_offers.insert(id.clone(), Arc::new(message.clone()));
            self.inverse_offer_agents.insert(id, agent_id);
            messages.entry(framework).or_default().push(message);
        }
        for (framework, inverse_offers) in messages {
            let inverse_offers = Some(scheduler::event::InverseOffers { inverse_offers });
            self.send(
                &framework,
                scheduler::Event { inverse_offers, ..scheduler_event(scheduler::event::Type::InverseOffers) },
            );
        }
    }

    /// Takes an outstanding inverse offer out of the state.
    fn take_inverse_offer(&mut self, id: &OfferId) -> Option<(AgentId, Arc<v1::InverseOffer>)> {
        let agent = self.inverse_offer_agents.remove(id)?;
        let offer = self.agent_mut(&agent)?.inverse_offers.remove(id)?;
        Some((agent, offer))
    }

    /// Takes every inverse offer for an agent back; with `rescind` its frameworks are told.
    pub(crate) fn remove_inverse_offers(&mut self, agent: &AgentId, rescind: bool) {
        let Some(agent) = self.state.agents.get(agent) else { return };
        for id in agent.inverse_offers.keys().cloned().collect::<Vec<_>>() {
            let Some((_, offer)) = self.take_inverse_offer(&id) else { continue };
            if rescind {
                let rescind_inverse_offer =
                    Some(scheduler::event::RescindInverseOffer { inverse_offer_id: offer.id.clone() });
                self.send(
                    &FrameworkId::from(offer.framework_id.value.as_str()),
                    scheduler::Event {
                        rescind_inverse_offer,
                        ..scheduler_event(scheduler::event::Type::RescindInverseOffer)
                    },
                );
            }
        }
    }

    /// Takes every inverse offer to a framework back, which is gone or starts over.
    pub(crate) fn withdraw_framework_inverse_offers(&mut self, framework: &FrameworkId) {
        let ids: Vec<OfferId> = self
            .inverse_offer_agents
            .iter()
            .filter(|(id, agent)| {
                self.state
                    .agents
                    .get(*agent)
                    .and_then(|agent| agent.inverse_offers.get(*id))
                    .is_some_and(|offer| offer.framework_id.value == framework.as_str())
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.take_inverse_offer(&id);
        }
    }

    /// Records what a framework answered; nothing is stopped (rule 280). Unknown ids are ignored.
    pub(crate) fn answer_inverse_offers(
        &mut self,
        moment: &Moment<'_>,
        framework: &FrameworkId,
        ids: &[v1::OfferId],
        answer: Status,
        filters: Option<&v1::Filters>,
    ) {
        for id in ids {
            let id = OfferId::from(id.value.as_str());
            let Some(agent) = self.inverse_offer_agents.get(&id) else { continue };
            let owner = self.state.agents.get(agent).and_then(|agent| agent.inverse_offers.get(&id));
            if owner.is_none_or(|offer| offer.framework_id.value != framework.as_str()) {
                continue;
            }
            let Some((agent, _)) = self.take_inverse_offer(&id) else { continue };
            let status = v1::allocator::InverseOfferStatus {
                status: answer.into(),
                framework_id: v1::FrameworkId { value: framework.as_str().into() },
                timestamp: status::time_info(moment.now),
            };
            self.record_inverse_status(&agent, &status);
            let filter = Filter::of_decline(filters);
            self.allocator.update_inverse_offer(moment.now, framework, &agent, Some(status), Some(filter));
        }
    }

    /// Keeps the latest answer per framework with the agent's machine.
    fn record_inverse_status(&mut self, agent: &AgentId, status: &v1::allocator::InverseOfferStatus) {
        let Some(agent) = self.state.agents.get(agent) else { return };
        let (hostname, ip) = (agent.info.hostname.clone(), agent.ip.clone());
        for machine in Arc::make_mut(&mut self.state.machines) {
            if is_machine(&machine.info.id, &hostname, &ip) {
                machine.statuses.retain(|old| old.framework_id != status.framework_id);
                machine.statuses.push(status.clone());
            }
        }
    }
}

/// Whether an agent with this host name and address is on a machine (rule 273). What the machine id
/// leaves out is not compared.
pub(crate) fn is_machine(id: &v1::MachineId, hostname: &str, ip: &str) -> bool {
    let named = id.hostname.is_some() || id.ip.is_some();
    named
        && id.hostname.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(hostname))
        && id.ip.as_deref().is_none_or(|address| address == ip)
}
