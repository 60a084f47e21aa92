//! The owner of the allocator's state, and the events that change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::{NotContained, Quantities, Resources};
use mezzo_time::Timestamp;

use crate::{
    AgentProfile, Config, Filter, FrameworkProfile, Quota,
    agent::Agent,
    filters::FilterBook,
    framework::{Framework, Holdings},
    inverse::InverseBook,
    quota::Quotas,
    roles::RoleTree,
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
#[derive(Debug)]
pub struct Allocator {
    pub(crate) config: Config,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) holdings: Holdings,
    pub(crate) roles: RoleTree,
    pub(crate) quotas: Quotas,
    pub(crate) filters: FilterBook,
    pub(crate) inverse: InverseBook,
    /// All numbers of all agents.
    pub(crate) capacity: Quantities,
    /// What is free, unreserved and not revocable on all agents.
    pub(crate) headroom: Quantities,
    /// Agents with something to offer that may be offered.
    pub(crate) free: BTreeSet<AgentId>,
    /// Free agents to look at.
    pub(crate) dirty: BTreeSet<AgentId>,
    /// Agents with planned maintenance.
    pub(crate) planned: BTreeSet<AgentId>,
    /// Those of them that somebody is to be asked to vacate.
    pub(crate) inverse_dirty: BTreeSet<AgentId>,
    /// Agents with shared volumes.
    pub(crate) sharing: BTreeSet<AgentId>,
    /// Whether anything came back since the last full pass.
    pub(crate) changed: bool,
    pub(crate) last_full_pass: Timestamp,
    pub(crate) last_pass: Timestamp,
    pub(crate) runs: u64,
    /// Offers pause until this many agents are known, or until then.
    pub(crate) pause: Option<(usize, Timestamp)>,
}

