//! What the agent holds.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1::{CommandInfo, ContainerInfo, NetworkInfo};

use crate::{
    confinement::{BackEnd, Confinement, Entered, LAYERS_MAX, Root},
    disk_watch::{self, DiskWatch},
    enter,
    event::{ContainerEvent, Limitation},
    events,
    gpus::Gpus,
    input::{self, InputEnd},
    isolators::{
        Circumstances, Isolation, IsolationError, Isolators, Limit, Load, Quota, Resources, Statistics,
    },
    kernel,
    launcher::{self, LAUNCHER_ARGUMENT, Launcher},
    layout,
    network::{NetworkError, Networks},
    oci::{self, OciError, OciRuntime},
    port_watch::{self, PortRange, PortWatch},
    processes,
    projects::{self, Projects},
    recovery::{self, Recovered, RecoveredState},
    request::{LaunchRequest, Places, REQUEST_BYTES_MAX},
    scratch::Scratch,
    supervisor::ORDER_DESTROY,
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

    pub(crate) fn launch_failed(&self, id: &ContainerId, message: String) {
        let removed = self.state().table.remove(id).unwrap_or_default();
        self.disks.forget(id);
        self.ports.forget(id);
        if removed.own_cgroups {
            self.isolators.cleanup(id);
        }
        if removed.has_scratch {
            self.scratch.remove(id);
        }
        self.tell_end(id, ContainerEvent::LaunchFailed { id: id.clone(), message });
    }

    /// Tells that a container is gone, once its networks are: before that, its addresses and ports are not free.
    pub(crate) fn tell_end(&self, id: &ContainerId, event: ContainerEvent) {
        self.take_gpus(id);
        let on_event = self.on_event.clone();
        leave_networks(&self.networks, id, move || on_event(event));
    }
}

