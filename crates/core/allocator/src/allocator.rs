//! The owner of the allocator's state, and the events that change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::{NotContained, Resources};
use mezzo_time::Timestamp;

use crate::{
    AgentProfile, Config, Filter, FrameworkProfile, Quota,
    agent::Agent,
    allocate::STEPS_MAX,
    amounts::Amounts,
    bundle::Bundle,
    classes::Classes,
    filters::Endings,
    framework::Framework,
    inverse::InverseBook,
    kinds::Kinds,
    order::Walker,
    rare::Remembered,
    roles::{Measure, Roles},
    slots::Slots,
};

/// Share of the known agents that must be back before offers go on after a failover (rule 131).
const RECOVERED_SHARE: f64 = 0.8;
/// How long offers pause at most (rule 131).
const RECOVERY_MAX: Duration = Duration::from_secs(600);

/// Resources were to be changed that are not there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotAvailable {
    /// No such agent.
    #[error("no agent {0}")]
    UnknownAgent(AgentId),
    /// It has them not, or not free.
    #[error(transparent)]
    NotContained(#[from] NotContained),
}

/// The allocator. See the crate's page.
///
/// Agents, frameworks, roles and frameworks in roles (clients) have small numbers inside; names are
/// looked up once per event.
#[derive(Debug)]
pub struct Allocator {
    pub(crate) config: Config,
    pub(crate) frameworks: Slots<Framework>,
    pub(crate) framework_ids: BTreeMap<FrameworkId, u32>,
    pub(crate) agents: Slots<Agent>,
    pub(crate) agent_ids: BTreeMap<AgentId, u32>,
    pub(crate) roles: Roles,
    pub(crate) classes: Classes,
    pub(crate) kinds: Kinds,
    pub(crate) remembered: Remembered,
    pub(crate) endings: Endings,
    pub(crate) inverse: InverseBook,
    /// Config's minimums (rule 105).
    pub(crate) minimums: Arc<[Amounts]>,
    /// All numbers of all agents.
    pub(crate) capacity: Amounts,
    /// Those of them that may be taken back.
    pub(crate) revocable: Amounts,
    /// `capacity`, as shares are measured against it.
    pub(crate) measure: Measure,
    /// What is free, unreserved and not revocable on all agents.
    pub(crate) headroom: Amounts,
    /// Agents with something to offer that may be offered.
    pub(crate) free: Vec<u32>,
    /// By agent: its place in `free`, if it has one.
    pub(crate) free_at: Vec<u32>,
    /// Free agents to be offered to everybody; some are here that are not marked any more.
    pub(crate) dirty: Vec<u32>,
    /// How many are marked.
    pub(crate) dirty_count: usize,
    /// All free agents are to be offered to everybody.
    pub(crate) all_dirty: bool,
    /// The first pass after everybody's wishes, or what is given for them, last grew.
    pub(crate) all_grown: u64,
    /// Clients that all free agents are to be offered to; some are here that are not marked any more.
    pub(crate) dirty_clients: Vec<u32>,
    /// Agents with planned maintenance.
    pub(crate) planned: BTreeSet<u32>,
    /// Those of them that somebody is to be asked to vacate.
    pub(crate) inverse_dirty: BTreeSet<u32>,
    /// Agents with shared volumes.
    pub(crate) sharing: BTreeSet<u32>,
    /// Whether anything came back since the last full pass.
    pub(crate) changed: bool,
    pub(crate) last_full_pass: Timestamp,
    pub(crate) last_pass: Timestamp,
    pub(crate) runs: u64,
    /// Offers pause until this many agents are known, or until then.
    pub(crate) pause: Option<(usize, Timestamp)>,
    /// [`STEPS_MAX`], but in some tests.
    pub(crate) steps_max: u64,
    /// Kept between passes for its memory.
    pub(crate) walker: Walker,
}

