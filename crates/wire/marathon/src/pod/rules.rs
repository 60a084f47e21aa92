//! What the definition of a pod must hold to.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{
    CheckTarget, Endpoint, EnvValue, NetworkMode, Pod, PodContainer, PortRef, UnreachableStrategy,
    UpgradeStrategy, VolumeSource,
};

use crate::{
    Invalid,
    part::{
        constraint,
        container::judge_linux_info,
        env::{SECRETS, feature_error},
        fetch::{NO_URI, is_uri},
        name::path_errors,
        network,
        port::has_twins,
        resource::judge_limits,
        strategy::{judge_unreachable, shown},
        volume::judge_persistent,
    },
    settings::{Context, Roles},
    verdict::Verdict,
};

const GPU_RESOURCES: &str = "gpu_resources";

/// What the author said, where a default would do as well.
pub(crate) struct Said {
    pub(crate) upgrade: Option<UpgradeStrategy>,
    pub(crate) unreachable: Option<UnreachableStrategy>,
}

pub(crate) fn judge(pod: &Pod, said: &Said, roles: &Roles, context: &Context<'_>) -> Result<(), Invalid> {
    let features = &context.settings.features;
    let mut verdict = Verdict::default();
    verdict.add_all("id", path_errors(&pod.id));
    judge_user(&mut verdict, "user", pod.user.as_deref());
    judge_env(&mut verdict, "environment", &pod.environment, pod, features);
    if !pod.secrets.is_empty() {
        verdict.require(features.contains(SECRETS), "secrets", feature_error(SECRETS));
        verdict.require(!pod.secrets.contains_key(""), "secrets", "must not be empty");
    }
    judge_volumes(&mut verdict, pod, features);
    let names = pod.containers.iter().map(|container| container.name.as_str());
    verdict.require(!has_twins(names), "containers", "container names are unique");
    for (index, container) in pod.containers.iter().enumerate() {
        judge_container(&mut verdict, &format!("containers({index})"), container, pod, features);
    }
    verdict.add_all("networks", network::errors(&pod.networks));
    verdict.require(!pod.networks.iter().any(network::is_unnamed), "networks", network::NAME_MISSING);
    judge_scheduling(&mut verdict, pod, said);
    judge_roles(&mut verdict, pod, roles, context);
    judge_endpoints(&mut verdict, pod);
    if let Some(info) = &pod.linux_info {
        verdict.require(info.seccomp.is_none(), "linuxInfo/seccomp", "is not allowed on the level of a pod");
        judge_linux_info(&mut verdict, "linuxInfo", info);
    }
    verdict.finish()
}

fn judge_user(verdict: &mut Verdict, path: &str, user: Option<&str>) {
    verdict.require(user != Some(""), path, "must not be empty");
}

/// Rules 226 and 227.
fn judge_env(
    verdict: &mut Verdict,
    path: &str,
    env: &BTreeMap<String, EnvValue>,
    pod: &Pod,
    features: &BTreeSet<String>,
) {
    for (name, value) in env {
        let EnvValue::Secret(key) = value else { continue };
        verdict.require(
            features.contains(SECRETS),
            path,
            "use of secret-references in the environment requires the secrets feature to be enabled",
        );
        let at = format!("{path}/{name}/secret");
        verdict.require(pod.secrets.contains_key(key), &at, "references an undefined secret");
    }
}

/// Rule 282, and what volumes of each kind must hold to.
fn judge_volumes(verdict: &mut Verdict, pod: &Pod, features: &BTreeSet<String>) {
    let names = pod.volumes.iter().map(|volume| volume.name.as_str());
    verdict.require(!has_twins(names), "volumes", "volume names are unique");
    let mounts = pod.containers.iter().flat_map(|container| &container.volume_mounts);
    let mounted: BTreeSet<&str> = mounts.map(|mount| mount.name.as_str()).collect();
    for (index, volume) in pod.volumes.iter().enumerate() {
        let path = format!("volumes({index})");
        verdict.require(
            mounted.contains(volume.name.as_str()),
            &path,
            "volume must be referenced by at least one container",
        );
        match &volume.source {
            VolumeSource::Host(host) => {
                verdict.require(!host.is_empty(), &format!("{path}/host"), "must not be empty");
            }
            VolumeSource::Persistent(persistent) => {
                judge_persistent(verdict, &format!("{path}/persistent"), persistent);
            }
            VolumeSource::Secret(key) => {
                verdict.require(features.contains(SECRETS), &path, feature_error(SECRETS));
                verdict.require(
                    pod.secrets.contains_key(key),
                    &path,
                    "volume.secret must refer to an existing secret",
                );
            }
            VolumeSource::Ephemeral | VolumeSource::External(_) => {}
        }
    }
}

