//! GET_ROLES.

use std::collections::BTreeMap;

use mezzo_allocator::Allocator;
use mezzo_ids::Role;
use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetRoles, Type},
    },
};
use mezzo_resources::{Quantities, Resource, Scalar, Value};

use super::{View, response};
use crate::state::RoleView;

/// Roles as the allocator counts them. It does not know what of that is offered only; this is summed up
/// by who reads: see [`View::roles`].
pub(crate) fn counted(allocator: &Allocator) -> Vec<RoleView> {
    let filters = allocator.active_filters();
    let roles = allocator.roles().into_iter().map(|role| RoleView {
        share: allocator.dominant_share(&role.role),
        filters: filters.get(&role.role).copied().unwrap_or_default(),
        role: role.role,
        weight: role.weight,
        frameworks: role.frameworks.into_iter().collect(),
        allocated: role.allocated,
        used: Quantities::default(),
        offered: Quantities::default(),
        reserved: role.reserved,
        consumed: role.consumed,
    });
    roles.collect()
}

/// What the frameworks of one role hold, without its descendants.
#[derive(Default)]
struct Held {
    used: Quantities,
    offered: Quantities,
    consumed: Quantities,
}

/// A number, or how many values are in a range or set.
fn count(resource: &Resource) -> Scalar {
    match resource.value() {
        Value::Scalar(amount) => *amount,
        Value::Ranges(ranges) => Scalar::from_f64(ranges.count() as f64),
        Value::Set(set) => Scalar::from_f64(set.iter().count() as f64),
    }
}

/// Whether a role is `above` or one of its descendants.
pub(crate) fn is_within(role: &str, above: &str) -> bool {
    role.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl View<'_> {
    /// Roles with anything in them, by name, with what they and their descendants use and are offered.
    /// Ranges and sets are counted here, unlike in what the allocator keeps. What is offered only does
    /// not count against quota (rule 146).
    pub fn roles(&self) -> Vec<RoleView> {
        let mut held = BTreeMap::<&Role, Held>::new();
        for agent in self.snapshot.agents.values() {
            for resource in agent.used.values().flat_map(|used| used.iter()) {
                let Some(role) = resource.allocation_role() else { continue };
                let held = held.entry(role).or_default();
                held.used.add_one(resource.name(), count(resource));
                if resource.is_unreserved() && !resource.is_revocable() {
                    held.consumed.add_one(resource.name(), count(resource));
                }
            }
            for resource in agent.offers.values().flat_map(|offer| &offer.resources) {
                let Some(role) = resource.allocation_role() else { continue };
                held.entry(role).or_default().offered.add_one(resource.name(), count(resource));
            }
        }
        let mut roles = (*self.snapshot.roles).clone();
        for role in &mut roles {
            role.consumed = role.reserved.clone();
            for held in held.iter().filter(|(of, _)| is_within(of, &role.role)).map(|(_, held)| held) {
                role.used += &held.used;
                role.offered += &held.offered;
                role.consumed += &held.consumed;
            }
            role.allocated = role.used.clone() + &role.offered;
        }
        roles
    }

    /// Roles with anything in them, by name.
    pub fn get_roles(&self) -> Response {
        let roles = self.snapshot.roles.iter().map(|view| v1::Role {
            name: view.role.to_string(),
            weight: view.weight,
            frameworks: view
                .frameworks
                .iter()
                .map(|id| v1::FrameworkId { value: id.as_str().into() })
                .collect(),
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
