//! What limits and measures containers: a list of isolators, each with one job.

mod blkio;
mod capabilities;
mod cgroup;
mod confine;
mod cpu;
mod cpuset;
mod devices;
mod disk;
mod load;
mod memory;
mod namespaces;
mod pids;
mod posix;
mod rlimits;
mod seccomp;
mod secrets;
mod support;
mod volumes;

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mezzo_ids::ContainerId;
/// What a container uses, as the API tells it.
pub use mezzo_mesos::v1::ResourceStatistics as Statistics;
use mezzo_mesos::v1::{CapabilityInfo, CommandInfo, ContainerInfo};

use blkio::Blkio;
pub(crate) use capabilities::{each_name as capability_names, number as capability_number};
use cgroup::{Group, Host};
use confine::Confiner;
pub use confine::{Circumstances, ImageLayers};
use cpu::Cpu;
use cpuset::Cpuset;
pub use devices::AllowedDevice;
use devices::Devices;
pub use disk::Quota;
pub(crate) use disk::used as disk_used;
pub use load::{Load, Pressure, Shares, Waits};
use memory::Memory;
use pids::Pids;
pub use rlimits::rlimits_of;
pub use support::{Support, support};

use crate::{
    confinement::{Confinement, DeviceNode, Root},
    event::Limitation,
    gpus::{self, GpuSettings},
    network::{self, NetworkSettings},
    port_watch::{self, PortSettings},
    projects::{self, ProjectSettings},
};

const MIB: u64 = 1 << 20;

/// The isolators that use control groups.
const CGROUPS: [&str; 6] =
    ["cgroups/cpu", "cgroups/mem", pids::NAME, devices::NAME, blkio::NAME, cpuset::NAME];
/// What containers have without `filesystem/linux`.
const FILES_OF_THE_HOST: &str = "filesystem/posix";
/// All of them that the host has.
const CGROUPS_ALL: &str = "cgroups/all";

/// What a container asked for, in exact units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a cpu.
    pub cpus_milli: u64,
    /// The cpus are revocable.
    pub cpus_revocable: bool,
    /// Thousandths of a cpu above the request; `u64::MAX` for no limit at all.
    pub cpus_limit_milli: Option<u64>,
    /// Bytes.
    pub mem_bytes: u64,
    /// Bytes above the request; `u64::MAX` for no limit at all.
    pub mem_limit_bytes: Option<u64>,
    /// Whole gpus.
    pub gpus: usize,
}

/// A kind of task limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// More cpus than requested.
    Cpus,
    /// More memory than requested.
    Mem,
}

/// The settings of all isolators.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// `--isolation`; see [`parse_isolation`].
    pub names: Vec<String>,
    /// `--cgroups_hierarchy`.
    pub cgroups_hierarchy: PathBuf,
    /// `--cgroups_root`.
    pub cgroups_root: String,
    /// `--cgroups_enable_cfs`.
    pub cgroups_enable_cfs: bool,
    /// `--cgroups_limit_swap`.
    pub cgroups_limit_swap: bool,
    /// `--cgroups_cpu_enable_pids_and_tids_count`.
    pub cgroups_cpu_enable_pids_and_tids_count: bool,
    /// Processes and threads of a container with cgroups/pids; `None` for a part of what the kernel can have.
    pub pids_max: Option<u64>,
    /// `--allowed_devices`.
    pub allowed_devices: Vec<AllowedDevice>,
    /// `--enforce_container_disk_quota`.
    pub enforce_container_disk_quota: bool,
    /// `--container_disk_watch_interval`.
    pub container_disk_watch_interval: Duration,
    /// `--effective_capabilities`.
    pub effective_capabilities: Option<CapabilityInfo>,
    /// `--bounding_capabilities`.
    pub bounding_capabilities: Option<CapabilityInfo>,
    /// `--seccomp_config_dir`.
    pub seccomp_config_dir: Option<PathBuf>,
    /// `--seccomp_profile_name`.
    pub seccomp_profile_name: Option<String>,
    /// `--host_path_volume_force_creation`, split.
    pub host_path_volume_force_creation: Vec<PathBuf>,
    /// `--disallow_sharing_agent_pid_namespace`.
    pub disallow_sharing_agent_pid_namespace: bool,
    /// `--disallow_sharing_agent_ipc_namespace`.
    pub disallow_sharing_agent_ipc_namespace: bool,
    /// `--default_container_shm_size`.
    pub default_container_shm_bytes: Option<u64>,
    /// Networks of containers.
    pub networks: NetworkSettings,
    /// Ports that containers listen on.
    pub ports: PortSettings,
    /// Quotas of the file system.
    pub projects: ProjectSettings,
    /// Gpus that containers are given.
    pub gpus: GpuSettings,
}

