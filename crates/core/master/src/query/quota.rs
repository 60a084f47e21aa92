//! GET_QUOTA.

use mezzo_mesos::v1::{
    master::{
        Response,
        response::{GetQuota, Type},
    },
    quota::{QuotaInfo, QuotaStatus},
};

use super::{View, response, roles::amounts};
use crate::operator::quota::to_config;

impl View<'_> {
    /// Quotas in the old and in the current form (rule 145). A role whose quota was removed since the
    /// master started stays listed, empty, as in Mesos.
    #[expect(deprecated, reason = "clients of the old form read infos")]
    pub fn get_quota(&self) -> Response {
        let quotas = &self.snapshot.quotas;
        let status = QuotaStatus {
            infos: quotas
                .iter()
                .map(|(role, quota)| QuotaInfo {
                    role: Some(role.to_string()),
                    guarantee: amounts(&quota.guarantee),
                    ..Default::default()
                })
                .collect(),
            configs: quotas.iter().map(|(role, quota)| to_config(role, quota)).collect(),
        };
        Response { get_quota: Some(GetQuota { status }), ..response(Type::GetQuota) }
    }
}
