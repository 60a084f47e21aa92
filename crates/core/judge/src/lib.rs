//! The master's books in the words of the checker that judges its allocator.
//!
//! The checker (`mezzo-allocator-checker`) shares no code with the allocator and knows nothing of the master. The master
//! with `--check_allocations` and the simulation put the same books before it, and this is how.

use mezzo_allocator_checker as checker;
use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_master::state::{Agent, Framework, Offer};
use mezzo_mesos::v1::{agent_info::capability::Type, offer_filters::ResourceQuantities};
use mezzo_resources::{Name, Resource, Resources, Scalar};

/// An agent, without what is held of it.
pub fn agent(agent: &Agent) -> checker::Agent {
    checker::Agent {
        total: (*agent.total).clone(),
        is_offered: agent.active,
        hostname: agent.info.hostname.clone(),
        domain: agent.info.domain.clone(),
        attributes: agent.info.attributes.clone(),
        lacks_multi_role: !agent.is_capable(Type::MultiRole),
        lacks_nested_roles: !agent.is_capable(Type::HierarchicalRole),
    }
}

/// A framework, without what it holds and refused.
pub fn framework(framework: &Framework) -> checker::Framework {
    let can = framework.capabilities;
    let hungry =
        framework.roles.iter().filter(|role| framework.active && !framework.suppressed.contains(role));
    let amounts = |quantities: &ResourceQuantities| {
        let amounts = quantities.quantities.iter();
        amounts.map(|(name, amount)| (Name::from(name.as_str()), Scalar::from_f64(amount.value))).collect()
    };
    let minimums = framework.info.offer_filters.iter().filter_map(|(role, filters)| {
        let minimum = filters.min_allocatable_resources.as_ref()?;
        Some((Role::from(role.as_str()), minimum.quantities.iter().map(amounts).collect()))
    });
    checker::Framework {
        hungry: hungry.cloned().collect(),
        can: checker::Capabilities {
            revocable: can.revocable_resources,
            gpus: can.gpu_resources,
            shared: can.shared_resources,
            multi_role: can.multi_role,
            refinement: can.reservation_refinement,
            region_aware: can.region_aware,
        },
        minimums: minimums.collect(),
        constraints: framework.constraints.as_deref().cloned(),
    }
}

/// An offer of an agent.
pub fn offer(offer: &Offer) -> checker::Offer {
    checker::Offer {
        framework: offer.framework.clone(),
        role: offer.role.clone(),
        agent: offer.agent.clone(),
        resources: offer.resources.unallocated(),
    }
}

/// Adds what a framework holds of an agent, allocated to whatever roles.
pub fn hold(cluster: &mut checker::Cluster, agent: &AgentId, framework: &FrameworkId, resources: &Resources) {
    let mut hold = |role, held| {
        *cluster.held.entry((agent.clone(), framework.clone(), role)).or_default() += held;
    };
    let Some(first) = resources.iter().next() else { return };
    // Nearly always there is one role, and then nothing has to be taken apart.
    if resources.iter().all(|resource| resource.allocation_role() == first.allocation_role()) {
        return hold(role_of(first), resources.unallocated());
    }
    for resource in resources {
        hold(role_of(resource), plain(resource));
    }
}

/// The role that a resource is allocated to.
pub fn role_of(resource: &Resource) -> Role {
    resource.allocation_role().cloned().unwrap_or_else(|| "*".into())
}

/// A resource as if nobody had been offered it.
pub fn plain(resource: &Resource) -> Resources {
    resource.clone().with_allocation_role(None).into()
}
