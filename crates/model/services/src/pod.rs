//! Pods: several containers on one agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_time::Timestamp;

use crate::{
    Artifact, Backoff, Check, Constraint, EnvValue, ExecutorResources, HealthCheck, KillSelection, LinuxInfo,
    Network, PathId, PodVolume, Protocols, PullConfig, ResourceLimits, Resources, UnreachableStrategy,
    UpgradeStrategy, VersionInfo, VolumeSource,
};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellOrArgs {
    /// A line for the shell.
    Shell(String),
    /// A program and its arguments.
    Args(Vec<String>),
}

/// What a container of a pod runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MesosExec {
    /// The command.
    pub command: ShellOrArgs,
    /// The first argument takes the place of the image's own program.
    pub override_entrypoint: Option<bool>,
}

/// The image of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub id: String,
    /// Who may pull.
    pub pull_config: Option<PullConfig>,
    /// Pull even when it is there.
    pub force_pull: Option<bool>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, unique in the pod.
    pub name: String,
    /// The port inside, on networks that are not the host's.
    pub container_port: Option<u16>,
    /// The port on the agent: none, any (0), or that one.
    pub host_port: Option<u16>,
    /// What it speaks; none set means that nothing was said.
    pub protocols: Protocols,
    /// Passed on to discovery.
    pub labels: BTreeMap<String, String>,
    /// On which networks; all when empty.
    pub network_names: Vec<String>,
}

/// Where a volume of the pod appears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Where in the container.
    pub mount_path: String,
    /// Not to be written.
    pub read_only: Option<bool>,
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodContainer {
    /// Its name, unique in the pod.
    pub name: String,
    /// What it runs; without one, what its image says.
    pub exec: Option<MesosExec>,
    /// What it needs.
    pub resources: Resources,
    /// Upper bounds.
    pub resource_limits: Option<ResourceLimits>,
    /// Its ports.
    pub endpoints: Vec<Endpoint>,
    /// Isolation.
    pub linux_info: Option<LinuxInfo>,
    /// Its image.
    pub image: Option<Image>,
    /// Variables.
    pub environment: BTreeMap<String, EnvValue>,
    /// As whom.
    pub user: Option<String>,
    /// Whether it is well.
    pub health_check: Option<HealthCheck>,
    /// A check that tells something.
    pub check: Option<Check>,
    /// Volumes.
    pub volume_mounts: Vec<VolumeMount>,
    /// What is fetched.
    pub artifacts: Vec<Artifact>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// From the request to end to the kill.
    pub kill_grace_period: Option<Duration>,
    /// A terminal.
    pub tty: Option<bool>,
}

/// The definition of a long-running service of several containers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Where it stands.
    pub id: PathId,
    /// Labels that reach every container.
    pub labels: BTreeMap<String, String>,
    /// As whom; a container's own wins.
    pub user: Option<String>,
    /// Variables; a container's own win.
    pub environment: BTreeMap<String, EnvValue>,
    /// At least one.
    pub containers: Vec<PodContainer>,
    /// Secrets by key: their names in the store.
    pub secrets: BTreeMap<String, String>,
    /// What containers may mount.
    pub volumes: Vec<PodVolume>,
    /// Networks; empty is the host's.
    pub networks: Vec<Network>,
    /// How many.
    pub instances: u32,
    /// Waits after failures.
    pub backoff: Backoff,
    /// How instances are replaced.
    pub upgrade_strategy: UpgradeStrategy,
    /// Where instances may be placed.
    pub constraints: BTreeSet<Constraint>,
    /// Roles whose reservations are used.
    pub accepted_resource_roles: Option<BTreeSet<String>>,
    /// Which goes first.
    pub kill_selection: KillSelection,
    /// When agents cannot be reached.
    pub unreachable_strategy: UnreachableStrategy,
    /// What each instance needs besides its containers.
    pub executor_resources: ExecutorResources,
    /// Isolation of the pod as a whole.
    pub linux_info: Option<LinuxInfo>,
    /// All containers in one control group.
    pub legacy_shared_cgroups: Option<bool>,
    /// The role whose offers it takes.
    pub role: String,
    /// When this definition was made.
    pub version: Timestamp,
    /// When what changed.
    pub version_info: VersionInfo,
}

impl Pod {
    /// Whether instances keep a volume, and so a place.
    pub fn is_resident(&self) -> bool {
        self.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::Persistent(_)))
    }

    /// What one instance needs: its containers and the executor.
    pub fn resources(&self) -> Resources {
        let executor = Resources {
            cpus: self.executor_resources.cpus,
            mem: self.executor_resources.mem,
            disk: self.executor_resources.disk,
            gpus: 0,
        };
        self.containers.iter().fold(executor, |sum, container| sum.plus(container.resources))
    }
}
