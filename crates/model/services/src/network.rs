//! The networks that instances join.

use std::collections::BTreeMap;

/// How an instance sees the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkMode {
    /// The agent's own.
    Host,
    /// A bridge on the agent, with ports mapped.
    Bridge,
    /// A named network with an address per instance.
    Container,
}

/// One network. The name is there for [`NetworkMode::Container`] alone (rule 222).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Which kind.
    pub mode: NetworkMode,
    /// The network's name.
    pub name: Option<String>,
    /// Passed on to the network.
    pub labels: BTreeMap<String, String>,
}

impl Network {
    /// The agent's own network.
    pub fn host() -> Self {
        Self { mode: NetworkMode::Host, name: None, labels: BTreeMap::new() }
    }
}
