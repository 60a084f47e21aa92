//! network/cni: networks that containers join through plugins (rule 368).
//!
//! A container that names networks gets a network namespace of its own, which is there before its first process
//! and as long as its last one: see [`namespace`]. Plugins put interfaces into it and take them out again. What
//! they are told to do is written down first (see [`record`]), so that an agent that is killed at any moment
//! leaves nothing that the next one cannot undo.
//!
//! [`config`], [`answer`] and [`files`] are pure. All else here waits for plugins and is called from threads that
//! may wait.

mod answer;
mod catalogue;
mod config;
mod error;
mod files;
mod leftovers;
mod loopback;
mod namespace;
mod plugin;
mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use rustix::fs::FlockOperation;
use serde_json::Value;

use answer::{Answer, Names};
use catalogue::{check_host, read_limited};
use config::Call;
pub use error::NetworkError;
use error::system;
pub use files::DefaultNames;
pub(crate) use files::{HOSTNAME, HOSTS, RESOLV_CONF};
use plugin::Invocation;
use record::{Asked, Joined, Record};

use crate::isolators::IsolationError;

/// The isolator's name.
pub(crate) const NAME: &str = "network/cni";

/// Networks that one container may join; each has an interface and a file to look for.
const NETWORKS_MAX: usize = 16;
/// Plugins that run at the same time. They wait for each other's locks, so more of them only need more memory.
const PLUGINS_RUNNING_MAX: usize = 16;
/// The largest `resolv.conf` of the host that is copied.
const HOST_FILE_BYTES_MAX: usize = 64 << 10;
/// The longest host name that the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;

/// Locked by whatever plugin runs.
const PLUGINS_LOCK: &str = "plugins.lock";
/// All containers are below this folder.
const CONTAINERS: &str = "containers";

/// The settings of the isolator.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// `--network_cni_config_dir`.
    pub config_dir: Option<PathBuf>,
    /// `--network_cni_plugins_dir`, split.
    pub plugin_dirs: Vec<PathBuf>,
    /// `--default_container_dns`.
    pub default_names: DefaultNames,
    /// How long a plugin may take before it is ended.
    pub plugin_time_max: Duration,
}

impl Default for NetworkSettings {
    /// There are no networks.
    fn default() -> Self {
        Self {
            config_dir: None,
            plugin_dirs: Vec::new(),
            default_names: DefaultNames::default(),
            // A DHCP server that is slow to answer takes some ten seconds.
            plugin_time_max: Duration::from_secs(60),
        }
    }
}

/// Where a container's network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A file that holds the namespace.
    pub(crate) namespace: PathBuf,
    /// The folder of `hosts`, `hostname` and `resolv.conf`.
    pub(crate) files: PathBuf,
    pub(crate) hostname: String,
}

/// A container that has networks.
#[derive(Clone, Debug)]
struct Member {
    hostname: String,
    infos: Vec<v1::NetworkInfo>,
}

#[derive(Debug, Default)]
struct State {
    /// Those with a record on disk.
    members: BTreeMap<ContainerId, Member>,
    /// Those that somebody is working on.
    busy: BTreeSet<ContainerId>,
    /// What plugins of an earlier agent do may still be going on.
    recovering: bool,
    plugins_running: usize,
}

/// The networks of one agent's containers.
#[derive(Debug)]
pub(crate) struct Networks {
    settings: NetworkSettings,
    records_dir: PathBuf,
    namespaces: PathBuf,
    /// Taken while the folder of namespaces is mounted or unmounted.
    folder: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
    /// Made with the first record.
    lock: Mutex<Option<Arc<OwnedFd>>>,
}

