//! Ports of apps.

use std::collections::BTreeMap;

/// The protocols of a port. At least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// It takes TCP.
    pub tcp: bool,
    /// It takes UDP.
    pub udp: bool,
}

impl Protocols {
    /// TCP alone, the default.
    pub const TCP: Self = Self { tcp: true, udp: false };

    /// The names of those that are set; UDP comes first, as `udp,tcp` is written.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.udp, "udp"), (self.tcp, "tcp")].into_iter().filter(|(set, _)| *set).map(|(_, name)| name)
    }
}

/// A port of an app on the agent's own network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDefinition {
    /// The service port, and with `require_ports` the port on the agent; 0 is replaced by a free one (rule 210).
    pub port: u16,
    /// Its name.
    pub name: Option<String>,
    /// What it speaks.
    pub protocols: Protocols,
    /// Passed on to discovery; `VIP_0` and the like (rule 220).
    pub labels: BTreeMap<String, String>,
}

/// A port of an app on a network of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The port inside; 0 is the same as the one on the agent (rule 217).
    pub container_port: u16,
    /// The port on the agent: none, any (0), or that one.
    pub host_port: Option<u16>,
    /// A port unique over all services; 0 is replaced by a free one (rule 210).
    pub service_port: u16,
    /// Its name.
    pub name: Option<String>,
    /// What it speaks.
    pub protocols: Protocols,
    /// Passed on to discovery.
    pub labels: BTreeMap<String, String>,
    /// On which of the app's networks; all when empty.
    pub network_names: Vec<String>,
}
