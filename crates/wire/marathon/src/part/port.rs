//! Ports of apps.

use std::collections::BTreeSet;

use mezzo_services_model::{PortDefinition, PortMapping, Protocols};

use crate::json::At;

use super::name::{is_legacy_name, is_name};

/// The name of the port that apps get which declare none.
pub(crate) const DEFAULT_NAME: &str = "default";

pub(crate) fn read_protocol(at: At<'_>) -> Option<Protocols> {
    at.word(&[
        ("tcp", Protocols { tcp: true, udp: false }),
        ("udp", Protocols { tcp: false, udp: true }),
        ("udp,tcp", Protocols { tcp: true, udp: true }),
    ])
}

pub(crate) fn read_port_definition(at: At<'_>) -> Option<PortDefinition> {
    at.object(|o| {
        Some(PortDefinition {
            port: o.read("port", |at| at.port()).unwrap_or(0),
            name: o.read("name", |at| at.pattern(is_legacy_name)),
            protocols: o.read("protocol", read_protocol).unwrap_or(Protocols::TCP),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
        })
    })
}

/// A host port with nothing but its number.
pub(crate) fn bare_definition(port: u16, name: Option<&str>) -> PortDefinition {
    PortDefinition {
        port,
        name: name.map(String::from),
        protocols: Protocols::TCP,
        labels: Default::default(),
    }
}

/// A mapping with all defaults.
pub(crate) fn bare_mapping(name: Option<&str>) -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: None,
        service_port: 0,
        name: name.map(String::from),
        protocols: Protocols::TCP,
        labels: Default::default(),
        network_names: Vec::new(),
    }
}

pub(crate) fn read_port_mapping(at: At<'_>) -> Option<PortMapping> {
    at.object(|o| {
        Some(PortMapping {
            container_port: o.read("containerPort", |at| at.port()).unwrap_or(0),
            host_port: o.read("hostPort", |at| at.port()),
            service_port: o.read("servicePort", |at| at.port()).unwrap_or(0),
            name: o.read("name", |at| at.pattern(is_legacy_name)),
            protocols: o.read("protocol", read_protocol).unwrap_or(Protocols::TCP),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
            network_names: o.read("networkNames", |at| at.list(|at| at.pattern(is_name))).unwrap_or_default(),
        })
    })
}

/// Whether a value stands twice.
pub(crate) fn has_twins<T: Ord>(values: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    values.into_iter().any(|value| !seen.insert(value))
}

/// Rule 216 for ports on the host.
pub(crate) fn definition_errors(ports: &[PortDefinition]) -> Vec<&'static str> {
    let mut errors = Vec::new();
    if has_twins(ports.iter().filter_map(|port| port.name.as_deref())) {
        errors.push("Port names must be unique.");
    }
    if has_twins(ports.iter().map(|port| port.port).filter(|port| *port != 0)) {
        errors.push("Ports must be unique.");
    }
    errors
}

/// Rule 216 for mappings.
pub(crate) fn mapping_errors(ports: &[PortMapping]) -> Vec<&'static str> {
    if has_twins(ports.iter().filter_map(|port| port.name.as_deref())) {
        vec!["Port names must be unique."]
    } else {
        Vec::new()
    }
}