fn judge_container(
    verdict: &mut Verdict,
    path: &str,
    container: &PodContainer,
    pod: &Pod,
    features: &BTreeSet<String>,
) {
    judge_user(verdict, &format!("{path}/user"), container.user.as_deref());
    judge_env(verdict, &format!("{path}/environment"), &container.environment, pod, features);
    for (index, endpoint) in container.endpoints.iter().enumerate() {
        judge_endpoint(verdict, &format!("{path}/endpoints({index})"), endpoint, pod);
    }
    // Rule 289.
    verdict.require(
        container.resources.gpus == 0 || features.contains(GPU_RESOURCES),
        &format!("{path}/resources/gpus"),
        feature_error(GPU_RESOURCES),
    );
    if let Some(limits) = &container.resource_limits {
        let at = format!("{path}/resourceLimits");
        judge_limits(verdict, &at, limits, &container.resources);
        verdict.require(
            pod.legacy_shared_cgroups != Some(true),
            &at,
            "resource limits cannot be used together with legacySharedCgroups",
        );
    }
    if let Some(info) = &container.linux_info {
        judge_linux_info(verdict, &format!("{path}/linuxInfo"), info);
    }
    if let Some(pull) = container.image.as_ref().and_then(|image| image.pull_config.as_ref()) {
        let at = format!("{path}/image/pullConfig");
        verdict.require(features.contains(SECRETS), &at, feature_error(SECRETS));
        verdict.require(
            pod.secrets.contains_key(&pull.secret),
            &at,
            "pullConfig.secret must refer to an existing secret",
        );
    }
    if let Some(check) = &container.health_check {
        let at = format!("{path}/healthCheck");
        judge_target(verdict, &at, &check.target, container);
        // Rule 147.
        let (timeout, interval) = (check.timeout.as_secs(), check.interval.as_secs());
        verdict.require(
            timeout < interval,
            &format!("{at}/timeoutSeconds"),
            format!("got {timeout}, expected less than {interval}"),
        );
    }
    if let Some(check) = &container.check {
        judge_target(verdict, &format!("{path}/check"), &check.target, container);
    }
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        verdict.require(
            pod.volumes.iter().any(|volume| volume.name == mount.name),
            &format!("{path}/volumeMounts({index})/name"),
            "Referenced Volume in VolumeMount should exist",
        );
    }
    for (index, artifact) in container.artifacts.iter().enumerate() {
        verdict.require(is_uri(&artifact.uri), &format!("{path}/artifacts({index})/uri"), NO_URI);
    }
}

fn judge_target(verdict: &mut Verdict, path: &str, target: &CheckTarget, container: &PodContainer) {
    let (kind, port) = match target {
        CheckTarget::Http { port, .. } => ("http", port),
        CheckTarget::Tcp { port } => ("tcp", port),
        CheckTarget::Command(_) => return,
    };
    let known = match port {
        Some(PortRef::Endpoint(name)) => container.endpoints.iter().any(|endpoint| endpoint.name == *name),
        _ => false,
    };
    verdict.require(known, &format!("{path}/{kind}/endpoint"), "contained in the container endpoints");
}

fn judge_endpoint(verdict: &mut Verdict, path: &str, endpoint: &Endpoint, pod: &Pod) {
    let at = format!("{path}/containerPort");
    if network::count(&pod.networks, NetworkMode::Host) > 0 {
        verdict.require(
            endpoint.container_port.is_none(),
            &at,
            "is not allowed when using host-mode networking",
        );
    }
    let containers = network::count(&pod.networks, NetworkMode::Container);
    if containers > 0 {
        verdict.require(
            endpoint.container_port.is_some(),
            &at,
            "is required when using container-mode networking",
        );
    }
    // Rule 224.
    if containers > 1 && endpoint.host_port.is_some() {
        verdict.require(
            endpoint.network_names.len() == 1,
            path,
            "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
        );
    }
    let names: Vec<&str> = pod.networks.iter().filter_map(|network| network.name.as_deref()).collect();
    for (index, name) in endpoint.network_names.iter().enumerate() {
        verdict.require(
            names.contains(&name.as_str()),
            &format!("{path}/networkNames({index})"),
            format!("is not one of ({})", names.join(",")),
        );
    }
}

