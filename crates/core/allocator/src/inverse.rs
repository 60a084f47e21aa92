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

/// Refused inverse offers, by framework and agent.
#[derive(Debug, Default)]
pub(crate) struct InverseBook {
    filters: BTreeMap<(u32, u32), Timestamp>,
    endings: BTreeSet<(Timestamp, u32, u32)>,
}

impl InverseBook {
    fn add(&mut self, framework: u32, agent: u32, expires: Timestamp) {
        if let Some(before) = self.filters.insert((framework, agent), expires) {
            self.endings.remove(&(before, framework, agent));
        }
        self.endings.insert((expires, framework, agent));
    }

    fn blocks(&self, framework: u32, agent: u32) -> bool {
        self.filters.contains_key(&(framework, agent))
    }

    pub(crate) fn clear_filters_of(&mut self, framework: u32) {
        if !self.filters.is_empty() {
            self.filters.retain(|(of, _), _| *of != framework);
            self.endings.retain(|(_, of, _)| *of != framework);
        }
    }

    pub(crate) fn clear_filters_for(&mut self, agent: u32) {
        if !self.filters.is_empty() {
            self.filters.retain(|(_, of), _| *of != agent);
            self.endings.retain(|(_, _, of)| *of != agent);
        }
    }

    /// Ends what is over and says which agents it was about.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<u32> {
        let mut agents = Vec::new();
        while self.endings.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, framework, agent)) = self.endings.pop_first() else { break };
            self.filters.remove(&(framework, agent));
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
        let (Some(agent), Some(asked)) = (self.agent_slot(agent), self.framework_slot(framework)) else {
            return;
        };
        let vacating = self.agents[agent].rest.vacating.get_or_insert_default();
        vacating.asked.remove(&asked);
        match status {
            Some(status) => vacating.statuses.insert(framework.clone(), status),
            None => vacating.statuses.remove(framework),
        };
        if let Some(filter) = filter {
            let expires = filter.expires(now, self.config.allocation_interval);
            self.inverse.add(asked, agent, expires);
        }
        self.consider_inverse(agent);
    }

    /// Answers to inverse offers for an agent's present unavailability.
    pub fn inverse_offer_statuses(
        &self,
        agent: &AgentId,
    ) -> impl Iterator<Item = (&FrameworkId, &v1::allocator::InverseOfferStatus)> {
        let vacating = self.agent_slot(agent).and_then(|agent| self.agents[agent].rest.vacating.as_ref());
        vacating.into_iter().flat_map(|vacating| &vacating.statuses)
    }

    /// Asks every framework that holds something of these agents and was not asked yet.
    pub(crate) fn ask_to_vacate(&mut self) -> Vec<InverseAllocation> {
        let mut asked = Vec::new();
        for slot in std::mem::take(&mut self.inverse_dirty) {
            let owed = self.owed_inverse(slot);
            let Some(agent) = self.agents.get_mut(slot) else { continue };
            let Some(unavailability) = agent.rest.unavailability else { continue };
            for framework in owed {
                agent.rest.vacating.get_or_insert_default().asked.insert(framework);
                let framework = self.frameworks[framework].id.clone();
                asked.push(InverseAllocation { framework, agent: agent.id.clone(), unavailability });
            }
        }
        asked.sort_by(|left, right| (&left.agent, &left.framework).cmp(&(&right.agent, &right.framework)));
        asked
    }

    /// Who on this agent is still to be asked.
    fn owed_inverse(&self, slot: u32) -> BTreeSet<u32> {
        let Some(agent) = self.agents.get(slot).filter(|agent| agent.rest.unavailability.is_some()) else {
            return BTreeSet::new();
        };
        let asked = |framework: &u32| {
            agent.rest.vacating.as_ref().is_some_and(|vacating| vacating.asked.contains(framework))
        };
        agent
            .held
            .iter()
            .map(|held| self.roles.clients[held.client].framework)
            .filter(|framework| {
                !asked(framework)
                    && !self.inverse.blocks(*framework, slot)
                    && self.frameworks[*framework].active
            })
            .collect()
    }

    /// Marks an agent when somebody on it is still to be asked.
    pub(crate) fn consider_inverse(&mut self, slot: u32) {
        if !self.planned.is_empty() && self.planned.contains(&slot) && !self.owed_inverse(slot).is_empty() {
            self.inverse_dirty.insert(slot);
        } else if !self.inverse_dirty.is_empty() {
            self.inverse_dirty.remove(&slot);
        }
    }

    pub(crate) fn forget_inverse_offers_for(&mut self, slot: u32) {
        self.agents[slot].rest.vacating = None;
        self.inverse.clear_filters_for(slot);
    }

    pub(crate) fn forget_inverse_offers_of(&mut self, framework: u32) {
        for slot in &self.planned {
            if let Some(vacating) = &mut self.agents[*slot].rest.vacating {
                vacating.asked.remove(&framework);
                vacating.statuses.remove(&self.frameworks[framework].id);
            }
        }
        self.inverse.clear_filters_of(framework);
    }
}
