//! What the operator of an agent chose.

use std::time::Duration;

use mezzo_mesos::v1;

/// Settings that stay for the life of the process. Flags are named as Mesos names them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hostname, port, attributes, domain and configured resources; without an id.
    pub info: v1::AgentInfo,
    /// Address others reach this agent at; also the address of tasks without a network of their own.
    pub ip: String,
    /// Port of the agent's API.
    pub port: u16,
    /// Version told to the master.
    pub version: String,
    /// --work_dir
    pub work_dir: String,
    /// Folder below which sandboxes of executors lie, by agent id; rule 394 gives its name.
    pub sandbox_root: String,
    /// Name of this boot of the machine.
    pub boot_id: String,
    /// --launcher_dir, shown as the place of the built-in executors.
    pub launcher_dir: String,
    /// Names and texts of Mesos' contract that come from the older API (rule 292).
    pub legacy: LegacyNames,
    /// Environment of every executor, from --executor_environment_variables (rule 293).
    pub executor_environment: Vec<(String, String)>,
    /// --executor_registration_timeout
    pub executor_registration_timeout: Duration,
    /// --executor_reregistration_timeout
    pub executor_reregistration_timeout: Duration,
    /// --executor_shutdown_grace_period
    pub executor_shutdown_grace_period: Duration,
    /// --recovery_timeout
    pub recovery_timeout: Duration,
    /// --registration_backoff_factor
    pub registration_backoff_factor: Duration,
    /// --reconfiguration_policy
    pub reconfiguration_policy: ReconfigurationPolicy,
    /// --recover
    pub recover: RecoverMode,
    /// --gc_delay
    pub gc_delay: Duration,
    /// --gc_disk_headroom
    pub gc_disk_headroom: f64,
    /// --disk_watch_interval
    pub disk_watch_interval: Duration,
    /// --max_completed_executors_per_framework
    pub completed_executors_max: usize,
    /// --switch_user
    pub switch_user: bool,
    /// --default_container_info
    pub default_container_info: Option<v1::ContainerInfo>,
    /// Whether cpu and memory limits above the request can be kept (rule 429).
    pub limits_enforced: bool,
}

/// Names that only `wire` may spell, handed in by the daemon.
#[derive(Clone, Debug, Default)]
pub struct LegacyNames {
    /// Environment variable that holds the agent id.
    pub agent_id_variable: String,
    /// Environment variable that holds the agent's process name.
    pub agent_pid_variable: String,
    /// The agent's process name: `name(1)@ip:port`.
    pub agent_pid: String,
}

/// Which changes of the agent's description keep its id (rules 415 and 416).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReconfigurationPolicy {
    /// None.
    #[default]
    Equal,
    /// Resources and attributes may be added or grow.
    Additive,
}

/// What to do with the executors of the agent's earlier life (rules 412 and 414).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoverMode {
    /// Keep them.
    #[default]
    Reconnect,
    /// Shut them down and exit.
    Cleanup,
}

/// What this agent can do, as agents of Mesos announce it.
pub fn capabilities() -> Vec<v1::agent_info::Capability> {
    use v1::agent_info::capability::Type;
    [
        Type::MultiRole,
        Type::HierarchicalRole,
        Type::ReservationRefinement,
        Type::ResourceProvider,
        Type::ResizeVolume,
        Type::AgentOperationFeedback,
        Type::AgentDraining,
        Type::TaskResourceLimits,
    ]
    .map(|kind| v1::agent_info::Capability { r#type: Some(kind.into()) })
    .into()
}

/// Completed frameworks kept for the API (rule 298).
pub(crate) const COMPLETED_FRAMEWORKS_MAX: usize = 50;
/// Completed tasks kept per executor (rule 298).
pub(crate) const COMPLETED_TASKS_MAX: usize = 200;
/// First wait before an unacknowledged update is sent again (rule 208).
pub(crate) const UPDATE_RETRY_MIN: Duration = Duration::from_secs(10);
/// Longest such wait (rule 208).
pub(crate) const UPDATE_RETRY_MAX: Duration = Duration::from_secs(600);
/// Longest wait between two attempts to register (rule 421).
pub(crate) const REGISTRATION_BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Until a master says otherwise (rule 257).
pub(crate) const PING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(75);
/// Between SIGTERM and SIGKILL when nobody says otherwise (rules 226 and 314).
pub(crate) const KILL_GRACE_DEFAULT: Duration = Duration::from_secs(3);
/// Between two SIGKILLs to a child that is still there (rule 314).
pub(crate) const KILL_REPEAT: Duration = Duration::from_secs(1);
/// Between two HEARTBEAT events of an executor (rule 291).
pub(crate) const EXECUTOR_HEARTBEAT: Duration = Duration::from_secs(30 * 60);
/// Updates of one task remembered to recognise duplicates; an executor has at most a few in flight.
pub(crate) const UPDATE_UUIDS_MAX: usize = 64;
/// Unacknowledged updates of one task. A running executor that exceeds it is ended: nobody reads.
pub(crate) const UPDATES_PENDING_MAX: usize = 10_000;
/// Tasks an executor may report on that nobody launched; more than a mistake, it is a flood.
pub(crate) const UNKNOWN_TASKS_MAX: usize = 1000;
/// Statuses kept per task for the API; equal states replace each other, so few tasks have more.
pub(crate) const STATUSES_MAX: usize = 100;

/// Memory given to the container of a command task on top of the task's own, in megabytes (rule 300).
pub(crate) const COMMAND_EXECUTOR_MEM: f64 = 32.0;
/// The same for cpus.
pub(crate) const COMMAND_EXECUTOR_CPUS: f64 = 0.1;
