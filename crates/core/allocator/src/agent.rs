//! What is known about one agent.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::{Quantities, Resource, Resources};

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

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) profile: AgentProfile,
    pub(crate) active: bool,
    /// Whether it may be offered and has something to offer; the same as being in `Allocator::free`.
    pub(crate) is_free: bool,
    /// Held per framework, with allocation roles.
    pub(crate) held: BTreeMap<FrameworkId, Resources>,
    /// The sum of all held, without roles.
    pub(crate) in_use: Resources,
    /// What may be offered: total less in use; shared resources always.
    pub(crate) available: Resources,
    /// What of it counts as headroom for guarantees: unreserved and not revocable.
    pub(crate) headroom: Quantities,
    /// All numbers of the total.
    pub(crate) capacity: Quantities,
    /// Reserved numbers of the total per role, without revocable ones.
    pub(crate) reserved: BTreeMap<Role, Quantities>,
    /// Frameworks that have an inverse offer to answer.
    pub(crate) inverse_offers: BTreeSet<FrameworkId>,
    /// Answers to inverse offers for the present unavailability.
    pub(crate) inverse_statuses: BTreeMap<FrameworkId, v1::allocator::InverseOfferStatus>,
}

impl Agent {
    pub(crate) fn new(profile: AgentProfile) -> Self {
        let mut agent = Self {
            profile,
            active: true,
            is_free: false,
            held: BTreeMap::new(),
            in_use: Resources::empty(),
            available: Resources::empty(),
            headroom: Quantities::default(),
            capacity: Quantities::default(),
            reserved: BTreeMap::new(),
            inverse_offers: BTreeSet::new(),
            inverse_statuses: BTreeMap::new(),
        };
        agent.refresh_total();
        agent.refresh_available();
        agent
    }

    /// After the total changed.
    pub(crate) fn refresh_total(&mut self) {
        self.capacity = self.profile.total.quantities();
        self.reserved = BTreeMap::new();
        for resource in &self.profile.total {
            if let (Some(role), false, Some(amount)) =
                (resource.top_role(), resource.is_revocable(), resource.as_scalar())
            {
                self.reserved.entry(role.clone()).or_default().add_one(resource.name(), amount);
            }
        }
    }

    /// After the total or what is held changed.
    pub(crate) fn refresh_available(&mut self) {
        let mut available = self.profile.total.clone();
        for resource in &self.in_use {
            if !resource.is_shared() {
                available.subtract_one(resource);
            }
        }
        self.headroom = available.iter().filter(|r| is_quota_counted(r)).fold(
            Quantities::default(),
            |mut sum, resource| {
                sum.add_one(resource.name(), resource.as_scalar().unwrap_or_default());
                sum
            },
        );
        self.available = available;
    }

    pub(crate) fn has_shared(&self) -> bool {
        self.profile.total.iter().any(Resource::is_shared)
    }

    /// The name of its region.
    pub(crate) fn region(&self) -> Option<&str> {
        region(self.profile.domain.as_ref())
    }
}

/// The name of a domain's region.
pub(crate) fn region(domain: Option<&v1::DomainInfo>) -> Option<&str> {
    Some(&domain?.fault_domain.as_ref()?.region.name)
}

/// Whether limits, guarantees and headroom look at it when it is given away: reservations are
/// charged when they are made, revocable resources never (rule 146).
pub(crate) fn is_quota_counted(resource: &Resource) -> bool {
    resource.is_unreserved() && !resource.is_revocable() && resource.as_scalar().is_some()
}
