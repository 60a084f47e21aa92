//! Offers: made from what the allocator gives, and taken back.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_allocator::{Allocations, Filter};
use mezzo_ids::{AgentId, FrameworkId, OfferId};
use mezzo_mesos::v1::{self, scheduler};
use mezzo_resources::{Form, Resources};

use crate::{
    events::scheduler_event,
    master::{Master, Moment},
    metrics::OfferFate,
    state::{Agent, Capabilities, Framework, Offer},
    status,
    timers::Timer,
};

/// Never offered: it belongs to network isolation on the agent (rule 83).
const EPHEMERAL_PORTS: &str = "ephemeral_ports";

impl Master {
    /// Runs the allocator when it has work, and offers what it gives.
    pub(crate) fn allocate(&mut self, moment: &mut Moment<'_>) {
        if self.allocator.next_deadline().is_none_or(|at| at > moment.now) {
            return;
        }
        let Allocations { offers, inverse_offers } = self.allocator.allocate(moment.now, &mut *moment.rng);
        let mut messages: BTreeMap<FrameworkId, Vec<v1::Offer>> = BTreeMap::new();
        for allocation in offers {
            let offer = Offer {
                id: self.mint_offer(),
                resources: allocation.resources(),
                framework: allocation.framework,
                agent: allocation.agent,
                role: allocation.role,
                expires: self.config.offer_timeout.map(|timeout| moment.now + timeout),
            };
            let id = offer.id.clone();
            match self.add_offer(offer) {
                Ok((framework, message)) => {
                    if let Some(ledger) = &mut self.ledger {
                        ledger.offer(&id);
                    }
                    messages.entry(framework).or_default().push(message);
                }
                Err(offer) => {
                    // The agent or the framework left in the same step.
                    self.allocator.recover(
                        moment.now,
                        &offer.framework,
                        &offer.agent,
                        &offer.resources,
                        None,
                    );
                }
            }
        }
        for (framework, offers) in messages {
            self.counters().offers(&framework, OfferFate::Sent, offers.len());
            let offers = Some(scheduler::event::Offers { offers });
            self.send(
                &framework,
                scheduler::Event { offers, ..scheduler_event(scheduler::event::Type::Offers) },
            );
        }
        self.send_inverse_offers(inverse_offers);
    }

    /// Takes an offer into the state; gives it back when there is nobody to offer to or nothing to offer.
    fn add_offer(&mut self, offer: Offer) -> Result<(FrameworkId, v1::Offer), Box<Offer>> {
        self.note_agent(&offer.agent);
        let Some(framework) = self.state.frameworks.get(&offer.framework) else {
            return Err(Box::new(offer));
        };
        let Some(agent) = self.state.agents.get_mut(&offer.agent).map(Arc::make_mut) else {
            return Err(Box::new(offer));
        };
        if !framework.active || !agent.active {
            return Err(Box::new(offer));
        }
        let message = offer_message(&offer, framework, agent, &self.config.agent_url_path);
        let (id, framework) = (offer.id.clone(), offer.framework.clone());
        agent.offered += offer.resources.clone();
        if let Some(at) = offer.expires {
            self.timers.insert((at, Timer::Offer(id.clone())));
        }
        self.offer_agents.insert(id.clone(), offer.agent.clone());
        self.framework_offers.entry(framework.clone()).or_default().insert(id.clone());
        agent.offers.insert(id, Arc::new(offer));
        Ok((framework, message))
    }

    /// Takes an outstanding offer out of the state. Its resources stay allocated to the framework.
    pub(crate) fn take_offer(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let agent = self.offer_agents.remove(id)?;
        let agent = self.agent_mut(&agent)?;
        let offer = agent.offers.remove(id)?;
        agent.offered.subtract(&offer.resources);
        if let Some(offers) = self.framework_offers.get_mut(&offer.framework) {
            offers.remove(id);
            if offers.is_empty() {
                self.framework_offers.remove(&offer.framework);
            }
        }
        Some(offer)
    }

