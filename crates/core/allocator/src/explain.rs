//! Why something is not offered, and what roles hold: reads that change nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Quantities, Resources};

use crate::{
    Allocator, Quota,
    agent::Agent,
    amounts::Amounts,
    classes::Class,
    offerable::{Stage, Taken},
    roles::{RoleNode, ancestors},
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

impl Reason {
    /// The rules of the behaviour table that say so.
    pub fn rules(self) -> &'static [u16] {
        match self {
            Self::Inactive => &[93],
            Self::Suppressed => &[91],
            Self::Recovering => &[131],
            Self::AgentInactive | Self::NotWhitelisted => &[109],
            Self::AgentCapabilities => &[132],
            Self::Gpus => &[106],
            Self::Region => &[107],
            Self::Constraints => &[112],
            Self::NothingFree => &[108, 129],
            Self::Quota => &[128, 130],
            Self::BelowMinimum => &[105],
            Self::Filtered => &[89],
        }
    }
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

/// All agents that a framework is not offered for one role for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct WithheldSum {
    /// For which role.
    pub role: Role,
    /// Why.
    pub reason: Reason,
    /// How many agents; zero when it is about all.
    pub agents: usize,
    /// What is free of them.
    pub free: Quantities,
}

/// The question why a framework is not offered more, answered a part of the agents at a time. Between two
/// parts anything may change: each agent counts as it was when it was looked at.
#[derive(Debug)]
pub struct Inquiry {
    framework: FrameworkId,
    place: Place,
    sums: BTreeMap<(Role, Reason), (usize, Amounts)>,
}

impl Inquiry {
    /// About a framework, of which nothing is found out yet.
    pub fn new(framework: FrameworkId) -> Self {
        Self { framework, place: Place::default(), sums: BTreeMap::new() }
    }

    /// Whom it is about.
    pub fn framework(&self) -> &FrameworkId {
        &self.framework
    }

    /// What was found out so far, sorted by role, then reason.
    pub fn finish(self) -> Vec<WithheldSum> {
        self.sums
            .into_iter()
            .map(|((role, reason), (agents, free))| WithheldSum {
                role,
                reason,
                agents,
                free: free.quantities(),
            })
            .collect()
    }
}

