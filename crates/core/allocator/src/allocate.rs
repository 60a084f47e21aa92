//! One pass: guarantees first, then fair shares.

use std::{collections::BTreeMap, time::Duration};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Quantities, Resource, Resources, Value};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    Allocator, InverseAllocation, Reason,
    agent::{Agent, is_quota_counted, region},
    framework::Framework,
    quota::Bounds,
    sorter::{Measure, order_frameworks, order_roles, shuffle},
};

/// Least time between two passes while resources keep coming back. The first to come back after a
/// quiet moment is offered at once; under load, what comes back together is offered together.
const PASS_GAP: Duration = Duration::from_millis(1);

/// Resources to be offered to a framework in one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// Allocated to the role.
    pub resources: Resources,
}

/// What a pass decided. The framework holds it until it is recovered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocations {
    /// Sorted by framework, role and agent.
    pub offers: Vec<Allocation>,
    /// Requests to vacate agents.
    pub inverse_offers: Vec<InverseAllocation>,
}

/// Which half of a pass (rule 127).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Guarantees,
    Shares,
}

/// What has been given in a pass.
struct Pass<'a> {
    rng: &'a mut dyn Rng,
    given: BTreeMap<(FrameworkId, Role, AgentId), Resources>,
    /// Shared volumes that were offered in this pass (rule 110).
    shared: BTreeMap<AgentId, Resources>,
    /// What unmet guarantees need to stay free; kept up to date while giving.
    required: Quantities,
}

