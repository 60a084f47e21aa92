//! Asking frameworks to leave agents before maintenance.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_mesos::v1;
use mezzo_time::Timestamp;

use crate::{Allocator, Filter};

/// A framework is to be asked to vacate an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct InverseAllocation {
    /// Whom to ask.
    pub framework: FrameworkId,
    /// Which agent.
    pub agent: AgentId,
    /// From when, for how long.
    pub unavailability: v1::Unavailability,
}

/// Refused inverse offers.
#[derive(Debug, Default)]
pub(crate) struct InverseBook {
    filters: BTreeMap<(FrameworkId, AgentId), Timestamp>,
    endings: BTreeSet<(Timestamp, FrameworkId, AgentId)>,
}

impl InverseBook {
    fn add(&mut self, framework: &FrameworkId, agent: &AgentId, expires: Timestamp) {
        if let Some(before) = self.filters.insert((framework.clone(), agent.clone()), expires) {
            self.endings.remove(&(before, framework.clone(), agent.clone()));
        }
        self.endings.insert((expires, framework.clone(), agent.clone()));
    }

    fn blocks(&self, framework: &FrameworkId, agent: &AgentId) -> bool {
        self.filters.contains_key(&(framework.clone(), agent.clone()))
    }

    pub(crate) fn clear_filters_of(&mut self, framework: &FrameworkId) {
        self.filters.retain(|(of, _), _| of != framework);
        self.endings.retain(|(_, of, _)| of != framework);
    }

    pub(crate) fn clear_filters_for(&mut self, agent: &AgentId) {
        self.filters.retain(|(_, of), _| of != agent);
        self.endings.retain(|(_, _, of)| of != agent);
    }

    /// Ends what is over and says which agents it was about.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<AgentId> {
        let mut agents = Vec::new();
        while self.endings.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, framework, agent)) = self.endings.pop_first() else { break };
            self.filters.remove(&(framework, agent.clone()));
            agents.push(agent);
        }
        agents
    }

    pub(crate) fn next_ending(&self) -> Option<Timestamp> {
        self.endings.first().map(|(at, ..)| *at)
    }
}

impl Allocator {
    /// A framework answered an inverse offer, or (without status) it was rescinded.
    pub fn update_inverse_offer(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        agent: &AgentId,
        status: Option<v1::allocator::InverseOfferStatus>,
        filter: Option<Filter>,
    ) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.inverse_offers.remove(framework);
        match status {
            Some(status) => known.inverse_statuses.insert(framework.clone(), status),
            None => known.inverse_statuses.remove(framework),
        };
        if let Some(filter) = filter {
            let expires = filter.expires(now, self.config.allocation_interval);
            self.inverse.add(framework, agent, expires);
        }
        self.consider_inverse(agent);
    }

    /// Answers to inverse offers for an agent's present unavailability.
    pub fn inverse_offer_statuses(
        &self,
        agent: &AgentId,
    ) -> impl Iterator<Item = (&FrameworkId, &v1::allocator::InverseOfferStatus)> {
        self.agents.get(agent).into_iter().flat_map(|agent| &agent.inverse_statuses)
    }

    /// Asks every framework that holds something of these agents and was not asked yet.
    pub(crate) fn ask_to_vacate(&mut self) -> Vec<InverseAllocation> {
        let mut asked = Vec::new();
        for id in &std::mem::take(&mut self.inverse_dirty) {
            let Some(agent) = self.agents.get_mut(id) else { continue };
            let Some(unavailability) = agent.profile.unavailability else { continue };
            for framework in agent.held.keys() {
                let active = self.frameworks.get(framework).is_some_and(|framework| framework.active);
                if active
                    && !self.inverse.blocks(framework, id)
                    && agent.inverse_offers.insert(framework.clone())
                {
                    let (framework, agent) = (framework.clone(), id.clone());
                    asked.push(InverseAllocation { framework, agent, unavailability });
                }
            }
        }
        asked
    }

    /// Whether somebody on this agent is still to be asked.
    fn owes_inverse(&self, id: &AgentId) -> bool {
        self.agents.get(id).is_some_and(|agent| {
            agent.profile.unavailability.is_some()
                && agent.held.keys().any(|framework| {
                    !agent.inverse_offers.contains(framework)
                        && !self.inverse.blocks(framework, id)
                        && self.frameworks.get(framework).is_some_and(|framework| framework.active)
                })
        })
    }

    /// Marks an agent when somebody on it is still to be asked.
    pub(crate) fn consider_inverse(&mut self, id: &AgentId) {
        if self.planned.contains(id) && self.owes_inverse(id) {
            self.inverse_dirty.insert(id.clone());
        } else {
            self.inverse_dirty.remove(id);
        }
    }

    pub(crate) fn forget_inverse_offers_for(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.inverse_offers.clear();
            agent.inverse_statuses.clear();
            self.inverse.clear_filters_for(id);
        }
    }

    pub(crate) fn forget_inverse_offers_of(&mut self, framework: &FrameworkId) {
        for id in &self.planned {
            if let Some(agent) = self.agents.get_mut(id) {
                agent.inverse_offers.remove(framework);
                agent.inverse_statuses.remove(framework);
            }
        }
        self.inverse.clear_filters_of(framework);
    }
}
