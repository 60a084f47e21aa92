//! Frameworks and agents as the allocator sees them.

use std::collections::BTreeMap;

use mezzo_allocator::{
    AgentCapabilities, AgentProfile, FrameworkCapabilities, FrameworkProfile, OfferConstraints,
};
use mezzo_ids::Role;
use mezzo_mesos::v1::{self, agent_info::capability::Type, scheduler};
use mezzo_resources::{Name, Quantities, Scalar};

use crate::{
    frameworks::roles_of,
    master::Master,
    state::{Agent, Framework},
};

/// Compiles the offer constraints of a subscription, or says what is wrong with them.
pub(crate) fn compile_constraints(
    master: &Master,
    info: &v1::FrameworkInfo,
    constraints: Option<&scheduler::OfferConstraints>,
) -> Result<OfferConstraints, String> {
    let Some(constraints) = constraints else { return Ok(OfferConstraints::default()) };
    let roles = roles_of(info).into_iter().collect();
    OfferConstraints::compile(constraints, &roles, master.config.constraint_limits)
}

/// What the allocator has to know of a framework. Its constraints have been compiled once already.
pub(crate) fn framework_profile(master: &Master, framework: &Framework) -> FrameworkProfile {
    let capabilities = &framework.capabilities;
    FrameworkProfile {
        roles: framework.roles.iter().cloned().collect(),
        suppressed: framework.suppressed.iter().cloned().collect(),
        capabilities: FrameworkCapabilities {
            revocable_resources: capabilities.revocable_resources,
            gpu_resources: capabilities.gpu_resources,
            shared_resources: capabilities.shared_resources,
            multi_role: capabilities.multi_role,
            reservation_refinement: capabilities.reservation_refinement,
            region_aware: capabilities.region_aware,
        },
        min_allocatable: min_allocatable(&framework.info),
        constraints: compile_constraints(master, &framework.info, framework.constraints.as_deref())
            .unwrap_or_default(),
    }
}

fn min_allocatable(info: &v1::FrameworkInfo) -> BTreeMap<Role, Vec<Quantities>> {
    let amounts = |quantities: &v1::offer_filters::ResourceQuantities| {
        quantities
            .quantities
            .iter()
            .map(|(name, scalar)| (Name::from(name.as_str()), Scalar::from_f64(scalar.value)))
            .collect()
    };
    info.offer_filters
        .iter()
        .filter_map(|(role, filters)| {
            let minimum = filters.min_allocatable_resources.as_ref()?;
            Some((Role::from(role.as_str()), minimum.quantities.iter().map(amounts).collect()))
        })
        .collect()
}

/// What the allocator has to know of an agent.
pub(crate) fn agent_profile(agent: &Agent) -> AgentProfile {
    AgentProfile {
        hostname: agent.info.hostname.clone(),
        domain: agent.info.domain.clone(),
        attributes: agent.info.attributes.clone(),
        capabilities: AgentCapabilities {
            multi_role: agent.is_capable(Type::MultiRole),
            hierarchical_role: agent.is_capable(Type::HierarchicalRole),
            reservation_refinement: agent.is_capable(Type::ReservationRefinement),
        },
        total: (*agent.total).clone(),
        unavailability: agent.unavailability,
    }
}
