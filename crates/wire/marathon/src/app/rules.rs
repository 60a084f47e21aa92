//! What the definition of an app must hold to, once it is in its new form.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{
    AppHealthCheck, AppVolume, CheckTarget, Engine, HealthProtocol, NetworkMode, PathId, PortMapping,
    PortRef, ReadMode, Resources, UnreachableStrategy, VolumeSource,
};

use crate::{
    Invalid,
    part::{
        constraint,
        container::judge_linux_info,
        env::{self, SECRETS, feature_error},
        fetch::{NO_URI, is_uri},
        name::path_errors,
        network, port,
        resource::judge_limits,
        strategy::{judge_unreachable, shown},
        volume::{CSI, judge_persistent},
    },
    settings::{Context, Roles},
    verdict::Verdict,
};

use super::document::{AppDocument, ContainerDocument, DockerDocument};

const EXTERNAL_VOLUMES: &str = "external_volumes";
const GPU_RESOURCES: &str = "gpu_resources";

/// Judges a definition in its new form, whose id is `id`.
pub(crate) fn judge(
    app: &AppDocument,
    id: &PathId,
    dependencies: &[PathId],
    roles: &Roles,
    context: &Context<'_>,
) -> Result<(), Invalid> {
    let features = &context.settings.features;
    let mut verdict = Verdict::default();
    verdict.add_all("id", path_errors(id));
    verdict.require(!id.is_root(), "", "must not be root");
    for (index, dependency) in dependencies.iter().enumerate() {
        if !dependency.is_root() {
            verdict.add_all(&format!("dependencies({index})"), path_errors(dependency));
        }
    }
    let secrets = app.secrets.as_ref().unwrap_or(const { &BTreeMap::new() });
    if let Some(container) = &app.container {
        judge_container(&mut verdict, container, app, secrets, features);
    }
    verdict.add_all(
        "portDefinitions",
        port::definition_errors(app.port_definitions.as_deref().unwrap_or_default()),
    );
    judge_command(&mut verdict, app);
    judge_checks(&mut verdict, app);
    for (index, artifact) in app.fetch.iter().flatten().enumerate() {
        verdict.require(is_uri(&artifact.uri), &format!("fetch({index})/uri"), NO_URI);
    }
    env::judge(&mut verdict, app.env.as_ref().unwrap_or(const { &BTreeMap::new() }), secrets, features);
    judge_roles(&mut verdict, app, roles, context);
    judge_resources(&mut verdict, app, features);
    judge_labels(&mut verdict, app);
    judge_strategies(&mut verdict, app);
    judge_networks(&mut verdict, app, context);
    for (index, texts) in app.constraints.iter().flatten().enumerate() {
        if let Err(error) = constraint::of_texts(texts) {
            verdict.add(format!("constraints({index})"), error);
        }
    }
    judge_external(&mut verdict, app, id);
    verdict.finish()
}

fn is_docker(app: &AppDocument) -> bool {
    app.container.as_ref().is_some_and(|container| container.engine == Engine::Docker)
}

fn volumes(app: &AppDocument) -> impl Iterator<Item = &AppVolume> {
    app.container.iter().flat_map(|container| &container.volumes)
}

/// Whether instances keep a volume.
pub(crate) fn is_resident(app: &AppDocument) -> bool {
    volumes(app).any(|volume| matches!(volume.source, VolumeSource::Persistent(_)))
}

/// Rules 286 to 288.
fn judge_command(verdict: &mut Verdict, app: &AppDocument) {
    if app.cmd.as_ref().is_some_and(|cmd| cmd.encode_utf16().count() <= 1) {
        verdict.add("", "must not be an empty string");
    }
    let (cmd, args) = (app.cmd.is_some(), app.args.as_ref().is_some_and(|args| !args.is_empty()));
    let image = app.container.as_ref().is_some_and(|container| container.docker.is_some());
    verdict.require(
        (cmd ^ args) || (!cmd && image),
        "",
        "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
    );
}