impl Networks {
    /// `records_dir` has to survive a reboot, as addresses do that plugins have given; `namespaces` need not.
    pub(crate) fn start(
        settings: NetworkSettings,
        records_dir: PathBuf,
        namespaces: PathBuf,
    ) -> Result<Self, IsolationError> {
        if let Some(folder) = &settings.config_dir {
            check_host(folder)?;
        }
        let networks = Self {
            settings,
            records_dir,
            namespaces,
            folder: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            lock: Mutex::default(),
        };
        networks.say_what_is_wrong();
        Ok(networks)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is consistent between statements; a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else works on a container, and the plugins of an earlier agent are through.
    fn claim(&self, id: &ContainerId) -> Claim<'_> {
        let state = self.state();
        let mut state = self
            .changed
            .wait_while(state, |state| state.recovering || state.busy.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        state.busy.insert(id.clone());
        Claim { networks: self, id: id.clone() }
    }

    fn folder_of(&self, id: &str) -> PathBuf {
        self.records_dir.join(CONTAINERS).join(id)
    }

    fn namespace_of(&self, id: &str) -> PathBuf {
        self.namespaces.join(id)
    }

    /// Whether a container has networks of its own, or something of them is left.
    pub(crate) fn has(&self, id: &ContainerId) -> bool {
        self.state().members.contains_key(id)
    }

    /// Whether there is something that an earlier agent may have left.
    pub(crate) fn is_unsettled(&self) -> bool {
        let state = self.state();
        state.recovering || !state.members.is_empty()
    }

    /// The networks of all containers that have any.
    pub(crate) fn all(&self) -> Vec<(ContainerId, Vec<v1::NetworkInfo>)> {
        let state = self.state();
        state.members.iter().map(|(id, member)| (id.clone(), member.infos.clone())).collect()
    }

    /// Where a container's network is: its own, or that of the closest container around it that has one
    /// (rule 368).
    pub(crate) fn place(&self, id: &ContainerId) -> Option<Place> {
        let state = self.state();
        let mut id: &str = id;
        loop {
            if let Some(member) = state.members.get(id) {
                return Some(Place {
                    namespace: self.namespace_of(id),
                    files: self.folder_of(id),
                    hostname: member.hostname.clone(),
                });
            }
            (id, _) = id.rsplit_once('.')?;
        }
    }

    /// The first address in the network that is the container's by the same rule.
    pub(crate) fn address(&self, id: &ContainerId) -> Option<String> {
        let state = self.state();
        let mut id: &str = id;
        loop {
            if let Some(member) = state.members.get(id) {
                return member
                    .infos
                    .iter()
                    .flat_map(|info| &info.ip_addresses)
                    .find_map(|ip| ip.ip_address.clone());
            }
            (id, _) = id.rsplit_once('.')?;
        }
    }

    /// Joins the networks that have a name, in their order; returns them with the addresses that were given.
    /// After an error nothing is left of any of them that could be undone.
    pub(crate) fn join(
        &self,
        id: &ContainerId,
        wanted: &[v1::NetworkInfo],
        hostname: Option<&str>,
        cancelled: &AtomicBool,
    ) -> Result<Vec<v1::NetworkInfo>, NetworkError> {
        let (record, infos) = {
            let claim = self.claim(id);
            let hostname = hostname.unwrap_or_else(|| id.rsplit('.').next().unwrap_or(id));
            let record = self.plan(id, wanted, hostname)?;
            let joined = self.join_all(id, record, cancelled);
            drop(claim);
            match joined {
                Ok(joined) => joined,
                Err(error) => {
                    self.leave(id);
                    return Err(error);
                }
            }
        };
        let member = Member { hostname: record.hostname, infos: infos.clone() };
        self.state().members.insert(id.clone(), member);
        Ok(infos)
    }

    /// What is to be joined, with everything checked that can be.
    fn plan(
        &self,
        id: &ContainerId,
        wanted: &[v1::NetworkInfo],
        hostname: &str,
    ) -> Result<Record, NetworkError> {
        if !config::is_name(id) {
            return Err(NetworkError::Name(id.to_string()));
        }
        if !is_hostname(hostname) {
            return Err(NetworkError::Name(hostname.escape_debug().to_string()));
        }
        let named: Vec<(&str, &v1::NetworkInfo)> =
            wanted.iter().filter_map(|info| Some((info.name.as_deref()?, info))).collect();
        if named.len() > NETWORKS_MAX {
            return Err(NetworkError::TooMany);
        }
        let mut networks: Vec<Joined> = Vec::new();
        for (n, (name, info)) in named.into_iter().enumerate() {
            if networks.iter().any(|joined| joined.network.name == name) {
                return Err(NetworkError::Twice(name.to_owned()));
            }
            let network = self.find(name)?;
            let refused = |why| NetworkError::Asked { network: name.to_owned(), why };
            let asked = Asked::new(info).map_err(refused)?;
            if !asked.mappings.is_empty() && !network.maps_ports() {
                let why = "none of its plugins maps ports, as its configuration says";
                return Err(refused(why.to_owned()));
            }
            for (_, plugin) in network.programs() {
                self.program(plugin).map_err(|why| NetworkError::Plugin {
                    what: "join",
                    network: name.to_owned(),
                    plugin: plugin.to_owned(),
                    why,
                })?;
            }
            networks.push(Joined { network, interface: format!("eth{n}"), asked, answer: None });
        }
        Ok(Record { container: id.to_string(), hostname: hostname.to_owned(), networks })
    }

    fn join_all(
        &self,
        id: &ContainerId,
        mut record: Record,
        cancelled: &AtomicBool,
    ) -> Result<(Record, Vec<v1::NetworkInfo>), NetworkError> {
        let folder = self.folder_of(id);
        let write = |record: &Record| record.write(&folder).map_err(system("write down what is joined"));
        write(&record)?;
        // From here on there is something to undo.
        let member = Member { hostname: record.hostname.clone(), infos: Vec::new() };
        self.state().members.insert(id.clone(), member);
        let namespace = self.namespace_of(id);
        {
            let _folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
            namespace::make(&namespace).map_err(system("make a network namespace"))?;
        }
        let (mut infos, mut addresses, mut names) = (Vec::new(), Vec::new(), Names::default());
        for n in 0..record.networks.len() {
            let answer = self.join_one(&record, n, &namespace, cancelled)?;
            let Some(joined) = record.networks.get_mut(n) else { break };
            let failed = |why| joined.failed("join", joined.network.len() - 1, why);
            let read = Answer::parse(&answer).map_err(failed)?;
            infos.push(joined.asked.to_info(&joined.network.name, &read.addresses));
            addresses.extend(read.addresses);
            if names.is_empty() {
                names = read.names;
            }
            joined.answer = Some(answer);
            write(&record)?;
        }
        if names.is_empty() {
            let defaults = |joined: &Joined| self.settings.default_names.of(&joined.network.name).cloned();
            names = record.networks.iter().find_map(defaults).unwrap_or_default();
        }
        let resolv_conf =
            if names.is_empty() { host_resolv_conf() } else { files::resolv_conf(&names).into_bytes() };
        for (name, content) in [
            (HOSTS, files::hosts(&record.hostname, &addresses).into_bytes()),
            (HOSTNAME, format!("{}\n", record.hostname).into_bytes()),
            (RESOLV_CONF, resolv_conf),
        ] {
            fs::write(folder.join(name), content).map_err(system("write the container's network files"))?;
        }
        Ok((record, infos))
    }

    /// Calls the plugins of one network, each with what the one before has answered.
    fn join_one(
        &self,
        record: &Record,
        n: usize,
        namespace: &Path,
        cancelled: &AtomicBool,
    ) -> Result<Value, NetworkError> {
        let Some(joined) = record.networks.get(n) else { return Ok(Value::Null) };
        let mut previous = None;
        for plugin in 0..joined.network.len() {
            if cancelled.load(Ordering::Acquire) {
                return Err(NetworkError::Cancelled);
            }
            let said = self.call(record, joined, plugin, Call::Add, Some(namespace), previous.as_ref())?;
            let answer: Value = serde_json::from_slice(&said)
                .ok()
                .filter(Value::is_object)
                .ok_or_else(|| joined.failed("join", plugin, "its answer is no JSON object".to_owned()))?;
            previous = Some(answer);
        }
        Ok(previous.unwrap_or_default())
    }

    fn call(
        &self,
        record: &Record,
        joined: &Joined,
        plugin: usize,
        call: Call,
        namespace: Option<&Path>,
        previous: Option<&Value>,
    ) -> Result<Vec<u8>, NetworkError> {
        let what = match call {
            Call::Add => "join",
            Call::Check => "check",
            Call::Del => "leave",
            Call::Collect => "clean up",
        };
        if let Some(answer) = joined.network.builtin(plugin, namespace, previous) {
            return Ok(answer.to_string().into_bytes());
        }
        let failed = |why| joined.failed(what, plugin, why);
        let program = self.program(joined.network.plugin(plugin)).map_err(failed)?;
        let input = joined.network.request(plugin, call, previous, &joined.asked);
        let lock = self.plugins_lock().map_err(|error| failed(format!("lock: {error}")))?;
        let _turn = self.turn();
        plugin::run(&Invocation {
            program: &program,
            call,
            container: &record.container,
            namespace,
            interface: &joined.interface,
            folders: &self.folders(),
            input: &input,
            time_max: self.settings.plugin_time_max,
            lock: &lock,
        })
        .map_err(failed)
    }

    /// Waits until not too many plugins run.
    fn turn(&self) -> Turn<'_> {
        let state = self.state();
        let mut state = self
            .changed
            .wait_while(state, |state| state.plugins_running >= PLUGINS_RUNNING_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        state.plugins_running += 1;
        Turn(self)
    }

    /// Leaves all networks of a container, the last one first, and forgets them. What cannot be undone is said,
    /// and tried again when the container is removed and when an agent starts.
    pub(crate) fn leave(&self, id: &ContainerId) {
        let _claim = self.claim(id);
        if self.has(id) && self.undo(id) {
            self.state().members.remove(id);
        }
    }

    /// Whether nothing is left.
    fn undo(&self, id: &ContainerId) -> bool {
        let folder = self.folder_of(id);
        let namespace = self.namespace_of(id);
        let mut all_left = true;
        match Record::read(&folder) {
            Ok(Some(mut record)) => {
                let mut kept = Vec::new();
                while let Some(joined) = record.networks.pop() {
                    if !self.leave_one(&record, &joined, &namespace) {
                        kept.push(joined);
                    }
                }
                kept.reverse();
                record.networks = kept;
                if !record.networks.is_empty() {
                    all_left = false;
                    if let Err(error) = record.write(&folder) {
                        tracing::error!(container = %id, %error, "writing down what is left of networks failed");
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                // Nobody can know what it was. The interfaces go with the namespace.
                tracing::error!(container = %id, %error, "the record of a container's networks cannot be read");
            }
        }
        let removed = {
            let _folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
            namespace::remove(&namespace)
        };
        if let Err(error) = removed {
            tracing::error!(container = %id, %error, "removing a network namespace failed");
            return false;
        }
        if all_left
            && let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(container = %id, %error, "removing the record of a container's networks failed");
            return false;
        }
        all_left
    }

    /// Every plugin is called, whatever became of the others: the less is left the better.
    fn leave_one(&self, record: &Record, joined: &Joined, namespace: &Path) -> bool {
        let namespace = namespace::is_there(namespace).then_some(namespace);
        let mut all_left = true;
        for plugin in (0..joined.network.len()).rev() {
            let left = self.call(record, joined, plugin, Call::Del, namespace, joined.answer.as_ref());
            if let Err(error) = left {
                tracing::error!(container = record.container, %error, "something of a network is left");
                all_left = false;
            }
        }
        all_left
    }

    fn plugins_lock(&self) -> io::Result<Arc<OwnedFd>> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = &*lock {
            return Ok(lock.clone());
        }
        fs::create_dir_all(&self.records_dir)?;
        let path = self.records_dir.join(PLUGINS_LOCK);
        let file = fs::File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockShared)?;
        Ok(lock.insert(Arc::new(file.into())).clone())
    }

