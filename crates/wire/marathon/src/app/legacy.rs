//! Old forms of apps: which may stand beside new ones, and what they become.

use mezzo_services_model::{Engine, HealthProtocol, Network, NetworkMode, PortMapping, PortRef};

use crate::{
    Invalid,
    part::{
        fetch::{NO_URI, is_uri, of_uri},
        port::{self, bare_definition, bare_mapping, has_twins},
    },
    verdict::Verdict,
};

use super::document::{AppDocument, ContainerDocument, DockerNetwork};

/// Judges old forms before they are rewritten.
pub(crate) fn judge(app: &AppDocument) -> Result<(), Invalid> {
    let mut verdict = Verdict::default();
    let docker = app.container.as_ref().and_then(|container| container.docker.as_ref());
    let engine = app.container.as_ref().map(|container| container.engine);
    if let Some(docker) = docker {
        let empty = |verdict: &mut Verdict, holds: bool, field: &str| {
            verdict.require(holds, &format!("container/docker/{field}"), "must be empty");
        };
        empty(&mut verdict, !docker.credential, "credential");
        if engine == Some(Engine::Mesos) {
            empty(&mut verdict, docker.network.is_none(), "network");
            empty(&mut verdict, docker.parameters.is_empty(), "parameters");
            empty(&mut verdict, docker.port_mappings.is_none(), "portMappings");
        }
        if let Some(mappings) = &docker.port_mappings {
            verdict.add_all("container/docker/portMappings", port::mapping_errors(mappings));
        }
    }
    if engine == Some(Engine::Docker) && app.ip_address.as_ref().is_some_and(|ip| ip.discovery.is_some()) {
        verdict.add("ipAddress", "ipAddress/discovery is not allowed for Docker containers");
    }
    let has_networks = app.networks.as_ref().is_some_and(|networks| !networks.is_empty());
    for (index, uri) in app.uris.iter().flatten().enumerate() {
        verdict.require(is_uri(uri), &format!("uris({index})"), NO_URI);
    }
    let has_uris = app.uris.as_ref().is_some_and(|uris| !uris.is_empty());
    if has_uris && app.fetch.as_ref().is_some_and(|fetch| !fetch.is_empty()) {
        verdict.add("uris", "may not be set in conjunction with fetch");
    }
    if docker.is_some_and(|docker| docker.network.is_some()) && has_networks {
        verdict.add("", "must not specify both container.docker.network and networks");
    }
    if app.ip_address.is_some() && has_networks {
        verdict.add("", "must not specify both networks and ipAddress");
    }
    judge_ports(app, &mut verdict);
    let on_host = |networks: &Vec<Network>| networks.iter().any(|network| network.mode == NetworkMode::Host);
    let mappings = app.container.as_ref().and_then(|container| container.port_mappings.as_ref());
    if app.networks.as_ref().is_some_and(on_host) && mappings.is_some_and(|mappings| !mappings.is_empty()) {
        verdict.add("", "portMappings are not allowed with host-networking");
    }
    verdict.finish()
}

/// Judges what may not stand in a change of a definition, though a whole definition may have it.
pub(crate) fn judge_update(app: &AppDocument) -> Result<(), Invalid> {
    let mut verdict = Verdict::default();
    let mut networks = app.networks.iter().flatten();
    let has_definitions = app.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty());
    if has_definitions && networks.any(|network| network.mode != NetworkMode::Host) {
        verdict.add("", "portDefinitions are only allowed with host-networking");
    }
    if app.version.is_some() {
        let alone = AppDocument { id: app.id.clone(), version: app.version, ..AppDocument::default() };
        verdict.require(*app == alone, "", "The 'version' field may only be combined with the 'id' field.");
    }
    verdict.finish()
}

fn judge_ports(app: &AppDocument, verdict: &mut Verdict) {
    let ports = app.ports.as_deref().unwrap_or_default();
    if has_twins(ports.iter().filter(|port| **port != 0)) {
        verdict.add("", "ports must be unique");
    }
    let has_definitions = app.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty());
    if app.ip_address.is_some() && (has_definitions || !ports.is_empty()) {
        verdict.add("", "cannot specify both an IP address and port");
    }
    if let (Some(ports), Some(definitions)) = (&app.ports, &app.port_definitions)
        && !definitions.iter().map(|definition| definition.port).eq(ports.iter().copied())
    {
        verdict.add("", "cannot specify both ports and port definitions");
    }
}

fn refused<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Argument(message.into()))
}

/// Rewrites old forms of a part of a definition, which is merged with a stored one before it gets its defaults.
pub(crate) fn rewrite_update(app: &mut AppDocument, bridge: &str) -> Result<(), Invalid> {
    rewrite_uris(app)?;
    let networks = networks(app, bridge)?;
    if let Some(mut container) = container(app) {
        move_docker_mappings(&mut container)?;
        move_discovery(&mut container, app)?;
        app.container = Some(container);
    }
    app.networks = networks;
    app.ip_address = None;
    if app.port_definitions.is_none()
        && let Some(ports) = app.ports.take()
    {
        app.port_definitions = Some(ports.into_iter().map(|port| bare_definition(port, None)).collect());
    }
    app.ports = None;
    if let Some(checks) = &mut app.health_checks {
        for check in checks.iter_mut().filter(|check| check.protocol != HealthProtocol::Command) {
            check.port.get_or_insert(PortRef::Index(0));
        }
    }
    Ok(())
}

