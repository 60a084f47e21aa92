//! From flags to the settings of an agent.

use std::net::IpAddr;

use mezzo_agent::{ReconfigurationPolicy, RecoverMode};
use mezzo_agent_daemon::{Collection, Config, ImageSettings, Verbosity};
use mezzo_container::{AllowedDevice, BackEnd, DefaultNames, Isolation, OciRuntime, PortRange};
use mezzo_images::Accounts;
use mezzo_mesos::v1;

use super::Values;
use crate::{error::CliError, logging};

/// The settings that these flags stand for.
pub(crate) fn agent_config(values: &Values) -> Result<Config, CliError> {
    let masters = masters(values)?;
    let mut config = Config::new(masters, values.required("work_dir")?.into());
    config.listen = values.listen(5051)?;
    config.log_file = values.logs()?.shown;
    config.verbosity = Verbosity { get: logging::verbosity, set: logging::set_verbosity };
    config.advertise_ip = values.convert("advertise_ip", parse_ip)?;
    config.advertise_port = values.number("advertise_port")?;
    config.hostname = values.get("hostname").map(str::to_owned);
    config.hostname_lookup = values.switch("hostname_lookup");
    config.runtime_dir = values.explicit("runtime_dir").map(Into::into);
    config.resources = values.get("resources").map(str::to_owned);
    config.attributes = values.get("attributes").map(str::to_owned);
    config.domain = values.domain()?;
    if let Some(role) = values.get("default_role") {
        config.default_role = role.into();
    }
    if let Some(isolation) = values.get("isolation") {
        config.isolation = isolation.into();
    }
    if let Some(hierarchy) = values.get("cgroups_hierarchy") {
        config.cgroups_hierarchy = hierarchy.into();
    }
    if let Some(root) = values.get("cgroups_root") {
        config.cgroups_root = root.into();
    }
    config.cgroups_enable_cfs = values.switch("cgroups_enable_cfs");
    config.cgroups_limit_swap = values.switch("cgroups_limit_swap");
    isolators(values, &mut config.isolators)?;
    networks(values, &mut config)?;
    config.runtime = values.convert("runtime", runtime)?;
    config.images = images(values)?;
    config.volume_gids = values.convert("volume_gid_range", number_ranges)?.unwrap_or_default();
    config.switch_user = values.switch("switch_user");
    config.frameworks_home = values.get("frameworks_home").filter(|home| !home.is_empty()).map(Into::into);
    if let Some(cache) = values.explicit("fetcher_cache_dir") {
        config.fetcher_cache_dir = cache.into();
    }
    if let Some(size) = values.bytes("fetcher_cache_size")? {
        config.fetcher_cache_size = size;
    }
    config.authenticate_http_executors = values.switch("authenticate_http_executors");
    config.jwt_secret_key = values.get("jwt_secret_key").map(Into::into);
    config.executor_environment =
        values.convert("executor_environment_variables", environment)?.unwrap_or_default();
    config.default_container_info = values.convert("default_container_info", |text| {
        mezzo_json::from_slice::<v1::ContainerInfo>(text.as_bytes()).map_err(|error| error.to_string())
    })?;
    for (name, slot) in [
        ("fetcher_stall_timeout", &mut config.fetcher_stall_timeout),
        ("executor_registration_timeout", &mut config.executor_registration_timeout),
        ("executor_reregistration_timeout", &mut config.executor_reregistration_timeout),
        ("executor_shutdown_grace_period", &mut config.executor_shutdown_grace_period),
        ("registration_backoff_factor", &mut config.registration_backoff_factor),
        ("recovery_timeout", &mut config.recovery_timeout),
        ("gc_delay", &mut config.gc_delay),
        ("disk_watch_interval", &mut config.disk_watch_interval),
        ("http_heartbeat_interval", &mut config.http_heartbeat_interval),
    ] {
        if let Some(duration) = values.duration(name)? {
            *slot = duration;
        }
    }
    if let Some(recover) = values.convert("recover", |text| match text {
        "reconnect" => Ok(RecoverMode::Reconnect),
        "cleanup" => Ok(RecoverMode::Cleanup),
        _ => Err("it is reconnect or cleanup".into()),
    })? {
        config.recover = recover;
    }
    if let Some(policy) = values.convert("reconfiguration_policy", |text| match text {
        "equal" => Ok(ReconfigurationPolicy::Equal),
        "additive" => Ok(ReconfigurationPolicy::Additive),
        _ => Err("it is equal or additive".into()),
    })? {
        config.reconfiguration_policy = policy;
    }
    config.strict = values.switch("strict");
    if let Some(count) = values.number("max_completed_executors_per_framework")? {
        config.completed_executors_max = count;
    }
    if let Some(headroom) = values.convert("gc_disk_headroom", |text| match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is a number from 0 to 1".into()),
    })? {
        config.gc_disk_headroom = headroom;
    }
    config.flags = values.effective();
    if let Some(shown) = config.flags.get_mut("docker_config") {
        // Whoever may read flags is not given passwords.
        *shown = "***".to_owned();
    }
    Ok(config)
}