impl Isolation {
    /// Whether somebody looks which ports containers listen on.
    pub(crate) fn watches_ports(&self) -> bool {
        self.names.iter().any(|name| name == port_watch::NAME)
    }

    /// Whether somebody looks how much of the disk containers use.
    pub(crate) fn watches_disk(&self) -> bool {
        self.names.iter().any(|name| name == disk::NAME || name == projects::NAME)
    }
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            names: vec!["posix/cpu".to_owned(), "posix/mem".to_owned()],
            cgroups_hierarchy: PathBuf::from("/sys/fs/cgroup"),
            cgroups_root: "mesos".to_owned(),
            cgroups_enable_cfs: false,
            cgroups_limit_swap: false,
            cgroups_cpu_enable_pids_and_tids_count: false,
            pids_max: None,
            allowed_devices: Vec::new(),
            enforce_container_disk_quota: false,
            container_disk_watch_interval: Duration::from_secs(15),
            effective_capabilities: None,
            bounding_capabilities: None,
            seccomp_config_dir: None,
            seccomp_profile_name: None,
            host_path_volume_force_creation: Vec::new(),
            disallow_sharing_agent_pid_namespace: false,
            disallow_sharing_agent_ipc_namespace: false,
            default_container_shm_bytes: None,
            networks: NetworkSettings::default(),
            ports: PortSettings::default(),
            projects: ProjectSettings::default(),
            gpus: GpuSettings::default(),
        }
    }
}

/// Why isolation does not work as asked.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// Named twice (rule 348).
    #[error("Isolator '{0}' is named twice in --isolation")]
    Duplicate(String),
    /// Two that decide about the same (rule 349).
    #[error("Isolators '{0}' and '{1}' cannot be used together")]
    Contrary(&'static str, &'static str),
    /// Not one of those known here.
    #[error("Unknown or unsupported isolator '{0}'")]
    Unsupported(String),
    /// The host lacks what the isolator needs.
    #[error("Isolator '{name}' cannot work on this host: {reason}")]
    Host {
        /// Of the isolator.
        name: &'static str,
        /// In words.
        reason: String,
    },
    /// A control file could not be written.
    #[error("Failed to write '{value}' to '{path}'")]
    Write {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        value: String,
        /// Why it does not.
        source: io::Error,
    },
    /// A control group could not be made.
    #[error("Failed to create control group '{path}'")]
    Create {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads `--isolation` (rule 348): aliases are replaced by what they stand for; duplicates are refused.
pub fn parse_isolation(text: &str) -> Result<Vec<String>, IsolationError> {
    let mut names = Vec::new();
    for given in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let expanded: &[&str] = match given {
            "process" => &["posix/cpu", "posix/mem"],
            "cgroups" => &["cgroups/cpu", "cgroups/mem"],
            "posix/disk" => &["disk/du"],
            name => &[name],
        };
        for name in expanded {
            if names.iter().any(|known| known == name) {
                return Err(IsolationError::Duplicate((*name).to_owned()));
            }
            names.push((*name).to_owned());
        }
    }
    Ok(names)
}

/// Whether isolation works on this host as asked. Finds out by preparing it, which may make the agent's control
/// groups.
pub fn check_isolation(isolation: &Isolation) -> Result<(), IsolationError> {
    Isolators::start(isolation).map(drop)
}

/// The isolators of one agent.
#[derive(Debug)]
pub(crate) struct Isolators {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    pids: Option<Pids>,
    devices: Option<Devices>,
    blkio: Option<Blkio>,
    cpuset: Option<Cpuset>,
    confiner: Confiner,
    count_processes: bool,
    /// Where control groups are, and the agent's own below.
    hierarchy: PathBuf,
    cgroups_root: String,
}

