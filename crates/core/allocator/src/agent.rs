//! What is known about one agent.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::Resources;
use mezzo_time::Timestamp;

use crate::{
    Config, Reason,
    amounts::Amounts,
    bundle::{Bundle, Order},
    classes::Class,
    constraints::{Seen, admit},
    kinds::UNKNOWN,
};

/// What an agent can do, as far as offers depend on it (rule 132).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// May run frameworks with several roles.
    pub multi_role: bool,
    /// Knows roles with slashes.
    pub hierarchical_role: bool,
    /// Knows stacks of reservations.
    pub reservation_refinement: bool,
}

impl Default for AgentCapabilities {
    /// Everything, as our own agents can.
    fn default() -> Self {
        Self { multi_role: true, hierarchical_role: true, reservation_refinement: true }
    }
}

/// An agent as it registered.
#[derive(Clone, Debug, Default)]
pub struct AgentProfile {
    /// Compared with the whitelist and HOSTNAME constraints.
    pub hostname: String,
    /// Its region and zone.
    pub domain: Option<v1::DomainInfo>,
    /// Looked at by offer constraints.
    pub attributes: Vec<v1::Attribute>,
    /// What it can do.
    pub capabilities: AgentCapabilities,
    /// All it has, unallocated, oversubscribed resources included.
    pub total: Resources,
    /// Planned maintenance.
    pub unavailability: Option<v1::Unavailability>,
}

/// What one framework holds in one role.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) client: u32,
    pub(crate) bundle: Bundle,
}

/// Questions whether frameworks leave the agent, and their answers.
#[derive(Debug, Default)]
pub(crate) struct Vacating {
    /// Frameworks that have an inverse offer to answer.
    pub(crate) asked: BTreeSet<u32>,
    /// Answers for the present unavailability.
    pub(crate) statuses: BTreeMap<FrameworkId, v1::allocator::InverseOfferStatus>,
}

/// A refusal of an offer (rule 89).
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) bundle: Bundle,
    pub(crate) expires: Timestamp,
    /// Of its client; one of another epoch is forgotten.
    pub(crate) epoch: u64,
}

/// What every pass looks at comes first and is kept small: agents are visited in random order, so each
/// comes from memory anew.
#[derive(Debug)]
pub(crate) struct Agent {
    /// What may be offered: total less held; shared resources always.
    pub(crate) available: Bundle,
    pub(crate) held: Vec<Held>,
    /// Which clients may have refused something of it, as bits of [`refuser`].
    pub(crate) refusers: u64,
    pub(crate) id: AgentId,
    /// Which of [`crate::kinds::Kinds`] it is; [`crate::kinds::UNKNOWN`] until somebody asks.
    pub(crate) kind: u32,
    pub(crate) order: Order,
    pub(crate) active: bool,
    pub(crate) whitelisted: bool,
    /// It is to be offered to everybody.
    pub(crate) dirty: bool,
    /// The last pass in which everybody was asked and nobody was held back by quota; zero since it changed.
    /// Whoever wanted nothing of it then wants nothing as long as he does not change.
    pub(crate) settled: u64,
    pub(crate) rest: Box<Rest>,
}

/// What is seldom looked at of an agent.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) hostname: Box<str>,
    pub(crate) domain: Option<Box<v1::DomainInfo>>,
    pub(crate) attributes: Box<[v1::Attribute]>,
    pub(crate) capabilities: AgentCapabilities,
    pub(crate) unavailability: Option<v1::Unavailability>,
    pub(crate) total: Bundle,
    pub(crate) vacating: Option<Box<Vacating>>,
    /// By client, and a number that grows.
    pub(crate) refusals: BTreeMap<(u32, u32), Refusal>,
}

/// Where [`Agent::refusers`] notes a client, which it shares with others.
pub(crate) fn refuser(client: u32) -> u64 {
    1 << (client % 64)
}