impl Allocator {
    /// Without agents and frameworks.
    pub fn new(config: Config) -> Self {
        Self {
            frameworks: Slots::default(),
            framework_ids: BTreeMap::new(),
            agents: Slots::default(),
            agent_ids: BTreeMap::new(),
            roles: Roles::new(config.weights.clone()),
            classes: Classes::default(),
            kinds: Kinds::default(),
            remembered: Remembered::default(),
            endings: Endings::default(),
            inverse: InverseBook::default(),
            minimums: config.min_allocatable.iter().map(Amounts::from).collect(),
            capacity: Amounts::default(),
            revocable: Amounts::default(),
            measure: Measure::default(),
            headroom: Amounts::default(),
            free: Vec::new(),
            free_at: Vec::new(),
            dirty: Vec::new(),
            dirty_count: 0,
            all_dirty: false,
            all_grown: 0,
            dirty_clients: Vec::new(),
            planned: BTreeSet::new(),
            inverse_dirty: BTreeSet::new(),
            sharing: BTreeSet::new(),
            changed: false,
            last_full_pass: Timestamp::ZERO,
            last_pass: Timestamp::ZERO,
            runs: 0,
            pause: None,
            steps_max: STEPS_MAX,
            walker: Walker::default(),
            config,
        }
    }

    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// After a failover with `agents_expected` agents in the registry: offers pause until most are back
    /// or ten minutes have passed, but only when some quota is set (rule 131), so set those first.
    pub fn pause_for_recovery(&mut self, now: Timestamp, agents_expected: usize) {
        let needed = (agents_expected as f64 * RECOVERED_SHARE) as usize;
        if needed > 0 && !self.roles.quotas.is_empty() {
            self.pause = Some((needed, now + RECOVERY_MAX));
        }
    }