/// Images, when there is a provider of them.
fn images(values: &Values) -> Result<Option<ImageSettings>, CliError> {
    let providers = values.convert("image_providers", |text| match text {
        "docker" => Ok(()),
        _ if text.split(',').any(|name| name == "appc") => {
            Err("images of type appc are not supported".into())
        }
        _ => Err("the only provider is docker".into()),
    })?;
    if providers.is_none() {
        return Ok(None);
    }
    let mut settings = ImageSettings::new(values.required("docker_store_dir")?.into());
    if let Some(registry) = values.get("docker_registry") {
        settings.registry = registry.into();
    }
    if let Some(accounts) = values.convert("docker_config", |text| {
        Accounts::parse(text.as_bytes()).map_err(|error| error.to_string())
    })? {
        settings.accounts = accounts;
    }
    if let Some(back_end) = values.convert("image_provisioner_backend", |text| match text {
        "overlay" => Ok(BackEnd::Overlay),
        "copy" => Ok(BackEnd::Copy),
        _ => Err("it is overlay or copy".into()),
    })? {
        settings.back_end = back_end;
    }
    if let Some(directory) = values.convert("sandbox_directory", |text| match text.starts_with('/') {
        true => Ok(text.into()),
        false => Err("it is an absolute path".into()),
    })? {
        settings.sandbox_directory = directory;
    }
    settings.ignore_runtime = values.switch("docker_ignore_runtime");
    settings.collection = values.convert("image_gc_config", Collection::parse)?;
    Ok(Some(settings))
}

/// Ranges of numbers above zero: `[10000-20000,30000]`.
fn number_ranges(text: &str) -> Result<Vec<(u32, u32)>, String> {
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or("ranges look like [10000-20000,30000-30999]")?;
    let number = |text: &str| match text.trim().parse::<u32>() {
        Ok(number) if number > 0 && number < u32::MAX => Ok(number),
        _ => Err(format!("'{text}' is no number of one")),
    };
    let range = |text: &str| -> Result<(u32, u32), String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if first > last { Err(format!("'{text}' is no range")) } else { Ok((first, last)) }
    };
    inner.split(',').filter(|part| !part.trim().is_empty()).map(range).collect()
}

