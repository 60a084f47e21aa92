//! Guarantees and limits: what a role is owed and what it may not exceed.

use std::collections::BTreeMap;

use mezzo_ids::Role;
use mezzo_mesos::v1;
use mezzo_resources::{Name, Quantities, Resource, Resources, Scalar, Value};

use crate::roles::{RoleTree, ancestors};

/// Guarantee and limit of one role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quota {
    /// Held back for the role.
    pub guarantee: Quantities,
    /// Never exceeded; a name that is missing is unlimited (rule 135). Present zeros are limits.
    pub limit: BTreeMap<Name, Scalar>,
}

impl Quota {
    /// Of a registry record or an UPDATE_QUOTA; the values have been checked.
    pub fn from_proto(config: &v1::quota::QuotaConfig) -> Self {
        let amount = |(name, scalar): (&String, &v1::value::Scalar)| {
            (Name::from(name.as_str()), Scalar::from_f64(scalar.value))
        };
        Self {
            guarantee: config.guarantees.iter().map(amount).collect(),
            limit: config.limits.iter().map(amount).collect(),
        }
    }
}

/// How much of each name may be given at most; a missing name has no bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds(BTreeMap<Name, Scalar>);

impl Bounds {
    pub(crate) fn lower(&mut self, name: &Name, bound: Scalar) {
        match self.0.get_mut(name.as_str()) {
            Some(mine) => *mine = bound.min(*mine),
            None => {
                self.0.insert(name.clone(), bound);
            }
        }
    }

    /// Takes as much of each resource as the bounds leave, in order.
    pub(crate) fn cut(mut self, resources: impl Iterator<Item = Resource>) -> Resources {
        let mut kept = Resources::empty();
        for resource in resources {
            let Some(amount) = resource.as_scalar() else { continue };
            match self.0.get_mut(resource.name().as_str()) {
                None => kept.add_one(&resource),
                Some(bound) => {
                    let taken = amount.min(*bound);
                    if resource.is_exclusive() && taken < amount {
                        continue;
                    }
                    *bound = bound.saturating_sub(taken);
                    kept.add_one(&resource.with_value(Value::Scalar(taken)));
                }
            }
        }
        kept
    }
}

/// All quotas.
#[derive(Debug, Default)]
pub(crate) struct Quotas(pub(crate) BTreeMap<Role, Quota>);

impl Quotas {
    /// Rule 130: what the limits of the role and its ancestors leave.
    pub(crate) fn lower_to_limits(&self, roles: &RoleTree, role: &Role, bounds: &mut Bounds) {
        if self.0.is_empty() {
            return;
        }
        for role in ancestors(role) {
            if let Some(quota) = self.0.get(role) {
                let consumed = roles.consumed(role);
                for (name, limit) in &quota.limit {
                    bounds.lower(name, limit.saturating_sub(consumed.get(name)));
                }
            }
        }
    }

    /// What of the role's guarantee is not met.
    pub(crate) fn unsatisfied(&self, roles: &RoleTree, role: &str) -> Quantities {
        let Some(quota) = self.0.get(role) else { return Quantities::default() };
        let mut missing = quota.guarantee.clone();
        if !missing.is_empty() {
            missing.subtract(&roles.consumed(role));
        }
        missing
    }

    /// Rule 128: what must stay free for guarantees that are not met.
    pub(crate) fn required_headroom(&self, roles: &RoleTree) -> Quantities {
        let mut required = Quantities::default();
        for role in self.0.keys() {
            required += &self.unsatisfied(roles, role);
        }
        required
    }
}
