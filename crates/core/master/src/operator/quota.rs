//! UPDATE_QUOTA and the older SET_QUOTA and REMOVE_QUOTA.

use mezzo_ids::Role;
use mezzo_mesos::v1::{quota::QuotaConfig, value};
use mezzo_resources::Scalar;

use crate::state::Quota;

/// A quota as messages and the registry have it.
pub(crate) fn to_config(role: &Role, quota: &Quota) -> QuotaConfig {
    let amount = |amount: Scalar| value::Scalar { value: amount.as_f64() };
    QuotaConfig {
        role: role.to_string(),
        guarantees: quota.guarantee.iter().map(|(name, value)| (name.to_string(), amount(value))).collect(),
        limits: quota.limit.iter().map(|(name, value)| (name.to_string(), amount(*value))).collect(),
    }
}
