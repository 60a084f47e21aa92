//! `/v2/info`

use mezzo_http::Response;
use mezzo_marathon_api::answer::{Info, Setting, write_info};

use super::{system::is_secret, written};
use crate::{http::leader, shared::Shared};

/// The version of Marathon whose API this is; clients compare it.
const VERSION: &str = "1.11.24";
/// The commit, where whoever built this set MEZZO_GIT_SHA.
const BUILD: &str = match option_env!("MEZZO_GIT_SHA") {
    Some(sha) => sha,
    None => "unknown",
};

/// Flags that are told, and under which name where it is another.
const TOLD: [(&str, &str); 41] = [
    ("access_control_allow_origin", "access_control_allow_origin"),
    ("checkpoint", "checkpoint"),
    ("decline_offer_duration", "decline_offer_duration"),
    ("default_network_name", "default_network_name"),
    ("env_vars_prefix", "env_vars_prefix"),
    ("executor", "executor"),
    ("failover_timeout", "failover_timeout"),
    ("features", "enable_features"),
    ("framework_name", "framework_name"),
    ("ha", "ha"),
    ("hostname", "hostname"),
    ("launch_token", "launch_tokens"),
    ("launch_token_refresh_interval", "launch_token_refresh_interval"),
    ("leader_proxy_connection_timeout_ms", "leader_proxy_connection_timeout"),
    ("leader_proxy_read_timeout_ms", "leader_proxy_read_timeout"),
    ("local_port_max", "local_port_max"),
    ("local_port_min", "local_port_min"),
    ("maintenance_mode", "maintenance_mode"),
    ("master", "master"),
    ("max_instances_per_offer", "max_instances_per_offer"),
    ("mesos_bridge_name", "mesos_bridge_name"),
    ("mesos_heartbeat_failure_threshold", "mesos_heartbeat_failure_threshold"),
    ("mesos_heartbeat_interval", "mesos_heartbeat_interval"),
    ("mesos_leader_ui_url", "mesos_leader_ui_url"),
    ("mesos_role", "mesos_role"),
    ("mesos_user", "mesos_user"),
    ("min_revive_offers_interval", "min_revive_offers_interval"),
    ("new_group_enforce_role", "new_group_enforce_role"),
    ("offer_matching_timeout", "offer_matching_timeout"),
    ("on_elected_prepare_timeout", "on_elected_prepare_timeout"),
    ("reconciliation_initial_delay", "reconciliation_initial_delay"),
    ("reconciliation_interval", "reconciliation_interval"),
    ("scale_apps_initial_delay", "scale_apps_initial_delay"),
    ("scale_apps_interval", "scale_apps_interval"),
    ("store_cache", "store_cache"),
    ("task_launch_confirm_timeout", "task_launch_confirm_timeout"),
    ("task_launch_timeout", "task_launch_timeout"),
    ("task_lost_expunge_initial_delay", "task_lost_expunge_initial_delay"),
    ("task_lost_expunge_interval", "task_lost_expunge_interval"),
    ("task_reservation_timeout", "task_reservation_timeout"),
    ("webui_url", "webui_url"),
];

/// Flags of the store, which is a file here: told for clients that look at them.
const STORE: [(&str, &str); 8] = [
    ("zk", "zk"),
    ("zk_compression", "zk_compression"),
    ("zk_compression_threshold", "zk_compression_threshold"),
    ("zk_connection_timeout", "zk_connection_timeout"),
    ("zk_max_node_size", "zk_max_node_size"),
    ("zk_max_versions", "zk_max_versions"),
    ("zk_session_timeout", "zk_session_timeout"),
    ("zk_timeout", "zk_timeout"),
];

/// What this process is and how it was started.
pub(super) fn show(shared: &Shared) -> Response {
    let leader = leader(shared);
    let snapshot = shared.snapshot();
    let info = Info {
        name: "marathon",
        version: VERSION,
        build: BUILD,
        is_elected: true,
        leader: Some(&leader),
        framework: snapshot.framework.as_deref(),
        settings: &settings(shared, &TOLD),
        store: &settings(shared, &STORE),
        http_port: shared.address.port(),
        https_port: 0,
    };
    written(|w| write_info(w, &info))
}

fn settings(shared: &Shared, names: &[(&'static str, &str)]) -> Vec<(&'static str, Setting)> {
    let flags = &shared.config.flags;
    let value = |flag: &str| flags.get(flag).filter(|_| !is_secret(flag)).map(String::as_str);
    names.iter().map(|(name, flag)| (*name, setting(name, value(flag)))).collect()
}

fn setting(name: &str, value: Option<&str>) -> Setting {
    if matches!(name, "features" | "access_control_allow_origin") {
        let words = value.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
        return Setting::Texts(words.map(str::to_owned).collect());
    }
    match value {
        None | Some("") => Setting::Unset,
        Some("true") => Setting::Flag(true),
        Some("false") => Setting::Flag(false),
        Some(text) => text.parse().map_or_else(|_| Setting::Text(text.to_owned()), Setting::Number),
    }
}
