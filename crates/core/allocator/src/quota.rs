//! Guarantees and limits: what a role is owed and what it may not exceed.

use std::collections::BTreeMap;

use mezzo_mesos::v1;
use mezzo_resources::{Name, Quantities, Resource, Scalar};

use crate::{
    amounts::{Amounts, Common, place},
    roles::{ROOT, Roles},
};

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

/// A quota beside its role.
#[derive(Debug)]
pub(crate) struct RoleQuota {
    pub(crate) quota: Quota,
    pub(crate) guarantee: Amounts,
    /// Of the common names; the largest number where there is none.
    pub(crate) limit: Common,
    /// Of other names.
    pub(crate) rare_limits: Vec<(Name, i64)>,
    /// What of the guarantee the role does not consume.
    pub(crate) missing: Amounts,
}

impl RoleQuota {
    pub(crate) fn new(quota: Quota) -> Self {
        let guarantee = Amounts::from(&quota.guarantee);
        let (mut limit, mut rare_limits) = ([i64::MAX; 4], Vec::new());
        for (name, amount) in &quota.limit {
            match place(name) {
                Some(at) => limit[at] = amount.thousandths(),
                None => rare_limits.push((name.clone(), amount.thousandths())),
            }
        }
        Self { quota, guarantee, limit, rare_limits, missing: Amounts::default() }
    }
}

/// How much of each name may be given at most, in thousandths.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) common: Common,
    /// A missing name has no bound.
    rare: BTreeMap<Name, i64>,
}

impl Default for Bounds {
    /// None at all.
    fn default() -> Self {
        Self { common: [i64::MAX; 4], rare: BTreeMap::new() }
    }
}

impl Bounds {
    pub(crate) fn lower(&mut self, name: &Name, bound: i64) {
        match place(name) {
            Some(at) => self.common[at] = self.common[at].min(bound),
            None => {
                self.rare.entry(name.clone()).and_modify(|mine| *mine = bound.min(*mine)).or_insert(bound);
            }
        }
    }

    /// Rule 130: what the limits of a role and its ancestors leave.
    pub(crate) fn lower_to_limits(&mut self, roles: &Roles, mut id: u32) {
        while id != ROOT {
            let node = &roles.nodes[id];
            if let Some(quota) = &node.quota {
                for (bound, left) in self.common.iter_mut().zip(node.left_of_limit(quota)) {
                    *bound = (*bound).min(left);
                }
                for (name, limit) in &quota.rare_limits {
                    self.lower(name, (limit - node.consumed(name)).max(0));
                }
            }
            id = node.parent;
        }
    }

    /// Rule 128: what unmet guarantees leave to a role. Guarantees of the role and its ancestors do not
    /// hold anything back from it: what it is given counts for them.
    pub(crate) fn lower_to_headroom(&mut self, roles: &Roles, role: u32, headroom: &Amounts) {
        if roles.required.is_zero() {
            return;
        }
        let mut required = roles.required.common;
        for quota in roles.quotas_above(role) {
            for (required, missing) in required.iter_mut().zip(quota.missing.common) {
                *required = (*required - missing).max(0);
            }
        }
        for ((bound, required), free) in self.common.iter_mut().zip(required).zip(headroom.common) {
            if required > 0 {
                *bound = (*bound).min((free - required).max(0));
            }
        }
        if roles.required.rare.is_empty() {
            return;
        }
        let mut required = roles.required.rare.clone();
        for quota in roles.quotas_above(role) {
            required.subtract(&quota.missing.rare);
        }
        for (name, needed) in required.iter() {
            self.lower(name, (headroom.get(name) - needed.thousandths()).max(0));
        }
    }

    /// How much of a number of this name may be taken; what is exclusive is taken whole or not.
    pub(crate) fn take(&mut self, resource: &Resource, amount: i64) -> i64 {
        let bound = match place(resource.name()) {
            Some(at) => &mut self.common[at],
            None => match self.rare.get_mut(resource.name().as_str()) {
                Some(bound) => bound,
                None => return amount,
            },
        };
        let taken = amount.min(*bound);
        if resource.is_exclusive() && taken < amount {
            return 0;
        }
        *bound -= taken;
        taken
    }
}