fn judge_container(
    verdict: &mut Verdict,
    container: &ContainerDocument,
    app: &AppDocument,
    secrets: &BTreeMap<String, String>,
    features: &BTreeSet<String>,
) {
    match (&container.docker, container.engine) {
        (None, Engine::Docker) => verdict.add("container/docker", "not defined"),
        (Some(docker), engine) => judge_image(verdict, docker, engine, secrets, features),
        (None, Engine::Mesos) => {}
    }
    if let Some(info) = &container.linux_info {
        if container.engine == Engine::Docker {
            verdict.add("container/linuxInfo", "linuxInfo is not supported with Docker containerizer");
        }
        judge_linux_info(verdict, "container/linuxInfo", info);
    }
    if let Some(mappings) = &container.port_mappings {
        judge_mappings(verdict, mappings, app);
    }
    let names = container.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::External(volume) => volume.name.as_deref(),
        _ => None,
    });
    verdict.require(!port::has_twins(names), "container/volumes", "Volume names must be unique");
    let mut secret_volumes = false;
    for (index, volume) in container.volumes.iter().enumerate() {
        let path = format!("container/volumes({index})");
        match &volume.source {
            VolumeSource::Persistent(persistent) => {
                judge_persistent_path(verdict, &path, volume);
                judge_persistent(verdict, &format!("{path}/persistent"), persistent);
            }
            VolumeSource::Secret(key) => {
                secret_volumes = true;
                verdict.require(
                    secrets.contains_key(key),
                    &path,
                    "volume.secret must refer to an existing secret",
                );
            }
            VolumeSource::External(_) => {
                judge_external_volume(verdict, &path, volume, container.engine, features)
            }
            VolumeSource::Host(_) | VolumeSource::Ephemeral => {}
        }
    }
    if secret_volumes && !features.contains(SECRETS) {
        let path = "container/secretVolumes(container)";
        verdict.add_all(path, ["must be empty".into(), feature_error(SECRETS)]);
    }
}

fn judge_image(
    verdict: &mut Verdict,
    docker: &DockerDocument,
    engine: Engine,
    secrets: &BTreeMap<String, String>,
    features: &BTreeSet<String>,
) {
    let Some(pull) = &docker.pull_config else { return };
    let path = "container/docker/pullConfig";
    if engine == Engine::Docker {
        verdict.add(path, "pullConfig is not supported with Docker containerizer");
        return;
    }
    if !features.contains(SECRETS) {
        verdict.add_all(path, ["must be empty".into(), feature_error(SECRETS)]);
    }
    verdict.require(
        secrets.contains_key(&pull.secret),
        path,
        "pullConfig.secret must refer to an existing secret",
    );
}

fn judge_mappings(verdict: &mut Verdict, mappings: &[PortMapping], app: &AppDocument) {
    verdict.add_all("container/portMappings", port::mapping_errors(mappings));
    let networks = app.networks.as_deref().unwrap_or_default();
    let names: Vec<&str> = networks.iter().filter_map(|network| network.name.as_deref()).collect();
    let several = network::count(networks, NetworkMode::Container) > 1;
    for (index, mapping) in mappings.iter().enumerate() {
        let path = format!("container/portMappings({index})");
        // Rule 224.
        if several && mapping.host_port.is_some() && mapping.network_names.len() != 1 {
            verdict.add(
                &path,
                "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
            );
        }
        for (index, name) in mapping.network_names.iter().enumerate() {
            verdict.require(
                names.contains(&name.as_str()),
                &format!("{path}/networkNames({index})"),
                format!("is not one of ({})", names.join(",")),
            );
        }
    }
}

/// Rule 166.
fn judge_persistent_path(verdict: &mut Verdict, path: &str, volume: &AppVolume) {
    let at = format!("{path}/containerPath");
    verdict.require(!is_dots(&volume.container_path), &at, "can not be one of (.,..)");
    verdict.require(!volume.container_path.contains('/'), &at, "value must not contain \"/\"");
    verdict.require(volume.mode == ReadMode::Rw, &format!("{path}/mode"), "got Ro, expected Rw");
}

fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

fn judge_external_volume(
    verdict: &mut Verdict,
    path: &str,
    volume: &AppVolume,
    engine: Engine,
    features: &BTreeSet<String>,
) {
    let VolumeSource::External(external) = &volume.source else { return };
    if !features.contains(EXTERNAL_VOLUMES) {
        verdict.add(path, feature_error(EXTERNAL_VOLUMES));
    }
    let at = format!("{path}/external");
    verdict.require(
        external.name.as_ref().is_some_and(|name| !name.is_empty()),
        &format!("{at}/name"),
        "not defined",
    );
    match external.provider.as_str() {
        "" => verdict.add(format!("{at}/provider"), "not defined"),
        "dvdi" => {}
        CSI => verdict.add(format!("{at}/provider"), "volumes of CSI plugins are not supported"),
        _ => verdict.add(format!("{at}/provider"), "is unknown provider"),
    }
    verdict.require(
        external.provider == CSI
            || external.options.get("dvdi/driver").is_some_and(|driver| !driver.is_empty()),
        &format!("{at}/options(\"dvdi/driver\")"),
        "not defined",
    );
    let container_path = format!("{path}/containerPath");
    verdict.require(!is_dots(&volume.container_path), &container_path, "can not be one of (.,..)");
    match engine {
        Engine::Docker => {
            verdict.require(
                external.options.keys().all(|key| key == "dvdi/driver"),
                &format!("{at}/options"),
                "must only contain dvdi/driver",
            );
            verdict.require(
                external.size.is_none(),
                &format!("{at}/size"),
                "must be undefined for Docker containers",
            );
            verdict.require(
                volume.container_path.starts_with('/'),
                &container_path,
                "value must be an absolute path",
            );
        }
        Engine::Mesos => {
            verdict.require(volume.mode == ReadMode::Rw, &format!("{path}/mode"), "got Ro, expected Rw");
        }
    }
}

