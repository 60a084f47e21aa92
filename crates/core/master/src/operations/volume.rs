//! CREATE, DESTROY, GROW_VOLUME and SHRINK_VOLUME.

use std::collections::BTreeSet;

use mezzo_mesos::v1::{
    agent_info::capability::Type as AgentCapability, resource::disk_info::source::Type as SourceType,
    volume::Mode,
};
use mezzo_resources::{Conversion, Resource, Resources, Scalar, Value};

use super::plan::{Requester, needs};
use crate::state::Agent;

/// Rules 193 to 195.
pub(super) fn create(
    volumes: &Resources,
    agent: &Agent,
    requester: Requester<'_>,
) -> Result<Conversion, String> {
    if volumes.is_empty() {
        return Err("There is no volume to create".into());
    }
    let mut taken: BTreeSet<(String, String)> = agent.total.iter().filter_map(identity).collect();
    for volume in volumes {
        check_volume(volume)?;
        check_principal(volume, requester)?;
        if volume.is_shared()
            && let Requester::Framework { capabilities, .. } = requester
            && !capabilities.shared_resources
        {
            return Err(
                "Create volume operation has been attempted by framework with no SHARED_RESOURCES capability"
                    .into(),
            );
        }
        if let Some(identity) = identity(volume)
            && !taken.insert(identity.clone())
        {
            return Err(format!("Persistence ID '{}' is not unique", identity.1));
        }
    }
    Ok(Conversion { consumed: volumes.map(without_volume), converted: volumes.clone() })
}

/// Rule 193, of one volume.
fn check_volume(volume: &Resource) -> Result<(), String> {
    let Some(disk) = volume.disk() else { return Err(format!("Resource {volume} does not have DiskInfo")) };
    if disk.persistence.is_none() {
        return Err(format!("'persistence' is not set in DiskInfo of {volume}"));
    }
    let Some(mount) = &disk.volume else {
        return Err("Expecting 'volume' to be set for persistent volume".into());
    };
    if mount.mode() != Mode::Rw {
        return Err("Expecting 'volume' to be read-write for persistent volume".into());
    }
    if mount.host_path.is_some() {
        return Err("Expecting 'host_path' to be unset for persistent volume".into());
    }
    if mount.container_path.is_empty() {
        return Err("Expecting 'container_path' to be set for persistent volume".into());
    }
    if volume.is_unreserved() {
        return Err("Persistent volumes cannot be created from unreserved resources".into());
    }
    let id = volume.persistence().map_or("", |persistence| persistence.id.as_str());
    crate::validate::id(id).map_err(|why| format!("Invalid persistence ID: {why}"))
}

/// Rule 194.
fn check_principal(volume: &Resource, requester: Requester<'_>) -> Result<(), String> {
    let theirs = volume.persistence().and_then(|persistence| persistence.principal.as_deref());
    if theirs.is_none() || requester.may_name(theirs) {
        return Ok(());
    }
    Err(format!(
        "A create volume operation was attempted, but there is a volume in the operation with principal '{}' \
         set in `disk.persistence`, which is not the one who asks",
        theirs.unwrap_or_default()
    ))
}

/// What makes a volume unique on an agent: the role and its id.
fn identity(volume: &Resource) -> Option<(String, String)> {
    let role = volume.top_role().map_or_else(|| "*".to_owned(), ToString::to_string);
    Some((role, volume.persistence()?.id.clone()))
}

/// The disk that a volume is made of: whatever the source says stays.
fn without_volume(volume: Resource) -> Resource {
    let disk = volume.disk().map(|disk| (**disk).clone()).map(|mut disk| {
        disk.persistence = None;
        disk.volume = None;
        disk
    });
    volume.with_disk(disk.filter(|disk| disk.source.is_some())).with_copies(None)
}

/// Rule 196. All copies of a shared volume are destroyed with it.
pub(super) fn destroy(volumes: &Resources, agent: &Agent) -> Result<Conversion, String> {
    if volumes.is_empty() {
        return Err("There is no volume to destroy".into());
    }
    let known = volumes.unallocated();
    for volume in &known {
        if !volume.is_persistent_volume() || !agent.total.contains_one(volume) {
            return Err("Persistent volumes not found".into());
        }
    }
    let used = agent.used.values().any(|used| {
        let used = used.unallocated();
        known.iter().any(|volume| used.contains_one(volume))
    });
    if used {
        return Err("Persistent volumes in use".into());
    }
    Ok(Conversion { consumed: volumes.clone(), converted: volumes.map(without_volume) })
}

/// Rules 197 and 198: what cannot be resized.
fn check_resizable(volume: &Resource, agent: &Agent) -> Result<(), String> {
    needs(agent, AgentCapability::ResizeVolume)?;
    if !volume.is_persistent_volume() {
        return Err(format!("Resource {volume} is not a persistent volume"));
    }
    if volume.is_shared() {
        return Err(format!("Shared persistent volume {volume} cannot be resized"));
    }
    if volume.provider_id().is_some() {
        return Err(format!("Persistent volume {volume} of a resource provider cannot be resized"));
    }
    match volume.disk_source().map(|source| source.r#type()) {
        None | Some(SourceType::Path | SourceType::Unknown) => Ok(()),
        Some(kind) => {
            Err(format!("Persistent volume {volume} on a {} disk cannot be resized", kind.as_str_name()))
        }
    }
}

/// Rule 197.
pub(super) fn grow(volume: &Resource, addition: &Resource, agent: &Agent) -> Result<Conversion, String> {
    check_resizable(volume, agent)?;
    let (Some(size), Some(more)) = (volume.as_scalar(), addition.as_scalar()) else {
        return Err("A volume and its addition must be scalars".into());
    };
    if more.is_zero() {
        return Err("The size of the addition must be greater than zero".into());
    }
    if without_volume(volume.clone()).with_value(Value::Scalar(more)) != *addition {
        return Err(format!("Resource {addition} cannot be added to the volume {volume}"));
    }
    Ok(Conversion {
        consumed: [volume.clone(), addition.clone()].into_iter().collect(),
        converted: volume.clone().with_value(Value::Scalar(size + more)).into(),
    })
}

/// Rule 198.
pub(super) fn shrink(volume: &Resource, subtract: f64, agent: &Agent) -> Result<Conversion, String> {
    check_resizable(volume, agent)?;
    let less = Scalar::from_f64(subtract);
    let rest = volume.as_scalar().and_then(|size| size.checked_sub(less)).filter(|rest| !rest.is_zero());
    let Some(rest) = rest else {
        return Err("The amount to subtract must be smaller than the volume".into());
    };
    if less.is_zero() {
        return Err("The amount to subtract must be greater than zero".into());
    }
    let freed = without_volume(volume.clone()).with_value(Value::Scalar(less));
    Ok(Conversion {
        consumed: volume.clone().into(),
        converted: [volume.clone().with_value(Value::Scalar(rest)), freed].into_iter().collect(),
    })
}