/// What the isolators are told beside their names.
fn isolators(values: &Values, to: &mut Isolation) -> Result<(), CliError> {
    let capabilities = |text: &str| {
        mezzo_json::from_slice::<v1::CapabilityInfo>(text.as_bytes()).map_err(|error| error.to_string())
    };
    to.effective_capabilities = values.convert("effective_capabilities", capabilities)?;
    to.bounding_capabilities = values.convert("bounding_capabilities", capabilities)?;
    to.seccomp_config_dir = values.get("seccomp_config_dir").map(Into::into);
    to.seccomp_profile_name = values.get("seccomp_profile_name").map(str::to_owned);
    to.host_path_volume_force_creation = values
        .get("host_path_volume_force_creation")
        .map(|text| text.split(':').filter(|path| !path.is_empty()).map(Into::into).collect())
        .unwrap_or_default();
    to.disallow_sharing_agent_pid_namespace = values.switch("disallow_sharing_agent_pid_namespace");
    to.disallow_sharing_agent_ipc_namespace = values.switch("disallow_sharing_agent_ipc_namespace");
    to.enforce_container_disk_quota = values.switch("enforce_container_disk_quota");
    if let Some(interval) = values.duration("container_disk_watch_interval")? {
        to.container_disk_watch_interval = interval;
    }
    to.allowed_devices = values.convert("allowed_devices", allowed_devices)?.unwrap_or_default();
    if let Some(ranges) = values.convert("xfs_project_range", number_ranges)? {
        to.projects.ranges = ranges;
    }
    to.projects.kill = values.switch("xfs_kill_containers");
    to.projects.headroom = values.bytes("xfs_quota_headroom")?.unwrap_or_default();
    to.gpus.devices = values.convert("nvidia_gpu_devices", gpu_numbers)?;
    if let Some(text) = values.get("cdi_spec_dirs") {
        to.gpus.spec_dirs = text.split(':').filter(|path| !path.is_empty()).map(Into::into).collect();
    }
    if let Some(kind) = values.get("cdi_gpu_kind") {
        to.gpus.kind = kind.into();
    }
    to.default_container_shm_bytes = values.bytes("default_container_shm_size")?;
    Ok(())
}

/// Networks of containers, and the ports of those without.
fn networks(values: &Values, config: &mut Config) -> Result<(), CliError> {
    let networks = &mut config.isolators.networks;
    networks.config_dir = values.get("network_cni_config_dir").map(Into::into);
    networks.plugin_dirs = values
        .get("network_cni_plugins_dir")
        .map(|text| text.split(':').filter(|path| !path.is_empty()).map(Into::into).collect())
        .unwrap_or_default();
    if networks.config_dir.is_some() == networks.plugin_dirs.is_empty() {
        return Err(CliError::usage("one of two flags about networks is missing")
            .why("configurations name plugins, and neither is of use without the other")
            .help("mezzo agent --network_cni_config_dir=DIR --network_cni_plugins_dir=DIR[:DIR ...] ..."));
    }
    if let Some(names) = values.convert("default_container_dns", DefaultNames::parse)? {
        networks.default_names = names;
    }
    let ports = &mut config.isolators.ports;
    if let Some(interval) = values.duration("container_ports_watch_interval")? {
        ports.watch_interval = interval;
    }
    ports.enforce = values.switch("enforce_container_ports");
    ports.isolated = values.convert("container_ports_isolated_range", port_ranges)?;
    config.check_agent_port_range_only = values.switch("check_agent_port_range_only");
    if config.check_agent_port_range_only && ports.isolated.is_some() {
        return Err(CliError::usage("two flags say which ports are looked at")
            .why("--check_agent_port_range_only and --container_ports_isolated_range exclude each other")
            .help("mezzo agent --container_ports_isolated_range=[31000-32000] ..."));
    }
    Ok(())
}

/// A runtime by its kind and path.
fn runtime(text: &str) -> Result<OciRuntime, String> {
    match text.strip_prefix("oci:") {
        Some(path) if path.starts_with('/') => Ok(OciRuntime::new(path)),
        _ => Err("it is oci: and the absolute path of a program, as in --runtime=oci:/usr/bin/crun".into()),
    }
}

/// Ranges as resources have them: `[31000-32000,33000]`.
fn port_ranges(text: &str) -> Result<Vec<PortRange>, String> {
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or("ranges look like [31000-32000,33000-33000]")?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("'{text}' is no port"));
    let range = |text: &str| -> Result<PortRange, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last { Err(format!("'{text}' is no range")) } else { Ok((first, last)) }
    };
    inner.split(',').filter(|part| !part.trim().is_empty()).map(range).collect()
}

/// Numbers, separated by commas.
fn gpu_numbers(text: &str) -> Result<Vec<u32>, String> {
    let number = |part: &str| part.trim().parse().map_err(|_| format!("'{part}' is not the number of a gpu"));
    text.split(',').filter(|part| !part.trim().is_empty()).map(number).collect()
}

