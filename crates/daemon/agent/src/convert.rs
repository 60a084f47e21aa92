//! From the core's words to those of the container adapter, and back.

use std::path::{Path, PathBuf};

use mezzo_agent::{ContainerSpec, Input, Limitation, Limits};
use mezzo_container::{
    Confinement, ContainerEvent, Credentials, Input as Stdin, LaunchRequest, Limitation as HitLimit, Output,
    PortRange, Quota, Resources, Rlimit, Rotation, WindowSize, rlimits_of,
};
use mezzo_mesos::v1::{self, resource::disk_info, task_status::Reason};

/// Log files put aside per stream unless the container says otherwise; logrotate's own usual number.
const FILES_KEPT: u32 = 9;
/// Bytes of a log file before it is put aside unless the container says otherwise (rule 397).
const LOG_BYTES_MAX: u64 = 10 << 20;
/// A log file is never cut smaller than a page (rule 397).
const LOG_BYTES_MIN: u64 = 4096;

/// Requests and limits in exact units.
pub(crate) fn container_resources(resources: &[v1::Resource], limits: &Limits) -> Resources {
    let sum = |name: &str| -> u64 {
        let milli = |value: f64| (value * 1000.0).round() as u64;
        let named = resources.iter().filter(|resource| resource.name == name);
        named.filter_map(|resource| Some(milli(resource.scalar.as_ref()?.value))).sum()
    };
    let exact =
        |value: f64, scale: f64| if value.is_infinite() { u64::MAX } else { (value * scale).round() as u64 };
    let mebibyte = (1u64 << 20) as f64;
    Resources {
        cpus_milli: sum("cpus"),
        cpus_revocable: resources
            .iter()
            .any(|resource| resource.name == "cpus" && resource.revocable.is_some()),
        cpus_limit_milli: limits.cpus.map(|cpus| exact(cpus, 1000.0)),
        // Megabytes in thousandths: exact for every amount that the algebra knows.
        mem_bytes: sum("mem").saturating_mul(1 << 20) / 1000,
        mem_limit_bytes: limits.mem.map(|mem| exact(mem, mebibyte)),
        // The master lets whole ones pass alone (rule 156).
        gpus: usize::try_from(sum("gpus") / 1000).unwrap_or(usize::MAX),
    }
}

/// The ports among resources.
pub(crate) fn ports(resources: &[v1::Resource]) -> Vec<PortRange> {
    // A port beyond the last one holds none.
    let port = |number: u64| u16::try_from(number).ok();
    resources
        .iter()
        .filter(|resource| resource.name == "ports")
        .flat_map(|resource| resource.ranges.iter().flat_map(|ranges| &ranges.range))
        .filter_map(|range| Some((port(range.begin)?, port(range.end.min(65_535))?)))
        .collect()
}

/// The networks that a container joins itself. A child without any shares those of its parent, and a session
/// those of what it enters (rule 368).
pub(crate) fn networks(spec: &ContainerSpec) -> Vec<v1::NetworkInfo> {
    let info = spec.container_info.as_ref().filter(|_| !spec.debug);
    let all = info.map(|info| info.network_infos.as_slice()).unwrap_or_default();
    all.iter().filter(|network| network.name.is_some()).cloned().collect()
}

/// A port of the host leads to a container only where the container holds that port: two that map the same one
/// would take each other's connections.
pub(crate) fn check_mappings(spec: &ContainerSpec, networks: &[v1::NetworkInfo]) -> Result<(), String> {
    let held = ports(&spec.resources);
    for mapping in networks.iter().flat_map(|network| &network.port_mappings) {
        let port = mapping.host_port;
        if !held.iter().any(|(first, last)| (u32::from(*first)..=u32::from(*last)).contains(&port)) {
            return Err(format!("port {port} of the host cannot be mapped: it is not among its resources"));
        }
    }
    Ok(())
}

/// The agent's own address means nothing in another network; where there is a container's own, it is told
/// (rule 318).
pub(crate) fn live_elsewhere(environment: &mut [(String, String)], address: Option<&str>) {
    for (name, value) in environment {
        match (name.as_str(), address) {
            ("LIBPROCESS_IP", _) => *value = "0.0.0.0".to_owned(),
            ("MESOS_CONTAINER_IP", Some(address)) => *value = address.to_owned(),
            _ => {}
        }
    }
}

