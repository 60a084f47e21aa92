//! The ports of an instance as all parts of its task see them.

use std::collections::BTreeMap;

use mezzo_services_model::{App, Endpoint, NetworkMode, Pod, PortRef, Protocols};
use rand_core::Rng;

/// The lowest number that is made up for a port inside a container (rule 199).
const MADE_UP_MIN: u16 = 1025;
/// Tries to make up a number that is not taken: of tens of thousands a handful is.
const MADE_UP_TRIES: usize = 64;

/// One port of an instance.
#[derive(Clone, Debug)]
pub(super) struct Port<'a> {
    /// Its name.
    pub(super) name: Option<&'a str>,
    /// The number in the definition: inside the container, or on the agent; 0 is any.
    pub(super) requested: u16,
    /// On the agent.
    pub(super) host: Option<u16>,
    /// Inside the container, where that differs from the agent.
    pub(super) container: Option<u16>,
    /// Whether the number inside was made up.
    pub(super) made_up: bool,
    pub(super) protocols: Protocols,
    pub(super) labels: &'a BTreeMap<String, String>,
    /// On which networks; all when empty.
    pub(super) networks: &'a [String],
}

impl Port<'_> {
    /// The number that the instance's variables tell (rules 196 to 199).
    pub(super) fn told(&self) -> u16 {
        self.host.or(self.container).unwrap_or(self.requested)
    }

    /// Where the instance listens: checks of the agent prefer this one (rule 138).
    pub(super) fn inside(&self) -> u16 {
        self.container.or(self.host).unwrap_or(self.requested)
    }
}

/// The ports of an app with what they got on the agent.
pub(super) fn of_app<'a>(app: &'a App, host_ports: &[Option<u16>], rng: &mut dyn Rng) -> Vec<Port<'a>> {
    let host = |i: usize| host_ports.get(i).copied().flatten();
    if app.is_on_host_network() {
        let definitions = app.port_definitions.iter().enumerate();
        return definitions
            .map(|(i, definition)| Port {
                name: definition.name.as_deref(),
                requested: definition.port,
                host: host(i),
                container: None,
                made_up: false,
                protocols: definition.protocols,
                labels: &definition.labels,
                networks: &[],
            })
            .collect();
    }
    let mappings: Vec<_> = app.container.iter().flat_map(|container| &container.port_mappings).collect();
    let mut taken: Vec<u16> = mappings.iter().map(|mapping| mapping.container_port).collect();
    taken.extend(host_ports.iter().flatten());
    let port = |(i, mapping): (usize, &&'a mezzo_services_model::PortMapping)| {
        // Rule 217.
        let (container, made_up) = match (mapping.container_port, host(i)) {
            (0, Some(host)) => (host, false),
            (0, None) => (make_up(&mut taken, rng), true),
            (container, _) => (container, false),
        };
        Port {
            name: mapping.name.as_deref(),
            requested: mapping.container_port,
            host: host(i),
            container: Some(container),
            made_up,
            protocols: mapping.protocols,
            labels: &mapping.labels,
            networks: &mapping.network_names,
        }
    };
    mappings.iter().enumerate().map(port).collect()
}

/// The ports of a pod, by container.
pub(super) fn of_pod<'a>(
    pod: &'a Pod,
    host_ports: &[&[Option<u16>]],
    rng: &mut dyn Rng,
) -> Vec<Vec<Port<'a>>> {
    let on_host = is_on_host_network(pod);
    let endpoints = || pod.containers.iter().flat_map(|container| &container.endpoints);
    let mut taken: Vec<u16> = endpoints().filter_map(|endpoint| endpoint.container_port).collect();
    taken.extend(host_ports.iter().copied().flatten().flatten());
    let mut port = |endpoint: &'a Endpoint, host: Option<u16>| {
        let (container, made_up) = match (on_host, endpoint.container_port, host) {
            (true, ..) => (None, false),
            (false, None | Some(0), Some(host)) => (Some(host), false),
            (false, None | Some(0), None) => (Some(make_up(&mut taken, rng)), true),
            (false, container, _) => (container, false),
        };
        Port {
            name: Some(&endpoint.name),
            requested: if on_host { endpoint.host_port } else { endpoint.container_port }.unwrap_or(0),
            host,
            container,
            made_up,
            protocols: endpoint.protocols,
            labels: &endpoint.labels,
            networks: &endpoint.network_names,
        }
    };
    let containers = pod.containers.iter().enumerate();
    containers
        .map(|(i, container)| {
            let host = |j: usize| host_ports.get(i).and_then(|ports| ports.get(j).copied().flatten());
            container.endpoints.iter().enumerate().map(|(j, endpoint)| port(endpoint, host(j))).collect()
        })
        .collect()
}

/// Whether a pod is on the agents' own network.
pub(super) fn is_on_host_network(pod: &Pod) -> bool {
    pod.networks.iter().all(|network| network.mode == NetworkMode::Host)
}

fn make_up(taken: &mut Vec<u16>, rng: &mut dyn Rng) -> u16 {
    let span = u32::from(u16::MAX - MADE_UP_MIN) + 1;
    let mut draw = || MADE_UP_MIN + u16::try_from(rng.next_u32() % span).unwrap_or(0);
    let mut port = draw();
    for _ in 0..MADE_UP_TRIES {
        if !taken.contains(&port) {
            break;
        }
        port = draw();
    }
    taken.push(port);
    port
}

/// The number that a check looks at: without a reference, the first.
pub(super) fn referred(reference: Option<&PortRef>, ports: &[Port<'_>]) -> Option<u16> {
    match reference {
        Some(PortRef::Number(port)) => Some(*port),
        Some(PortRef::Index(index)) => ports.get(*index).map(Port::inside),
        Some(PortRef::Endpoint(name)) => ports.iter().find(|port| port.name == Some(name)).map(Port::inside),
        None => ports.first().map(Port::inside),
    }
}
