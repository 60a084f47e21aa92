//! Who holds what, kept consistent over agents, roles and totals.

use std::collections::BTreeMap;

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::Resources;

use crate::{
    Allocator, FrameworkProfile,
    agent::Held,
    amounts::Amounts,
    bundle::{Bundle, Order, add_common, rare_amounts},
    framework::Framework,
    kinds::UNKNOWN,
};

/// Stands for the place of an agent that is not free.
const NOT_FREE: u32 = u32::MAX;
/// Agents that a client held something of are remembered until they are more than those that it holds
/// something of, and this many.
const STALE_AGENTS_MAX: usize = 32;

impl Allocator {
    pub(crate) fn agent_slot(&self, id: &AgentId) -> Option<u32> {
        self.agent_ids.get(id).copied()
    }

    pub(crate) fn framework_slot(&self, id: &FrameworkId) -> Option<u32> {
        self.framework_ids.get(id).copied()
    }

    /// The framework of an id, which may be known only for what it holds.
    pub(crate) fn framework_or_new(&mut self, id: &FrameworkId) -> u32 {
        if let Some(slot) = self.framework_slot(id) {
            return slot;
        }
        let clients = BTreeMap::new();
        let slot =
            self.frameworks.insert(Framework { id: id.clone(), profile: None, active: false, clients });
        self.framework_ids.insert(id.clone(), slot);
        slot
    }

    pub(crate) fn client_or_new(&mut self, framework: u32, role: &Role) -> u32 {
        let known = &mut self.frameworks[framework];
        if let Some(client) = known.clients.get(role) {
            return *client;
        }
        let client = self.roles.client(framework, &known.id, role);
        known.clients.insert(role.clone(), client);
        client
    }

    /// Forgets a client that neither wants nor holds anything, and its framework when that was the last.
    pub(crate) fn forget_client_if_idle(&mut self, client: u32) {
        let known = &self.roles.clients[client];
        if known.subscribed || known.holds > 0 {
            return;
        }
        let (framework, role) = (known.framework, self.roles.nodes[known.role].role.clone());
        self.clear_filters_of_client(client);
        self.frameworks[framework].clients.remove(&role);
        self.roles.forget_client(client);
        let known = &self.frameworks[framework];
        if known.clients.is_empty() && known.profile.is_none() {
            self.inverse.clear_filters_of(framework);
            if let Some(gone) = self.frameworks.remove(framework) {
                self.framework_ids.remove(&gone.id);
            }
        }
    }

    /// Gives resources of an agent to a framework; they have allocation roles.
    pub(crate) fn hand_out(&mut self, framework: &FrameworkId, agent: u32, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let framework = self.framework_or_new(framework);
        let mut rare = false;
        for (role, bundle) in Bundle::by_role(resources) {
            let client = self.client_or_new(framework, &role);
            rare |= !bundle.rare.is_empty();
            self.charge(client, agent, bundle);
        }
        self.refresh_available(agent, rare);
    }

    /// A client holds more of an agent. What is available follows separately.
    pub(crate) fn charge(&mut self, client: u32, agent: u32, bundle: Bundle) {
        let known = &mut self.agents[agent];
        let mut amounts = Amounts::of_common(bundle.common);
        let mut counted = Amounts::of_common(bundle.common);
        match known.held.iter_mut().find(|held| held.client == client) {
            Some(held) if bundle.rare.is_empty() => add_common(&mut held.bundle.common, &bundle.common),
            Some(held) => {
                let before = held.bundle.rare.clone();
                held.bundle.add(bundle);
                let after = &held.bundle.rare;
                add_difference(&mut amounts, after.amounts(), before.amounts());
                add_difference(&mut counted, after.counted(), before.counted());
            }
            None => {
                if !bundle.rare.is_empty() {
                    amounts.add(bundle.rare.amounts());
                    counted.add(bundle.rare.counted());
                }
                known.held.push(Held { client, bundle });
                self.note_holder(client, agent);
            }
        }
        self.roles.charge(client, &amounts, &counted);
    }

    /// A client holds something of an agent that it held nothing of.
    fn note_holder(&mut self, client: u32, agent: u32) {
        let known = &mut self.roles.clients[client];
        known.holds += 1;
        known.agents.push(agent);
        if known.agents.len() > 2 * known.holds + STALE_AGENTS_MAX {
            self.roles.clients[client].agents = self.agents_of(client);
        }
    }

    /// The agents that a client holds something of, sorted.
    pub(crate) fn agents_of(&self, client: u32) -> Vec<u32> {
        let mut agents = self.roles.clients[client].agents.clone();
        agents.sort_unstable();
        agents.dedup();
        agents.retain(|agent| self.agents.get(*agent).is_some_and(|known| known.held_by(client).is_some()));
        agents
    }

