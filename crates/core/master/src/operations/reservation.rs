//! RESERVE and UNRESERVE.

use mezzo_mesos::v1::agent_info::capability::Type as AgentCapability;
use mezzo_resources::{Conversion, Resources};

use super::plan::{Requester, needs};
use crate::state::Agent;

/// Rules 187 to 191. Without `source` the resources come from one reservation less.
pub(super) fn reserve(
    resources: &Resources,
    source: &Resources,
    agent: &Agent,
    requester: Requester<'_>,
) -> Result<Conversion, String> {
    if resources.is_empty() {
        return Err("There is nothing to reserve".into());
    }
    for resource in resources {
        if !resource.is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        if resource.has_refined_reservation() {
            needs(agent, AgentCapability::ReservationRefinement)?;
        }
        let Some(top) = resource.reservations().last() else { continue };
        let principal = top.principal.as_deref();
        if !requester.may_name(principal) {
            let own = match requester {
                Requester::Framework { principal, .. } | Requester::Operator { principal } => principal,
            };
            return Err(match (own, principal) {
                (None, _) => format!(
                    "A reserve operation was attempted with no principal, but there is a reserved resource in \
                     the request with principal '{}' set in `ReservationInfo`",
                    principal.unwrap_or_default()
                ),
                (Some(own), None) => format!(
                    "A reserve operation was attempted by principal '{own}', but there is a reserved resource \
                     in the request with no principal set in `ReservationInfo`"
                ),
                (Some(own), Some(theirs)) => format!(
                    "A reserve operation was attempted by principal '{own}', but there is a reserved resource \
                     in the request with principal '{theirs}' set in `ReservationInfo`"
                ),
            });
        }
        if let Requester::Framework { role, roles, .. } = requester {
            if top.role != *role {
                return Err(format!(
                    "A reserve operation was attempted for a resource with role '{}', but the resource was \
                     allocated to role '{role}'",
                    top.role
                ));
            }
            if !roles.contains(&top.role) {
                return Err(format!(
                    "A reserve operation was attempted for a resource with role '{}', but the framework does \
                     not have that role",
                    top.role
                ));
            }
        }
        if resource.is_revocable() {
            return Err(format!("Revocable resource {resource} cannot be reserved"));
        }
        if resource.is_persistent_volume() {
            return Err(format!("Persistent volume {resource} cannot be reserved"));
        }
    }
    if source.is_empty() {
        return Ok(Conversion { consumed: resources.pop_reservation(), converted: resources.clone() });
    }
    if matches!(requester, Requester::Framework { .. }) {
        return Err("Reservation updates are not yet implemented".into());
    }
    if source.persistent_volumes().iter().next().is_some() {
        return Err("Reservations of persistent volumes cannot be updated".into());
    }
    if source.to_unreserved() != resources.to_unreserved() {
        return Err(format!("Resources '{resources}' do not have the amounts of their source '{source}'"));
    }
    Ok(Conversion { consumed: source.clone(), converted: resources.clone() })
}

/// Rule 192.
pub(super) fn unreserve(resources: &Resources) -> Result<Conversion, String> {
    if resources.is_empty() {
        return Err("There is nothing to unreserve".into());
    }
    for resource in resources {
        if !resource.is_dynamically_reserved() {
            return Err(format!("Resource {resource} is not dynamically reserved"));
        }
        if resource.is_persistent_volume() {
            return Err(format!(
                "A dynamically reserved persistent volume {resource} cannot be unreserved directly. Please \
                 destroy the persistent volume first then unreserve the resource"
            ));
        }
    }
    Ok(Conversion { consumed: resources.clone(), converted: resources.pop_reservation() })
}