    /// Takes an offer back without telling its framework.
    pub(crate) fn withdraw_offer(&mut self, moment: &Moment<'_>, id: &OfferId, filter: Option<Filter>) {
        if let Some(offer) = self.take_offer(id) {
            self.return_offered(moment.now, &offer.framework, &offer.agent, &offer.resources, filter);
        }
    }

    /// Takes an offer back and tells its framework (rule 96).
    pub(crate) fn rescind_offer(&mut self, moment: &Moment<'_>, id: &OfferId) {
        if let Some(offer) = self.take_offer(id) {
            self.allocator.recover(moment.now, &offer.framework, &offer.agent, &offer.resources, None);
            self.counters().offers(&offer.framework, OfferFate::Rescinded, 1);
            self.send_rescind(&offer.framework, id);
        }
    }

    fn send_rescind(&mut self, framework: &FrameworkId, id: &OfferId) {
        let rescind = Some(scheduler::event::Rescind { offer_id: v1::OfferId { value: id.as_str().into() } });
        self.send(
            framework,
            scheduler::Event { rescind, ..scheduler_event(scheduler::event::Type::Rescind) },
        );
    }

    /// Rescinds every offer of an agent.
    pub(crate) fn rescind_agent_offers(&mut self, moment: &Moment<'_>, agent: &AgentId) {
        let Some(agent) = self.state.agents.get(agent) else { return };
        for id in agent.offers.keys().cloned().collect::<Vec<_>>() {
            self.rescind_offer(moment, &id);
        }
    }

    /// Takes every offer of a framework back; it is not told, because it is gone or starts over (rule 57).
    pub(crate) fn withdraw_framework_offers(&mut self, moment: &Moment<'_>, framework: &FrameworkId) {
        for id in self.framework_offers.get(framework).cloned().unwrap_or_default() {
            self.withdraw_offer(moment, &id, None);
        }
    }

    /// An offer was not answered in time (rule 95).
    pub(crate) fn on_offer_timeout(&mut self, moment: &Moment<'_>, id: &OfferId) {
        self.rescind_offer(moment, id);
    }
}

/// An offer as its framework may see it (rules 79 to 83).
pub(crate) fn offer_message(
    offer: &Offer,
    framework: &Framework,
    agent: &Agent,
    url_path: &str,
) -> v1::Offer {
    let info = &agent.info;
    let executor_ids = agent
        .executors
        .keys()
        .filter(|(owner, _)| *owner == offer.framework)
        .map(|(_, executor)| v1::ExecutorId { value: executor.as_str().into() })
        .collect();
    let allocation_info = framework
        .capabilities
        .multi_role
        .then(|| v1::resource::AllocationInfo { role: Some(offer.role.as_str().into()) });
    v1::Offer {
        id: v1::OfferId { value: offer.id.as_str().into() },
        framework_id: v1::FrameworkId { value: offer.framework.as_str().into() },
        agent_id: status::agent_id(&offer.agent),
        hostname: info.hostname.clone(),
        url: Some(agent_url(agent, url_path)),
        domain: info.domain.clone(),
        resources: resources_for(&framework.capabilities, &offer.resources),
        attributes: info.attributes.clone(),
        executor_ids,
        unavailability: agent.unavailability,
        allocation_info,
    }
}

/// Where the API of an agent is, as offers and inverse offers say it.
pub(crate) fn agent_url(agent: &Agent, url_path: &str) -> v1::Url {
    v1::Url {
        scheme: "http".into(),
        address: v1::Address {
            hostname: Some(agent.info.hostname.clone()),
            ip: Some(agent.ip.clone()),
            port: i32::from(agent.port),
        },
        path: Some(url_path.into()),
        ..Default::default()
    }
}

/// Resources in the form that a framework's capabilities ask for (rules 81 and 82).
pub(crate) fn resources_for(capabilities: &Capabilities, resources: &Resources) -> Vec<v1::Resource> {
    let form = if capabilities.reservation_refinement { Form::PostRefinement } else { Form::PreRefinement };
    let mut resources = resources.to_proto(form);
    resources.retain(|resource| resource.name != EPHEMERAL_PORTS);
    if !capabilities.multi_role {
        for resource in &mut resources {
            resource.allocation_info = None;
        }
    }
    resources
}
