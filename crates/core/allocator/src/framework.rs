//! What is known about one framework.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{AgentId, Role};
use mezzo_resources::Quantities;

use crate::OfferConstraints;

/// What a framework can do, as far as offers depend on it (rules 106 to 108, 132).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameworkCapabilities {
    /// May be offered revocable resources.
    pub revocable_resources: bool,
    /// May be offered agents with gpus.
    pub gpu_resources: bool,
    /// May be offered shared volumes.
    pub shared_resources: bool,
    /// Uses several roles.
    pub multi_role: bool,
    /// Knows stacks of reservations.
    pub reservation_refinement: bool,
    /// May be offered agents of other regions.
    pub region_aware: bool,
}

/// A framework as it subscribed.
#[derive(Clone, Debug, Default)]
pub struct FrameworkProfile {
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Roles it does not want offers for (rule 91).
    pub suppressed: BTreeSet<Role>,
    /// What it can do.
    pub capabilities: FrameworkCapabilities,
    /// Its own minimum per role (rule 105); an empty list means none.
    pub min_allocatable: BTreeMap<Role, Vec<Quantities>>,
    /// Which agents it wants at all.
    pub constraints: OfferConstraints,
}

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) profile: FrameworkProfile,
    pub(crate) active: bool,
}

impl Framework {
    /// Whether it wants offers for `role`.
    pub(crate) fn wants(&self, role: &Role) -> bool {
        self.active && self.profile.roles.contains(role) && !self.profile.suppressed.contains(role)
    }
}

/// Agents that a framework holds resources of; kept so that its end does not cost a look at all.
pub(crate) type Holdings = BTreeMap<mezzo_ids::FrameworkId, BTreeSet<AgentId>>;