/// Rule 281.
fn judge_endpoints(verdict: &mut Verdict, pod: &Pod) {
    let endpoints = || pod.containers.iter().flat_map(|container| &container.endpoints);
    verdict.require(!has_twins(endpoints().map(|e| e.name.as_str())), "", "Endpoint names are unique");
    let container = endpoints().filter_map(|endpoint| endpoint.container_port).filter(|port| *port != 0);
    verdict.require(!has_twins(container), "", "Container ports are unique");
    let host = endpoints().filter_map(|endpoint| endpoint.host_port).filter(|port| *port != 0);
    verdict.require(!has_twins(host), "", "Host ports are unique");
}

/// Rules 67, 169 and 178, and those of constraints.
fn judge_scheduling(verdict: &mut Verdict, pod: &Pod, said: &Said) {
    for (index, constraint) in pod.constraints.iter().enumerate() {
        if let Some(error) = constraint::error(constraint) {
            verdict.add(format!("scheduling/placement/constraints({index})"), error);
        }
    }
    if let Some(strategy) = said.unreachable {
        judge_unreachable(verdict, "scheduling/unreachableStrategy", strategy);
    }
    if !pod.is_resident() {
        return;
    }
    verdict.require(
        said.unreachable.is_none_or(|strategy| strategy == UnreachableStrategy::Disabled),
        "",
        "unreachableStrategy must be disabled for resident tasks",
    );
    if let Some(over) = said.upgrade.map(|upgrade| upgrade.maximum_over_capacity)
        && over != 0.0
    {
        verdict.add("scheduling/upgrade/maximumOverCapacity", format!("got {}, expected 0.0", shown(over)));
    }
}

/// Rules 157, 167 and 228 to 236.
fn judge_roles(verdict: &mut Verdict, pod: &Pod, roles: &Roles, context: &Context<'_>) {
    let role = pod.role.as_str();
    if !roles.allowed.contains(role) {
        let allowed: Vec<&str> = roles.allowed.iter().map(String::as_str).collect();
        verdict.add("role", format!("got {role}, expected one of: {}", allowed.join(", ")));
    }
    let resident = pod.is_resident();
    verdict.require(!resident || role != "*", "role", "Resident apps cannot have the role *");
    if let Some(current) = &roles.current
        && resident
        && current != role
        && !context.force
    {
        verdict.add(
            "role",
            format!(
                "Changing the role of a resident service from {current} to {role} leaves existing instances in their old \
                 role; use force to do it"
            ),
        );
    }
    let Some(accepted) = &pod.accepted_resource_roles else { return };
    let path = "scheduling/placement/acceptedResourceRoles";
    if accepted.iter().any(|accepted| accepted != "*" && accepted != role) {
        verdict.add(path, format!("acceptedResourceRoles can only contain * and {role}"));
    }
    if resident && !accepted.iter().eq(["*"]) {
        verdict.add(path, "A resident app must have `acceptedResourceRoles = [\"*\"]`.");
    }
}

/// Judges a change of a pod whose instances keep their volumes and places (rule 163). Other pods may change as they like.
pub fn judge_pod_change(from: &Pod, to: &Pod) -> Result<(), Invalid> {
    if !from.is_resident() && !to.is_resident() {
        return Ok(());
    }
    let mut verdict = Verdict::default();
    let kept = |pod: &Pod| -> BTreeMap<String, VolumeSource> {
        let kept = pod.volumes.iter().filter(|volume| matches!(volume.source, VolumeSource::Persistent(_)));
        kept.map(|volume| (volume.name.clone(), volume.source.clone())).collect()
    };
    let ports = |pod: &Pod| -> BTreeSet<u16> {
        let endpoints = pod.containers.iter().flat_map(|container| &container.endpoints);
        endpoints.filter_map(|endpoint| endpoint.host_port).collect()
    };
    verdict.require(kept(from) == kept(to), "", "Persistent volumes can not be changed!");
    verdict.require(
        from.resources() == to.resources() && ports(from) == ports(to),
        "",
        "Resident Tasks may not change resource requirements!",
    );
    verdict.finish()
}