/// What one app may have of external volumes (rules 67 and 293).
fn judge_external(verdict: &mut Verdict, app: &AppDocument, id: &PathId) {
    if !volumes(app).any(|volume| matches!(volume.source, VolumeSource::External(_))) {
        return;
    }
    verdict.require(
        app.instances.unwrap_or(1) <= 1,
        "",
        format!("Number of instances is limited to 1 when declaring DVDI volumes in app [{id}]"),
    );
    judge_over_capacity(verdict, app);
}

fn judge_over_capacity(verdict: &mut Verdict, app: &AppDocument) {
    if let Some(strategy) = app.upgrade_strategy
        && strategy.maximum_over_capacity != 0.0
    {
        let got = shown(strategy.maximum_over_capacity);
        verdict.add("upgradeStrategy/maximumOverCapacity", format!("got {got}, expected 0.0"));
    }
}

/// How many ports an app has that can be addressed by their place.
fn ports(app: &AppDocument) -> usize {
    let mappings = app.container.as_ref().and_then(|container| container.port_mappings.as_ref());
    match mappings {
        Some(mappings) => mappings.len(),
        None => app.port_definitions.as_ref().map_or(0, Vec::len),
    }
}

fn judge_checks(verdict: &mut Verdict, app: &AppDocument) {
    let ports = ports(app);
    let checks = app.health_checks.as_deref().unwrap_or_default();
    let docker = is_docker(app);
    for (index, check) in checks.iter().enumerate() {
        let path = format!("healthChecks({index})");
        // Rule 141.
        let addressed = match (&check.port, check.protocol.is_by_agent() || check.command.is_some()) {
            (_, true) | (Some(PortRef::Number(_) | PortRef::Endpoint(_)), false) => true,
            (Some(PortRef::Index(index)), false) => *index < ports,
            (None, false) => ports == 1,
        };
        verdict.require(
            addressed,
            &path,
            "Health check port indices must address an element of the ports array or container port mappings.",
        );
        // Rule 146.
        verdict.require(
            !check.ipv6 || (docker && is_by_agent_on_a_port(check)),
            &path,
            "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
        );
        verdict.require(
            check.protocol != HealthProtocol::Command || check.command.is_some(),
            &format!("{path}/command"),
            "not defined",
        );
    }
    // Rule 140.
    let by_agent = checks.iter().filter(|check| check.command.is_none() && check.protocol.is_by_agent());
    verdict.require(by_agent.count() <= 1, "", "AppDefinition can contain at most one Mesos health check");
    if let Some(check) = &app.check {
        // Rule 290.
        verdict.require(!docker, "check", "AppDefinition must not use check with the Docker engine");
        if let CheckTarget::Http { port: Some(PortRef::Index(index)), .. }
        | CheckTarget::Tcp { port: Some(PortRef::Index(index)) } = &check.target
        {
            verdict.require(
                *index < ports,
                "check",
                "Check port indices must address an element of the ports array or container port mappings.",
            );
        }
    }
    judge_readiness(verdict, app);
}

fn is_by_agent_on_a_port(check: &AppHealthCheck) -> bool {
    check.protocol.is_by_agent() && check.protocol != HealthProtocol::Command
}

/// Rule 151.
fn judge_readiness(verdict: &mut Verdict, app: &AppDocument) {
    let checks = app.readiness_checks.as_deref().unwrap_or_default();
    if checks.len() > 1 {
        verdict.add("readinessChecks/size", format!("got {}, expected 1 or less", checks.len()));
    }
    let mappings = app.container.as_ref().and_then(|container| container.port_mappings.as_ref());
    let names: BTreeSet<&str> = match mappings {
        Some(mappings) => mappings.iter().filter_map(|port| port.name.as_deref()).collect(),
        None => app.port_definitions.iter().flatten().filter_map(|port| port.name.as_deref()).collect(),
    };
    for (index, check) in checks.iter().enumerate() {
        verdict.require(
            names.contains(check.port_name.as_str()),
            &format!("readinessChecks({index})/portName"),
            format!("No port definition reference for portName {}", check.port_name),
        );
        let (timeout, interval) = (check.timeout.as_secs(), check.interval.as_secs());
        verdict.require(
            timeout < interval,
            &format!("readinessChecks({index})/timeoutSeconds"),
            format!("got {timeout}, expected less than {interval}"),
        );
    }
}

