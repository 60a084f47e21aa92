//! The tree of roles: who wants, who holds, what is reserved.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{FrameworkId, Role};
use mezzo_resources::{Quantities, Resource, Resources};

use crate::agent::is_quota_counted;

/// What one client of a sorter holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    pub(crate) allocated: Quantities,
    /// How often it was given something; breaks ties (rule 122).
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
pub(crate) struct RoleNode {
    /// Subscribed, wanting or not.
    pub(crate) frameworks: BTreeSet<FrameworkId>,
    /// Of frameworks in exactly this role.
    pub(crate) clients: BTreeMap<FrameworkId, Share>,
    /// Of exactly this role: the virtual leaf of rule 124.
    pub(crate) own: Share,
    /// With all descendants.
    pub(crate) subtree: Share,
    /// Unreserved and not revocable ones held in the subtree.
    pub(crate) quota_allocated: Quantities,
    /// Reserved in the subtree, held or not.
    pub(crate) reserved: Quantities,
}

impl RoleNode {
    fn is_idle(&self) -> bool {
        self.frameworks.is_empty()
            && self.clients.values().all(|client| client.allocated.is_empty())
            && self.subtree.allocated.is_empty()
            && self.reserved.is_empty()
    }
}

/// The role and all roles above it, innermost first.
pub(crate) fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(role), |role| role.rsplit_once('/').map(|(parent, _)| parent))
}

/// Every role with something in it.
#[derive(Debug, Default)]
pub(crate) struct RoleTree {
    pub(crate) nodes: BTreeMap<Role, RoleNode>,
    /// Roles with frameworks that want offers, and those.
    pub(crate) hungry: BTreeMap<Role, BTreeSet<FrameworkId>>,
}

impl RoleTree {
    fn node(&mut self, role: &str) -> &mut RoleNode {
        if !self.nodes.contains_key(role) {
            self.nodes.insert(Role::from(role), RoleNode::default());
        }
        // Just put there if it was missing.
        self.nodes.get_mut(role).expect("the node of a role exists once it was inserted")
    }

    pub(crate) fn subscribe(&mut self, role: &Role, framework: &FrameworkId) {
        self.node(role).frameworks.insert(framework.clone());
    }

    pub(crate) fn unsubscribe(&mut self, role: &Role, framework: &FrameworkId) {
        self.node(role).frameworks.remove(framework);
        self.forget_if_idle(role);
    }

    pub(crate) fn set_hungry(&mut self, role: &Role, framework: &FrameworkId, hungry: bool) {
        if hungry {
            self.hungry.entry(role.clone()).or_default().insert(framework.clone());
        } else if let Some(frameworks) = self.hungry.get_mut(role) {
            frameworks.remove(framework);
            if frameworks.is_empty() {
                self.hungry.remove(role);
            }
        }
    }

    /// Counts one more allocation for tie-breaking (rule 122).
    pub(crate) fn count_allocation(&mut self, role: &Role, framework: &FrameworkId) {
        for role in ancestors(role) {
            self.node(role).subtree.count += 1;
        }
        let node = self.node(role);
        node.own.count += 1;
        node.clients.entry(framework.clone()).or_default().count += 1;
    }

    /// `framework` holds more: `resources` have allocation roles.
    pub(crate) fn charge(&mut self, framework: &FrameworkId, resources: &Resources) {
        self.change_held(framework, resources, |sum, resource| {
            sum.add_one(resource.name(), resource.as_scalar().unwrap_or_default());
        });
    }

    /// `framework` holds less.
    pub(crate) fn refund(&mut self, framework: &FrameworkId, resources: &Resources) {
        self.change_held(framework, resources, |sum, resource| {
            sum.subtract_one(resource.name(), resource.as_scalar().unwrap_or_default());
        });
        let roles: BTreeSet<&Role> = resources.iter().filter_map(Resource::allocation_role).collect();
        for role in roles {
            if let Some(node) = self.nodes.get_mut(role)
                && !node.frameworks.contains(framework)
                && node.clients.get(framework).is_some_and(|client| client.allocated.is_empty())
            {
                node.clients.remove(framework);
            }
            self.forget_if_idle(role);
        }
    }

    fn change_held(
        &mut self,
        framework: &FrameworkId,
        resources: &Resources,
        change: impl Fn(&mut Quantities, &Resource),
    ) {
        for resource in resources {
            let (Some(role), Some(_)) = (resource.allocation_role(), resource.as_scalar()) else { continue };
            for role in ancestors(role) {
                let node = self.node(role);
                change(&mut node.subtree.allocated, resource);
                if is_quota_counted(resource) {
                    change(&mut node.quota_allocated, resource);
                }
            }
            let node = self.node(role);
            change(&mut node.own.allocated, resource);
            change(&mut node.clients.entry(framework.clone()).or_default().allocated, resource);
        }
    }

    /// Reservations of an agent's total came.
    pub(crate) fn add_reserved(&mut self, reserved: &BTreeMap<Role, Quantities>) {
        for (role, quantities) in reserved {
            for role in ancestors(role) {
                self.node(role).reserved += quantities;
            }
        }
    }

    /// Reservations of an agent's total went.
    pub(crate) fn remove_reserved(&mut self, reserved: &BTreeMap<Role, Quantities>) {
        for (role, quantities) in reserved {
            for role in ancestors(role) {
                self.node(role).reserved.subtract(quantities);
            }
            self.forget_if_idle(role);
        }
    }

    /// Rule 146: held, and reserved whether held or not.
    pub(crate) fn consumed(&self, role: &str) -> Quantities {
        match self.nodes.get(role) {
            Some(node) => node.quota_allocated.clone() + &node.reserved,
            None => Quantities::default(),
        }
    }

    /// A framework is gone; how often it was served in each role is forgotten.
    pub(crate) fn forget_client(&mut self, role: &Role, framework: &FrameworkId) {
        if let Some(node) = self.nodes.get_mut(role) {
            node.clients.remove(framework);
        }
        self.forget_if_idle(role);
    }

    fn forget_if_idle(&mut self, role: &str) {
        for role in ancestors(role) {
            if self.nodes.get(role).is_some_and(RoleNode::is_idle) {
                self.nodes.remove(role);
            }
        }
    }
}
