//! What an operation takes and gives, once it is known to be valid.

use std::collections::BTreeSet;

use mezzo_ids::Role;
use mezzo_mesos::v1::{
    self,
    offer::{Operation, operation::Type},
};
use mezzo_resources::{Conversion, Form, Resource, Resources};

use super::{disk, reservation, volume};
use crate::state::{Agent, Capabilities};

/// Who asks for an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Requester<'a> {
    /// A framework that accepted offers allocated to `role`.
    Framework {
        /// Of the offers.
        role: &'a Role,
        /// All of the framework.
        roles: &'a [Role],
        /// Of its FrameworkInfo.
        principal: Option<&'a str>,
        capabilities: &'a Capabilities,
    },
    /// An operator, authenticated or not.
    Operator { principal: Option<&'a str> },
}

impl<'a> Requester<'a> {
    pub(super) fn role(&self) -> Option<&'a Role> {
        match self {
            Self::Framework { role, .. } => Some(role),
            Self::Operator { .. } => None,
        }
    }

    /// Whether something that carries `theirs` as its principal may be asked for. An operator who is not
    /// authenticated may name anybody, a framework without principal nobody.
    pub(super) fn may_name(&self, theirs: Option<&str>) -> bool {
        match self {
            Self::Framework { principal, .. } => *principal == theirs,
            Self::Operator { principal } => principal.is_none() || *principal == theirs,
        }
    }
}

/// A valid operation and what it does.
#[derive(Debug)]
pub(crate) struct Plan {
    /// With the allocation of a framework's resources filled in, in the current form.
    pub(crate) operation: Operation,
    /// For operations that are not speculative only what is consumed is known.
    pub(crate) conversion: Conversion,
    /// Changes resources at once.
    pub(crate) speculative: bool,
    /// Whether later operations of the same ACCEPT may use what this one makes (rule 101).
    pub(crate) usable: bool,
}

/// Validates an operation on resources of `agent`. The text of an error says what is wrong with it.
pub(crate) fn plan(
    mut operation: Operation,
    agent: &Agent,
    requester: Requester<'_>,
) -> Result<Plan, String> {
    let missing = |what: &str| format!("Expecting '{what}' to be present");
    let kind = operation.r#type();
    let conversion = match kind {
        Type::Reserve => {
            let reserve = operation.reserve.as_mut().ok_or_else(|| missing("reserve"))?;
            let resources = read(&mut reserve.resources, requester)?;
            let source = read(&mut reserve.source, requester)?;
            reservation::reserve(&resources, &source, agent, requester)?
        }
        Type::Unreserve => {
            let unreserve = operation.unreserve.as_mut().ok_or_else(|| missing("unreserve"))?;
            reservation::unreserve(&read(&mut unreserve.resources, requester)?)?
        }
        Type::Create => {
            let create = operation.create.as_mut().ok_or_else(|| missing("create"))?;
            volume::create(&read(&mut create.volumes, requester)?, agent, requester)?
        }
        Type::Destroy => {
            let destroy = operation.destroy.as_mut().ok_or_else(|| missing("destroy"))?;
            volume::destroy(&read(&mut destroy.volumes, requester)?, agent)?
        }
        Type::GrowVolume => {
            let grow = operation.grow_volume.as_mut().ok_or_else(|| missing("grow_volume"))?;
            let (volume, addition) =
                (read_one(&mut grow.volume, requester)?, read_one(&mut grow.addition, requester)?);
            volume::grow(&volume, &addition, agent)?
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_mut().ok_or_else(|| missing("shrink_volume"))?;
            let volume = read_one(&mut shrink.volume, requester)?;
            volume::shrink(&volume, shrink.subtract.value, agent)?
        }
        Type::CreateDisk => {
            let create = operation.create_disk.as_mut().ok_or_else(|| missing("create_disk"))?;
            let source = read_one(&mut create.source, requester)?;
            disk::create(&source, create.target_type(), create.target_profile.as_deref())?
        }
        Type::DestroyDisk => {
            let destroy = operation.destroy_disk.as_mut().ok_or_else(|| missing("destroy_disk"))?;
            disk::destroy(&read_one(&mut destroy.source, requester)?)?
        }
        Type::Unknown | Type::Launch | Type::LaunchGroup => return Err("Unknown operation type".into()),
    };
    one_owner(&conversion.consumed)?;
    Ok(Plan {
        operation,
        conversion,
        speculative: !matches!(kind, Type::CreateDisk | Type::DestroyDisk),
        usable: matches!(kind, Type::Reserve | Type::Unreserve | Type::Create | Type::Destroy),
    })
}

/// Reads resources of an operation; a framework's are allocated to the role of its offers, whether it
/// says so or not. The message is left in the form in which the agent gets it.
fn read(messages: &mut Vec<v1::Resource>, requester: Requester<'_>) -> Result<Resources, String> {
    let resources = Resources::from_proto(messages).map_err(|error| error.to_string())?;
    let resources = match requester.role() {
        Some(role) => resources.map(|resource| match resource.allocation_role() {
            None => resource.with_allocation_role(Some(role.clone())),
            Some(_) => resource,
        }),
        None => {
            if let Some(held) = resources.iter().find(|resource| resource.allocation_role().is_some()) {
                return Err(format!("Resource {held} is allocated, which only a framework's can be"));
            }
            resources
        }
    };
    *messages = resources.to_proto(Form::PostRefinement);
    Ok(resources)
}

fn read_one(message: &mut v1::Resource, requester: Requester<'_>) -> Result<Resource, String> {
    let mut messages = vec![std::mem::take(message)];
    let resources = read(&mut messages, requester)?;
    let (Some(resource), Some(first)) = (resources.iter().next(), messages.into_iter().next()) else {
        return Err("The operation is about nothing".into());
    };
    *message = first;
    Ok(resource.clone())
}

/// Rule 205: one provider, or none.
fn one_owner(resources: &Resources) -> Result<(), String> {
    let owners: BTreeSet<_> =
        resources.iter().map(|resource| resource.provider_id().map(|id| id.as_str())).collect();
    match owners.len() {
        0 | 1 => Ok(()),
        _ if owners.contains(&None) => {
            Err("Cannot mix resources of the agent and of a resource provider in one operation".into())
        }
        _ => Err("Cannot mix resources of several resource providers in one operation".into()),
    }
}

/// Whether the agent announced a capability; otherwise a text that says which is missing.
pub(super) fn needs(agent: &Agent, capability: v1::agent_info::capability::Type) -> Result<(), String> {
    if agent.is_capable(capability) {
        return Ok(());
    }
    Err(format!("Agent does not have the {} capability", capability.as_str_name()))
}
