//! From flags to the settings of the services.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    str::FromStr,
    time::Duration,
};

use mezzo_services::AcceptedRoles;
use mezzo_services_daemon::{Config, Credentials};

use super::{Values, agent::parse_ip};
use crate::error::CliError;

/// The settings that these flags stand for.
pub(crate) fn services_config(values: &Values) -> Result<Config, CliError> {
    let masters = masters(values)?;
    let work_dir = values.required("work_dir")?.into();
    let mut config = Config::new(masters, work_dir);
    config.credentials = values.convert("http_credentials", |text| {
        let (user, password) = text.split_once(':').ok_or("it is written as NAME:PASSWORD")?;
        Ok(Credentials { user: user.into(), password: password.into() })
    })?;
    config.listen = listen(values, config.credentials.is_some())?;
    let listening = config.listen.ip();
    config.hostname = match values.get("hostname").filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None if listening.is_loopback() => "localhost".into(),
        None => own_name().unwrap_or_else(|| listening.to_string()),
    };
    core(values, &mut config.core)?;
    let text = |name: &str| values.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(name) = text("framework_name") {
        config.framework_name = name;
    }
    if let Some(seconds) = values.number("failover_timeout")? {
        config.failover_timeout = Duration::from_secs(seconds);
    }
    config.secrets_key_file = text("secrets_key_file").map(Into::into);
    config.checkpoint = values.switch("checkpoint");
    config.principal = text("mesos_authentication_principal");
    config.core.principal = config.principal.clone();
    config.webui_url = text("webui_url");
    config.default_network_name = text("default_network_name");
    if let Some(name) = text("mesos_bridge_name") {
        config.core.bridge.clone_from(&name);
        config.bridge_name = name;
    }
    // The older way to say the same.
    if values.explicit("accepted_resource_roles_default_behavior").is_none()
        && let Some(roles) = text("default_accepted_resource_roles").map(|roles| list(&roles))
    {
        let (open, own) = (roles.iter().any(|role| role == "*"), roles.contains(&config.core.role));
        config.core.accepted_roles = match (open, own) {
            (true, true) => AcceptedRoles::Any,
            (true, false) => AcceptedRoles::Unreserved,
            (false, true) => AcceptedRoles::Reserved,
            (false, false) => {
                let why = "it names *, the role of --mesos_role, or both";
                return Err(wrong("default_accepted_resource_roles", &roles.join(","), why));
            }
        };
    }
    config.new_group_enforce_role = match values.get("new_group_enforce_role") {
        None | Some("off") => false,
        Some("top") => true,
        Some(other) => return Err(wrong("new_group_enforce_role", other, "it is off or top")),
    };
    config.features = text("enable_features").map(|words| list(&words)).unwrap_or_default();
    const FEATURES: [&str; 5] = ["vips", "task_killing", "external_volumes", "secrets", "gpu_resources"];
    if let Some(unknown) = config.features.iter().find(|name| !FEATURES.contains(&name.as_str())) {
        return Err(wrong("enable_features", unknown, &format!("known are {}", FEATURES.join(", "))));
    }
    config.apps_max = values.number("max_apps")?;
    if let Some(realm) = text("http_realm") {
        config.realm = realm;
    }
    config.allow_origins = text("access_control_allow_origin").map(|words| list(&words)).unwrap_or_default();
    config.requests_max = values.number("http_max_concurrent_requests")?;
    config.compression = values.switch("http_compression");
    if let Some(count) = values.number("event_stream_max_outstanding_messages")? {
        config.events_outstanding_max = count;
    }
    if let Some(wait) = milliseconds(values, "group_manager_request_timeout")? {
        config.request_timeout = wait;
    }
    config.prometheus = values.switch("metrics_prometheus");
    if let Some(prefix) = text("metrics_name_prefix") {
        config.metrics_prefix = prefix;
    }
    config.flags = values.effective();
    Ok(config)
}

