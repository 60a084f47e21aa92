//! What the agent holds.

mod config;
mod end;
mod folders;
mod launch;
mod networks;
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1::{CommandInfo, ContainerInfo};

pub use config::{Config, ContainerError, LauncherProgram, StartError};

use crate::{
    confinement::{Confinement, Root},
    disk_watch::DiskWatch,
    enter,
    event::{ContainerEvent, Limitation},
    gpus::Gpus,
    input::InputEnd,
    isolators::{Circumstances, Isolators, Limit, Load, Quota, Resources, Statistics},
    launcher::Launcher,
    layout,
    network::Networks,
    port_watch::{PortRange, PortWatch},
    projects::Projects,
    recovery,
    request::REQUEST_BYTES_MAX,
    scratch::Scratch,
};

/// The containers of one agent. Clones share them.
///
/// All calls are quick unless control groups are used: making and removing these takes the kernel
/// milliseconds.
#[derive(Clone)]
pub struct Containers {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) isolators: Isolators,
    pub(crate) scratch: Scratch,
    pub(crate) networks: Arc<Networks>,
    pub(crate) disks: DiskWatch,
    pub(crate) ports: PortWatch,
    pub(crate) gpus: Gpus,
    pub(crate) projects: Option<Projects>,
    pub(crate) state: Mutex<State>,
    pub(crate) on_event: Arc<dyn Fn(ContainerEvent) + Send + Sync>,
    /// What the event thread waits on.
    pub(crate) poll: OwnedFd,
    /// Its other end is in `poll`: closing it wakes the thread so that it can end.
    pub(crate) _alive: OwnedFd,
}

pub(crate) struct State {
    pub(crate) launcher: Option<Launcher>,
    pub(crate) table: BTreeMap<ContainerId, Entry>,
    /// Number of the next memory watch.
    pub(crate) next_watch: u64,
    /// Which container a memory watch belongs to.
    pub(crate) memory_watches: BTreeMap<u64, ContainerId>,
    /// Removed ones whose folder is left, because a supervisor inside wrote to it. Each has one that has not been
    /// removed yet, so there are never more of them than of containers.
    unremoved: BTreeSet<ContainerId>,
}

/// One container that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Process id of the program once it runs.
    pub(crate) pid: Option<u32>,
    /// Process id of the supervisor, and its descriptor once it is watched.
    pub(crate) supervisor: Option<u32>,
    pub(crate) watch: Option<OwnedFd>,
    /// Asked for before it had started.
    pub(crate) destroy: bool,
    /// Where its standard input is written to.
    pub(crate) input: Option<InputEnd>,
    /// It has control groups of its own.
    pub(crate) own_cgroups: bool,
    /// What it writes to a root or to volumes of its own has a folder.
    pub(crate) has_scratch: bool,
    /// Tells when it runs out of memory.
    pub(crate) memory_watch: Option<(u64, OwnedFd)>,
    /// It was ended because it ran out of memory.
    pub(crate) out_of_memory: bool,
    /// Another limit it was ended for.
    pub(crate) limitation: Option<Limitation>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // The table is consistent between statements; a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn container_dir(&self, id: &str) -> PathBuf {
        layout::container_dir(&self.config.runtime_dir, id)
    }

    /// What the status file of a container says.
    pub(crate) fn status(&self, directory: &Path) -> Option<i32> {
        recovery::read_status(directory)
    }
}

impl Containers {
    /// How a container is set apart by the isolators that are there, for [`LaunchRequest::confinement`]. The
    /// reason why it cannot be is for whoever asked for it.
    pub fn confine(
        &self,
        info: Option<&ContainerInfo>,
        root: Option<Root>,
        circumstances: &Circumstances<'_>,
    ) -> Result<Confinement, String> {
        self.shared.isolators.confine(info, root, circumstances)
    }

    /// The variables of a command that are secrets, for [`LaunchRequest::environment`]. The reason why one
    /// cannot be told is for whoever asked for it.
    pub fn secret_variables(&self, command: &CommandInfo) -> Result<Vec<(String, String)>, String> {
        self.shared.isolators.secret_variables(command)
    }