/// What the launcher needs for a container with a process.
pub(crate) fn launch_request(
    spec: &ContainerSpec,
    credentials: Option<Credentials>,
    work_dir: &Path,
) -> Result<LaunchRequest, String> {
    let command = &spec.command;
    let value = command.value.clone().unwrap_or_default();
    let (program, arguments) = if command.shell.unwrap_or(true) {
        ("/bin/sh".to_owned(), vec!["sh".to_owned(), "-c".to_owned(), value])
    } else if command.arguments.is_empty() {
        (value.clone(), vec![value])
    } else {
        (value, command.arguments.clone())
    };
    let container = spec.container_info.as_ref();
    let rlimits: Vec<Rlimit> = match container.and_then(|info| info.rlimit_info.as_ref()) {
        Some(info) => rlimits_of(info)?,
        None => Vec::new(),
    };
    let shares = container.and_then(|info| info.linux_info.as_ref()?.share_cgroups).unwrap_or(true);
    Ok(LaunchRequest {
        id: spec.container.clone(),
        program,
        arguments,
        environment: spec.environment.clone(),
        sandbox: PathBuf::from(&*spec.sandbox),
        credentials,
        rlimits,
        stdin: stdin(spec),
        stdout: output(spec, "stdout"),
        stderr: output(spec, "stderr"),
        resources: container_resources(&spec.resources, &spec.limits),
        share_cgroups: spec.parent.is_some() && shares,
        quotas: quotas(spec, work_dir),
        ports: ports(&spec.resources),
        confinement: Confinement::default(),
    })
}

/// The plain variables of a command.
pub(crate) fn variables(command: &v1::CommandInfo) -> Vec<(String, String)> {
    let all = command.environment.iter().flat_map(|environment| &environment.variables);
    all.filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?))).collect()
}

/// What a program inside a container finds: the variables of the container's own program, as they really are
/// (rule 353), and its own in place of them.
pub(crate) fn inherited(
    parents: Option<Vec<(String, String)>>,
    own: &[(String, String)],
) -> Option<Vec<(String, String)>> {
    let mut variables = parents?;
    variables.retain(|(name, _)| own.iter().all(|(other, _)| other != name));
    variables.extend_from_slice(own);
    Some(variables)
}

/// What may be used of disks. The sandbox: what was given to the container without a source of its own and
/// without persistence. Nothing is watched where nothing was given.
fn quotas(spec: &ContainerSpec, work_dir: &Path) -> Vec<Quota> {
    let bytes = disk_bytes(&spec.resources);
    let sandbox = || Quota { path: PathBuf::from(&*spec.sandbox), bytes, volume: None, enforced: true };
    (bytes > 0).then(sandbox).into_iter().chain(volumes(spec, work_dir)).collect()
}

/// The part of the disk that is a sandbox's own.
pub(crate) fn disk_bytes(resources: &[v1::Resource]) -> u64 {
    let plain = |resource: &&v1::Resource| {
        resource.name == "disk"
            && resource.disk.as_ref().is_none_or(|disk| disk.persistence.is_none() && disk.source.is_none())
    };
    let milli: u64 = resources
        .iter()
        .filter(plain)
        .filter_map(|resource| Some((resource.scalar.as_ref()?.value * 1000.0).round() as u64))
        .sum();
    milli.saturating_mul(1 << 20) / 1000
}