/// What decisions look at.
fn core(values: &Values, core: &mut mezzo_services::Config) -> Result<(), CliError> {
    let text = |name: &str| values.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    for (name, slot) in [
        ("mesos_role", &mut core.role),
        ("env_vars_prefix", &mut core.env_prefix),
        ("mesos_user", &mut core.user),
        ("executor", &mut core.executor),
    ] {
        if let Some(text) = text(name) {
            *slot = text;
        }
    }
    for (name, slot) in [
        ("launch_token_refresh_interval", &mut core.launch_token_interval),
        ("decline_offer_duration", &mut core.decline_offer_duration),
        ("min_revive_offers_interval", &mut core.revive_interval),
        ("task_launch_confirm_timeout", &mut core.launch_confirm_timeout),
        ("task_launch_timeout", &mut core.launch_timeout),
        ("task_reservation_timeout", &mut core.reservation_timeout),
        ("scale_apps_initial_delay", &mut core.scale_initial_delay),
        ("scale_apps_interval", &mut core.scale_interval),
        ("reconciliation_initial_delay", &mut core.reconciliation_initial_delay),
        ("reconciliation_interval", &mut core.reconciliation_interval),
        ("task_lost_expunge_initial_delay", &mut core.expunge_initial_delay),
        ("task_lost_expunge_interval", &mut core.expunge_interval),
        ("kill_retry_timeout", &mut core.kill_retry),
    ] {
        if let Some(wait) = milliseconds(values, name)? {
            *slot = wait;
        }
    }
    set(values, "max_instances_per_offer", &mut core.instances_per_offer)?;
    set(values, "launch_tokens", &mut core.launch_tokens)?;
    set(values, "kill_chunk_size", &mut core.kills_in_flight)?;
    set(values, "max_running_deployments", &mut core.running_deployments)?;
    set(values, "zk_max_versions", &mut core.versions_kept)?;
    set(values, "max_concurrent_marathon_health_checks", &mut core.concurrent_checks)?;
    let (mut first, mut last) = (core.service_ports.start, core.service_ports.end.saturating_sub(1));
    set(values, "local_port_min", &mut first)?;
    set(values, "local_port_max", &mut last)?;
    if first == 0 || first > last || last == u16::MAX {
        return Err(wrong(
            "local_port_min",
            &first.to_string(),
            "1 <= local_port_min <= local_port_max < 65535",
        ));
    }
    core.service_ports = first..last + 1;
    core.avoid_maintenance = values.switch("maintenance_mode");
    if let Some(seconds) = values.number("draining_seconds")? {
        core.draining = Duration::from_secs(seconds);
    }
    core.restrict_gpus = match values.get("gpu_scheduling_behavior") {
        None | Some("restricted") => true,
        Some("unrestricted") => false,
        Some(other) => {
            return Err(wrong("gpu_scheduling_behavior", other, "it is restricted or unrestricted"));
        }
    };
    if values.switch("mesos_offer_constraints") {
        let interval = milliseconds(values, "min_mesos_offer_constraints_update_interval")?;
        core.offer_constraints = Some(interval.unwrap_or(Duration::from_secs(1)));
    }
    core.suppress_offers = values.switch("suppress_offers");
    core.accepted_roles = match values.get("accepted_resource_roles_default_behavior") {
        None | Some("any") => AcceptedRoles::Any,
        Some("unreserved") => AcceptedRoles::Unreserved,
        Some("reserved") => AcceptedRoles::Reserved,
        Some(other) => {
            let why = "it is any, unreserved or reserved";
            return Err(wrong("accepted_resource_roles_default_behavior", other, why));
        }
    };
    Ok(())
}

/// Where the masters are.
fn masters(values: &Values) -> Result<Vec<String>, CliError> {
    let text = values.required("master")?;
    if text.starts_with("zk://") {
        return Err(wrong("master", text, "masters are named as HOST:PORT, without ZooKeeper")
            .help("mezzo services --master=HOST:5050 --work_dir=PATH"));
    }
    let masters: Vec<String> = list(text)
        .into_iter()
        .map(|master| {
            let master = master.strip_prefix("http://").unwrap_or(&master).trim_end_matches('/').to_owned();
            if master.contains(':') { master } else { format!("{master}:5050") }
        })
        .collect();
    if masters.is_empty() {
        return Err(wrong("master", text, "it is HOST:PORT, or several separated by commas"));
    }
    Ok(masters)
}

