//! The settings of an agent process, with Mesos' defaults.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use mezzo_agent::{ReconfigurationPolicy, RecoverMode};
use mezzo_mesos::v1;

/// Everything an agent process is told at its start. Nothing is read from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The master as `host:port`; several are tried in turn.
    pub masters: Vec<String>,
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
    /// Sandboxes, volumes and the agent's own log.
    pub work_dir: PathBuf,
    /// What need not survive a reboot; chosen when `None`.
    pub runtime_dir: Option<PathBuf>,
    /// `cpus:4;mem:1024` or JSON; names that are missing are detected (rule 445).
    pub resources: Option<String>,
    /// Role of resources given without one.
    pub default_role: String,
    /// `rack:r1;zone:z1`.
    pub attributes: Option<String>,
    /// Fault domain.
    pub domain: Option<v1::DomainInfo>,
    /// Isolators, by Mesos' names, separated by commas.
    pub isolation: String,
    /// Where cgroup v1 hierarchies are mounted.
    pub cgroups_hierarchy: PathBuf,
    /// The cgroup below which containers have theirs.
    pub cgroups_root: String,
    /// Hard cpu limits.
    pub cgroups_enable_cfs: bool,
    /// Limits memory plus swap.
    pub cgroups_limit_swap: bool,
    /// Further settings of isolators; what has a field of its own here is not looked for there.
    pub isolators: mezzo_container::Isolation,
    /// Another runtime that starts containers; `None` for our own.
    pub runtime: Option<mezzo_container::OciRuntime>,
    /// Listeners are looked for on the agent's own ports alone.
    pub check_agent_port_range_only: bool,
    /// Images of containers; `None` without `--image_providers`.
    pub images: Option<crate::ImageSettings>,
    /// Groups for persistent volumes that several tasks use (`--volume_gid_range`).
    pub volume_gids: Vec<crate::GidRange>,
    /// Run tasks as their user; needs root.
    pub switch_user: bool,
    /// Base of relative URIs.
    pub frameworks_home: Option<PathBuf>,
    /// Fetched files that tasks may share.
    pub fetcher_cache_dir: PathBuf,
    /// Its size in bytes.
    pub fetcher_cache_size: u64,
    /// A download below one byte per second for this long is given up.
    pub fetcher_stall_timeout: Duration,
    /// Executors have to show a token that was signed with `jwt_secret_key`.
    pub authenticate_http_executors: bool,
    /// File with the key that signs the tokens given to executors; none are given without.
    pub jwt_secret_key: Option<PathBuf>,
    /// The only environment executors get besides Mesos' own variables.
    pub executor_environment: Vec<(String, String)>,
    /// Given to executors without container.
    pub default_container_info: Option<v1::ContainerInfo>,
    /// An executor must subscribe within this.
    pub executor_registration_timeout: Duration,
    /// An executor must come back within this after the agent has restarted.
    pub executor_reregistration_timeout: Duration,
    /// Between SHUTDOWN and the end of an executor.
    pub executor_shutdown_grace_period: Duration,
    /// The first wait before registering is random below this.
    pub registration_backoff_factor: Duration,
    /// An executor gives up when the agent stays away this long.
    pub recovery_timeout: Duration,
    /// What to do with executors of an earlier life.
    pub recover: RecoverMode,
    /// Which changes keep the agent's id.
    pub reconfiguration_policy: ReconfigurationPolicy,
    /// Whether a damaged log stops the start.
    pub strict: bool,
    /// Completed executors kept per framework.
    pub completed_executors_max: usize,
    /// Age at which sandboxes are deleted.
    pub gc_delay: Duration,
    /// Part of the disk that is kept free.
    pub gc_disk_headroom: f64,
    /// How often the disk is measured.
    pub disk_watch_interval: Duration,
    /// Between heartbeats of attached streams.
    pub http_heartbeat_interval: Duration,
    /// The agent's log, shown among the virtual files.
    pub log_file: Option<PathBuf>,
    /// How to log more for a while.
    pub verbosity: Verbosity,
    /// Flags as /flags shows them.
    pub flags: BTreeMap<String, String>,
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

impl Config {
    /// An agent of this master that keeps its files in this folder; all else as Mesos has it.
    pub fn new(masters: Vec<String>, work_dir: PathBuf) -> Self {
        Self {
            masters,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5051)),
            advertise_ip: None,
            advertise_port: None,
            hostname: None,
            hostname_lookup: true,
            work_dir,
            runtime_dir: None,
            resources: None,
            default_role: "*".into(),
            attributes: None,
            domain: None,
            isolation: "posix/cpu,posix/mem".into(),
            cgroups_hierarchy: "/sys/fs/cgroup".into(),
            cgroups_root: "mesos".into(),
            cgroups_enable_cfs: false,
            cgroups_limit_swap: false,
            isolators: mezzo_container::Isolation::default(),
            runtime: None,
            check_agent_port_range_only: false,
            images: None,
            volume_gids: Vec::new(),
            switch_user: true,
            frameworks_home: None,
            fetcher_cache_dir: std::env::temp_dir().join("mesos/fetch"),
            fetcher_cache_size: 2 << 30,
            fetcher_stall_timeout: Duration::from_secs(60),
            authenticate_http_executors: false,
            jwt_secret_key: None,
            executor_environment: Vec::new(),
            default_container_info: None,
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace_period: Duration::from_secs(5),
            registration_backoff_factor: Duration::from_secs(1),
            recovery_timeout: Duration::from_secs(900),
            recover: RecoverMode::default(),
            reconfiguration_policy: ReconfigurationPolicy::default(),
            strict: true,
            completed_executors_max: 150,
            gc_delay: Duration::from_secs(604_800),
            gc_disk_headroom: 0.1,
            disk_watch_interval: Duration::from_secs(60),
            http_heartbeat_interval: Duration::from_secs(30),
            log_file: None,
            verbosity: Verbosity::default(),
            flags: BTreeMap::new(),
        }
    }
}
