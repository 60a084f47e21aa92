//! Why something is not offered, and what roles hold: reads that change nothing.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Quantities, Resources};

use crate::{
    Allocator, Quota,
    allocate::Stage,
    roles::{RoleNode, ancestors},
    sorter::Measure,
};

/// Why an agent is not offered to a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// The framework is not connected.
    #[error("the framework is not connected")]
    Inactive,
    /// The framework suppressed the role.
    #[error("the framework suppressed offers for the role")]
    Suppressed,
    /// Offers pause until enough agents are back after a failover.
    #[error("offers pause until enough agents are back after a failover")]
    Recovering,
    /// The agent is disconnected or deactivated.
    #[error("the agent is disconnected or deactivated")]
    AgentInactive,
    /// The agent is not on the whitelist.
    #[error("the agent is not on the whitelist")]
    NotWhitelisted,
    /// The agent lacks a capability that the framework or role needs.
    #[error("the agent does not know several roles or roles with a slash")]
    AgentCapabilities,
    /// The agent has gpus and the framework did not ask for such agents.
    #[error("the agent has gpus and the framework lacks GPU_RESOURCES")]
    Gpus,
    /// The agent is in another region and the framework did not ask for such agents.
    #[error("the agent is in another region and the framework lacks REGION_AWARE")]
    Region,
    /// The framework's offer constraints.
    #[error("the framework's offer constraints exclude the agent")]
    Constraints,
    /// Nothing that the role may hold is free.
    #[error("nothing that the role may hold is free")]
    NothingFree,
    /// Limits of the role, or guarantees of others.
    #[error("a quota limit of the role, or guarantees of other roles, hold it back")]
    Quota,
    /// Less is free than the least that is offered.
    #[error("less is free than the minimum to be offered")]
    BelowMinimum,
    /// The framework declined as much lately.
    #[error("the framework declined it and its filter has not ended")]
    Filtered,
}

/// One agent that a framework is not offered for one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// For which role.
    pub role: Role,
    /// Which agent; `None` when it is about all.
    pub agent: Option<AgentId>,
    /// Why.
    pub reason: Reason,
}

/// One role with something in it. Amounts include descendants.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleSummary {
    /// Its full path.
    pub role: Role,
    /// 1.0 unless set.
    pub weight: f64,
    /// Subscribed to exactly this role.
    pub frameworks: BTreeSet<FrameworkId>,
    /// Held by frameworks, used or offered.
    pub allocated: Quantities,
    /// Reserved, held or not.
    pub reserved: Quantities,
    /// Counted against quota (rule 146).
    pub consumed: Quantities,
    /// Its quota, if any.
    pub quota: Option<Quota>,
}

impl Allocator {
    /// Why a framework is not offered more; sorted by role, then agent. Agents whose resources it may
    /// be offered at the next pass are not listed.
    pub fn why(&self, framework: &FrameworkId) -> Vec<Withheld> {
        let Some(known) = self.frameworks.get(framework) else { return Vec::new() };
        let required = self.quotas.required_headroom(&self.roles);
        let mut all = Vec::new();
        for role in &known.profile.roles {
            let whole = if !known.active {
                Some(Reason::Inactive)
            } else if known.profile.suppressed.contains(role) {
                Some(Reason::Suppressed)
            } else {
                self.pause.map(|_| Reason::Recovering)
            };
            if let Some(reason) = whole {
                all.push(Withheld { role: role.clone(), agent: None, reason });
                continue;
            }
            for agent in self.agents.keys() {
                if let Err(reason) = self.offerable(framework, role, agent, Stage::Shares, None, &required) {
                    all.push(Withheld { role: role.clone(), agent: Some(agent.clone()), reason });
                }
            }
        }
        all
    }

    /// Roles that a framework suppressed.
    pub fn suppressed(&self, framework: &FrameworkId) -> impl Iterator<Item = &Role> {
        self.frameworks.get(framework).into_iter().flat_map(|known| &known.profile.suppressed)
    }

    /// What of an agent is free.
    pub fn available(&self, agent: &AgentId) -> Resources {
        self.agents.get(agent).map(|agent| agent.available.clone()).unwrap_or_default()
    }

    /// What an agent has, as operations changed it.
    pub fn total(&self, agent: &AgentId) -> Resources {
        self.agents.get(agent).map(|agent| agent.profile.total.clone()).unwrap_or_default()
    }

    /// What a framework holds of an agent, with allocation roles.
    pub fn held(&self, framework: &FrameworkId, agent: &AgentId) -> Resources {
        self.agents.get(agent).and_then(|agent| agent.held.get(framework)).cloned().unwrap_or_default()
    }

    /// All numbers of all agents without revocable ones: what guarantees are measured against.
    pub fn cluster_capacity(&self) -> Quantities {
        let mut sum = Quantities::default();
        for agent in self.agents.values() {
            sum += &agent.profile.total.non_revocable().quantities();
        }
        sum
    }

    /// What counts against a role's quota (rule 146), descendants included.
    pub fn consumption(&self, role: &str) -> Quantities {
        self.roles.consumed(role)
    }

    /// All quotas.
    pub fn quotas(&self) -> impl Iterator<Item = (&Role, &Quota)> {
        self.quotas.0.iter()
    }

    /// Roles with frameworks, allocations, reservations, a weight or a quota, and those above them.
    pub fn roles(&self) -> Vec<RoleSummary> {
        let mut names: BTreeSet<Role> = self.roles.nodes.keys().cloned().collect();
        names.extend(self.config.weights.keys().cloned());
        names.extend(self.quotas.0.keys().cloned());
        let above: Vec<Role> =
            names.iter().flat_map(|role| ancestors(role).skip(1).map(Role::from)).collect();
        names.extend(above);
        let empty = RoleNode::default();
        names
            .into_iter()
            .map(|role| {
                let node = self.roles.nodes.get(&role).unwrap_or(&empty);
                RoleSummary {
                    weight: self.config.weights.get(&role).copied().unwrap_or(1.0),
                    frameworks: node.frameworks.clone(),
                    allocated: node.subtree.allocated.clone(),
                    reserved: node.reserved.clone(),
                    consumed: self.roles.consumed(&role),
                    quota: self.quotas.0.get(&role).cloned(),
                    role,
                }
            })
            .collect()
    }

    /// Passes that looked at agents since the start.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Offer filters that have not ended, by role.
    pub fn active_filters(&self) -> BTreeMap<Role, usize> {
        self.filters.count_by_role()
    }

    /// The dominant share of a role with its descendants, before weights.
    pub fn dominant_share(&self, role: &str) -> f64 {
        let measure = Measure {
            total: &self.capacity,
            excluded: &self.config.fair_sharing_excluded_names,
            weights: &self.config.weights,
        };
        self.roles.nodes.get(role).map_or(0.0, |node| measure.dominant_share(&node.subtree.allocated))
    }
}