    /// Does something inside a container's network.
    pub(crate) fn within<T: Send>(place: &Place, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        namespace::within(&place.namespace, act)
    }
}

/// Nobody else works on a container while this is there.
struct Claim<'a> {
    networks: &'a Networks,
    id: ContainerId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.networks.state().busy.remove(&self.id);
        self.networks.changed.notify_all();
    }
}

/// One plugin may run.
struct Turn<'a>(&'a Networks);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().plugins_running -= 1;
        self.0.changed.notify_all();
    }
}

/// Whether the kernel and files take it as the name of a host.
fn is_hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= HOSTNAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// How the host resolves names. A resolver of the host that is reached over its loopback interface cannot be
/// reached from a container; the one of systemd tells whom it asks itself.
fn host_resolv_conf() -> Vec<u8> {
    let read = |path: &str| read_limited(Path::new(path), HOST_FILE_BYTES_MAX as u64).unwrap_or_default();
    let text = read("/etc/resolv.conf");
    let lossy = String::from_utf8_lossy(&text).into_owned();
    let mut servers = lossy.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).peekable();
    if servers.peek().is_some() && servers.all(|server| server.trim().starts_with("127.")) {
        let asked = read("/run/systemd/resolve/resolv.conf");
        if !asked.is_empty() {
            return asked;
        }
    }
    text
}