/// What its persistent volumes may use: their size. A mounted disk has an end of its own (rule 365).
pub(crate) fn volumes(spec: &ContainerSpec, work_dir: &Path) -> impl Iterator<Item = Quota> {
    spec.resources.iter().filter_map(|resource| {
        let disk = resource.disk.as_ref()?;
        disk.persistence.as_ref()?;
        let is_mount =
            disk.source.as_ref().is_some_and(|source| source.r#type() == disk_info::source::Type::Mount);
        let milli = (resource.scalar.as_ref()?.value * 1000.0).round() as u64;
        Some(Quota {
            path: crate::volumes::folder(work_dir, resource).ok()?,
            bytes: milli.saturating_mul(1 << 20) / 1000,
            volume: Some(Box::new(resource.clone())),
            enforced: !is_mount,
        })
    })
}

/// A terminal where one is asked for; sessions can be written to, and nobody else has an input (rule 372).
fn stdin(spec: &ContainerSpec) -> Stdin {
    match spec.container_info.as_ref().and_then(|info| info.tty_info.as_ref()) {
        Some(terminal) => Stdin::Terminal(terminal.window_size.as_ref().map(window_size)),
        None if spec.debug => Stdin::Pipe,
        None => Stdin::Null,
    }
}

/// What does not fit is as large as can be told to a terminal.
pub(crate) fn window_size(size: &v1::tty_info::WindowSize) -> WindowSize {
    let fit = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    WindowSize { rows: fit(size.rows), columns: fit(size.columns) }
}

/// A file in the sandbox, rotated when the container's environment asks for it (rules 396 to 398).
fn output(spec: &ContainerSpec, name: &str) -> Output {
    let variable = |wanted: &str| {
        let found = spec.environment.iter().rfind(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let stream = name.to_ascii_uppercase();
    let size = variable(&format!("CONTAINER_LOGGER_MAX_{stream}_SIZE"));
    let options = variable(&format!("CONTAINER_LOGGER_LOGROTATE_{stream}_OPTIONS"));
    // What others may follow is read from its files while it runs, so these stay where they are.
    if spec.debug || matches!(stdin(spec), Stdin::Terminal(_)) || (size.is_none() && options.is_none()) {
        return Output::File(name.into());
    }
    let size_max = size.and_then(|text| mezzo_time::parse_bytes(text).ok()).unwrap_or(LOG_BYTES_MAX);
    let kept = options
        .into_iter()
        .flat_map(str::lines)
        .find_map(|line| line.trim().strip_prefix("rotate ").and_then(|count| count.trim().parse().ok()));
    let rotation = Rotation { size_max: size_max.max(LOG_BYTES_MIN), files_kept: kept.unwrap_or(FILES_KEPT) };
    Output::Rotated(name.into(), rotation)
}

/// What the container adapter saw, for the core.
pub(crate) fn container_input(event: ContainerEvent) -> Input {
    match event {
        ContainerEvent::Started { id, pid } => Input::Started { container: id, pid },
        ContainerEvent::LaunchFailed { id, message } => Input::LaunchFailed {
            container: id,
            stage: mezzo_agent::LaunchStage::Container,
            message: if message.starts_with("Failed to launch") {
                message
            } else {
                format!("Failed to launch container: {message}")
            },
        },
        ContainerEvent::Exited { id, status, limitation } => {
            Input::Exited { container: id, status, limitation: limitation.map(self::limitation) }
        }
    }
}

fn limitation(limit: HitLimit) -> Limitation {
    let megabytes = |name: &str, bytes: u64| {
        vec![v1::Resource {
            name: name.into(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value: bytes as f64 / (1u64 << 20) as f64 }),
            ..Default::default()
        }]
    };
    match limit {
        HitLimit::Memory { message, peak_bytes } => Limitation {
            message,
            reason: Reason::ContainerLimitationMemory,
            resources: megabytes("mem", peak_bytes),
        },
        HitLimit::Ports { message, ports } => {
            let range = |port: &u16| v1::value::Range { begin: u64::from(*port), end: u64::from(*port) };
            let range = ports.iter().map(range).collect();
            let ports = v1::Resource {
                name: "ports".into(),
                r#type: v1::value::Type::Ranges as i32,
                ranges: Some(v1::value::Ranges { range }),
                ..Default::default()
            };
            Limitation { message, reason: Reason::ContainerLimitation, resources: vec![ports] }
        }
        HitLimit::Disk { message, limit_bytes, volume } => Limitation {
            message,
            reason: Reason::ContainerLimitationDisk,
            resources: volume.map_or_else(|| megabytes("disk", limit_bytes), |volume| vec![*volume]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(environment: &[(&str, &str)]) -> ContainerSpec {
        ContainerSpec {
            container: "c1".into(),
            parent: None,
            framework: None,
            sandbox: "/s".into(),
            command: v1::CommandInfo { value: Some("echo hi".into()), ..Default::default() },
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            user: None,
            resources: Vec::new(),
            limits: Limits::default(),
            container_info: None,
            volumes: Vec::new(),
            debug: false,
            pod: false,
            executor: None,
            working_directory: None,
        }
    }

    #[test]
    fn rule_318_a_container_is_told_its_own_address() {
        let told = [("LIBPROCESS_IP", "10.0.0.1"), ("MESOS_CONTAINER_IP", "10.0.0.1"), ("OTHER", "10.0.0.1")];
        let within = |address: Option<&str>| {
            let mut environment = spec(&told).environment;
            live_elsewhere(&mut environment, address);
            environment.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(within(Some("10.9.0.2")), ["0.0.0.0", "10.9.0.2", "10.0.0.1"]);
        assert_eq!(within(None), ["0.0.0.0", "10.0.0.1", "10.0.0.1"], "a network without addresses");
    }

    #[test]
    fn shell_commands_run_under_sh() {
        let request = launch_request(&spec(&[]), None, Path::new("/w")).expect("request");
        assert_eq!(
            (request.program.as_str(), request.arguments.join(" ")),
            ("/bin/sh", "sh -c echo hi".into())
        );
        let mut program = spec(&[]);
        program.command.shell = Some(false);
        assert_eq!(launch_request(&program, None, Path::new("/w")).expect("request").arguments, ["echo hi"]);
    }

    #[test]
    fn rule_396_output_goes_to_two_files_and_rule_398_containers_may_ask_for_rotation() {
        assert_eq!(
            launch_request(&spec(&[]), None, Path::new("/w")).expect("request").stdout,
            Output::File("stdout".into())
        );
        let rotated = spec(&[
            ("CONTAINER_LOGGER_MAX_STDOUT_SIZE", "1KB"),
            ("CONTAINER_LOGGER_LOGROTATE_STDOUT_OPTIONS", "compress\nrotate 3"),
        ]);
        let request = launch_request(&rotated, None, Path::new("/w")).expect("request");
        let rotation = Rotation { size_max: LOG_BYTES_MIN, files_kept: 3 };
        assert_eq!(request.stdout, Output::Rotated("stdout".into(), rotation));
        assert_eq!(request.stderr, Output::File("stderr".into()));
    }

    #[test]
    fn rule_365_volumes_are_measured_against_their_own_size_and_mounted_disks_never_enforced() {
        let disk =
            |value: f64, persistence: Option<&str>, kind: Option<disk_info::source::Type>| v1::Resource {
                name: "disk".into(),
                r#type: v1::value::Type::Scalar as i32,
                scalar: Some(v1::value::Scalar { value }),
                reservations: vec![v1::resource::ReservationInfo {
                    role: Some("r".into()),
                    ..Default::default()
                }],
                disk: Some(Box::new(v1::resource::DiskInfo {
                    persistence: persistence
                        .map(|id| disk_info::Persistence { id: id.into(), principal: None }),
                    source: kind.map(|kind| disk_info::Source {
                        r#type: kind as i32,
                        mount: Some(disk_info::source::Mount { root: Some("/mnt/d".into()) }),
                        ..Default::default()
                    }),
                    ..Default::default()
                })),
                ..Default::default()
            };
        let mut spec = spec(&[]);
        spec.resources = vec![
            disk(64.0, None, None),
            disk(32.0, Some("v"), None),
            disk(16.0, Some("m"), Some(disk_info::source::Type::Mount)),
        ];
        let found = quotas(&spec, Path::new("/w"));
        let told: Vec<_> = found
            .iter()
            .map(|quota| (quota.path.to_str().unwrap_or_default(), quota.bytes >> 20, quota.enforced))
            .collect();
        assert_eq!(told, [("/s", 64, true), ("/w/volumes/roles/r/v", 32, true), ("/mnt/d", 16, false)]);
        let full = HitLimit::Disk { message: "m".into(), limit_bytes: 1, volume: found[1].volume.clone() };
        assert_eq!(limitation(full).resources, [spec.resources[1].clone()]);
    }
}