/// Rules 157, 167 and 228 to 236.
fn judge_roles(verdict: &mut Verdict, app: &AppDocument, roles: &Roles, context: &Context<'_>) {
    let role = app.role.as_deref().unwrap_or(&roles.default);
    if !roles.allowed.contains(role) {
        let allowed: Vec<&str> = roles.allowed.iter().map(String::as_str).collect();
        verdict.add("role", format!("got {role}, expected one of: {}", allowed.join(", ")));
    }
    let resident = is_resident(app);
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
    let Some(accepted) = &app.accepted_resource_roles else { return };
    let path = "acceptedResourceRoles";
    verdict.require(!accepted.is_empty(), path, "must not be empty");
    if accepted.iter().any(|accepted| accepted != "*" && accepted != role) {
        verdict.add(path, format!("acceptedResourceRoles can only contain * and {role}"));
    }
    if resident && !accepted.iter().eq(["*"]) {
        verdict.add(path, "A resident app must have `acceptedResourceRoles = [\"*\"]`.");
    }
}

fn judge_resources(verdict: &mut Verdict, app: &AppDocument, features: &BTreeSet<String>) {
    // Rule 289.
    if app.gpus.is_some_and(|gpus| gpus > 0) {
        verdict.require(!is_docker(app), "", "GPU resources only work with the Mesos containerizer");
        verdict.require(features.contains(GPU_RESOURCES), "", feature_error(GPU_RESOURCES));
    }
    if let Some(limits) = &app.resource_limits {
        judge_limits(verdict, "resourceLimits", limits, &resources(app));
    }
}

/// What an instance needs, with the defaults for what was not said.
pub(crate) fn resources(app: &AppDocument) -> Resources {
    Resources {
        cpus: app.cpus.unwrap_or(1.0),
        mem: app.mem.unwrap_or(128.0),
        disk: app.disk.unwrap_or(0.0),
        gpus: app.gpus.unwrap_or(0),
    }
}

/// Rules 68 and 294.
fn judge_labels(verdict: &mut Verdict, app: &AppDocument) {
    let label = |name| app.labels.as_ref().and_then(|labels| labels.get(name)).map_or("", String::as_str);
    let version = label("DCOS_MIGRATION_API_VERSION");
    let complete = version == "v1"
        && !label("DCOS_PACKAGE_FRAMEWORK_NAME").is_empty()
        && !label("DCOS_MIGRATION_API_PATH").is_empty();
    verdict.require(
        version.is_empty() || complete,
        "",
        "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION",
    );
    if label("MARATHON_SINGLE_INSTANCE_APP") != "true" {
        return;
    }
    verdict.require(app.instances.unwrap_or(1) <= 1, "", "Single instance app may only have one instance");
    if let Some(strategy) = app.upgrade_strategy {
        judge_over_capacity(verdict, app);
        if strategy.minimum_health_capacity != 0.0 {
            let got = shown(strategy.minimum_health_capacity);
            verdict.add("upgradeStrategy/minimumHealthCapacity", format!("got {got}, expected 0.0"));
        }
    }
}

/// Rules 67, 169 and 178.
fn judge_strategies(verdict: &mut Verdict, app: &AppDocument) {
    if is_resident(app) {
        judge_over_capacity(verdict, app);
        verdict.require(
            app.unreachable_strategy.is_none_or(|strategy| strategy == UnreachableStrategy::Disabled),
            "",
            "unreachableStrategy must be disabled for resident tasks",
        );
    }
    if let Some(strategy) = app.unreachable_strategy {
        judge_unreachable(verdict, "unreachableStrategy", strategy);
    }
}

/// Rules 221 to 223.
fn judge_networks(verdict: &mut Verdict, app: &AppDocument, context: &Context<'_>) {
    let networks = app.networks.as_deref().unwrap_or_default();
    verdict.add_all("networks", network::errors(networks));
    verdict.require(
        context.settings.network.is_some() || !networks.iter().any(network::is_unnamed),
        "networks",
        network::NAME_MISSING,
    );
    verdict.require(
        !is_docker(app) || network::count(networks, NetworkMode::Container) <= 1,
        "",
        "may only specify a single container network when using the Docker container engine",
    );
}
