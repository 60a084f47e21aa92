//! Who holds what, kept consistent over agents, roles and totals.

use std::collections::BTreeMap;

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Resource, Resources};

use crate::{
    Allocator, FrameworkProfile,
    agent::Held,
    amounts::Amounts,
    bundle::{Bundle, Order, add_common, is_quota_counted, rare_amounts},
    framework::Framework,
};

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
        if known.subscribed || !known.agents.is_empty() {
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
        add_common(&mut known.in_use, &bundle.common);
        let mut amounts = Amounts::of_common(bundle.common);
        let mut counted = amounts.clone();
        match known.held.iter_mut().find(|held| held.client == client) {
            Some(held) if bundle.rare.is_empty() => add_common(&mut held.bundle.common, &bundle.common),
            Some(held) => {
                let before = rare_sums(&held.bundle.rare);
                held.bundle.add(bundle);
                let after = rare_sums(&held.bundle.rare);
                add_difference(&mut amounts, after.0, &before.0);
                add_difference(&mut counted, after.1, &before.1);
            }
            None => {
                if !bundle.rare.is_empty() {
                    let (all, of_quota) = rare_sums(&bundle.rare);
                    amounts.add(&all);
                    counted.add(&of_quota);
                }
                known.held.push(Held { client, bundle });
                self.roles.clients[client].agents.insert(agent);
            }
        }
        self.roles.charge(client, &amounts, &counted);
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
        for (used, returned) in known.in_use.iter_mut().zip(returned.common) {
            *used -= returned;
        }
        let Some(at) = known.held.iter().position(|held| held.client == client) else { return };
        let bundle = &mut known.held[at].bundle;
        let mut amounts = Amounts::of_common(returned.common);
        let mut counted = amounts.clone();
        if returned.rare.is_empty() {
            bundle.subtract(returned);
        } else {
            let before = rare_sums(&bundle.rare);
            bundle.subtract(returned);
            let after = rare_sums(&bundle.rare);
            add_difference(&mut amounts, before.0, &after.0);
            add_difference(&mut counted, before.1, &after.1);
        }
        let is_over = bundle.is_empty();
        if is_over {
            known.held.swap_remove(at);
            self.roles.clients[client].agents.remove(&agent);
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
            let counted = |rare: &Resources| rare_amounts(rare.iter().filter(|r| is_quota_counted(r)));
            self.headroom.subtract(&counted(&known.available.rare));
            known.refresh_rare();
            self.headroom.add(&counted(&known.available.rare));
        }
    }

    /// Adds an agent to the sums over all, or takes it out of them.
    pub(crate) fn count_agent(&mut self, slot: u32, is_there: bool) {
        let agent = &self.agents[slot];
        let (all, headroom, reserved) = (agent.total.amounts(), agent.available.counted(), agent.reserved());
        let revocable = rare_amounts(agent.total.rare.iter().filter(|resource| resource.is_revocable()));
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
        let agent = &mut self.agents[slot];
        agent.total = Bundle::of(total);
        agent.order = Order::of(total);
        // Whether it has gpus decides whom it is for.
        agent.classes_known = 0;
        agent.refresh_common();
        agent.refresh_rare();
        self.count_agent(slot, true);
        self.roles.remove_reserved(&kept);
        self.changed = true;
    }

    /// Brings everything that follows from an agent's state up to date and marks it to be looked at.
    pub(crate) fn on_agent_changed(&mut self, slot: u32) {
        let is_free = self.refresh_agent(slot);
        self.set_agent_dirty(slot, is_free);
        self.consider_inverse(slot);
    }

    fn set_agent_dirty(&mut self, slot: u32, dirty: bool) {
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
    pub(crate) fn refresh_agent(&mut self, slot: u32) -> bool {
        let agent = &mut self.agents[slot];
        if agent.unavailability.is_some() {
            self.planned.insert(slot);
        } else if !self.planned.is_empty() {
            self.planned.remove(&slot);
        }
        let is_free = agent.active && agent.whitelisted && !agent.available.is_empty();
        match (agent.free_at, is_free) {
            (None, true) => {
                agent.free_at = Some(self.free.len() as u32);
                self.free.push(slot);
            }
            (Some(at), false) => {
                agent.free_at = None;
                self.free.swap_remove(at as usize);
                if let Some(moved) = self.free.get(at as usize) {
                    self.agents[*moved].free_at = Some(at);
                }
            }
            _ => {}
        }
        is_free
    }

    /// Forgets the marks of an agent that leaves.
    pub(crate) fn forget_marks(&mut self, slot: u32) {
        self.agents[slot].active = false;
        self.agents[slot].unavailability = None;
        self.refresh_agent(slot);
        self.set_agent_dirty(slot, false);
        self.inverse_dirty.remove(&slot);
        self.sharing.remove(&slot);
    }

    /// Everybody may get more than before: every agent with something free is worth a look.
    pub(crate) fn consider_all(&mut self) {
        self.all_dirty = true;
    }

    /// A client wants more than before.
    fn consider_client(&mut self, client: u32) {
        let known = &mut self.roles.clients[client];
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
        if renamed != 0 {
            for agent in self.agents.values_mut() {
                agent.classes_known &= !renamed;
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

/// All numbers of special resources, and those that quota looks at.
fn rare_sums(rare: &Resources) -> (Amounts, Amounts) {
    let counted: Vec<&Resource> = rare.iter().filter(|resource| is_quota_counted(resource)).collect();
    (rare_amounts(rare), rare_amounts(counted))
}

fn add_difference(sum: &mut Amounts, mut more: Amounts, less: &Amounts) {
    more.subtract(less);
    sum.add(&more);
}