impl Isolators {
    pub(crate) fn start(isolation: &Isolation) -> Result<Self, IsolationError> {
        let mut cgroup_names: Vec<&str> = Vec::new();
        for (n, name) in isolation.names.iter().enumerate() {
            if isolation.names[..n].contains(name) {
                return Err(IsolationError::Duplicate(name.clone()));
            }
            match name.as_str() {
                // Measuring needs nothing, limits of the kernel's own need nothing either, and
                // sharing the host's files and network is what happens anyway (rule 349).
                "posix/cpu" | "posix/mem" | "posix/rlimits" | FILES_OF_THE_HOST => {}
                // There without being named.
                network::NAME | port_watch::NAME | gpus::NAME | projects::NAME => {}
                name if CGROUPS.contains(&name) || name == CGROUPS_ALL => cgroup_names.push(name),
                disk::NAME => {}
                name if Confiner::knows(name) => {}
                _ => return Err(IsolationError::Unsupported(name.clone())),
            }
        }
        let has = |wanted: &str| isolation.names.iter().any(|name| name == wanted);
        if has(FILES_OF_THE_HOST) && has(confine::FILESYSTEM) {
            return Err(IsolationError::Contrary(FILES_OF_THE_HOST, confine::FILESYSTEM));
        }
        let mut isolators = Self {
            cpu: None,
            memory: None,
            pids: None,
            devices: None,
            blkio: None,
            cpuset: None,
            confiner: Confiner::start(isolation)?,
            count_processes: isolation.cgroups_cpu_enable_pids_and_tids_count,
            hierarchy: isolation.cgroups_hierarchy.clone(),
            cgroups_root: isolation.cgroups_root.clone(),
        };
        if cgroup_names.is_empty() {
            return Ok(isolators);
        }
        let host = Host::inspect(&isolation.cgroups_hierarchy, &isolation.cgroups_root);
        if cgroup_names.contains(&CGROUPS_ALL) {
            for name in CGROUPS {
                // All that this host has.
                match isolators.start_cgroup(name, &host, isolation) {
                    Err(error @ IsolationError::Host { .. }) => {
                        tracing::warn!(%error, "not among cgroups/all")
                    }
                    result => result?,
                }
            }
            if isolators.roots().is_empty() {
                let reason = "it has no control groups".to_owned();
                return Err(IsolationError::Host { name: CGROUPS_ALL, reason });
            }
            return Ok(isolators);
        }
        for name in cgroup_names {
            isolators.start_cgroup(name, &host, isolation)?;
        }
        Ok(isolators)
    }

    fn start_cgroup(&mut self, name: &str, host: &Host, isolation: &Isolation) -> Result<(), IsolationError> {
        match name {
            "cgroups/cpu" => self.cpu = Some(Cpu::start(host, isolation.cgroups_enable_cfs)?),
            "cgroups/mem" => self.memory = Some(Memory::start(host, isolation.cgroups_limit_swap)?),
            pids::NAME => self.pids = Some(Pids::start(host, isolation.pids_max)?),
            devices::NAME => self.devices = Some(Devices::start(host, &isolation.allowed_devices)?),
            blkio::NAME => self.blkio = Some(Blkio::start(host)?),
            cpuset::NAME => self.cpuset = Some(Cpuset::start(host)?),
            other => return Err(IsolationError::Unsupported(other.to_owned())),
        }
        Ok(())
    }

    /// How a container is set apart.
    pub(crate) fn confine(
        &self,
        info: Option<&ContainerInfo>,
        root: Option<Root>,
        circumstances: &Circumstances<'_>,
    ) -> Result<Confinement, String> {
        self.confiner.confine(info, root, circumstances)
    }

    /// The variables of a command that are secrets.
    pub(crate) fn secret_variables(&self, command: &CommandInfo) -> Result<Vec<(String, String)>, String> {
        self.confiner.secret_variables(command)
    }

    pub(crate) fn uses_cgroups(&self) -> bool {
        !self.roots().is_empty()
    }

    pub(crate) fn supports(&self, limit: Limit) -> bool {
        match limit {
            Limit::Cpus => self.cpu.is_some(),
            Limit::Mem => self.memory.is_some(),
        }
    }

    fn roots(&self) -> Vec<&Group> {
        let mut roots: Vec<&Group> = Vec::new();
        let cpu = self.cpu.iter().flat_map(|cpu| std::iter::once(&cpu.root).chain(&cpu.accounting));
        let others = self
            .pids
            .iter()
            .map(|pids| &pids.root)
            .chain(self.devices.iter().map(|devices| &devices.root))
            .chain(self.blkio.iter().map(|blkio| &blkio.root))
            .chain(self.cpuset.iter().map(|cpuset| &cpuset.root));
        for root in cpu.chain(self.memory.iter().map(|memory| &memory.root)).chain(others) {
            // On v2 all controllers of a container are in one group.
            if roots.iter().all(|known| known.path != root.path) {
                roots.push(root);
            }
        }
        roots
    }

    /// Makes the control groups of a container and sets its limits.
    pub(crate) fn prepare(&self, id: &ContainerId, resources: &Resources) -> Result<(), IsolationError> {
        let result = self.prepare_groups(id, resources);
        if result.is_err() {
            self.cleanup(id);
        }
        result
    }

