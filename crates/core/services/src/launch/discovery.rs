//! How an instance is found by others (rules 186 and 218 to 220).

use mezzo_mesos::v1::{self, discovery_info::Visibility};
use mezzo_services_model::{Network, NetworkMode, PathId};

use super::{parts::label, ports::Port};

/// Name and ports of a task.
pub(super) fn info(id: &PathId, ports: &[Port<'_>], networks: &[Network]) -> Box<v1::DiscoveryInfo> {
    let ports: Vec<v1::Port> = ports.iter().flat_map(|port| of(port, networks)).collect();
    Box::new(v1::DiscoveryInfo {
        visibility: Visibility::Framework.into(),
        name: Some(id.reversed()),
        ports: Some(v1::Ports { ports }),
        ..Default::default()
    })
}

fn of(port: &Port<'_>, networks: &[Network]) -> Vec<v1::Port> {
    let on_host = networks.iter().all(|network| network.mode == NetworkMode::Host);
    let mut scopes: Vec<(u16, Vec<v1::Label>)> = Vec::new();
    match port.host {
        _ if on_host => scopes.push((port.told(), Vec::new())),
        Some(host) => scopes.push((host, vec![label("network-scope", "host")])),
        None => {
            let names = networks.iter().filter_map(|network| network.name.as_ref());
            let names: Vec<&String> =
                names.filter(|name| port.networks.is_empty() || port.networks.contains(name)).collect();
            let scope = || label("network-scope", "container");
            if names.is_empty() {
                scopes.push((port.inside(), vec![scope()]));
            }
            for name in names {
                scopes.push((port.inside(), vec![scope(), label("network-name", name.as_str())]));
            }
        }
    }
    let mut all = Vec::new();
    for (number, scope) in scopes {
        let mut labels: Vec<v1::Label> =
            port.labels.iter().map(|(key, value)| label(key.as_str(), value.as_str())).collect();
        labels.extend(scope);
        let labels = (!labels.is_empty()).then_some(v1::Labels { labels });
        // A port of a pod may say nothing about protocols; then nothing is said here.
        let protocols: Vec<Option<&str>> = match port.protocols.names().map(Some).collect::<Vec<_>>() {
            none if none.is_empty() => vec![None],
            some => some,
        };
        for protocol in protocols {
            all.push(v1::Port {
                number: number.into(),
                name: port.name.map(str::to_owned),
                protocol: protocol.map(str::to_owned),
                visibility: None,
                labels: labels.clone(),
            });
        }
    }
    all
}
