//! The settings of a master process, with Mesos' defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use mezzo_allocator::{AgentPreference, ConstraintLimits, Sorter};
use mezzo_ids::Role;
use mezzo_mesos::v1;

/// Everything a master process is told at its start. Nothing is read from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Told to others instead of the address that is listened on.
    pub advertise_ip: Option<IpAddr>,
    /// Told to others instead of the port that is listened on.
    pub advertise_port: Option<u16>,
    /// Told to others; otherwise found out.
    pub hostname: Option<String>,
    /// Whether the name of the host is used when none is given; otherwise the address as text.
    pub hostname_lookup: bool,
    /// Holds the registry. Needed unless that is in memory.
    pub work_dir: Option<PathBuf>,
    /// Where the registry is.
    pub registry: RegistryKind,
    /// The cluster's name in state.
    pub cluster: Option<String>,
    /// Fault domain.
    pub domain: Option<v1::DomainInfo>,
    /// Agents without a fault domain are ignored.
    pub require_agent_domain: bool,
    /// Wait for each answer to a ping.
    pub agent_ping_timeout: Duration,
    /// Unanswered pings before an agent is unreachable.
    pub agent_ping_timeouts_max: u32,
    /// Time that an agent of the registry has to come back.
    pub agent_reregister_timeout: Duration,
    /// If more than this share of agents would be marked unreachable after a start, the master exits.
    pub recovery_agent_removal_limit: f64,
    /// At most this many agents per this long are marked unreachable.
    pub agent_removal_rate_limit: Option<(u32, Duration)>,
    /// Outstanding offers older than this are rescinded.
    pub offer_timeout: Option<Duration>,
    /// Bytes of one regular expression of an offer constraint.
    pub offer_constraint_memory_max: usize,
    /// Size of its compiled form.
    pub offer_constraint_program_size_max: usize,
    /// Whether frameworks may run as root.
    pub root_submissions: bool,
    /// Whitelist of roles.
    pub roles: Option<Vec<Role>>,
    /// Initial weights; those of the registry win.
    pub weights: BTreeMap<Role, f64>,
    /// Completed frameworks kept.
    pub completed_frameworks_max: usize,
    /// Completed tasks kept per framework.
    pub completed_tasks_max: usize,
    /// Unreachable tasks kept per framework.
    pub unreachable_tasks_max: usize,
    /// Unreachable and gone agents are forgotten after this.
    pub registry_agent_age_max: Duration,
    /// At most this many unreachable and as many gone agents are kept.
    pub registry_agent_count_max: usize,
    /// How often old ones are looked for.
    pub registry_gc_interval: Duration,
    /// Between allocations for everybody.
    pub allocation_interval: Duration,
    /// Agents with gpus are offered only to frameworks that ask for gpus.
    pub filter_gpu_resources: bool,
    /// Resource names left out of the dominant share.
    pub fair_sharing_excluded_names: BTreeSet<String>,
    /// An offer must reach one of these sets, written as `cpus:0.01|mem:32`.
    pub min_allocatable_resources: String,
    /// Order of roles.
    pub role_sorter: Sorter,
    /// Order of frameworks in a role.
    pub framework_sorter: Sorter,
    /// Which agents are offered first.
    pub agent_preference: AgentPreference,
    /// Whether every allocation is judged by an independent checker, on a thread of its own.
    pub check_allocations: bool,
    /// Share of known agents that must be back before offers resume after a start, when quota exists.
    pub allocator_agent_recovery_factor: f64,
    /// Offers resume at latest after this.
    pub allocator_recovery_timeout: Duration,
    /// Operators who subscribe to events; the oldest is let go above this.
    pub operator_subscribers_max: usize,
    /// The log, shown as /master/log.
    pub log_file: Option<PathBuf>,
    /// Folder of log files, shown in state.
    pub log_dir: Option<PathBuf>,
    /// A log that somebody else writes, shown in state.
    pub external_log_file: Option<PathBuf>,
    /// How to log more for a while.
    pub verbosity: Verbosity,
    /// Full paths answered 403 (rule 12).
    pub disabled_endpoints: BTreeSet<String>,
    /// The effective flags by name, as /flags shows them.
    pub flags: BTreeMap<String, String>,
}

impl Config {
    /// Bounds of the patterns of offer constraints.
    pub(crate) fn constraint_limits(&self) -> ConstraintLimits {
        ConstraintLimits {
            memory_max: self.offer_constraint_memory_max,
            program_size_max: self.offer_constraint_program_size_max,
        }
    }
}

/// Where the registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// A file in the work directory.
    Embedded,
    /// Forgotten at the end (rule 498).
    InMemory,
}

/// How much the process logs beyond its start level, in Mesos' numbers (rule 24). Logging belongs to the
/// process that runs the daemon, so the daemon only passes orders on.
#[derive(Clone, Copy, Debug)]
pub struct Verbosity {
    /// The level at the moment.
    pub get: fn() -> u32,
    /// Logs this much for a while; 0 is the start level.
    pub set: fn(u32, Duration),
}

impl Default for Verbosity {
    /// Levels are fixed.
    fn default() -> Self {
        Self { get: || 0, set: |_, _| {} }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Beyond loopback only on request: nothing is authenticated by default.
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 5050),
            advertise_ip: None,
            advertise_port: None,
            hostname: None,
            hostname_lookup: true,
            work_dir: None,
            registry: RegistryKind::Embedded,
            cluster: None,
            domain: None,
            require_agent_domain: false,
            agent_ping_timeout: Duration::from_secs(15),
            agent_ping_timeouts_max: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            recovery_agent_removal_limit: 1.0,
            agent_removal_rate_limit: None,
            offer_timeout: None,
            offer_constraint_memory_max: 4096,
            offer_constraint_program_size_max: 100,
            root_submissions: true,
            roles: None,
            weights: BTreeMap::new(),
            completed_frameworks_max: mezzo_master::state::COMPLETED_FRAMEWORKS_MAX,
            completed_tasks_max: mezzo_master::state::COMPLETED_TASKS_MAX,
            unreachable_tasks_max: mezzo_master::state::UNREACHABLE_TASKS_MAX,
            registry_agent_age_max: Duration::from_secs(14 * 24 * 3600),
            registry_agent_count_max: 102_400,
            registry_gc_interval: Duration::from_secs(15 * 60),
            allocation_interval: Duration::from_secs(1),
            filter_gpu_resources: true,
            fair_sharing_excluded_names: BTreeSet::new(),
            min_allocatable_resources: "cpus:0.01|mem:32".into(),
            role_sorter: Sorter::default(),
            framework_sorter: Sorter::default(),
            agent_preference: AgentPreference::default(),
            check_allocations: false,
            allocator_agent_recovery_factor: 0.8,
            allocator_recovery_timeout: Duration::from_secs(600),
            operator_subscribers_max: 1000,
            log_file: None,
            log_dir: None,
            external_log_file: None,
            verbosity: Verbosity::default(),
            disabled_endpoints: BTreeSet::new(),
            flags: BTreeMap::new(),
        }
    }
}