/// How far an explanation has come.
#[derive(Debug, Default)]
struct Place {
    /// The role that was begun.
    role: Option<Role>,
    /// The agent that was looked at last for it.
    agent: Option<AgentId>,
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
        let mut all = Vec::new();
        self.explain(framework, &mut Place::default(), u64::MAX, |role, agent, reason| {
            all.push(Withheld { role: role.clone(), agent: agent.map(|agent| agent.id.clone()), reason });
        });
        all
    }

    /// Goes on with an inquiry and says whether it is at its end. It looks at one agent for each of `steps`,
    /// at fewer where that is more work.
    pub fn inquire(&self, inquiry: &mut Inquiry, steps: u64) -> bool {
        let Inquiry { framework, place, sums } = inquiry;
        // Roles are few and agents many, so the names of roles are not copied for each.
        let mut last: Option<(Role, Reason)> = None;
        self.explain(framework, place, steps, |role, agent, reason| {
            let key = last.take().filter(|(same, known)| same == role && *known == reason);
            let key = last.insert(key.unwrap_or_else(|| (role.clone(), reason)));
            if !sums.contains_key(key) {
                sums.insert(key.clone(), Default::default());
            }
            if let (Some(agent), Some((agents, free))) = (agent, sums.get_mut(key)) {
                *agents += 1;
                free.add(&agent.available.amounts());
            }
        })
    }

    /// Tells what is withheld from where an earlier call stopped, for as many `steps`; says whether that was
    /// all.
    fn explain(
        &self,
        framework: &FrameworkId,
        place: &mut Place,
        steps: u64,
        mut tell: impl FnMut(&Role, Option<&Agent>, Reason),
    ) -> bool {
        let Some(known) = self.framework_slot(framework).map(|slot| &self.frameworks[slot]) else {
            return true;
        };
        let Some(profile) = &known.profile else { return true };
        let mut left = steps;
        let mut taken = Taken::default();
        let begun = place.role.clone().map_or(Unbounded, Included);
        for role in profile.roles.range::<Role, _>((begun, Unbounded)) {
            if place.role.as_ref() != Some(role) {
                *place = Place { role: Some(role.clone()), agent: None };
            }
            let whole = if !known.active {
                Some(Reason::Inactive)
            } else if profile.suppressed.contains(role) {
                Some(Reason::Suppressed)
            } else {
                self.pause.map(|_| Reason::Recovering)
            };
            if let Some(reason) = whole {
                tell(role, None, reason);
                continue;
            }
            let Some(client) = known.clients.get(role) else { continue };
            let number = self.roles.clients[*client].class;
            let class = profile.class(role);
            let mut last: Option<&AgentId> = None;
            let behind = place.agent.clone().map_or(Unbounded, Excluded);
            for (id, slot) in self.agent_ids.range::<AgentId, _>((behind, Unbounded)) {
                if left == 0 {
                    place.agent = last.cloned().or(place.agent.take());
                    return false;
                }
                last = Some(id);
                let agent = &self.agents[*slot];
                // What passes found out need not be found out again, but for the reason.
                let is_known = self.kinds.remembers(agent, number) == Some(true);
                left = left.saturating_sub(if is_known { 1 } else { self.classes.cost(number) });
                let refused = self
                    .check_agent(&class, agent, is_known)
                    .and_then(|()| self.offerable(*client, *slot, Stage::Shares, None, &mut taken));
                if let Err(reason) = refused {
                    tell(role, Some(agent), reason);
                }
            }
        }
        true
    }

    /// Rules 106, 107, 109, 112 and 132: whether this agent is for this framework at all.
    fn check_agent(&self, class: &Class, agent: &Agent, is_admitted: bool) -> Result<(), Reason> {
        if !agent.active {
            return Err(Reason::AgentInactive);
        }
        if !agent.whitelisted {
            return Err(Reason::NotWhitelisted);
        }
        if is_admitted { Ok(()) } else { agent.admits(class, &self.config) }
    }

    /// Roles that a framework suppressed.
    pub fn suppressed(&self, framework: &FrameworkId) -> impl Iterator<Item = &Role> {
        let known = self.framework_slot(framework).map(|slot| &self.frameworks[slot]);
        known.and_then(|known| known.profile.as_ref()).into_iter().flat_map(|profile| &profile.suppressed)
    }

    /// What of an agent is free.
    pub fn available(&self, agent: &AgentId) -> Resources {
        let known = self.agent_slot(agent).map(|slot| &self.agents[slot]);
        known.map(|agent| agent.available.listed(agent.order)).unwrap_or_default()
    }

    /// What an agent has, as operations changed it.
    pub fn total(&self, agent: &AgentId) -> Resources {
        let known = self.agent_slot(agent).map(|slot| &self.agents[slot]);
        known.map(|agent| agent.rest.total.listed(agent.order)).unwrap_or_default()
    }

    /// What a framework holds of an agent, with allocation roles.
    pub fn held(&self, framework: &FrameworkId, agent: &AgentId) -> Resources {
        let (Some(framework), Some(agent)) = (self.framework_slot(framework), self.agent_slot(agent)) else {
            return Resources::empty();
        };
        let mut all = Resources::empty();
        let agent = &self.agents[agent];
        for (role, client) in &self.frameworks[framework].clients {
            if let Some(held) = agent.held_by(*client) {
                all += held.resources(agent.order, Some(role));
            }
        }
        all
    }

    /// All numbers of all agents without revocable ones: what guarantees are measured against.
    pub fn cluster_capacity(&self) -> Quantities {
        let mut lasting = self.capacity.clone();
        lasting.subtract(&self.revocable);
        lasting.quantities()
    }

    /// What counts against a role's quota (rule 146), descendants included.
    pub fn consumption(&self, role: &str) -> Quantities {
        self.roles.find(role).map(|id| consumed(&self.roles.nodes[id])).unwrap_or_default()
    }

    /// All quotas.
    pub fn quotas(&self) -> impl Iterator<Item = (&Role, &Quota)> {
        let quota = |(role, id): (_, &u32)| Some((role, &self.roles.nodes[*id].quota.as_ref()?.quota));
        self.roles.quotas.iter().filter_map(quota)
    }

    /// Roles with frameworks, allocations, reservations, a weight or a quota, and those above them.
    pub fn roles(&self) -> Vec<RoleSummary> {
        let mut names: BTreeSet<Role> = self.roles.iter().map(|(role, _)| role.clone()).collect();
        names.extend(self.config.weights.keys().cloned());
        let above: Vec<Role> =
            names.iter().flat_map(|role| ancestors(role).skip(1).map(Role::from)).collect();
        names.extend(above);
        names.into_iter().map(|role| self.summary(role)).collect()
    }

    fn summary(&self, role: Role) -> RoleSummary {
        let node = self.roles.find(&role).map(|id| &self.roles.nodes[id]);
        let frameworks = node.into_iter().flat_map(|node| &node.clients);
        let frameworks = frameworks
            .filter(|(_, client)| self.roles.clients[**client].subscribed)
            .map(|(framework, _)| framework.clone())
            .collect();
        let amounts = |of: fn(&RoleNode) -> Quantities| node.map(of).unwrap_or_default();
        RoleSummary {
            weight: self.config.weights.get(&role).copied().unwrap_or(1.0),
            frameworks,
            allocated: amounts(|node| node.subtree.allocated.quantities()),
            reserved: amounts(|node| node.reserved.quantities()),
            consumed: amounts(consumed),
            quota: node.and_then(|node| node.quota.as_ref()).map(|quota| quota.quota.clone()),
            role,
        }
    }

    /// Passes that looked at agents since the start.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Offer filters that have not ended, by role.
    pub fn active_filters(&self) -> BTreeMap<Role, usize> {
        self.count_filters()
    }

    /// The dominant share of a role with its descendants, before weights.
    pub fn dominant_share(&self, role: &str) -> f64 {
        let node = self.roles.find(role).map(|id| &self.roles.nodes[id]);
        node.map_or(0.0, |node| self.measure.dominant_share(&node.subtree.allocated))
    }
}

fn consumed(node: &RoleNode) -> Quantities {
    let mut sum = node.quota_allocated.clone();
    sum.add(&node.reserved);
    sum.quantities()
}
