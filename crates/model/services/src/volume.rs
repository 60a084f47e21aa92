//! Volumes of apps and pods.

use std::collections::BTreeMap;

use crate::Constraint;

/// Whether a container may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
}

/// On what kind of disk a persistent volume lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistentKind {
    /// The agent's own disk.
    Root,
    /// A part of an extra disk.
    Path,
    /// A whole extra disk.
    Mount,
}

/// A volume that outlives its task, which makes the service resident.
#[derive(Clone, Debug, PartialEq)]
pub struct PersistentVolume {
    /// On what it lies.
    pub kind: PersistentKind,
    /// MiB.
    pub size: u64,
    /// MiB; the largest disk that is taken, for [`PersistentKind::Mount`].
    pub max_size: Option<u64>,
    /// Only disks of this profile.
    pub profile_name: Option<String>,
    /// Which disks by their paths.
    pub constraints: Vec<Constraint>,
}

/// A volume that a driver on the agent brings.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalVolume {
    /// Its name with the driver.
    pub name: Option<String>,
    /// Who brings it.
    pub provider: String,
    /// GiB.
    pub size: Option<u64>,
    /// For the driver.
    pub options: BTreeMap<String, String>,
    /// Several services may name it.
    pub shared: bool,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeSource {
    /// A folder of the agent.
    Host(String),
    /// One that outlives the task.
    Persistent(PersistentVolume),
    /// One that a driver brings.
    External(ExternalVolume),
    /// A file with the value of a secret of this key.
    Secret(String),
    /// A folder of the sandbox that the containers of a pod share (rule 284).
    Ephemeral,
}

/// A volume of an app, and where it appears.
#[derive(Clone, Debug, PartialEq)]
pub struct AppVolume {
    /// Where in the container.
    pub container_path: String,
    /// What.
    pub source: VolumeSource,
    /// Read only or not.
    pub mode: ReadMode,
}

/// A volume of a pod, which containers mount by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct PodVolume {
    /// Its name.
    pub name: String,
    /// What.
    pub source: VolumeSource,
}
