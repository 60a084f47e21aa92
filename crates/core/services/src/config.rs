//! What the operator sets; the names in backquotes are the flags'.

use std::{ops::Range, time::Duration};

/// Which reservations the instances of a service use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptedRoles {
    /// Those of the service's role, and what is unreserved.
    #[default]
    Any,
    /// What is unreserved.
    Unreserved,
    /// Those of the service's role.
    Reserved,
}

/// The settings that decisions look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `mesos_role`: the role of services that name none.
    pub role: String,
    /// `local_port_min` and `local_port_max`: service ports that are given out (rule 210).
    pub service_ports: Range<u16>,
    /// `max_instances_per_offer` (rule 94).
    pub instances_per_offer: u32,
    /// `launch_tokens` and `launch_token_refresh_interval` (rule 95).
    pub launch_tokens: u32,
    /// How often launch tokens are filled up.
    pub launch_token_interval: Duration,
    /// `decline_offer_duration` (rule 96).
    pub decline_offer_duration: Duration,
    /// `min_revive_offers_interval` (rule 97).
    pub revive_interval: Duration,
    /// `task_launch_confirm_timeout`: from the launch to the first word of the task (rule 99).
    pub launch_confirm_timeout: Duration,
    /// `task_launch_timeout`: from the first word to running (rule 99).
    pub launch_timeout: Duration,
    /// `task_reservation_timeout` (rule 158).
    pub reservation_timeout: Duration,
    /// `scale_apps_initial_delay` and `scale_apps_interval` (rule 103).
    pub scale_initial_delay: Duration,
    /// Between checks of the number of instances.
    pub scale_interval: Duration,
    /// `reconciliation_initial_delay` and `reconciliation_interval` (rule 104).
    pub reconciliation_initial_delay: Duration,
    /// Between reconciliations.
    pub reconciliation_interval: Duration,
    /// `task_lost_expunge_initial_delay` and `task_lost_expunge_interval` (rule 174).
    pub expunge_initial_delay: Duration,
    /// Between looks for instances to forget.
    pub expunge_interval: Duration,
    /// `kill_chunk_size`: kills in flight (rule 76).
    pub kills_in_flight: usize,
    /// `kill_retry_timeout` (rule 76).
    pub kill_retry: Duration,
    /// `max_running_deployments` (rule 24).
    pub running_deployments: usize,
    /// `zk_max_versions`: versions kept of each definition (rule 241).
    pub versions_kept: usize,
    /// `max_concurrent_marathon_health_checks` (rule 145).
    pub concurrent_checks: usize,
    /// `env_vars_prefix` (rule 205).
    pub env_prefix: String,
    /// `mesos_user`: as whom tasks run that name nobody.
    pub user: String,
    /// `mesos_authentication_principal`: who reserves.
    pub principal: Option<String>,
    /// `executor`: what runs apps that name none; `//cmd` is the agent itself.
    pub executor: String,
    /// `mesos_bridge_name`: the network of instances on a bridge.
    pub bridge: String,
    /// `accepted_resource_roles_default_behavior`: for services that do not say (rule 235).
    pub accepted_roles: AcceptedRoles,
    /// `maintenance_mode`: offers of agents in maintenance are declined (rule 124).
    pub avoid_maintenance: bool,
    /// `draining_seconds`: how long before its maintenance an agent gets nothing more (rule 124).
    pub draining: Duration,
    /// `gpu_scheduling_behavior` is restricted (rule 125).
    pub restrict_gpus: bool,
    /// `mesos_offer_constraints` and `min_mesos_offer_constraints_update_interval`: the master is told of constraints, at
    /// most once per interval (rule 123).
    pub offer_constraints: Option<Duration>,
    /// `suppress_offers`: tell the master when nothing is wanted (rule 97).
    pub suppress_offers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: "*".into(),
            service_ports: 10_000..20_001,
            instances_per_offer: 5,
            launch_tokens: 100,
            launch_token_interval: Duration::from_secs(30),
            decline_offer_duration: Duration::from_secs(120),
            revive_interval: Duration::from_secs(5),
            launch_confirm_timeout: Duration::from_secs(300),
            launch_timeout: Duration::from_secs(300),
            reservation_timeout: Duration::from_secs(20),
            scale_initial_delay: Duration::from_secs(15),
            scale_interval: Duration::from_secs(300),
            reconciliation_initial_delay: Duration::from_secs(15),
            reconciliation_interval: Duration::from_secs(600),
            expunge_initial_delay: Duration::from_secs(300),
            expunge_interval: Duration::from_secs(30),
            kills_in_flight: 100,
            kill_retry: Duration::from_secs(30),
            running_deployments: 100,
            versions_kept: 50,
            concurrent_checks: 256,
            env_prefix: String::new(),
            user: "root".into(),
            principal: None,
            executor: "//cmd".into(),
            bridge: "mesos-bridge".into(),
            accepted_roles: AcceptedRoles::Any,
            avoid_maintenance: true,
            draining: Duration::ZERO,
            restrict_gpus: true,
            offer_constraints: None,
            suppress_offers: true,
        }
    }
}
