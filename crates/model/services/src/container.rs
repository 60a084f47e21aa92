//! The container of an app.

use crate::{AppVolume, PortMapping};

/// Who runs the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The agent's own runtime.
    Mesos,
    /// A Docker daemon, for which our agents' own runtime stands in.
    Docker,
}

/// A secret that opens a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullConfig {
    /// The key of the secret.
    pub secret: String,
}

/// An option of `docker run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerParameter {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The image of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Docker {
    /// Its name.
    pub image: String,
    /// Pull even when it is there.
    pub force_pull_image: bool,
    /// All of root's powers; Docker's engine only.
    pub privileged: bool,
    /// Further options; Docker's engine only.
    pub parameters: Vec<DockerParameter>,
    /// Who may pull.
    pub pull_config: Option<PullConfig>,
}

/// Which system calls are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seccomp {
    /// A profile by name.
    pub profile_name: Option<String>,
    /// All of them.
    pub unconfined: bool,
}

/// Shared memory of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpcInfo {
    /// The parent's instead of its own.
    pub share_parent: bool,
    /// MiB of `/dev/shm`.
    pub shm_size: Option<u32>,
}

/// Isolation on Linux.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxInfo {
    /// System calls.
    pub seccomp: Option<Seccomp>,
    /// Shared memory.
    pub ipc: Option<IpcInfo>,
}

/// The container of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Who runs it.
    pub engine: Engine,
    /// Its image; without one the agent's own files are its root.
    pub docker: Option<Docker>,
    /// What appears in it.
    pub volumes: Vec<AppVolume>,
    /// Its ports, on networks that are not the host's; none on the host's.
    pub port_mappings: Vec<PortMapping>,
    /// Isolation.
    pub linux_info: Option<LinuxInfo>,
}