    /// A framework subscribed, or became known from an agent (then not `active`).
    pub fn add_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile, active: bool) {
        let framework = self.framework_or_new(id);
        self.frameworks[framework].active = active;
        self.subscribe(framework, profile);
        self.refresh_hunger(framework, true);
    }

    /// A framework changed its mind about roles, capabilities, minimums or constraints. Roles that it
    /// suppressed before and does not now lose their filters, as with REVIVE. Unknown ones are left alone.
    pub fn update_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile) {
        let Some(framework) = self.framework_slot(id) else { return };
        let known = &self.frameworks[framework];
        let Some(old) = &known.profile else { return };
        let active = known.active;
        let revived: BTreeSet<Role> = old.suppressed.difference(&profile.suppressed).cloned().collect();
        self.clear_filters_of(framework, &revived);
        self.add_framework(id, profile, active);
    }

    /// A framework is gone; whatever it still held is free.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.framework_slot(id) else { return };
        self.forget_inverse_offers_of(framework);
        let clients: Vec<u32> = self.frameworks[framework].clients.values().copied().collect();
        for client in &clients {
            self.roles.set_hungry(*client, false);
        }
        for client in &clients {
            for agent in self.agents_of(*client) {
                self.take_all_back(*client, agent);
            }
            // One that was not subscribed went with the last that it held.
            if self.roles.clients.get(*client).is_some() {
                self.unsubscribe(*client);
            }
        }
        self.frameworks.remove(framework);
        self.framework_ids.remove(id);
        self.inverse.clear_filters_of(framework);
    }

    /// A framework is connected and wants offers.
    pub fn activate_framework(&mut self, id: &FrameworkId) {
        if let Some(framework) = self.framework_slot(id) {
            self.frameworks[framework].active = true;
            self.refresh_hunger(framework, true);
        }
    }

    /// A framework is away; what it refused is forgotten (rule 93).
    pub fn deactivate_framework(&mut self, id: &FrameworkId) {
        if let Some(framework) = self.framework_slot(id) {
            self.frameworks[framework].active = false;
            self.refresh_hunger(framework, false);
            self.clear_filters_of(framework, &BTreeSet::new());
            self.forget_inverse_offers_of(framework);
            for agent in self.planned.clone() {
                self.consider_inverse(agent);
            }
        }
    }

    /// Rule 91. The caller has checked the roles (rule 92); none means all of the framework's.
    pub fn suppress(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        let Some(framework) = self.framework_slot(id) else { return };
        if let Some(profile) = &mut self.frameworks[framework].profile {
            let roles = if roles.is_empty() { profile.roles.clone() } else { roles.clone() };
            profile.suppressed.extend(roles);
            self.refresh_hunger(framework, false);
        }
    }

    /// Rule 90. The caller has checked the roles (rule 92); none means all of the framework's.
    pub fn revive(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        let Some(framework) = self.framework_slot(id) else { return };
        if let Some(profile) = &mut self.frameworks[framework].profile {
            if roles.is_empty() {
                profile.suppressed.clear();
            } else {
                profile.suppressed.retain(|role| !roles.contains(role));
            }
            self.clear_filters_of(framework, roles);
            self.inverse.clear_filters_of(framework);
            self.refresh_hunger(framework, true);
        }
    }

    /// Forgets the refusals of a framework; of the named roles only, if any are named.
    fn clear_filters_of(&mut self, framework: u32, roles: &BTreeSet<Role>) {
        let clients: Vec<u32> = self.frameworks[framework]
            .clients
            .iter()
            .filter(|(role, _)| roles.is_empty() || roles.contains(*role))
            .map(|(_, client)| *client)
            .collect();
        for client in clients {
            self.clear_filters_of_client(client);
        }
    }

    /// An agent registered. `used` is held by frameworks, known or not, with allocation roles.
    pub fn add_agent<'a>(
        &mut self,
        id: &AgentId,
        profile: AgentProfile,
        used: impl IntoIterator<Item = (&'a FrameworkId, &'a Resources)>,
    ) {
        self.remove_agent(id);
        let mut total = Bundle::of(&profile.total);
        self.remembered.share(&mut total.rare);
        let mut agent = Agent::new(id.clone(), profile, total);
        self.kinds.resolve(&mut agent, &self.classes);
        agent.whitelisted = self.is_whitelisted(&agent.rest.hostname);
        let slot = self.agents.insert(agent);
        self.agent_ids.insert(id.clone(), slot);
        self.count_agent(slot, true);
        for (framework, resources) in used {
            self.hand_out(framework, slot, resources);
        }
        // What long tasks hold stays as it is here.
        self.agents[slot].held.shrink_to_fit();
        // More is there for guarantees, so that others may be given more of what they have.
        self.changed = true;
        self.on_agent_changed(slot);
    }

    /// An agent's total, attributes, domain or capabilities changed. Other attributes make refusals
    /// meaningless (rule 94).
    pub fn update_agent(&mut self, id: &AgentId, profile: AgentProfile) {
        let Some(slot) = self.agent_slot(id) else { return };
        if *self.agents[slot].rest.attributes != *profile.attributes {
            self.clear_filters_for(slot);
        }
        if self.agents[slot].rest.unavailability != profile.unavailability {
            self.forget_inverse_offers_for(slot);
        }
        let whitelisted = self.is_whitelisted(&profile.hostname);
        let agent = &mut self.agents[slot];
        agent.whitelisted = whitelisted;
        agent.rest.hostname = profile.hostname.into();
        agent.rest.domain = profile.domain.map(Box::new);
        agent.rest.attributes = profile.attributes.into();
        agent.rest.capabilities = profile.capabilities;
        agent.rest.unavailability = profile.unavailability;
        self.kinds.leave(agent);
        if Bundle::of(&profile.total) != agent.rest.total {
            self.change_total(slot, &profile.total);
        }
        self.on_agent_changed(slot);
    }

    /// An agent is gone, with all that was held of it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(slot) = self.agent_slot(id) else { return };
        for client in self.agents[slot].held.iter().map(|held| held.client).collect::<Vec<_>>() {
            self.take_all_back(client, slot);
        }
        self.clear_filters_for(slot);
        self.inverse.clear_filters_for(slot);
        self.count_agent(slot, false);
        self.forget_marks(slot);
        self.kinds.leave(&mut self.agents[slot]);
        self.agents.remove(slot);
        self.agent_ids.remove(id);
        self.changed = true;
    }

    /// Takes everything that a client holds of an agent.
    fn take_all_back(&mut self, client: u32, agent: u32) {
        let Some(held) = self.agents[agent].held_by(client).cloned() else { return };
        self.refund(client, agent, &held);
        self.changed = true;
        self.refresh_available(agent, !held.rare.is_empty());
        self.on_agent_changed(agent);
    }

    /// An agent may be offered (again).
    pub fn activate_agent(&mut self, id: &AgentId) {
        self.set_agent_active(id, true);
    }

    /// An agent is not to be offered (rule 109).
    pub fn deactivate_agent(&mut self, id: &AgentId) {
        self.set_agent_active(id, false);
    }

    fn set_agent_active(&mut self, id: &AgentId, active: bool) {
        if let Some(slot) = self.agent_slot(id) {
            self.agents[slot].active = active;
            self.on_agent_changed(slot);
        }
    }

    fn is_whitelisted(&self, hostname: &str) -> bool {
        self.config.agent_whitelist.as_ref().is_none_or(|hostnames| hostnames.contains(hostname))
    }

    /// Which hostnames may be offered (rule 109).
    pub fn set_agent_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        self.config.agent_whitelist = hostnames;
        for slot in self.agent_ids.values().copied().collect::<Vec<_>>() {
            self.agents[slot].whitelisted = self.is_whitelisted(&self.agents[slot].rest.hostname);
            self.on_agent_changed(slot);
        }
    }

    /// Planned maintenance of an agent came, changed or went; its inverse offers start over.
    pub fn set_unavailability(&mut self, id: &AgentId, unavailability: Option<v1::Unavailability>) {
        if let Some(slot) = self.agent_slot(id) {
            self.agents[slot].rest.unavailability = unavailability;
            self.forget_inverse_offers_for(slot);
            self.on_agent_changed(slot);
        }
    }

    /// Offered or used resources come back, with their allocation roles. What the framework does not
    /// hold is left alone, because the agent or framework may have gone first.
    pub fn recover(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        filter: Option<Filter>,
    ) {
        let (Some(slot), Some(framework)) = (self.agent_slot(agent), self.framework_slot(framework)) else {
            return;
        };
        self.take_back(framework, slot, resources);
        let Some(filter) = filter else { return };
        let Some(known) = self.frameworks.get(framework).filter(|known| known.active) else { return };
        let expires = filter.expires(now, self.config.allocation_interval);
        let refused: Vec<(u32, Bundle)> = Bundle::by_role(resources)
            .into_iter()
            .filter_map(|(role, bundle)| Some((*known.clients.get(&role)?, bundle)))
            .collect();
        for (client, bundle) in refused {
            self.add_filter(slot, client, bundle, expires);
        }
    }

    /// A framework holds more than it was given: tasks of it turned up, or more copies of a shared
    /// volume are in use. With allocation roles.
    pub fn hold(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        if let Some(slot) = self.agent_slot(agent) {
            self.hand_out(framework, slot, resources);
            self.on_agent_changed(slot);
        }
    }

    /// Operations changed resources that a framework holds, and with them the agent's total. Both
    /// sides have allocation roles. Nothing changes on error.
    pub fn convert(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        consumed: &Resources,
        converted: &Resources,
    ) -> Result<(), NotAvailable> {
        let Some(slot) = self.agent_slot(agent) else {
            return Err(NotAvailable::UnknownAgent(agent.clone()));
        };
        let known = self.framework_slot(framework);
        let held = |role: &Role| {
            let client = known.and_then(|known| self.frameworks[known].clients.get(role))?;
            self.agents[slot].held_by(*client)
        };
        let is_held = Bundle::by_role(consumed)
            .iter()
            .all(|(role, wanted)| wanted.is_empty() || held(role).is_some_and(|held| held.contains(wanted)));
        let Some(holder) = known.filter(|_| is_held) else {
            let owner = self.held(framework, agent);
            return Err(NotContained { owner, wanted: consumed.clone() }.into());
        };
        let mut total = self.total(agent);
        total.subtract(&consumed.unallocated());
        total += &converted.unallocated();
        // Held on both sides first, so that the framework's client is not forgotten in between.
        self.hand_out(framework, slot, converted);
        self.take_back(holder, slot, consumed);
        self.change_total(slot, &total);
        self.on_agent_changed(slot);
        Ok(())
    }

    /// An operator's operation changed free resources of an agent. Without allocation. Nothing changes
    /// on error; offers may have to be rescinded first.
    pub fn convert_available(
        &mut self,
        agent: &AgentId,
        consumed: &Resources,
        converted: &Resources,
    ) -> Result<(), NotAvailable> {
        let Some(slot) = self.agent_slot(agent) else {
            return Err(NotAvailable::UnknownAgent(agent.clone()));
        };
        if !self.agents[slot].available.contains(&Bundle::of(consumed)) {
            return Err(NotContained { owner: self.available(agent), wanted: consumed.clone() }.into());
        }
        let mut total = self.total(agent);
        total.subtract(consumed);
        total += converted;
        self.change_total(slot, &total);
        self.on_agent_changed(slot);
        Ok(())
    }

    /// Sets or, with both empty, removes a quota (rules 133, 134).
    pub fn set_quota(&mut self, role: &Role, quota: Quota) {
        let quota = Some(quota).filter(|quota| *quota != Quota::default());
        self.roles.set_quota(role, quota);
        self.changed = true;
        self.consider_all();
    }

    /// Sets a weight (rule 125). It must be positive; anything else counts as 1.
    pub fn set_weight(&mut self, role: &Role, weight: f64) {
        let weight = if weight.is_finite() && weight > 0.0 { weight } else { 1.0 };
        self.config.weights.insert(role.clone(), weight);
        self.roles.set_weight(role, weight);
        self.consider_all();
    }
}
