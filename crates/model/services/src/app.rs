//! Apps: one container, many instances.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_time::Timestamp;

use crate::{
    AppHealthCheck, Backoff, Canary, Check, Constraint, Container, ExecutorResources, KillSelection, Network,
    NetworkMode, PathId, PortDefinition, ReadinessCheck, ResourceLimits, Resources, UnreachableStrategy,
    UpgradeStrategy, VolumeSource,
};

/// What an app runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppCommand {
    /// A line for the shell.
    Shell(String),
    /// A program and its arguments, or arguments for the image's own program.
    Args(Vec<String>),
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// This text.
    Text(String),
    /// The value of the secret declared under this key.
    Secret(String),
}

/// A file that is fetched before the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// From where.
    pub uri: String,
    /// Unpack it.
    pub extract: bool,
    /// Make it executable.
    pub executable: bool,
    /// Keep it in the agent's cache.
    pub cache: bool,
    /// The name it gets.
    pub dest_path: Option<String>,
}

/// When an app changed (rule 239).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The last change of any kind but restarts.
    pub last_scaling_at: Timestamp,
    /// The last change of anything but the number of instances; a restart is one.
    pub last_config_change_at: Timestamp,
}

/// The definition of a long-running service of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Where it stands.
    pub id: PathId,
    /// What it runs; without one, what its image says.
    pub command: Option<AppCommand>,
    /// As whom.
    pub user: Option<String>,
    /// Variables.
    pub env: BTreeMap<String, EnvValue>,
    /// How many.
    pub instances: u32,
    /// What each needs.
    pub resources: Resources,
    /// Upper bounds.
    pub resource_limits: Option<ResourceLimits>,
    /// `//cmd`, the path of a custom executor, or empty for the default.
    pub executor: String,
    /// What a custom executor needs.
    pub executor_resources: Option<ExecutorResources>,
    /// Where instances may be placed.
    pub constraints: BTreeSet<Constraint>,
    /// What is fetched.
    pub fetch: Vec<Artifact>,
    /// Ports on the host's network; empty on others.
    pub port_definitions: Vec<PortDefinition>,
    /// Take the very ports that are declared.
    pub require_ports: bool,
    /// The container, when it is more than a process.
    pub container: Option<Container>,
    /// Networks; never empty.
    pub networks: Vec<Network>,
    /// Health checks.
    pub health_checks: Vec<AppHealthCheck>,
    /// A check that tells something.
    pub check: Option<Check>,
    /// At most one.
    pub readiness_checks: Vec<ReadinessCheck>,
    /// From the request to end to the kill.
    pub kill_grace_period: Option<Duration>,
    /// Apps and groups that come first.
    pub dependencies: BTreeSet<PathId>,
    /// Waits after failures.
    pub backoff: Backoff,
    /// How instances are replaced.
    pub upgrade_strategy: UpgradeStrategy,
    /// How an upgrade is tried first.
    pub canary: Option<Canary>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Roles whose reservations are used; none: the flag decides (rule 235).
    pub accepted_resource_roles: Option<BTreeSet<String>>,
    /// When agents cannot be reached.
    pub unreachable_strategy: UnreachableStrategy,
    /// Which goes first.
    pub kill_selection: KillSelection,
    /// A terminal.
    pub tty: Option<bool>,
    /// Secrets by key: their names in the store.
    pub secrets: BTreeMap<String, String>,
    /// The role whose offers it takes.
    pub role: String,
    /// When this definition was made.
    pub version: Timestamp,
    /// When what changed.
    pub version_info: VersionInfo,
}

impl App {
    /// Whether instances keep a volume, and so a place.
    pub fn is_resident(&self) -> bool {
        self.container.as_ref().is_some_and(|container| {
            container.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::Persistent(_)))
        })
    }

    /// Whether it is on the agents' own network.
    pub fn is_on_host_network(&self) -> bool {
        self.networks.iter().all(|network| network.mode == NetworkMode::Host)
    }

    /// The service ports in order; 0 is one not assigned yet.
    pub fn service_ports(&self) -> impl Iterator<Item = u16> {
        let mappings = self.container.iter().flat_map(|container| &container.port_mappings);
        self.port_definitions.iter().map(|port| port.port).chain(mappings.map(|mapping| mapping.service_port))
    }
}