    /// Whether a running container sees other files than the host, so that the host's paths mean nothing to
    /// who enters it.
    pub fn is_apart(&self, id: &ContainerId) -> bool {
        self.pid(id).is_some_and(|pid| enter::is_apart(pid).unwrap_or(true))
    }

    /// Makes the control groups of a container that has no process of its own, for its children.
    pub fn isolate(&self, id: &ContainerId, resources: &Resources) -> Result<(), ContainerError> {
        Ok(self.shared.isolators.prepare(id, resources)?)
    }

    /// Where to write a container's standard input: `None` when it has none, or it was closed, or an
    /// earlier agent has made it.
    pub fn input(&self, id: &ContainerId) -> Result<Option<InputEnd>, ContainerError> {
        let state = self.shared.state();
        let entry = state.table.get(id).ok_or_else(|| ContainerError::NotRunning(id.clone()))?;
        let shared = entry.input.as_ref().map(InputEnd::share).transpose();
        shared.map_err(|source| ContainerError::System { id: id.clone(), what: "write to", source })
    }

    /// Ends a container's standard input once all that [`Containers::input`] gave is dropped; of no effect on
    /// a terminal, whose programs decide what ends their input (rule 374).
    pub fn close_input(&self, id: &ContainerId) {
        let mut state = self.shared.state();
        if let Some(entry) = state.table.get_mut(id)
            && entry.input.as_ref().is_some_and(|input| !input.is_terminal())
        {
            entry.input = None;
        }
    }

    /// Changes the limits of a running container (rule 363: the hard memory limit only grows).
    pub fn update(&self, id: &ContainerId, resources: &Resources) -> Result<(), ContainerError> {
        self.shared.isolators.update(id, resources)?;
        self.shared.change_gpus(id, resources.gpus)
    }

    /// Changes how much a container may write beside its volumes, where that is watched.
    pub fn resize_disk(&self, id: &ContainerId, bytes: u64) -> io::Result<()> {
        self.shared.resize_disk(id, bytes)
    }

    /// What a running container uses, beside what it may use.
    pub fn statistics(&self, id: &ContainerId, resources: &Resources) -> Result<Statistics, ContainerError> {
        let pid = match self.shared.state().table.get(id) {
            Some(Entry { pid: Some(pid), .. }) => *pid,
            _ => return Err(ContainerError::NotRunning(id.clone())),
        };
        let mut statistics = self.shared.isolators.statistics(id, pid, resources);
        let latest = |quota: &Quota| self.shared.projects.as_ref()?.usage(&quota.path);
        self.shared.disks.measure(id, &latest, &mut statistics);
        Ok(statistics)
    }

    /// How many processes a running container has, and how long they wait for what they share with others.
    pub fn load(&self, id: &ContainerId) -> Option<Load> {
        let pid = self.pid(id)?;
        Some(self.shared.isolators.load(id, pid))
    }

    /// Notes which ports a container holds from here on, where listeners are watched.
    pub fn hold_ports(&self, id: &ContainerId, ports: &[PortRange]) {
        if let Err(error) = self.shared.hold_ports(id, ports, false) {
            tracing::warn!(container = %id, %error, "noting a container's ports failed");
        }
    }

    /// The variables that a running container's program was started with; those that are not text are left
    /// out. `None` when it does not run.
    pub fn environment(&self, id: &ContainerId) -> Option<Vec<(String, String)>> {
        let file = fs::File::open(format!("/proc/{}/environ", self.pid(id)?)).ok()?;
        let mut bytes = Vec::new();
        file.take(REQUEST_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
        let texts = bytes.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
        Some(
            texts
                .filter_map(|text| text.split_once('='))
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    /// Process id of a running container's program.
    pub fn pid(&self, id: &ContainerId) -> Option<u32> {
        self.shared.state().table.get(id)?.pid
    }

    /// Whether task limits can be honoured (rule 429 needs cgroups/cpu and cgroups/mem).
    pub fn supports(&self, limit: Limit) -> bool {
        self.shared.isolators.supports(limit)
    }

    /// Process id of the launcher, for tests and for the operator.
    pub fn launcher_pid(&self) -> Option<u32> {
        self.shared.state().launcher.as_ref().map(Launcher::pid)
    }
}