    /// Takes from a framework what it holds of `resources`, and looks at the agent again.
    pub(crate) fn take_back(&mut self, framework: u32, agent: u32, resources: &Resources) {
        let mut rare = false;
        for (role, wanted) in Bundle::by_role(resources) {
            let Some(client) = self.frameworks.get(framework).and_then(|known| known.clients.get(&role))
            else {
                continue;
            };
            let client = *client;
            let Some(held) = self.agents[agent].held_by(client) else { continue };
            let returned = if held.contains(&wanted) { wanted } else { held.found_of(&wanted) };
            rare |= !returned.rare.is_empty();
            self.refund(client, agent, &returned);
        }
        self.changed = true;
        self.refresh_available(agent, rare);
        self.on_agent_changed(agent);
    }

    /// A client holds less of an agent, which it holds. What is available follows separately.
    pub(crate) fn refund(&mut self, client: u32, agent: u32, returned: &Bundle) {
        let known = &mut self.agents[agent];
        let Some(at) = known.held.iter().position(|held| held.client == client) else { return };
        let bundle = &mut known.held[at].bundle;
        let mut amounts = Amounts::of_common(returned.common);
        let mut counted = Amounts::of_common(returned.common);
        if returned.rare.is_empty() {
            bundle.subtract(returned);
        } else {
            let before = bundle.rare.clone();
            bundle.subtract(returned);
            add_difference(&mut amounts, before.amounts(), bundle.rare.amounts());
            add_difference(&mut counted, before.counted(), bundle.rare.counted());
        }
        let is_over = bundle.is_empty();
        if is_over {
            known.held.swap_remove(at);
            self.roles.clients[client].holds -= 1;
        }
        self.roles.refund(client, &amounts, &counted);
        if is_over {
            self.forget_client_if_idle(client);
        }
    }

    /// After what is held of an agent changed; `rare` when special resources did.
    pub(crate) fn refresh_available(&mut self, agent: u32, rare: bool) {
        let known = &mut self.agents[agent];
        let before = known.available.common;
        known.refresh_common();
        for (i, sum) in self.headroom.common.iter_mut().enumerate() {
            *sum += known.available.common[i] - before[i];
        }
        if rare {
            self.headroom.subtract(known.available.rare.counted());
            known.refresh_rare();
            self.headroom.add(known.available.rare.counted());
        }
    }

    /// Adds an agent to the sums over all, or takes it out of them.
    pub(crate) fn count_agent(&mut self, slot: u32, is_there: bool) {
        let agent = &self.agents[slot];
        let (all, headroom, reserved) =
            (agent.rest.total.amounts(), agent.available.counted(), agent.reserved());
        let revocable = rare_amounts(agent.rest.total.rare.iter().filter(|resource| resource.is_revocable()));
        if is_there {
            if agent.has_shared() {
                self.sharing.insert(slot);
            }
            self.capacity.add(&all);
            self.revocable.add(&revocable);
            self.headroom.add(&headroom);
            self.roles.add_reserved(&reserved);
        } else {
            self.sharing.remove(&slot);
            self.capacity.subtract(&all);
            self.revocable.subtract(&revocable);
            self.headroom.subtract(&headroom);
            self.roles.remove_reserved(&reserved);
        }
        self.measure.set(&self.capacity, &self.config.fair_sharing_excluded_names);
    }

    /// Replaces an agent's total.
    pub(crate) fn change_total(&mut self, slot: u32, total: &Resources) {
        // Kept meanwhile, so that a role whose reservation only changed is not forgotten in between.
        let kept = self.agents[slot].reserved();
        self.roles.add_reserved(&kept);
        self.count_agent(slot, false);
        let mut bundle = Bundle::of(total);
        self.remembered.share(&mut bundle.rare);
        let agent = &mut self.agents[slot];
        agent.rest.total = bundle;
        agent.order = Order::of(total);
        // Whether it has gpus decides whom it is for.
        self.kinds.leave(agent);
        agent.refresh_common();
        agent.refresh_rare();
        self.count_agent(slot, true);
        self.roles.remove_reserved(&kept);
        self.changed = true;
    }

    /// Brings everything that follows from an agent's state up to date and marks it to be looked at.
    pub(crate) fn on_agent_changed(&mut self, slot: u32) {
        self.agents[slot].settled = 0;
        let is_free = self.refresh_agent(slot);
        self.set_agent_dirty(slot, is_free);
        self.consider_inverse(slot);
    }

    pub(crate) fn set_agent_dirty(&mut self, slot: u32, dirty: bool) {
        let agent = &mut self.agents[slot];
        if agent.dirty == dirty {
            return;
        }
        agent.dirty = dirty;
        if dirty {
            self.dirty.push(slot);
            self.dirty_count += 1;
        } else {
            self.dirty_count -= 1;
        }
    }