/// Leaves the networks of a container, in a thread that waits for that; then does something, at once when there
/// is nothing to leave.
fn leave_networks(networks: &Arc<Networks>, id: &ContainerId, then: impl FnOnce() + Send + 'static) {
    if !networks.has(id) {
        return then();
    }
    let networks = networks.clone();
    let then = Arc::new(Mutex::new(Some(then)));
    let work = {
        let (id, then) = (id.clone(), then.clone());
        move || {
            networks.leave(&id);
            do_once(&then);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("network".to_owned()).spawn(work) {
        tracing::error!(container = %id, %error, "its networks are left when the agent starts again");
        do_once(&then);
    }
}

fn do_once<T: FnOnce()>(work: &Mutex<Option<T>>) {
    let taken = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = taken {
        work();
    }
}

impl Containers {
    /// Starts the launcher and takes over the containers of an earlier agent.
    ///
    /// `on_event` is called for every container that is launched here or was recovered as running,
    /// from a thread of this crate or from within [`Containers::launch`]; it must not block. Events
    /// of recovered containers may come before this returns.
    pub fn start(
        config: Config,
        on_event: impl Fn(ContainerEvent) + Send + Sync + 'static,
    ) -> Result<(Self, Vec<Recovered>), StartError> {
        let directory = config.runtime_dir.clone();
        let runtime_dir = |source| StartError::RuntimeDir { path: directory.clone(), source };
        if !launcher::socket_path_fits(&directory.join(layout::EVENTS_SOCKET)) {
            return Err(StartError::PathTooLong(directory));
        }
        if let Some(runtime) = &config.runtime {
            let version = runtime.check()?;
            tracing::info!(program = %runtime.program.display(), version, "another runtime starts containers");
        }
        fs::create_dir_all(directory.join(layout::CONTAINERS)).map_err(runtime_dir)?;
        let isolators = Isolators::start(&config.isolation)?;
        let gpus = Gpus::start(&config.isolation)?;
        let projects = Projects::start(&config.isolation)?;
        recovery::await_earlier_launcher(&directory).map_err(runtime_dir)?;
        // Bound before the files are read: whoever writes a status after they were read is heard.
        let socket = events::bind(&directory).map_err(runtime_dir)?;
        let recovered = recovery::read(&directory).map_err(runtime_dir)?;
        let launcher = Launcher::spawn(&config.launcher, &directory).map_err(StartError::Launcher)?;
        let scratch = Scratch::start(&config.scratch_dir)
            .map_err(|source| StartError::ScratchDir { path: config.scratch_dir.clone(), source })?;
        let mut table = BTreeMap::new();
        for container in &recovered {
            if !matches!(container.state, RecoveredState::Running { .. }) {
                oci::settle(&layout::container_dir(&directory, &container.id));
            }
            let own_cgroups = isolators.recover(&container.id);
            let has_scratch = scratch.has(&container.id);
            if let RecoveredState::Running { pid } = container.state {
                let supervisor = Some(container.supervisor);
                let entry = Entry { pid, supervisor, own_cgroups, has_scratch, ..Entry::default() };
                table.insert(container.id.clone(), entry);
                let text =
                    fs::read_to_string(layout::container_dir(&directory, &container.id).join(layout::GPUS));
                gpus.recover(&container.id, &text.unwrap_or_default());
            }
        }
        // What has ended is kept until it is removed, but nothing uses its files any more.
        scratch.keep_only(|id| table.contains_key(id));
        // The container around a task group has control groups, but no process by which it would be found.
        let is_around =
            |id: &str, child: &str| child.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'));
        isolators.cleanup_unknown(|id| {
            recovered.iter().any(|known| known.id.as_str() == id || is_around(id, known.id.as_str()))
        });
        let namespaces = directory.join(layout::NETWORKS);
        let settings = config.isolation.networks.clone();
        let networks = Arc::new(Networks::start(settings, config.networks_dir.clone(), namespaces)?);
        let runs = |id: &str| {
            // The container around a task group has no process of its own.
            table.keys().any(|known: &ContainerId| {
                known.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let unwanted = networks.recover(runs).map_err(StartError::Networks)?;
        let state = State {
            launcher: Some(launcher),
            table,
            next_watch: 0,
            memory_watches: BTreeMap::new(),
            unremoved: BTreeSet::new(),
        };
        let (poll, ended, alive) = events::poll().map_err(StartError::Events)?;
        let shared = Arc::new(Shared {
            config,
            isolators,
            scratch,
            networks,
            disks: DiskWatch::default(),
            ports: PortWatch::default(),
            gpus,
            projects,
            state: Mutex::new(state),
            on_event: Arc::new(on_event),
            poll,
            _alive: alive,
        });
        if shared.networks.is_unsettled() {
            let networks = shared.networks.clone();
            let settle = move || networks.settle(&unwanted);
            std::thread::Builder::new()
                .name("network".to_owned())
                .spawn(settle)
                .map_err(StartError::Events)?;
        }
        let isolation = &shared.config.isolation;
        if isolation.watches_ports() {
            for container in &recovered {
                shared.watch_ports_again(&container.id);
            }
            port_watch::spawn(&shared, isolation.ports.watch_interval).map_err(StartError::Events)?;
        }
        if isolation.watches_disk() {
            for container in &recovered {
                if matches!(container.state, RecoveredState::Running { .. }) {
                    shared.watch_disk_again(&container.id);
                }
            }
            let interval = isolation.container_disk_watch_interval;
            disk_watch::spawn(&shared, interval, isolation.enforce_container_disk_quota)
                .map_err(StartError::Events)?;
        }
        events::spawn(&shared, socket, ended).map_err(StartError::Events)?;
        Ok((Self { shared }, recovered))
    }

    /// Starts a container. The outcome comes as [`ContainerEvent::Started`] or
    /// [`ContainerEvent::LaunchFailed`].
    pub fn launch(&self, request: &LaunchRequest) {
        let shared = &*self.shared;
        let id = &request.id;
        if !layout::is_valid_id(id) {
            let message = format!("Failed to launch: '{}' is not a container id", id.as_str().escape_debug());
            return (shared.on_event)(ContainerEvent::LaunchFailed { id: id.clone(), message });
        }
        let own_cgroups = shared.isolators.uses_cgroups() && !request.share_cgroups;
        {
            let mut state = shared.state();
            if state.table.contains_key(id) {
                drop(state);
                let message = format!("Failed to launch: container '{id}' exists");
                return (shared.on_event)(ContainerEvent::LaunchFailed { id: id.clone(), message });
            }
            let has_scratch = request.confinement.has_scratch();
            state.table.insert(id.clone(), Entry { own_cgroups, has_scratch, ..Entry::default() });
            state.unremoved.remove(id);
        }
        if own_cgroups && let Err(error) = shared.isolators.prepare(id, &request.resources) {
            return shared.launch_failed(id, error.to_string());
        }
        if own_cgroups {
            shared.watch_memory(id);
        }
        let theirs = match input::make(request.stdin, request.credentials.as_ref()) {
            Ok(None) => Vec::new(),
            Ok(Some(ends)) => {
                if let Some(entry) = shared.state().table.get_mut(id) {
                    entry.input = Some(ends.ours);
                }
                ends.theirs
            }
            Err(errno) => {
                return shared.launch_failed(id, format!("Failed to make standard input: {errno}"));
            }
        };
        let with_gpus = match shared.give_gpus(request) {
            Ok(request) => request,
            Err(message) => return shared.launch_failed(id, message),
        };
        let request = &*with_gpus;
        if let Err(error) = shared.share_project(request) {
            return shared.launch_failed(id, format!("Failed to launch: limit what it writes: {error}"));
        }
        if shared.config.isolation.watches_disk()
            && let Err(error) = shared.watch_disk(id, &request.quotas)
        {
            return shared.launch_failed(id, format!("Failed to launch: watch the disk: {error}"));
        }
        if let Err(error) = shared.hold_ports(id, &request.ports, true) {
            return shared.launch_failed(id, format!("Failed to launch: watch the ports: {error}"));
        }
        if request.confinement.enter.is_some()
            && let Err(error) = shared.mark_debug(id)
        {
            return shared
                .launch_failed(id, format!("Failed to launch: mark what ends with the agent: {error}"));
        }
        let (request, entered) = match shared.entered(request) {
            Ok(entered) => entered,
            Err(message) => return shared.launch_failed(id, message),
        };
        let request = shared.with_places(request);
        let directory = shared.container_dir(id);
        // Who enters a container enters its network as well.
        let network = shared.networks.place(id).filter(|_| entered.is_none());
        let runtime = shared.config.runtime.as_ref().filter(|_| entered.is_none());
        let runtime = runtime.map(|runtime| shared.runtime_place(runtime, &request));
        let cgroup_procs = match &request.confinement.enter {
            Some(parent) if oci::is_there(&shared.container_dir(parent)) => {
                shared.isolators.runtime_procs(parent, request.share_cgroups)
            }
            _ => shared.isolators.cgroup_procs(id, request.share_cgroups),
        };
        let places = Places {
            runtime_dir: &directory.to_string_lossy(),
            cgroup_procs: &cgroup_procs,
            scratch: &shared.scratch.folder(id),
            protected: &shared.config.protected,
            entered: entered.as_ref(),
            network: network.as_ref(),
            runtime: runtime.as_ref(),
        };
        let mut bytes = Vec::with_capacity(1024);
        if let Err(error) = request.encode(places, &mut bytes) {
            return shared.launch_failed(id, format!("Failed to launch: {error}"));
        }
        let sent = match &shared.state().launcher {
            Some(launcher) => launcher.send(&bytes, &theirs),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "there is no launcher")),
        };
        if let Err(error) = sent {
            shared.launch_failed(id, format!("Failed to ask the container launcher: {error}"));
        }
    }

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

    /// Lets the file system limit a folder that is empty yet, a sandbox or a volume, where disk/xfs is. One that is
    /// limited gets another limit.
    pub fn limit_folder(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let assigned = self.shared.projects.as_ref().map(|projects| projects.assign(path, bytes));
        Ok(assigned.transpose().map(drop)?)
    }

    /// Changes how much a container may write beside its volumes, where that is watched.
    pub fn resize_disk(&self, id: &ContainerId, bytes: u64) -> io::Result<()> {
        self.shared.resize_disk(id, bytes)
    }

    /// Notes a folder that an earlier agent has limited.
    pub fn limited_folder(&self, path: &Path) {
        if let Some(projects) = &self.shared.projects {
            projects.recover(path);
        }
    }

    /// Whether [`Containers::limit_folder`] does anything.
    pub fn limits_folders(&self) -> bool {
        self.shared.projects.is_some()
    }

    /// Deletes a folder by `delete`, and then frees what limits it.
    pub fn delete_folder<T>(&self, path: &Path, delete: impl FnOnce() -> T) -> T {
        let projects = self.shared.projects.as_ref();
        let project = projects.and_then(|projects| Some((projects, projects.of(path)?)));
        let done = delete();
        if let Some((projects, project)) = project.filter(|_| !path.exists()) {
            projects.free(project);
        }
        done
    }

    /// Makes the control groups of a container that has no process of its own, for its children.
    pub fn isolate(&self, id: &ContainerId, resources: &Resources) -> Result<(), ContainerError> {
        Ok(self.shared.isolators.prepare(id, resources)?)
    }

    /// Sends a signal to the process group of the container's program.
    pub fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), ContainerError> {
        if !(1..=64).contains(&signal) {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(ContainerError::System { id: id.clone(), what: "signal", source });
        }
        self.order(id, signal, "signal")
    }

    /// Kills everything in the container. [`ContainerEvent::Exited`] follows.
    pub fn destroy(&self, id: &ContainerId) -> Result<(), ContainerError> {
        {
            let mut state = self.shared.state();
            let Some(entry) = state.table.get_mut(id) else {
                return Err(ContainerError::NotRunning(id.clone()));
            };
            if entry.supervisor.is_none() {
                entry.destroy = true;
                return Ok(());
            }
        }
        self.shared.isolators.kill(id);
        self.order(id, ORDER_DESTROY, "destroy")
    }

    fn order(&self, id: &ContainerId, order: i32, what: &'static str) -> Result<(), ContainerError> {
        if !self.shared.state().table.contains_key(id) {
            return Err(ContainerError::NotRunning(id.clone()));
        }
        let supervisor = recovery::open_supervisor(&self.shared.container_dir(id))
            .map_err(|source| ContainerError::System { id: id.clone(), what, source })?
            .ok_or_else(|| ContainerError::NotRunning(id.clone()))?;
        kernel::send_order(supervisor.as_fd(), order).map_err(|source| ContainerError::System {
            id: id.clone(),
            what,
            source,
        })
    }

    /// Forgets an ended container: its runtime files, control groups and, below them, its children.
    pub fn remove(&self, id: &ContainerId) {
        let directory = self.shared.container_dir(id);
        if !layout::is_valid_id(id) || self.shared.state().table.contains_key(id) {
            return;
        }
        self.shared.ports.forget(id);
        for name in [layout::PID, layout::STATUS] {
            let _ = fs::remove_file(directory.join(name));
        }
        self.shared.remove_folder(id);
        for (end, _) in id.as_str().match_indices('.') {
            let around = ContainerId::from(&id.as_str()[..end]);
            if self.shared.state().unremoved.contains(&around) {
                self.shared.remove_folder(&around);
            }
        }
        self.shared.isolators.cleanup(id);
        // Tried again where something was left.
        self.leave_networks(id, || {});
    }

    /// Joins the networks that a container names, before it is launched; returns them with their addresses
    /// (rule 368). Waits for plugins. A container that does not come to its launch has to leave them again.
    pub fn join_networks(
        &self,
        id: &ContainerId,
        wanted: &[NetworkInfo],
        hostname: Option<&str>,
        cancelled: &AtomicBool,
    ) -> Result<Vec<NetworkInfo>, NetworkError> {
        self.shared.networks.join(id, wanted, hostname, cancelled)
    }

    /// Leaves the networks of a container that was not launched, or that has no process of its own. `then` is
    /// called when that is done, maybe from another thread.
    pub fn leave_networks(&self, id: &ContainerId, then: impl FnOnce() + Send + 'static) {
        leave_networks(&self.shared.networks, id, then);
    }

    /// The networks of all containers that have any of their own.
    pub fn networks(&self) -> Vec<(ContainerId, Vec<NetworkInfo>)> {
        self.shared.networks.all()
    }

    /// Does something inside the network of a container, or right here when that is the host's.
    pub fn within_network<T: Send>(
        &self,
        id: &ContainerId,
        act: impl FnOnce() -> T + Send,
    ) -> Result<T, ContainerError> {
        let Some(place) = self.shared.networks.place(id) else { return Ok(act()) };
        Networks::within(&place, act).map_err(|source| ContainerError::System {
            id: id.clone(),
            what: "enter the network of",
            source,
        })
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

    /// Whether a container has another network than the host.
    pub fn has_network(&self, id: &ContainerId) -> bool {
        self.shared.networks.place(id).is_some()
    }

    /// The address that a container has in a network other than the host's.
    pub fn address(&self, id: &ContainerId) -> Option<String> {
        self.shared.networks.address(id)
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

impl Shared {
    /// Removes the folder of a container that has ended, with those of its children.
    fn remove_folder(&self, id: &ContainerId) {
        let directory = self.container_dir(id);
        let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::DirectoryNotEmpty;
        // What else may be in it, a reason why it could not be started or children, seldom is.
        let mut removed = fs::remove_dir(&directory);
        if removed.as_ref().is_err_and(is_in_use) {
            removed = fs::remove_dir_all(&directory);
        }
        let mut state = self.state();
        // A child that ends at this moment writes down how; it is removed later.
        if removed.as_ref().is_err_and(is_in_use) {
            state.unremoved.insert(id.clone());
        } else {
            state.unremoved.remove(id);
        }
    }

    /// Ends what a supervisor left behind that was itself killed.
    pub(crate) fn end_orphans(&self, id: &ContainerId, pid: Option<u32>) {
        self.isolators.kill(id);
        if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) {
            processes::kill_session(pid);
        }
    }

    /// What another runtime is told beside what every container's supervisor is.
    fn runtime_place(&self, runtime: &OciRuntime, request: &LaunchRequest) -> oci::Place {
        let filter = request.confinement.privileges.filter.as_ref();
        oci::Place {
            program: runtime.program.clone(),
            patience: runtime.patience,
            hierarchy: self.isolators.hierarchy().to_path_buf(),
            cgroup: self.isolators.runtime_group(&request.id, request.share_cgroups),
            devices: self.isolators.devices(),
            given: request.confinement.devices.iter().map(Isolators::device_line).collect(),
            profile: filter.map(|filter| filter.for_runtimes().to_vec()).unwrap_or_default(),
        }
    }

    /// What a container writes elsewhere than to its sandbox counts together with that.
    fn share_project(&self, request: &LaunchRequest) -> io::Result<()> {
        let Some(projects) = self.projects.as_ref().filter(|_| request.confinement.has_scratch()) else {
            return Ok(());
        };
        let Some(project) = projects.of(&request.sandbox) else { return Ok(()) };
        let folder = self.scratch.folder(&request.id);
        projects::make_folder(&folder)?;
        Ok(projects.share(&folder, project)?)
    }

    /// The request, with places for mounts below the layers of its image.
    fn with_places<'a>(&self, request: Cow<'a, LaunchRequest>) -> Cow<'a, LaunchRequest> {
        let root = request
            .confinement
            .root
            .as_ref()
            .filter(|root| root.back_end != BackEnd::Copy && root.layers.len() < LAYERS_MAX);
        let Some(layer) = root.and_then(|root| self.scratch.places(&root.sandbox)) else { return request };
        let mut request = request.into_owned();
        if let Some(root) = &mut request.confinement.root {
            root.layers.insert(0, layer);
        }
        Cow::Owned(request)
    }

    /// What a request enters, and the request with what it takes over from there.
    fn mark_debug(&self, id: &ContainerId) -> io::Result<()> {
        let directory = self.container_dir(id);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(layout::DEBUG), "")
    }

    fn entered<'a>(
        &self,
        request: &'a LaunchRequest,
    ) -> Result<(Cow<'a, LaunchRequest>, Option<Entered>), String> {
        let Some(parent) = &request.confinement.enter else { return Ok((Cow::Borrowed(request), None)) };
        let failed = |error| format!("Failed to enter container '{parent}': {error}");
        let running = self.state().table.get(parent).map(|entry| entry.pid);
        let pid = match running {
            Some(pid) => pid,
            None if self.container_dir(parent).join(layout::PID).exists() => {
                return Err(failed("it has ended".to_owned()));
            }
            // A pod has no process of its own, and so nothing that could be entered.
            None => return Ok((Cow::Borrowed(request), None)),
        };
        // One that is being prepared must not be entered (attack A016).
        let pid = pid.ok_or_else(|| failed("it does not run yet".to_owned()))?;
        if !enter::is_apart(pid).map_err(|error| failed(error.to_string()))? {
            return Ok((Cow::Borrowed(request), None));
        }
        let mut request = request.clone();
        if request.confinement.privileges.is_none() {
            request.confinement.privileges =
                enter::privileges_of(pid).map_err(|error| failed(error.to_string()))?;
        }
        let directory = self.container_dir(parent);
        Ok((Cow::Owned(request), Some(Entered { pid, directory })))
    }

    /// What the status file of a container says.
    pub(crate) fn status(&self, directory: &Path) -> Option<i32> {
        recovery::read_status(directory)
    }
}
