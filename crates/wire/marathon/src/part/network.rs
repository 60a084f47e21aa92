//! Networks of apps and pods.

use mezzo_services_model::{Network, NetworkMode};

use crate::json::{At, Fields};

use super::name::is_network_name;

/// What a container network that nobody names is answered with.
pub(crate) const NAME_MISSING: &str = "Network name must be specified when container network is selected.";

/// One network; the name of a container network may yet be missing.
pub(crate) fn read_network(at: At<'_>) -> Option<Network> {
    let modes = [
        ("container", NetworkMode::Container),
        ("container/bridge", NetworkMode::Bridge),
        ("host", NetworkMode::Host),
    ];
    at.object(|o: &Fields<'_>| {
        Some(Network {
            mode: o.read("mode", |at| at.word(&modes)).unwrap_or(NetworkMode::Container),
            name: o.read("name", |at| at.pattern(is_network_name)),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
        })
    })
}

/// Container networks without a name get the default one.
pub(crate) fn name_networks(networks: &mut [Network], default: Option<&str>) {
    for network in networks {
        if network.mode == NetworkMode::Container && network.name.is_none() {
            network.name = default.map(String::from);
        }
    }
}

pub(crate) fn is_unnamed(network: &Network) -> bool {
    network.mode == NetworkMode::Container && network.name.is_none()
}

/// How many networks there are of a kind.
pub(crate) fn count(networks: &[Network], mode: NetworkMode) -> usize {
    networks.iter().filter(|network| network.mode == mode).count()
}

/// Rules 221 and 222.
pub(crate) fn errors(networks: &[Network]) -> Vec<&'static str> {
    let mut errors = Vec::new();
    let of = |mode| networks.iter().filter(move |network| network.mode == mode);
    if of(NetworkMode::Host).any(|network| network.name.is_some() || !network.labels.is_empty()) {
        errors.push("Host networks may not have names or labels");
    }
    if of(NetworkMode::Bridge).any(|network| network.name.is_some()) {
        errors.push("Bridge networks may not have names");
    }
    let mut names: Vec<&str> = networks.iter().filter_map(|network| network.name.as_deref()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || networks.iter().filter(|network| is_unnamed(network)).count() > 1 {
        errors.push("Duplicate networks are not allowed");
    }
    let (host, bridge, container) = (
        count(networks, NetworkMode::Host),
        count(networks, NetworkMode::Bridge),
        count(networks, NetworkMode::Container),
    );
    if !matches!((host, bridge, container), (0 | 1, 0, 0) | (0, 1, 0) | (0, 0, _)) {
        errors.push(
            "May specify a single host network, single bridge network, or else 1-to-n container networks",
        );
    }
    errors
}