/// Where to listen: beyond this machine only when somebody is asked who they are, or a flag allows it (A107).
fn listen(values: &Values, is_asked: bool) -> Result<SocketAddr, CliError> {
    let port: u16 = values.number("http_port")?.unwrap_or(8080);
    let ip: IpAddr = values
        .convert("http_address", |text| {
            parse_ip(text).or_else(|error| {
                let found = (text, port).to_socket_addrs().ok().and_then(|mut found| found.next());
                found.map(|address| address.ip()).ok_or(error)
            })
        })?
        .unwrap_or(IpAddr::from([127, 0, 0, 1]));
    if ip.to_canonical().is_loopback() || is_asked || values.switch("allow_unauthenticated") {
        return Ok(SocketAddr::new(ip, port));
    }
    Err(CliError::usage(format!(
        "flag --http_address={ip} opens the services to others without authentication"
    ))
    .place(SocketAddr::new(ip, port).to_string())
    .why("nobody is asked who they are, so whoever reaches this address can run commands on the cluster")
    .help("mezzo services --http_address=127.0.0.1 ...   keeps it to this machine")
    .help(format!("mezzo services --http_address={ip} --http_credentials=NAME:PASSWORD ...   asks"))
    .help(format!("mezzo services --http_address={ip} --allow_unauthenticated ...   on a network you trust")))
}

fn milliseconds(values: &Values, name: &str) -> Result<Option<Duration>, CliError> {
    Ok(values.number(name)?.map(Duration::from_millis))
}

fn set<T: FromStr>(values: &Values, name: &str, slot: &mut T) -> Result<(), CliError> {
    if let Some(value) = values.number(name)? {
        *slot = value;
    }
    Ok(())
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn wrong(name: &str, value: &str, why: &str) -> CliError {
    CliError::usage(format!("flag --{name}={value} cannot be used")).why(why).help("mezzo services --help")
}

/// What this machine calls itself.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::SERVICES;

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let values = SERVICES.parse(arguments, variables).map_err(|error| error.to_string())?;
        services_config(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn values_come_with_or_without_an_equals_sign_and_from_variables() {
        let config = read(
            &["--master", "http://m1:5050,m2", "--http_port=0", "--disable_checkpoint", "--work_dir", "/w"],
            &[("MARATHON_MESOS_ROLE", "shop"), ("MARATHON_TASK_LAUNCH_TIMEOUT", "7000"), ("MESOS_PORT", "x")],
        )
        .expect("read");
        assert_eq!(config.masters, ["m1:5050", "m2:5050"]);
        assert_eq!((config.listen.port(), config.checkpoint), (0, false));
        assert_eq!((config.core.role.as_str(), config.core.launch_timeout), ("shop", Duration::from_secs(7)));
        assert_eq!(config.flags["mesos_role"], "shop");
    }

    #[test]
    fn what_is_not_supported_says_why() {
        let refused =
            |argument: &str| read(&["--master=m:5050", "--work_dir=/w", argument], &[]).expect_err("refused");
        for (argument, why) in [
            ("--zk=zk://z:2181/marathon", "without ZooKeeper"),
            ("--master_typo=x", "unknown"),
            ("--plugin_dir=/p", "plug-ins"),
            ("--https_port=443", "in the clear"),
            ("--metrics_statsd", "/metrics"),
            ("--mesos_authentication", "nobody"),
            ("--new_group_enforce_role=all", "off or top"),
            ("--enable_features=magic", "vips"),
            ("--local_port_min=30000", "local_port_max"),
            ("--http_address=0.0.0.0", "http_credentials"),
            ("--framework_nam=x", "did you mean --framework_name?"),
        ] {
            let text = refused(argument);
            assert!(text.contains(why), "{argument}: {text}");
        }
        assert!(read(&["--work_dir=/w"], &[]).expect_err("refused").contains("--master is missing"));
        assert!(read(&["--master=zk://z/mesos", "--work_dir=/w"], &[]).expect_err("x").contains("ZooKeeper"));
        let open = ["--master=m:5050", "--work_dir=/w", "--http_address=0.0.0.0", "--http_credentials=a:b"];
        assert!(read(&open, &[]).is_ok(), "whoever comes is asked");
    }

    /// The table lies beside the repository, and may not be there.
    #[test]
    fn every_flag_of_marathon_is_known_by_name() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/marathon");
        let Ok(table) = std::fs::read_to_string(folder.join("flags.tsv")) else { return };
        for name in table.lines().skip(1).filter_map(|line| line.split('\t').next()) {
            assert!(SERVICES.flags.iter().any(|flag| flag.name == name), "{name}");
        }
    }
}
