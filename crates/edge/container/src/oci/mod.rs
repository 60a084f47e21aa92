//! Containers by another runtime: any program that has the command line of the OCI runtime specification, such
//! as crun or runc.
//!
//! The supervisor stays what it is for every container: it holds the lock, keeps the exit status, and is the
//! one orphans fall back to. So the container's first process becomes its child as soon as the runtime's own
//! process has ended, and waiting, signals and ends are those of our own containers. Of the runtime it needs
//! `create`, `start` and `delete`, with the options that containerd gives as well (`--root`, `--log`).
//!
//! What is left when a supervisor is killed is cleared away by the agent (see [`leftovers`]).

mod bundle;
mod command;
mod console;
mod container;
mod leftovers;
mod place;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub(crate) use container::{Container, Error};
pub(crate) use leftovers::{is_there, settle};
pub(crate) use place::{Assignment, Place};

/// How long a runtime may take for one container, from `create` to where its program runs. An agent that is
/// started meanwhile waits longer than this for its predecessor's launches. The slowest runtimes, which boot a
/// machine, take a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for `delete`, where nothing is left to be waited for but the kernel.
const PATIENCE_DELETE: Duration = Duration::from_secs(4);
/// The same for the question which version it is.
const PATIENCE_VERSION: Duration = Duration::from_secs(20);

/// A runtime of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciRuntime {
    /// The file; an absolute path.
    pub program: PathBuf,
    /// How long it may take for a container until it counts as stuck, and is killed.
    pub patience: Duration,
}

/// Why a runtime cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[error("'{program}' cannot run containers: {why}")]
pub struct OciError {
    program: PathBuf,
    why: String,
}

impl OciRuntime {
    /// With the usual patience.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), patience: PATIENCE }
    }

    /// The first line of what it says about its version.
    fn version(&self) -> Result<String, OciError> {
        let refused = |why: String| Err(OciError { program: self.program.clone(), why });
        match std::fs::metadata(&self.program) {
            Err(error) => {
                return refused(format!("{error} (Debian has the packages crun and runc)"));
            }
            Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => {
                return refused("it is not a file that can be executed".to_owned());
            }
            Ok(_) => {}
        }
        if !self.program.is_absolute() {
            return refused("the path must be absolute".to_owned());
        }
        let mut command = Command::new(&self.program);
        command.arg("--version");
        let ended = match command::run(command, PATIENCE_VERSION, command::Said::Kept) {
            Ok(ended) => ended,
            Err(error) => return refused(error.to_string()),
        };
        let first = ended.said.lines().next().unwrap_or_default().trim();
        match ended.status {
            None => refused(format!(
                "it is no OCI runtime: '--version' did not end within {} s",
                PATIENCE_VERSION.as_secs()
            )),
            Some(status) if !status.success() => {
                refused(format!("it is no OCI runtime: '--version' ended with {status}: {first}"))
            }
            Some(_) if first.is_empty() => {
                refused("it is no OCI runtime: '--version' says nothing".to_owned())
            }
            Some(_) => Ok(first.to_owned()),
        }
    }

    /// The same, where containers can be run at all.
    pub fn check(&self) -> Result<String, OciError> {
        if !rustix::process::geteuid().is_root() {
            let why = "containers of another runtime need an agent that runs as root".to_owned();
            return Err(OciError { program: self.program.clone(), why });
        }
        self.version()
    }
}

/// The folder of what another runtime is told and keeps, below a container's.
fn folder(container_dir: &Path) -> PathBuf {
    container_dir.join("oci")
}
