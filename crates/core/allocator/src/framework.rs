//! What is known about one framework.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{FrameworkId, Role};
use mezzo_resources::Quantities;

use crate::{OfferConstraints, classes::Class};

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

impl FrameworkProfile {
    /// What decides for which agents it is in a role.
    pub(crate) fn class(&self, role: &Role) -> Class {
        Class {
            capabilities: self.capabilities,
            is_nested: role.contains('/'),
            own_minimum: self.min_allocatable.contains_key(role),
            constraints: self.constraints.groups(role).cloned(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) id: FrameworkId,
    /// `None` while it is only known to hold something.
    pub(crate) profile: Option<FrameworkProfile>,
    pub(crate) active: bool,
    /// Its clients by role: where it is subscribed or holds something.
    pub(crate) clients: BTreeMap<Role, u32>,
}

impl Framework {
    /// Whether it wants offers for `role`.
    pub(crate) fn wants(&self, role: &Role) -> bool {
        self.active
            && self
                .profile
                .as_ref()
                .is_some_and(|known| known.roles.contains(role) && !known.suppressed.contains(role))
    }
}