/// The devices of a DeviceWhitelist; those without a path are nothing that could be allowed.
fn allowed_devices(text: &str) -> Result<Vec<AllowedDevice>, String> {
    let list =
        mezzo_json::from_slice::<v1::DeviceWhitelist>(text.as_bytes()).map_err(|error| error.to_string())?;
    let allowed = list.allowed_devices.into_iter().filter_map(|one| {
        let (path, access) = (one.device.path?, one.access);
        Some(AllowedDevice {
            path: path.into(),
            read: access.read.unwrap_or(false),
            write: access.write.unwrap_or(false),
            mknod: access.mknod.unwrap_or(false),
        })
    });
    Ok(allowed.collect())
}

fn masters(values: &Values) -> Result<Vec<String>, CliError> {
    let text = values.required("master")?;
    if text.starts_with("zk://") {
        return Err(CliError::usage(format!("flag --master={text} is not supported"))
            .why("this version of Mezzo finds its master by address, not through ZooKeeper")
            .help("mezzo agent --master=HOST:PORT[,HOST:PORT ...] ..."));
    }
    Ok(text.split(',').map(|master| master.trim().to_owned()).filter(|master| !master.is_empty()).collect())
}

pub(super) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is not an IP address"))
}

/// A JSON object of texts.
fn environment(text: &str) -> Result<Vec<(String, String)>, String> {
    let object: std::collections::BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(object.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::super::AGENT;
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, CliError> {
        let all = ["--master=m:5050", "--work_dir=/w"].iter().chain(arguments).map(|a| (*a).to_owned());
        agent_config(&AGENT.parse(all, [])?)
    }

    #[test]
    fn flags_reach_the_settings() {
        let config = config(&[
            "--ip=127.0.0.1",
            "--port=0",
            "--resources=cpus:4;mem:1024",
            "--executor_environment_variables={\"PATH\":\"/bin\"}",
            "--gc_delay=1hrs",
            "--recover=cleanup",
            "--runtime=oci:/usr/bin/crun",
            "--domain={\"fault_domain\":{\"region\":{\"name\":\"r\"},\"zone\":{\"name\":\"z\"}}}",
        ])
        .expect("config");
        assert_eq!(config.listen, std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(config.executor_environment, [("PATH".to_owned(), "/bin".to_owned())]);
        assert_eq!(config.gc_delay.as_secs(), 3600);
        assert_eq!(config.recover, RecoverMode::Cleanup);
        assert!(config.domain.is_some());
        assert!(
            config.runtime.is_some_and(|runtime| runtime.program == std::path::Path::new("/usr/bin/crun"))
        );
        assert_eq!(config.flags.get("master").map(String::as_str), Some("m:5050"));
    }

    #[test]
    fn flags_about_networks_belong_together() {
        let config = config(&[
            "--network_cni_config_dir=/etc/cni",
            "--network_cni_plugins_dir=/a:/b",
            "--container_ports_isolated_range=[31000-32000, 33000]",
        ])
        .expect("config");
        assert_eq!(config.isolators.networks.plugin_dirs.len(), 2);
        assert_eq!(config.isolators.ports.isolated, Some(vec![(31_000, 32_000), (33_000, 33_000)]));
        assert_eq!(config.isolators.ports.watch_interval.as_secs(), 30);
        for bad in [
            &["--network_cni_config_dir=/etc/cni"] as &[_],
            &["--check_agent_port_range_only", "--container_ports_isolated_range=[1-2]"],
        ] {
            assert!(super::tests::config(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_that_make_no_sense_name_their_flag() {
        for bad in [
            "--ip=nowhere",
            "--port=70000",
            "--gc_delay=5",
            "--gc_disk_headroom=2",
            "--recover=maybe",
            "--domain={",
            "--container_ports_isolated_range=[2-1]",
            "--nvidia_gpu_devices=0,x",
            "--volume_gid_range=[0-7]",
            "--xfs_project_range=5-6",
            "--default_container_dns={\"mesos\":7}",
            "--runtime=runc",
            "--runtime=oci:runc",
        ] {
            let error = config(&[bad]).expect_err(bad).to_string();
            let flag = bad.split('=').next().expect("name");
            assert!(error.contains(flag), "{error}");
        }
    }
}