    fn prepare_groups(&self, id: &ContainerId, resources: &Resources) -> Result<(), IsolationError> {
        for root in self.roots() {
            root.child(id).create()?;
        }
        if let Some(cpu) = &self.cpu {
            cpu.apply(id, resources)?;
        }
        if let Some(memory) = &self.memory {
            memory.prepare(id, resources)?;
        }
        if let Some(pids) = &self.pids {
            pids.prepare(id)?;
        }
        if let Some(devices) = &self.devices {
            devices.prepare(id)?;
        }
        if let Some(cpuset) = &self.cpuset {
            cpuset.prepare(id)?;
        }
        Ok(())
    }

    /// Lets the processes in a container's control groups use some devices more, and no longer those that are
    /// taken away from it.
    pub(crate) fn allow_devices(
        &self,
        id: &str,
        allowed: &[DeviceNode],
        taken: &[DeviceNode],
    ) -> Result<(), IsolationError> {
        self.devices.as_ref().map_or(Ok(()), |devices| devices.allow(id, allowed, taken))
    }

    /// The files a process with one thread writes itself into to join its container.
    pub(crate) fn cgroup_entrances(&self, id: &ContainerId, shared: bool) -> Vec<PathBuf> {
        let id = if shared { root_of(id) } else { id.clone() };
        self.roots().into_iter().map(|root| root.child(&id).entrance()).collect()
    }

    /// The control group for a container of another runtime, by its path in each hierarchy: below the group
    /// that has the container's limits, which it must not empty or remove.
    pub(crate) fn runtime_group(&self, id: &ContainerId, shared: bool) -> String {
        let root = self.roots().into_iter().find_map(|root| root.below(&self.hierarchy));
        let root = root.unwrap_or_else(|| PathBuf::from(self.cgroups_root.trim_matches('/')));
        let around = if shared { root_of(id) } else { id.clone() };
        format!("/{}/{around}/{id}", root.display())
    }

    /// Where a process joins a container of another runtime. Unified groups above it can have no processes.
    pub(crate) fn runtime_entrances(&self, id: &ContainerId, shared: bool) -> Vec<PathBuf> {
        let around = if shared { root_of(id) } else { id.clone() };
        let group = |root: &Group| match root.version {
            cgroup::Version::V1 => root.child(&around),
            cgroup::Version::V2 => root.child(&around).child(id),
        };
        self.roots().into_iter().map(|root| group(root).entrance()).collect()
    }

    /// The devices that can be used, as the kernel writes them; `None` where nobody limits them.
    pub(crate) fn devices(&self) -> Option<Vec<String>> {
        self.devices.as_ref().map(Devices::lines)
    }

    /// One of those that a container is given, in the same form.
    pub(crate) fn device_line(node: &DeviceNode) -> String {
        devices::node_line(node)
    }

    /// Where control groups are.
    pub(crate) fn hierarchy(&self) -> &std::path::Path {
        &self.hierarchy
    }

    pub(crate) fn update(&self, id: &ContainerId, resources: &Resources) -> Result<(), IsolationError> {
        if let Some(cpu) = &self.cpu {
            cpu.apply(id, resources)?;
        }
        if let Some(memory) = &self.memory {
            memory.update(id, resources)?;
        }
        Ok(())
    }

    /// A descriptor that tells of an out-of-memory condition, and how it tells.
    pub(crate) fn memory_watch(&self, id: &ContainerId) -> Option<memory::Watch> {
        self.memory.as_ref()?.watch(id)
    }