impl Allocator {
    /// Without agents and frameworks.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            holdings: BTreeMap::new(),
            roles: RoleTree::default(),
            quotas: Quotas::default(),
            filters: FilterBook::default(),
            inverse: InverseBook::default(),
            capacity: Quantities::default(),
            headroom: Quantities::default(),
            free: BTreeSet::new(),
            dirty: BTreeSet::new(),
            planned: BTreeSet::new(),
            inverse_dirty: BTreeSet::new(),
            sharing: BTreeSet::new(),
            changed: false,
            last_full_pass: Timestamp::ZERO,
            last_pass: Timestamp::ZERO,
            runs: 0,
            pause: None,
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
        if needed > 0 && !self.quotas.0.is_empty() {
            self.pause = Some((needed, now + RECOVERY_MAX));
        }
    }

    /// A framework subscribed, or became known from an agent (then not `active`).
    pub fn add_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile, active: bool) {
        self.remove_from_roles(id);
        for role in &profile.roles {
            self.roles.subscribe(role, id);
        }
        self.frameworks.insert(id.clone(), Framework { profile, active });
        self.refresh_hunger(id);
        self.consider_all();
    }

    /// A framework changed its mind about roles, capabilities, minimums or constraints. Roles that it
    /// suppressed before and does not now lose their filters, as with REVIVE. Unknown ones are left alone.
    pub fn update_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let old = framework.profile.clone();
        let active = framework.active;
        let revived: BTreeSet<Role> = old.suppressed.difference(&profile.suppressed).cloned().collect();
        if !revived.is_empty() {
            self.filters.clear_framework(id, Some(&revived));
        }
        let left: BTreeSet<Role> = old.roles.difference(&profile.roles).cloned().collect();
        if !left.is_empty() {
            self.filters.clear_framework(id, Some(&left));
        }
        self.add_framework(id, profile, active);
    }

    /// A framework is gone; whatever it still held is free.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        for agent in self.holdings.remove(id).unwrap_or_default() {
            let held = self.agents.get(&agent).and_then(|agent| agent.held.get(id)).cloned();
            self.take_back(id, &agent, &held.unwrap_or_default());
        }
        self.remove_from_roles(id);
        self.frameworks.remove(id);
        self.filters.clear_framework(id, None);
        self.forget_inverse_offers_of(id);
    }

    /// A framework is connected and wants offers.
    pub fn activate_framework(&mut self, id: &FrameworkId) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.active = true;
            self.refresh_hunger(id);
            self.consider_all();
        }
    }

    /// A framework is away; what it refused is forgotten (rule 93).
    pub fn deactivate_framework(&mut self, id: &FrameworkId) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.active = false;
            self.refresh_hunger(id);
            self.filters.clear_framework(id, None);
            self.forget_inverse_offers_of(id);
        }
    }

    /// Rule 91. The caller has checked the roles (rule 92); none means all of the framework's.
    pub fn suppress(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            let roles = if roles.is_empty() { framework.profile.roles.clone() } else { roles.clone() };
            framework.profile.suppressed.extend(roles);
            self.refresh_hunger(id);
        }
    }

    /// Rule 90. The caller has checked the roles (rule 92); none means all of the framework's.
    pub fn revive(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            if roles.is_empty() {
                framework.profile.suppressed.clear();
                self.filters.clear_framework(id, None);
            } else {
                framework.profile.suppressed.retain(|role| !roles.contains(role));
                self.filters.clear_framework(id, Some(roles));
            }
            self.refresh_hunger(id);
            self.inverse.clear_filters_of(id);
            self.consider_all();
        }
    }

    /// An agent registered. `used` is held by frameworks, known or not, with allocation roles.
    pub fn add_agent(
        &mut self,
        id: &AgentId,
        profile: AgentProfile,
        used: &BTreeMap<FrameworkId, Resources>,
    ) {
        self.remove_agent(id);
        let agent = Agent::new(profile);
        self.count_agent(id, &agent);
        self.agents.insert(id.clone(), agent);
        for (framework, resources) in used {
            self.hand_out(framework, id, resources);
        }
        self.on_agent_changed(id);
    }

    /// An agent's total, attributes, domain or capabilities changed. Other attributes make refusals
    /// meaningless (rule 94).
    pub fn update_agent(&mut self, id: &AgentId, profile: AgentProfile) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        if agent.profile.attributes != profile.attributes {
            self.filters.clear_agent(id);
        }
        let unavailability_changed = agent.profile.unavailability != profile.unavailability;
        let total_changed = agent.profile.total != profile.total;
        let old_total = std::mem::replace(&mut agent.profile, profile).total;
        if total_changed {
            let total = std::mem::replace(&mut agent.profile.total, old_total);
            self.change_total(id, total);
        }
        if unavailability_changed {
            self.forget_inverse_offers_for(id);
        }
        self.on_agent_changed(id);
    }

    /// An agent is gone, with all that was held of it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(mut agent) = self.agents.remove(id) else { return };
        for (framework, held) in std::mem::take(&mut agent.held) {
            self.roles.refund(&framework, &held);
            self.forget_holding(&framework, id);
        }
        self.capacity.subtract(&agent.capacity);
        self.headroom.subtract(&agent.headroom);
        self.roles.remove_reserved(&agent.reserved);
        let planned = [&mut self.planned, &mut self.inverse_dirty];
        for set in planned.into_iter().chain([&mut self.free, &mut self.dirty, &mut self.sharing]) {
            set.remove(id);
        }
        self.filters.clear_agent(id);
        self.inverse.clear_filters_for(id);
        self.changed = true;
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
        if let Some(agent) = self.agents.get_mut(id) {
            agent.active = active;
            self.on_agent_changed(id);
        }
    }

    /// Which hostnames may be offered (rule 109).
    pub fn set_agent_whitelist(&mut self, hostnames: Option<BTreeSet<String>>) {
        self.config.agent_whitelist = hostnames;
        let ids: Vec<AgentId> = self.agents.keys().cloned().collect();
        for id in ids {
            self.on_agent_changed(&id);
        }
    }

    /// Planned maintenance of an agent came, changed or went; its inverse offers start over.
    pub fn set_unavailability(&mut self, id: &AgentId, unavailability: Option<v1::Unavailability>) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.profile.unavailability = unavailability;
            self.forget_inverse_offers_for(id);
            self.on_agent_changed(id);
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
        self.take_back(framework, agent, resources);
        let wanting = self.frameworks.get(framework).filter(|framework| framework.active);
        if let (Some(filter), Some(_), true) = (filter, wanting, self.agents.contains_key(agent)) {
            let expires = filter.expires(now, self.config.allocation_interval);
            let roles: BTreeSet<&Role> = resources.iter().filter_map(|r| r.allocation_role()).collect();
            for role in roles {
                let refused = resources.filter(|r| r.allocation_role() == Some(role)).unallocated();
                self.filters.add(framework, agent, role, refused, expires);
            }
        }
    }

    /// A framework holds more than it was given: tasks of it turned up, or more copies of a shared
    /// volume are in use. With allocation roles.
    pub fn hold(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        self.hand_out(framework, agent, resources);
        self.on_agent_changed(agent);
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
        let Some(known) = self.agents.get(agent) else {
            return Err(NotAvailable::UnknownAgent(agent.clone()));
        };
        let held = known.held.get(framework).cloned().unwrap_or_default();
        if !held.contains(consumed) {
            return Err(NotContained { owner: held, wanted: consumed.clone() }.into());
        }
        let mut total = known.profile.total.clone();
        total.subtract(&consumed.unallocated());
        total += &converted.unallocated();
        self.take_back(framework, agent, consumed);
        self.change_total(agent, total);
        self.hand_out(framework, agent, converted);
        self.on_agent_changed(agent);
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
        let Some(known) = self.agents.get(agent) else {
            return Err(NotAvailable::UnknownAgent(agent.clone()));
        };
        if !known.available.contains(consumed) {
            let owner = known.available.clone();
            return Err(NotContained { owner, wanted: consumed.clone() }.into());
        }
        let mut total = known.profile.total.clone();
        total.subtract(consumed);
        total += converted;
        self.change_total(agent, total);
        self.on_agent_changed(agent);
        Ok(())
    }

    /// Sets or, with both empty, removes a quota (rules 133, 134).
    pub fn set_quota(&mut self, role: &Role, quota: Quota) {
        if quota == Quota::default() {
            self.quotas.0.remove(role);
        } else {
            self.quotas.0.insert(role.clone(), quota);
        }
        self.changed = true;
        self.consider_all();
    }

    /// Sets a weight (rule 125). It must be positive; anything else counts as 1.
    pub fn set_weight(&mut self, role: &Role, weight: f64) {
        let weight = if weight.is_finite() && weight > 0.0 { weight } else { 1.0 };
        self.config.weights.insert(role.clone(), weight);
        self.consider_all();
    }
}
