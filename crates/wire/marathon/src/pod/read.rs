//! From the JSON of a pod to its normal form.

use mezzo_services_model::{
    KillSelection, Network, NetworkMode, PathId, Pod, UnreachableStrategy, UpgradeStrategy, VersionInfo,
    VolumeSource,
};
use mezzo_time::Timestamp;
use serde_json::Value;

use super::{
    document::{PodDocument, read_document},
    rules,
};
use crate::{
    Invalid, UnknownKey,
    json::Reading,
    part::network::name_networks,
    settings::{Context, Roles},
};

/// Reads a definition, whose id may be relative to `base`. Pods are always sent whole: there is no partial update.
pub fn read_pod(value: &Value, base: &PathId, context: &Context<'_>) -> Result<Pod, Invalid> {
    read_pod_strictly(value, base, context).map(|(pod, _)| pod)
}

/// Reads a definition, and tells which keys nobody knows.
pub fn read_pod_strictly(
    value: &Value,
    base: &PathId,
    context: &Context<'_>,
) -> Result<(Pod, Vec<UnknownKey>), Invalid> {
    let (mut document, unknown) = Reading::document(value, read_document)?;
    let id = path(&document.id, base)?;
    // Versions are given by whoever stores the definition, never by its author.
    (document.version, document.version_info) = (None, None);
    let roles = Roles::of(context, &id);
    let said =
        rules::Said { upgrade: document.scheduling.upgrade, unreachable: document.scheduling.unreachable };
    fill_networks(&mut document, context.settings.network.as_deref());
    document.role.get_or_insert_with(|| roles.default.clone());
    let pod = model(document, id, context.now);
    rules::judge(&pod, &said, &roles, context)?;
    Ok((pod, unknown))
}

/// Reads the JSON of a normal form as it is stored; nothing is judged: the rules may have become stricter since.
pub fn read_stored_pod(value: &Value) -> Result<Pod, Invalid> {
    let (document, _) = Reading::document(value, read_document)?;
    let id = path(&document.id, &PathId::root())?;
    Ok(model(document, id, Timestamp::ZERO))
}

fn path(text: &str, base: &PathId) -> Result<PathId, Invalid> {
    PathId::parse(text, base).map_err(|error| Invalid::at("/id", error.to_string()))
}

/// No network is the host's, where every endpoint has a port of the agent, as on a bridge (rule.pod.networks).
fn fill_networks(document: &mut PodDocument, default: Option<&str>) {
    if document.networks.is_empty() {
        document.networks.push(Network::host());
    }
    name_networks(&mut document.networks, default);
    if document.networks.iter().any(|network| network.mode != NetworkMode::Container) {
        for endpoint in document.containers.iter_mut().flat_map(|container| &mut container.endpoints) {
            endpoint.host_port.get_or_insert(0);
        }
    }
}

/// The normal form; what was not said gets its default (rule.pod.resident).
fn model(document: PodDocument, id: PathId, now: Timestamp) -> Pod {
    let is_resident =
        document.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::Persistent(_)));
    let scheduling = document.scheduling;
    let version = document.version.unwrap_or(now);
    let (last_scaling_at, last_config_change_at) = document.version_info.unwrap_or((version, version));
    Pod {
        id,
        labels: document.labels,
        user: document.user,
        environment: document.environment,
        containers: document.containers,
        secrets: document.secrets,
        volumes: document.volumes,
        networks: document.networks,
        instances: document.instances.unwrap_or(1),
        backoff: scheduling.backoff.unwrap_or_default(),
        upgrade_strategy: scheduling.upgrade.unwrap_or(if is_resident {
            UpgradeStrategy::RESIDENT
        } else {
            UpgradeStrategy::DEFAULT
        }),
        constraints: scheduling.constraints.into_iter().collect(),
        accepted_resource_roles: scheduling.accepted_resource_roles,
        kill_selection: scheduling.kill_selection.unwrap_or(KillSelection::YoungestFirst),
        unreachable_strategy: scheduling.unreachable.unwrap_or(if is_resident {
            UnreachableStrategy::Disabled
        } else {
            UnreachableStrategy::DEFAULT
        }),
        executor_resources: document.executor_resources.unwrap_or_default(),
        linux_info: document.linux_info,
        legacy_shared_cgroups: document.legacy_shared_cgroups,
        role: document.role.unwrap_or_default(),
        version,
        version_info: VersionInfo { last_scaling_at, last_config_change_at },
    }
}