impl Allocator {
    /// Gives what can be given. Costs what changed since the last call; calling it when nothing did is
    /// cheap and harmless.
    pub fn allocate(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Allocations {
        if self.is_paused(now) {
            return Allocations::default();
        }
        for agent in self.inverse.expire(now) {
            self.consider_inverse(&agent);
        }
        let filters_due = self.filters.expire(now);
        self.dirty.extend(filters_due.intersection(&self.free).cloned());
        if self.full_pass_due().is_some_and(|due| due <= now) {
            self.last_full_pass = now;
            self.changed = false;
            self.dirty.extend(self.free.iter().cloned());
        }
        if self.dirty.is_empty() || self.roles.hungry.is_empty() {
            // Marks of agents are kept: whoever wants something next marks them all anyway.
            let inverse_offers = self.ask_to_vacate();
            return Allocations { offers: Vec::new(), inverse_offers };
        }
        self.last_pass = now;
        self.runs += 1;
        let dirty = std::mem::take(&mut self.dirty);
        let mut agents: Vec<AgentId> = dirty.intersection(&self.free).cloned().collect();
        let mut pass = Pass {
            rng,
            given: BTreeMap::new(),
            shared: BTreeMap::new(),
            required: self.quotas.required_headroom(&self.roles),
        };
        shuffle(&mut agents, pass.rng);
        if !pass.required.is_empty() {
            for agent in &agents {
                self.serve(agent, Stage::Guarantees, &mut pass);
            }
        }
        for agent in &agents {
            self.serve(agent, Stage::Shares, &mut pass);
        }
        let given = pass.given;
        // Whoever was given something of an agent in this pass is asked to vacate it too.
        let inverse_offers = self.ask_to_vacate();
        let offers = given
            .into_iter()
            .map(|((framework, role, agent), resources)| Allocation { framework, role, agent, resources })
            .collect();
        Allocations { offers, inverse_offers }
    }

    /// When [`Allocator::allocate`] can next bring something; not in the future when there is work.
    /// `None` when only another event can.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if let Some((needed, until)) = self.pause {
            return Some(if self.agents.len() < needed { until } else { Timestamp::ZERO });
        }
        if !self.inverse_dirty.is_empty() {
            return Some(Timestamp::ZERO);
        }
        let wanted = !self.roles.hungry.is_empty();
        let pending = (wanted && !self.dirty.is_empty()).then(|| self.last_pass + PASS_GAP);
        let filters = self.filters.next_ending().filter(|_| wanted);
        let full = self.full_pass_due();
        [pending, filters, full, self.inverse.next_ending()].into_iter().flatten().min()
    }

    /// Quota couples agents: what came back on one may allow more on another. Shared volumes may be
    /// offered again in every run. Without both, looking at changed agents finds all there is.
    fn full_pass_due(&self) -> Option<Timestamp> {
        let coupled = self.changed && !self.quotas.0.is_empty();
        let sharing = !self.sharing.is_disjoint(&self.free)
            && self
                .frameworks
                .values()
                .any(|framework| framework.active && framework.profile.capabilities.shared_resources);
        let useful = (coupled || sharing) && !self.free.is_empty() && !self.roles.hungry.is_empty();
        useful.then(|| self.last_full_pass + self.config.allocation_interval)
    }

    pub(crate) fn is_paused(&mut self, now: Timestamp) -> bool {
        let Some((needed, until)) = self.pause else { return false };
        if self.agents.len() >= needed || now >= until {
            self.pause = None;
            self.consider_all();
        }
        self.pause.is_some()
    }

    fn measure(&self) -> Measure<'_> {
        Measure {
            total: &self.capacity,
            excluded: &self.config.fair_sharing_excluded_names,
            weights: &self.config.weights,
        }
    }

    /// Offers one agent around.
    fn serve(&mut self, id: &AgentId, stage: Stage, pass: &mut Pass<'_>) {
        let wanted =
            |role: &Role| stage == Stage::Shares || !self.quotas.unsatisfied(&self.roles, role).is_empty();
        let roles = order_roles(&self.roles, wanted, &self.measure(), self.config.role_sorter, pass.rng);
        for role in roles {
            let sorter = self.config.framework_sorter;
            for framework in order_frameworks(&self.roles, &role, &self.measure(), sorter, pass.rng) {
                if !self.agents.get(id).is_some_and(|agent| agent.is_free) {
                    return;
                }
                let shared = pass.shared.get(id);
                if let Ok(resources) = self.offerable(&framework, &role, id, stage, shared, &pass.required) {
                    self.give(&framework, &role, id, &resources, pass);
                }
            }
        }
    }

    fn give(
        &mut self,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
        resources: &Resources,
        pass: &mut Pass<'_>,
    ) {
        let allocated = resources.allocated(role);
        self.hand_out(framework, agent, &allocated);
        self.roles.count_allocation(role, framework);
        self.refresh_agent(agent);
        self.consider_inverse(agent);
        if !pass.required.is_empty() {
            pass.required = self.quotas.required_headroom(&self.roles);
        }
        let shared = resources.shared();
        if !shared.is_empty() {
            *pass.shared.entry(agent.clone()).or_default() += shared;
        }
        let key = (framework.clone(), role.clone(), agent.clone());
        *pass.given.entry(key).or_default() += allocated;
    }

    /// What of an agent a framework can be given in a role, or why nothing. Does not look at whether
    /// the framework wants anything.
    pub(crate) fn offerable(
        &self,
        framework_id: &FrameworkId,
        role: &Role,
        agent_id: &AgentId,
        stage: Stage,
        shared_given: Option<&Resources>,
        required: &Quantities,
    ) -> Result<Resources, Reason> {
        let framework = self.frameworks.get(framework_id).ok_or(Reason::Inactive)?;
        let agent = self.agents.get(agent_id).ok_or(Reason::AgentInactive)?;
        self.check_agent(framework, role, agent)?;
        let capabilities = framework.profile.capabilities;
        let usable = |resource: &&Resource| {
            resource.is_allocatable_to(role)
                && (capabilities.revocable_resources || !resource.is_revocable())
                && (capabilities.shared_resources || !resource.is_shared())
                && (capabilities.reservation_refinement || !resource.has_refined_reservation())
                && !shared_given.is_some_and(|given| given.contains_one(resource))
        };
        let mine: Vec<&Resource> = agent.available.iter().filter(usable).collect();
        if mine.is_empty() {
            return Err(Reason::NothingFree);
        }
        let (counted, other): (Vec<&Resource>, Vec<&Resource>) =
            mine.into_iter().partition(|resource| is_quota_counted(resource));
        let mut bounds = Bounds::default();
        self.quotas.lower_to_limits(&self.roles, role, &mut bounds);
        let given = match stage {
            Stage::Shares => {
                for (name, needed) in required.iter() {
                    bounds.lower(name, self.headroom.get(name).saturating_sub(needed));
                }
                bounds.cut(counted.iter().copied().cloned())
            }
            Stage::Guarantees => self.toward_guarantee(role, &counted, bounds, required)?,
        };
        let held_back = given.len() < counted.len();
        let mut resources: Resources = other
            .into_iter()
            .filter(|resource| stage == Stage::Shares || !resource.is_revocable())
            .cloned()
            .collect();
        resources += given;
        if resources.is_empty() {
            return Err(Reason::Quota);
        }
        if !self.is_allocatable(framework, role, &resources) {
            return Err(if held_back { Reason::Quota } else { Reason::BelowMinimum });
        }
        if self.filters.blocks(framework_id, agent_id, role, &resources) {
            return Err(Reason::Filtered);
        }
        Ok(resources)
    }

    /// Stage 1: up to what the guarantee misses; names without guarantee come along as far as others'
    /// guarantees allow. Refused when it would bring the guarantee no further.
    fn toward_guarantee(
        &self,
        role: &Role,
        counted: &[&Resource],
        mut bounds: Bounds,
        required: &Quantities,
    ) -> Result<Resources, Reason> {
        let missing = self.quotas.unsatisfied(&self.roles, role);
        let guarantee = self.quotas.0.get(role).map(|quota| &quota.guarantee);
        let is_guaranteed = |name: &str| guarantee.is_some_and(|guarantee| !guarantee.get(name).is_zero());
        for resource in counted {
            let name = resource.name();
            if is_guaranteed(name) {
                bounds.lower(name, missing.get(name));
            } else if !required.get(name).is_zero() {
                bounds.lower(name, self.headroom.get(name).saturating_sub(required.get(name)));
            }
        }
        let given = bounds.cut(counted.iter().copied().cloned());
        if given.iter().any(|resource| is_guaranteed(resource.name())) {
            Ok(given)
        } else {
            Err(Reason::Quota)
        }
    }

    /// Rules 106, 107, 109, 112 and 132: whether this agent is for this framework at all.
    pub(crate) fn check_agent(
        &self,
        framework: &Framework,
        role: &Role,
        agent: &Agent,
    ) -> Result<(), Reason> {
        let (wants, can) = (framework.profile.capabilities, agent.profile.capabilities);
        let whitelist = self.config.agent_whitelist.as_ref();
        if !agent.active {
            return Err(Reason::AgentInactive);
        }
        if whitelist.is_some_and(|hostnames| !hostnames.contains(&agent.profile.hostname)) {
            return Err(Reason::NotWhitelisted);
        }
        if (wants.multi_role && !can.multi_role) || (role.contains('/') && !can.hierarchical_role) {
            return Err(Reason::AgentCapabilities);
        }
        if self.config.filter_gpu_resources && !wants.gpu_resources && !agent.capacity.get("gpus").is_zero() {
            return Err(Reason::Gpus);
        }
        if let (false, Some(theirs), Some(ours)) =
            (wants.region_aware, agent.region(), region(self.config.master_domain.as_ref()))
            && theirs != ours
        {
            return Err(Reason::Region);
        }
        if framework.profile.constraints.exclude(role, &agent.profile) {
            return Err(Reason::Constraints);
        }
        Ok(())
    }

    /// Rule 105.
    fn is_allocatable(&self, framework: &Framework, role: &Role, resources: &Resources) -> bool {
        let minimums = framework.profile.min_allocatable.get(role).unwrap_or(&self.config.min_allocatable);
        let reached = |minimum: &Quantities| {
            minimum.iter().all(|(name, amount)| {
                let sum = |resource: &Resource| match resource.value() {
                    Value::Scalar(amount) if resource.name() == name => Some(*amount),
                    _ => None,
                };
                resources.iter().filter_map(sum).sum::<mezzo_resources::Scalar>() >= amount
            })
        };
        minimums.is_empty() || minimums.iter().any(reached)
    }
}
