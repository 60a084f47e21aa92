//! GET_ROLES.

use mezzo_allocator::Allocator;
use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetRoles, Type},
    },
};
use mezzo_resources::Quantities;

use super::{View, response};
use crate::state::RoleView;

/// Roles as the allocator counts them. What is offered is summed up by who reads: see [`View::roles`].
pub(crate) fn counted(allocator: &Allocator) -> Vec<RoleView> {
    let roles = allocator.roles().into_iter().map(|role| RoleView {
        role: role.role,
        weight: role.weight,
        frameworks: role.frameworks.into_iter().collect(),
        allocated: role.allocated,
        offered: Quantities::default(),
        reserved: role.reserved,
        consumed: role.consumed,
    });
    roles.collect()
}

impl View<'_> {
    /// Roles with anything in them, by name, with what is offered to them and their descendants.
    pub fn roles(&self) -> Vec<RoleView> {
        let mut roles = (*self.snapshot.roles).clone();
        for offer in self.snapshot.agents.values().flat_map(|agent| agent.offers.values()) {
            let offered = offer.resources.quantities();
            let is_within = |role: &str| {
                offer.role.strip_prefix(role).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            for role in roles.iter_mut().filter(|role| is_within(&role.role)) {
                role.offered += &offered;
            }
        }
        roles
    }

    /// Roles with anything in them, by name.
    pub fn get_roles(&self) -> Response {
        let roles = self.snapshot.roles.iter().map(|view| v1::Role {
            name: view.role.to_string(),
            weight: view.weight,
            frameworks: view.frameworks.iter().map(|id| v1::FrameworkId { value: id.to_string() }).collect(),
            resources: amounts(&view.allocated),
        });
        Response { get_roles: Some(GetRoles { roles: roles.collect() }), ..response(Type::GetRoles) }
    }
}

/// Amounts as plain resources, by name.
pub(super) fn amounts(quantities: &Quantities) -> Vec<v1::Resource> {
    quantities
        .iter()
        .map(|(name, amount)| v1::Resource {
            name: name.to_string(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value: amount.as_f64() }),
            ..Default::default()
        })
        .collect()
}