/// Rewrites old forms of a whole definition, and gives it the ports that it has when it names none.
pub(crate) fn rewrite(app: &mut AppDocument, bridge: &str) -> Result<(), Invalid> {
    rewrite_uris(app)?;
    let networks = networks(app, bridge)?.unwrap_or_default();
    let off_host = networks.iter().any(|network| network.mode != NetworkMode::Host);
    let had_definitions = app.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty());
    let ports = app.ports.take();
    let definitions = app
        .port_definitions
        .take()
        .or_else(|| ports.map(|ports| ports.into_iter().map(|port| bare_definition(port, None)).collect()));
    let declared = definitions.as_ref().map_or(0, Vec::len);
    if let Some(mut container) = container(app) {
        move_docker_mappings(&mut container)?;
        move_discovery(&mut container, app)?;
        rewrite_mappings(&mut container, off_host, declared);
        app.container = Some(container);
    }
    app.port_definitions = match off_host {
        true => None,
        false => Some(definitions.unwrap_or_else(|| vec![bare_definition(0, Some(port::DEFAULT_NAME))])),
    };
    let mapped = app.container.as_ref().is_some_and(|container| {
        container.port_mappings.as_ref().is_some_and(|mappings| !mappings.is_empty())
    });
    // An app that declares no port at all has none that could be checked (rule.health.portIndex). What `ports` said and the
    // default port do not count here, but then there is one port at most, which is looked at without its number.
    if had_definitions || mapped {
        for check in app.health_checks.iter_mut().flatten() {
            if check.protocol != HealthProtocol::Command {
                check.port.get_or_insert(PortRef::Index(0));
            }
        }
    }
    app.networks = Some(networks);
    app.ip_address = None;
    Ok(())
}

fn rewrite_uris(app: &mut AppDocument) -> Result<(), Invalid> {
    let uris = app.uris.take().unwrap_or_default();
    if uris.is_empty() {
        return Ok(());
    }
    if app.fetch.as_ref().is_some_and(|fetch| !fetch.is_empty()) {
        return refused("cannot specify both uris and fetch fields");
    }
    app.fetch = Some(uris.into_iter().map(of_uri).collect());
    Ok(())
}

/// The container, or an empty one where an address is asked for.
fn container(app: &mut AppDocument) -> Option<ContainerDocument> {
    app.container.take().or_else(|| app.ip_address.as_ref().map(|_| ContainerDocument::empty()))
}

/// The networks that old and new forms ask for; nothing where nothing was said.
fn networks(app: &AppDocument, bridge: &str) -> Result<Option<Vec<Network>>, Invalid> {
    let docker = app.container.as_ref().and_then(|container| container.docker.as_ref());
    let mode = docker.and_then(|docker| docker.network);
    let network = |mode, name: Option<String>| Network { mode, name, labels: Default::default() };
    let one = match (&app.ip_address, mode) {
        (_, Some(DockerNetwork::None)) => {
            return refused("the Docker network mode NONE is not supported");
        }
        (Some(ip), mode) => {
            let is_bridge = match mode {
                Some(DockerNetwork::Host) => return Ok(Some(vec![Network::host()])),
                Some(DockerNetwork::Bridge) => true,
                Some(DockerNetwork::User) => false,
                _ => ip.network_name.as_deref() == Some(bridge),
            };
            let mut network = match is_bridge {
                true => network(NetworkMode::Bridge, None),
                false => network(NetworkMode::Container, ip.network_name.clone()),
            };
            network.labels.clone_from(&ip.labels);
            network
        }
        (None, Some(DockerNetwork::Host)) => Network::host(),
        (None, Some(DockerNetwork::Bridge)) => network(NetworkMode::Bridge, None),
        (None, Some(DockerNetwork::User)) => network(NetworkMode::Container, None),
        (None, None) => return Ok(app.networks.clone()),
    };
    Ok(Some(vec![one]))
}

/// Mappings that stand with the image move to the container; the image's network is done with.
fn move_docker_mappings(container: &mut ContainerDocument) -> Result<(), Invalid> {
    let Some(docker) = &mut container.docker else { return Ok(()) };
    docker.network = None;
    let Some(old) = docker.port_mappings.take() else { return Ok(()) };
    match &container.port_mappings {
        Some(_) if !old.is_empty() => refused("cannot specify both portMappings and docker.portMappings"),
        Some(_) => Ok(()),
        None => {
            container.port_mappings = Some(old);
            Ok(())
        }
    }
}

/// Ports for discovery become mappings without a port on the agent.
fn move_discovery(container: &mut ContainerDocument, app: &AppDocument) -> Result<(), Invalid> {
    let ports = app.ip_address.as_ref().and_then(|ip| ip.discovery.as_ref());
    let Some(ports) = ports.filter(|ports| !ports.is_empty()) else { return Ok(()) };
    if container.engine == Engine::Docker {
        return refused("ipAddress.discovery.ports do not apply for container type DOCKER");
    }
    if container.port_mappings.is_some() {
        return refused("container.portMappings and ipAddress.discovery.ports must not both be set");
    }
    container.port_mappings = Some(ports.clone());
    Ok(())
}

/// On the host's network there are no mappings, elsewhere as many as ports are declared, and one by default.
fn rewrite_mappings(container: &mut ContainerDocument, off_host: bool, declared: usize) {
    if !off_host {
        container.port_mappings = None;
        return;
    }
    let mappings: &mut Vec<PortMapping> =
        container.port_mappings.get_or_insert_with(|| vec![bare_mapping(Some(port::DEFAULT_NAME))]);
    while mappings.len() < declared {
        mappings.push(bare_mapping(None));
    }
}