    /// Whether an event of [`Isolators::memory_watch`] means that memory ran out.
    pub(crate) fn is_out_of_memory(&self, id: &ContainerId) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.is_out(id))
    }

    /// What the container ran into, if anything. `out_of_memory` is what a watch has told.
    pub(crate) fn limitation(&self, id: &ContainerId, out_of_memory: bool) -> Option<Limitation> {
        self.memory.as_ref()?.limitation(id, out_of_memory)
    }

    /// Kills every process of the container's control groups at once, where the kernel can (v2).
    pub(crate) fn kill(&self, id: &ContainerId) {
        for root in self.roots() {
            root.child(id).kill();
        }
    }

    /// Removes what `prepare` made. Groups that are not there are no error.
    pub(crate) fn cleanup(&self, id: &ContainerId) {
        for root in self.roots() {
            root.child(id).remove();
        }
    }

    /// Whether a container of an earlier agent has control groups of its own.
    pub(crate) fn recover(&self, id: &ContainerId) -> bool {
        self.roots().into_iter().any(|root| root.child(id).path.is_dir())
    }

    /// Removes groups of containers that nobody knows.
    pub(crate) fn cleanup_unknown(&self, is_known: impl Fn(&str) -> bool) {
        for root in self.roots() {
            for name in root.children() {
                if !is_known(&name) {
                    root.child(&name).remove();
                }
            }
        }
    }

    /// What a container uses. `pid` is its program's.
    pub(crate) fn statistics(&self, id: &ContainerId, pid: u32, resources: &Resources) -> Statistics {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut statistics = Statistics { timestamp: now.as_secs_f64(), ..Statistics::default() };
        let cpu_known = self.cpu.as_ref().is_some_and(|cpu| cpu.measure(id, &mut statistics));
        let memory_known = self.memory.as_ref().is_some_and(|memory| memory.measure(id, &mut statistics));
        if !cpu_known || !memory_known || self.count_processes {
            let usage = posix::measure(pid);
            if !cpu_known {
                statistics.cpus_user_time_secs = Some(usage.user_seconds);
                statistics.cpus_system_time_secs = Some(usage.system_seconds);
            }
            if !memory_known {
                statistics.mem_rss_bytes = Some(usage.resident_bytes);
            }
            if self.count_processes {
                statistics.processes = Some(usage.processes);
                statistics.threads = Some(usage.threads);
            }
        }
        if let Some(blkio) = &self.blkio {
            blkio.measure(id, &mut statistics);
        }
        let cpus = |milli: u64| milli as f64 / 1000.0;
        statistics.cpus_soft_limit = Some(cpus(resources.cpus_milli));
        statistics.cpus_limit = resources.cpus_limit_milli.filter(|limit| *limit != u64::MAX).map(cpus);
        statistics.mem_soft_limit_bytes = Some(resources.mem_bytes);
        let limit = resources.mem_limit_bytes.unwrap_or(resources.mem_bytes);
        statistics.mem_limit_bytes = (limit != u64::MAX).then_some(limit);
        statistics
    }
}

/// The container around all others that one is in.
pub(crate) fn root_of(id: &ContainerId) -> ContainerId {
    ContainerId::from(id.as_str().split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_348_aliases_expand_and_duplicates_are_refused() {
        assert_eq!(parse_isolation("process").unwrap(), ["posix/cpu", "posix/mem"]);
        assert_eq!(
            parse_isolation("cgroups, posix/disk").unwrap(),
            ["cgroups/cpu", "cgroups/mem", "disk/du"]
        );
        for text in ["cgroups/cpu,cgroups/cpu", "cgroups,cgroups/mem", "process,posix/cpu"] {
            assert!(matches!(parse_isolation(text), Err(IsolationError::Duplicate(_))), "{text}");
        }
    }

    #[test]
    fn rule_349_there_is_one_isolator_of_files_and_one_of_networks() {
        let start = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Isolators::start(&Isolation { names, ..Isolation::default() }).map(drop)
        };
        start(&["filesystem/posix", "network/cni", "network/ports"]).unwrap();
        start(&[]).unwrap();
        let error = start(&["filesystem/posix", "filesystem/linux"]).unwrap_err();
        assert!(matches!(error, IsolationError::Contrary("filesystem/posix", "filesystem/linux")), "{error}");
        // The other isolators of networks that Mesos has.
        for other in ["network/port_mapping", "network/host"] {
            let error = start(&["network/cni", other]).unwrap_err();
            assert_eq!(error.to_string(), format!("Unknown or unsupported isolator '{other}'"));
        }
    }

    #[test]
    fn an_isolator_that_is_not_there_is_named() {
        let isolation = Isolation { names: vec!["perf/everything".to_owned()], ..Isolation::default() };
        let error = Isolators::start(&isolation).unwrap_err();
        assert_eq!(error.to_string(), "Unknown or unsupported isolator 'perf/everything'");
        let isolation = Isolation {
            names: vec!["cgroups/mem".to_owned()],
            cgroups_hierarchy: PathBuf::from("/nowhere"),
            ..Isolation::default()
        };
        let error = Isolators::start(&isolation).unwrap_err();
        assert!(error.to_string().contains("'cgroups/mem' cannot work on this host"), "{error}");
    }

    #[test]
    fn children_share_the_groups_of_their_root() {
        assert_eq!(root_of(&"a.b.c".into()).as_str(), "a");
        assert_eq!(root_of(&"a".into()).as_str(), "a");
    }
}
