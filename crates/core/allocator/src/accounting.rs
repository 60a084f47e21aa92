//! Who holds what, kept consistent over agents, roles and totals.

use std::collections::BTreeSet;

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::Resources;

use crate::{Allocator, agent::Agent};

impl Allocator {
    /// Gives resources of an agent to a framework; they have allocation roles. The caller refreshes
    /// the agent.
    pub(crate) fn hand_out(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        if resources.is_empty() {
            return;
        }
        *known.held.entry(framework.clone()).or_default() += resources;
        known.in_use += resources.unallocated();
        self.holdings.entry(framework.clone()).or_default().insert(agent.clone());
        self.roles.charge(framework, resources);
    }

    /// Takes from a framework what it holds of `resources`, and looks at the agent again.
    pub(crate) fn take_back(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        let Some(held) = known.held.get_mut(framework) else { return };
        let returned = if held.contains(resources) {
            resources.clone()
        } else {
            resources.filter(|resource| held.contains_one(resource))
        };
        held.subtract(&returned);
        let nothing_left = held.is_empty();
        if nothing_left {
            known.held.remove(framework);
        }
        known.in_use.subtract(&returned.unallocated());
        if nothing_left {
            self.forget_holding(framework, agent);
        }
        self.roles.refund(framework, &returned);
        self.changed = true;
        self.on_agent_changed(agent);
    }

    pub(crate) fn forget_holding(&mut self, framework: &FrameworkId, agent: &AgentId) {
        if let Some(agents) = self.holdings.get_mut(framework) {
            agents.remove(agent);
            if agents.is_empty() {
                self.holdings.remove(framework);
            }
        }
    }

    /// Adds a new agent to the sums over all.
    pub(crate) fn count_agent(&mut self, id: &AgentId, agent: &Agent) {
        self.capacity += &agent.capacity;
        self.headroom += &agent.headroom;
        self.roles.add_reserved(&agent.reserved);
        if agent.has_shared() {
            self.sharing.insert(id.clone());
        }
    }

    /// Replaces an agent's total.
    pub(crate) fn change_total(&mut self, id: &AgentId, total: Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        self.capacity.subtract(&agent.capacity);
        let reserved_before = std::mem::take(&mut agent.reserved);
        agent.profile.total = total;
        agent.refresh_total();
        self.capacity += &agent.capacity;
        // Added first, so that a role whose reservation only changed is not forgotten in between.
        self.roles.add_reserved(&agent.reserved);
        self.roles.remove_reserved(&reserved_before);
        if agent.has_shared() {
            self.sharing.insert(id.clone());
        } else {
            self.sharing.remove(id);
        }
        self.changed = true;
    }

    /// Brings everything that follows from an agent's state up to date and marks it to be looked at.
    pub(crate) fn on_agent_changed(&mut self, id: &AgentId) {
        if self.refresh_agent(id) {
            self.dirty.insert(id.clone());
        } else {
            self.dirty.remove(id);
        }
        self.consider_inverse(id);
    }

    /// As [`Allocator::on_agent_changed`], without marking. Says whether there is something to offer.
    pub(crate) fn refresh_agent(&mut self, id: &AgentId) -> bool {
        let Some(agent) = self.agents.get_mut(id) else { return false };
        if agent.profile.unavailability.is_some() {
            self.planned.insert(id.clone());
        } else {
            self.planned.remove(id);
        }
        self.headroom.subtract(&agent.headroom);
        agent.refresh_available();
        self.headroom += &agent.headroom;
        let whitelisted = self
            .config
            .agent_whitelist
            .as_ref()
            .is_none_or(|hostnames| hostnames.contains(&agent.profile.hostname));
        let is_free = agent.active && whitelisted && !agent.available.is_empty();
        if is_free != agent.is_free {
            agent.is_free = is_free;
            if is_free {
                self.free.insert(id.clone());
            } else {
                self.free.remove(id);
            }
        }
        is_free
    }

    /// Somebody wants more than before: every agent with something free is worth a look.
    pub(crate) fn consider_all(&mut self) {
        self.dirty.extend(self.free.iter().cloned());
        for agent in self.planned.clone() {
            self.consider_inverse(&agent);
        }
    }

    /// Brings the lists of who wants what up to date with a framework.
    pub(crate) fn refresh_hunger(&mut self, id: &FrameworkId) {
        if let Some(framework) = self.frameworks.get(id) {
            for role in &framework.profile.roles {
                self.roles.set_hungry(role, id, framework.wants(role));
            }
        }
    }

    pub(crate) fn remove_from_roles(&mut self, id: &FrameworkId) {
        let roles: BTreeSet<Role> =
            self.frameworks.get(id).map(|framework| framework.profile.roles.clone()).unwrap_or_default();
        for role in &roles {
            self.roles.set_hungry(role, id, false);
            self.roles.unsubscribe(role, id);
            let holds =
                self.roles.nodes.get(role).is_some_and(|node| {
                    node.clients.get(id).is_some_and(|client| !client.allocated.is_empty())
                });
            if !holds {
                self.roles.forget_client(role, id);
            }
        }
    }
}
