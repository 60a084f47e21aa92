//! Which agents a pass looks at, for whom, and in which order.

use mezzo_resources::Name;

use crate::{AgentPreference, Allocator, allocate::Pass, classes::bit, order::shuffle};

/// When more than this many frameworks in roles want more than before, every free agent is offered to
/// everybody: that costs no more than asking so many one by one.
const NEWCOMERS_MAX: usize = 8;

/// An agent to be looked at in a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) agent: u32,
    /// Clients to offer it to, as a part of [`Pass::newcomers`]; `None` for everybody.
    pub(crate) newcomers: Option<(u32, u32)>,
}

impl Allocator {
    /// Which agents this pass looks at, for whom, and in which order; takes all marks away.
    pub(crate) fn plan_visits(&mut self, ended: Vec<(u32, u32)>, pass: &mut Pass<'_>) -> Vec<Visit> {
        for client in std::mem::take(&mut self.dirty_clients) {
            if let Some(known) = self.roles.clients.get_mut(client)
                && std::mem::take(&mut known.dirty)
                && known.hungry
            {
                pass.newcomers.push(client);
            }
        }
        let everybody = |agent| Visit { agent, newcomers: None };
        let mut visits: Vec<Visit> = Vec::new();
        let is_full = self.all_dirty || pass.newcomers.len() > NEWCOMERS_MAX;
        for agent in std::mem::take(&mut self.dirty) {
            if let Some(known) = self.agents.get_mut(agent)
                && std::mem::take(&mut known.dirty)
                && known.is_free()
                && !is_full
            {
                visits.push(everybody(agent));
            }
        }
        self.dirty_count = 0;
        self.all_dirty = false;
        if is_full {
            // Of a settled agent nobody wants anything who did not before.
            let is_worth = |agent: &u32| !pass.newcomers.is_empty() || self.settled(*agent) == 0;
            visits.extend(self.free.iter().copied().filter(is_worth).map(everybody));
        } else {
            self.plan_newcomers(ended, pass, &mut visits);
        }
        shuffle(&mut visits, pass.rng);
        self.prefer_agents(&mut visits);
        visits
    }

    /// Adds visits for those that want more than before.
    fn plan_newcomers(&mut self, ended: Vec<(u32, u32)>, pass: &mut Pass<'_>, visits: &mut Vec<Visit>) {
        let mut seen: Vec<u32> = visits.iter().map(|visit| visit.agent).collect();
        seen.sort_unstable();
        let wanting = pass.newcomers.clone();
        let mut ended = ended.into_iter().peekable();
        while let Some((agent, client)) = ended.next() {
            let from = pass.newcomers.len() as u32;
            let mut clients = vec![client];
            while let Some((_, client)) = ended.next_if(|(other, _)| *other == agent) {
                clients.push(client);
            }
            clients.retain(|client| {
                !wanting.contains(client) && self.roles.clients.get(*client).is_some_and(|known| known.hungry)
            });
            if clients.is_empty()
                || !self.agents.get(agent).is_some_and(|known| known.is_free())
                || seen.binary_search(&agent).is_ok()
            {
                continue;
            }
            pass.newcomers.extend(wanting.iter().copied().chain(clients));
            visits.push(Visit { agent, newcomers: Some((from, pass.newcomers.len() as u32)) });
        }
        if wanting.is_empty() {
            return;
        }
        let mut seen: Vec<u32> = visits.iter().map(|visit| visit.agent).collect();
        seen.sort_unstable();
        let classes = wanting.iter().fold(0, |all, client| all | bit(self.roles.clients[*client].class));
        for i in 0..self.free.len() {
            let agent = self.free[i];
            if seen.binary_search(&agent).is_err() && self.kinds.may_admit(&self.agents[agent], classes) {
                visits.push(Visit { agent, newcomers: Some((0, wanting.len() as u32)) });
            }
        }
    }

    /// Brings preferred agents to the front.
    fn prefer_agents(&self, visits: &mut [Visit]) {
        let used = |visit: &Visit| {
            let agent = &self.agents[visit.agent];
            let of_total = agent.rest.total.common.iter().zip(agent.available.common);
            of_total.fold(0.0_f64, |most, (total, free)| {
                if *total == 0 { most } else { most.max(1.0 - free as f64 / *total as f64) }
            })
        };
        match &self.config.agent_preference {
            AgentPreference::Random => {}
            AgentPreference::Spread => visits.sort_by(|one, other| used(one).total_cmp(&used(other))),
            AgentPreference::Pack => visits.sort_by(|one, other| used(other).total_cmp(&used(one))),
            AgentPreference::MostFree(name) => {
                let name: &Name = name;
                visits.sort_by_key(|visit| {
                    std::cmp::Reverse(self.agents[visit.agent].available.amounts().get(name))
                });
            }
        }
    }

    /// Touches the parts of agents that visits need. Agents are visited in random order, so a few at a time
    /// are read before they are needed: their parts come from memory together, not one after the other.
    pub(crate) fn read_ahead(&self, visits: &[Visit]) {
        let mut sum = 0;
        for agent in visits.iter().filter_map(|visit| self.agents.get(visit.agent)) {
            sum ^= agent.available.common[0] ^ i64::from(agent.kind) ^ agent.refusers as i64;
        }
        for agent in visits.iter().filter_map(|visit| self.agents.get(visit.agent)) {
            sum ^= agent.available.rare.len() as i64;
            sum ^= agent.held.first().map_or(0, |held| i64::from(held.client));
        }
        std::hint::black_box(sum);
    }
}
