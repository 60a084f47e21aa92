//! How containers are set up, and why they cannot be.

use std::{io, path::PathBuf};

use mezzo_ids::ContainerId;

use crate::{
    isolators::{Isolation, IsolationError},
    launcher::LAUNCHER_ARGUMENT,
    oci::{OciError, OciRuntime},
};

/// How to set up [`Containers`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `<runtime_dir>` of rule 356. Survives the agent, not a reboot. Made when missing.
    ///
    /// It belongs on a tmpfs. Each container makes and deletes three inodes here, and ext4 does not
    /// give a deleted inode out again for five seconds but searches past it: at a thousand short
    /// containers per second that search costs more than the containers.
    pub runtime_dir: PathBuf,
    /// What becomes a launcher.
    pub launcher: LauncherProgram,
    /// What limits and measures containers.
    pub isolation: Isolation,
    /// Where containers with a root file system of their own keep what they write to it, each in a folder
    /// of its own that is deleted with it. Made when missing, for the agent's user alone: no other user
    /// of the host may reach what root has made in a container (attack A027).
    pub scratch_dir: PathBuf,
    /// Where it is written down which networks containers have joined. Made when needed; survives a reboot, as
    /// the addresses do that were given to them.
    pub networks_dir: PathBuf,
    /// Folders of the agent's that no container may mount, nor a folder around them.
    pub protected: Vec<PathBuf>,
    /// Another runtime that starts containers; `None` for this one. Sessions are always this one's.
    pub runtime: Option<OciRuntime>,
}

/// A program that calls [`crate::launcher_main`] when it is run with these arguments and the runtime
/// directory behind them.
#[derive(Clone, Debug)]
pub struct LauncherProgram {
    /// The file.
    pub path: PathBuf,
    /// The zeroth excluded.
    pub arguments: Vec<String>,
}

impl Default for LauncherProgram {
    /// The running binary.
    fn default() -> Self {
        Self { path: PathBuf::from("/proc/self/exe"), arguments: vec![LAUNCHER_ARGUMENT.to_owned()] }
    }
}

/// Why containers cannot be run on this host as configured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The path of the events socket is longer than the kernel allows.
    #[error("the runtime directory '{0}' is too long: at most 95 bytes")]
    PathTooLong(PathBuf),
    /// The runtime directory is not usable.
    #[error("prepare runtime directory '{path}'")]
    RuntimeDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The scratch directory is not usable.
    #[error("prepare scratch directory '{path}'")]
    ScratchDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is known of the networks of containers cannot be read.
    #[error("read the networks of containers")]
    Networks(#[source] io::Error),
    /// The other runtime is not usable.
    #[error(transparent)]
    Runtime(#[from] OciError),
    /// An isolator does not work here.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// The launcher could not be started.
    #[error("start the container launcher")]
    Launcher(#[source] io::Error),
    /// The thread that hears events could not be started.
    #[error("start the container event thread")]
    Events(#[source] io::Error),
}

/// A request about one container that failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// There is no such container, or nothing of it runs.
    #[error("Container '{0}' is not running")]
    NotRunning(ContainerId),
    /// The system refused.
    #[error("{what} container '{id}'")]
    System {
        /// The container.
        id: ContainerId,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// An isolator failed.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
}