impl Agent {
    pub(crate) fn new(id: AgentId, profile: AgentProfile, total: Bundle) -> Self {
        Self {
            available: total.clone(),
            held: Vec::new(),
            refusers: 0,
            id,
            kind: UNKNOWN,
            order: Order::of(&profile.total),
            active: true,
            whitelisted: true,
            dirty: false,
            settled: 0,
            rest: Box::new(Rest {
                hostname: profile.hostname.into(),
                domain: profile.domain.map(Box::new),
                attributes: profile.attributes.into(),
                capabilities: profile.capabilities,
                unavailability: profile.unavailability,
                total,
                vacating: None,
                refusals: BTreeMap::new(),
            }),
        }
    }

    /// Reserved numbers of the total per role, without revocable ones.
    pub(crate) fn reserved(&self) -> BTreeMap<Role, Amounts> {
        let mut reserved: BTreeMap<Role, Amounts> = BTreeMap::new();
        for resource in &*self.rest.total.rare {
            if let (Some(role), false, Some(amount)) =
                (resource.top_role(), resource.is_revocable(), resource.as_scalar())
            {
                reserved.entry(role.clone()).or_default().add_one(resource.name(), amount);
            }
        }
        reserved
    }

    /// Common amounts that may be offered.
    pub(crate) fn refresh_common(&mut self) {
        let mut common = self.rest.total.common;
        for held in &self.held {
            for (mine, held) in common.iter_mut().zip(held.bundle.common) {
                *mine -= held;
            }
        }
        self.available.common = common.map(|amount| amount.max(0));
    }

    /// After special resources of the total or of what is held changed.
    pub(crate) fn refresh_rare(&mut self) {
        let held = || self.held.iter().flat_map(|held| held.bundle.rare.iter());
        let mut rare = self.rest.total.rare.clone();
        if held().any(|resource| !resource.is_shared()) {
            rare.change(|rare| {
                for resource in held().filter(|resource| !resource.is_shared()) {
                    rare.subtract_one(resource);
                }
            });
        }
        self.available.rare = rare;
    }

    pub(crate) fn held_by(&self, client: u32) -> Option<&Bundle> {
        self.held.iter().find(|held| held.client == client).map(|held| &held.bundle)
    }

    pub(crate) fn has_shared(&self) -> bool {
        self.rest.total.rare.has_shared()
    }

    /// Whether it may be offered and has something to offer.
    pub(crate) fn is_free(&self) -> bool {
        self.active && self.whitelisted && !self.available.is_empty()
    }

    /// The name of its region.
    fn region(&self) -> Option<&str> {
        region(self.rest.domain.as_deref())
    }

    /// Rules 106, 107, 112 and 132: whether it is for frameworks of a class at all.
    pub(crate) fn admits(&self, class: &Class, config: &Config) -> Result<(), Reason> {
        let (wants, can) = (class.capabilities, self.rest.capabilities);
        if (wants.multi_role && !can.multi_role) || (class.is_nested && !can.hierarchical_role) {
            return Err(Reason::AgentCapabilities);
        }
        if config.filter_gpu_resources && !wants.gpu_resources && self.has_gpus() {
            return Err(Reason::Gpus);
        }
        if let (false, Some(theirs), Some(ours)) =
            (wants.region_aware, self.region(), region(config.master_domain.as_ref()))
            && theirs != ours
        {
            return Err(Reason::Region);
        }
        let Rest { hostname, domain, attributes, .. } = &*self.rest;
        let seen = Seen { hostname, domain: domain.as_deref(), attributes };
        if class.constraints.as_ref().is_some_and(|groups| !admit(groups, &seen)) {
            return Err(Reason::Constraints);
        }
        Ok(())
    }

    pub(crate) fn has_gpus(&self) -> bool {
        let Bundle { common, rare } = &self.rest.total;
        common[3] > 0 || rare.iter().any(|resource| *resource.name() == "gpus")
    }
}

/// The name of a domain's region.
fn region(domain: Option<&v1::DomainInfo>) -> Option<&str> {
    Some(&domain?.fault_domain.as_ref()?.region.name)
}
