//! What the process is started with. The names in backquotes are the flags'.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::logging::Logging;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The settings of a services process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `master`: as `host:port`; the next one is tried when one does not answer.
    pub masters: Vec<String>,
    /// `http_address` and `http_port`.
    pub listen: SocketAddr,
    /// `hostname`: how others reach this process.
    pub hostname: String,
    /// `work_dir`: where the records lie.
    pub work_dir: PathBuf,
    /// `secrets_key_file`: the key that secrets are sealed with; none: one in the work directory.
    pub secrets_key_file: Option<PathBuf>,
    /// What decisions look at.
    pub core: mezzo_services::Config,
    /// `framework_name`.
    pub framework_name: String,
    /// `failover_timeout`: how long tasks outlive this process.
    pub failover_timeout: Duration,
    /// `checkpoint`: tasks outlive restarts of their agents.
    pub checkpoint: bool,
    /// `mesos_authentication_principal`.
    pub principal: Option<String>,
    /// `webui_url`.
    pub webui_url: Option<String>,
    /// `default_network_name`.
    pub default_network_name: Option<String>,
    /// `mesos_bridge_name`.
    pub bridge_name: String,
    /// `new_group_enforce_role` is top.
    pub new_group_enforce_role: bool,
    /// `enable_features`.
    pub features: Vec<String>,
    /// `max_apps`.
    pub apps_max: Option<usize>,
    /// `http_credentials`.
    pub credentials: Option<Credentials>,
    /// `http_realm`.
    pub realm: String,
    /// `access_control_allow_origin`.
    pub allow_origins: Vec<String>,
    /// `http_max_concurrent_requests`.
    pub requests_max: Option<usize>,
    /// `http_compression`.
    pub compression: bool,
    /// `event_stream_max_outstanding_messages`.
    pub events_outstanding_max: usize,
    /// `group_manager_request_timeout`: how long a change waits for its answer.
    pub request_timeout: Duration,
    /// Agents' host names that no resolver knows, and where they are: those of a cluster for development.
    pub hosts: BTreeMap<String, IpAddr>,
    /// `metrics_prometheus`.
    pub prometheus: bool,
    /// `metrics_name_prefix`.
    pub metrics_prefix: String,
    /// The effective flags, for `/v2/info` and `/config`.
    pub flags: BTreeMap<String, String>,
    /// How logs are turned up and down.
    pub logging: Logging,
}

impl Config {
    /// The defaults, with these masters and this folder.
    pub fn new(masters: Vec<String>, work_dir: PathBuf) -> Self {
        Self {
            masters,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            hostname: "localhost".into(),
            work_dir,
            secrets_key_file: None,
            core: mezzo_services::Config::default(),
            framework_name: "marathon".into(),
            failover_timeout: Duration::from_secs(604_800),
            checkpoint: true,
            principal: None,
            webui_url: None,
            default_network_name: None,
            bridge_name: "mesos-bridge".into(),
            new_group_enforce_role: false,
            features: Vec::new(),
            apps_max: None,
            credentials: None,
            realm: "Mesosphere".into(),
            allow_origins: Vec::new(),
            requests_max: None,
            compression: true,
            events_outstanding_max: 1024,
            request_timeout: Duration::from_secs(10),
            hosts: BTreeMap::new(),
            prometheus: true,
            metrics_prefix: "marathon".into(),
            flags: BTreeMap::new(),
            logging: Logging::default(),
        }
    }
}