    /// As [`Allocator::on_agent_changed`], without marking. Says whether there is something to offer.
    fn refresh_agent(&mut self, slot: u32) -> bool {
        if self.agents[slot].rest.unavailability.is_some() {
            self.planned.insert(slot);
        } else if !self.planned.is_empty() {
            self.planned.remove(&slot);
        }
        self.refresh_free(slot)
    }

    /// Keeps the list of free agents true. Says whether the agent is one of them.
    pub(crate) fn refresh_free(&mut self, slot: u32) -> bool {
        let is_free = self.agents[slot].is_free();
        if self.free_at.len() <= slot as usize {
            self.free_at.resize(slot as usize + 1, NOT_FREE);
        }
        let at = self.free_at[slot as usize];
        if is_free && at == NOT_FREE {
            self.free_at[slot as usize] = self.free.len() as u32;
            self.free.push(slot);
        } else if !is_free && at != NOT_FREE {
            self.free_at[slot as usize] = NOT_FREE;
            self.free.swap_remove(at as usize);
            if let Some(moved) = self.free.get(at as usize) {
                self.free_at[*moved as usize] = at;
            }
        }
        is_free
    }

    /// Forgets the marks of an agent that leaves.
    pub(crate) fn forget_marks(&mut self, slot: u32) {
        self.agents[slot].active = false;
        self.agents[slot].rest.unavailability = None;
        self.refresh_agent(slot);
        self.set_agent_dirty(slot, false);
        self.inverse_dirty.remove(&slot);
        self.sharing.remove(&slot);
    }

    /// Everybody may get more than before: every agent with something free is worth a look.
    pub(crate) fn consider_all(&mut self) {
        self.all_dirty = true;
        self.all_grown = self.runs + 1;
    }

    /// A client wants more than before.
    fn consider_client(&mut self, client: u32) {
        let known = &mut self.roles.clients[client];
        known.grown = self.runs + 1;
        if known.hungry && !known.dirty {
            known.dirty = true;
            self.dirty_clients.push(client);
        }
    }

    /// Brings what is known of who wants what up to date with a framework, whose wishes may have grown.
    pub(crate) fn refresh_hunger(&mut self, framework: u32, grown: bool) {
        let clients: Vec<(bool, u32)> = {
            let known = &self.frameworks[framework];
            known.clients.iter().map(|(role, client)| (known.wants(role), *client)).collect()
        };
        for (wants, client) in clients {
            self.roles.set_hungry(client, wants);
            if grown {
                self.consider_client(client);
            }
        }
        if grown {
            for agent in self.planned.clone() {
                self.consider_inverse(agent);
            }
        }
    }

    /// A framework is in exactly these roles, as they are described now.
    pub(crate) fn subscribe(&mut self, framework: u32, profile: FrameworkProfile) {
        let looked_at_hostname = self.classes.look_at_hostname;
        let roles = profile.roles.clone();
        let left: Vec<u32> = self.frameworks[framework]
            .clients
            .iter()
            .filter(|(role, _)| !roles.contains(*role))
            .map(|(_, client)| *client)
            .collect();
        self.frameworks[framework].profile = Some(profile);
        for role in &roles {
            let client = self.client_or_new(framework, role);
            let profile = self.frameworks[framework].profile.as_ref();
            let Some(class) = profile.map(|profile| profile.class(role)) else { continue };
            let minimum = profile
                .and_then(|profile| profile.min_allocatable.get(role))
                .map(|sets| sets.iter().map(Amounts::from).collect());
            let number = self.classes.enter(class);
            let known = &mut self.roles.clients[client];
            known.minimum = minimum;
            if std::mem::replace(&mut known.subscribed, true) {
                let before = known.class;
                self.classes.leave(before);
            }
            self.roles.set_class(client, number);
        }
        let renamed = std::mem::take(&mut self.classes.renamed);
        if !renamed.is_empty() {
            self.kinds.forget(&renamed);
        }
        if self.classes.look_at_hostname != looked_at_hostname {
            self.kinds.clear();
            for agent in self.agents.values_mut() {
                agent.kind = UNKNOWN;
            }
        }
        for client in left {
            self.unsubscribe(client);
        }
    }

    /// A framework is no longer in the role of a client.
    pub(crate) fn unsubscribe(&mut self, client: u32) {
        self.roles.set_hungry(client, false);
        self.clear_filters_of_client(client);
        let known = &mut self.roles.clients[client];
        if std::mem::replace(&mut known.subscribed, false) {
            let class = known.class;
            self.classes.leave(class);
        }
        self.forget_client_if_idle(client);
    }
}

fn add_difference(sum: &mut Amounts, more: &Amounts, less: &Amounts) {
    let mut more = more.clone();
    more.subtract(less);
    sum.add(&more);
}
