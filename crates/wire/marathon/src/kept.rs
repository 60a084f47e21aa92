//! A definition in the API's own form, as it is kept on disk, is read back without loss and without being judged again.
//! Times are kept to the millisecond, which is all that versions have (rule 240), and numbers to their fifteenth digit.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_json::Writer;
use mezzo_services_model::{
    App, AppCommand, AppHealthCheck, AppVolume, Artifact, Backoff, Canary, CanaryCheck, CanarySize, Check,
    CheckTarget, Constraint, Container, Docker, DockerParameter, Engine, EnvValue, ExecutorResources,
    ExternalVolume, HealthProtocol, HttpScheme, IpcInfo, KillSelection, Limit, LinuxInfo, Network,
    NetworkMode, OnFailure, Operator, PersistentKind, PersistentVolume, PortDefinition, PortMapping, PortRef,
    Protocols, PullConfig, ReadMode, ReadinessCheck, ResourceLimits, Seccomp, ShellOrArgs,
    UnreachableStrategy, UpgradeStrategy, VersionInfo, VolumeSource,
};
use proptest::prelude::*;

use crate::{
    answer::app::write_app,
    app::read_stored_app,
    parse,
    sample::{app, at, path},
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn check(protocol: HealthProtocol) -> AppHealthCheck {
    let is_command = protocol == HealthProtocol::Command;
    AppHealthCheck {
        protocol,
        command: is_command.then(|| "true".into()),
        port: (!is_command).then_some(PortRef::Index(0)),
        path: Some("/health".into()),
        ipv6: protocol == HealthProtocol::MesosTcp,
        ignore_http_1xx: protocol == HealthProtocol::Http,
        grace_period: seconds(1),
        interval: seconds(2),
        timeout: seconds(3),
        delay: seconds(4),
        max_consecutive_failures: 5,
    }
}

fn mapping(name: &str) -> PortMapping {
    PortMapping {
        container_port: 80,
        host_port: Some(0),
        service_port: 10_001,
        name: Some(name.into()),
        protocols: Protocols { tcp: true, udp: true },
        labels: texts(&[("VIP_0", "/a:80")]),
        network_names: vec!["net".into()],
    }
}

fn volume(path: &str, source: VolumeSource, mode: ReadMode) -> AppVolume {
    AppVolume { container_path: path.into(), source, mode }
}

/// An app on the host's network that says everything it can.
fn on_host() -> App {
    App {
        command: Some(AppCommand::Args(vec!["sleep".into(), "\"1\"\n".into()])),
        user: Some("www".into()),
        env: [("A".into(), EnvValue::Text(String::new())), ("B c".into(), EnvValue::Secret("key".into()))]
            .into(),
        instances: 0,
        resource_limits: Some(ResourceLimits {
            cpus: Some(Limit::Unlimited),
            mem: Some(Limit::Value(256.5)),
        }),
        executor: "//cmd".into(),
        executor_resources: Some(ExecutorResources { cpus: 0.5, mem: 64.0, disk: 20.0 }),
        constraints: Operator::ALL
            .into_iter()
            .map(|operator| Constraint {
                field: "rack".into(),
                operator,
                value: (operator != Operator::Unique).then(|| "1".into()),
            })
            .collect(),
        fetch: vec![Artifact {
            uri: "http://x/a.zip".into(),
            extract: false,
            executable: true,
            cache: true,
            dest_path: Some("b".into()),
        }],
        port_definitions: vec![
            PortDefinition {
                port: 0,
                name: None,
                protocols: Protocols { tcp: false, udp: true },
                labels: texts(&[("VIP_0", "x")]),
            },
            PortDefinition {
                port: 8080,
                name: Some("http-api".into()),
                protocols: Protocols::TCP,
                labels: BTreeMap::new(),
            },
        ],
        require_ports: true,
        health_checks: [
            HealthProtocol::Http,
            HealthProtocol::Https,
            HealthProtocol::Tcp,
            HealthProtocol::Command,
            HealthProtocol::MesosHttp,
            HealthProtocol::MesosHttps,
            HealthProtocol::MesosTcp,
        ]
        .map(check)
        .into(),
        check: Some(Check {
            target: CheckTarget::Command(ShellOrArgs::Shell("true".into())),
            interval: seconds(6),
            timeout: seconds(7),
            delay: seconds(8),
        }),
        readiness_checks: vec![ReadinessCheck {
            name: "ready".into(),
            scheme: HttpScheme::Https,
            path: "/ready".into(),
            port_name: "http-api".into(),
            interval: seconds(9),
            timeout: seconds(8),
            ready_statuses: vec![200, 302],
            preserve_last_response: true,
        }],
        kill_grace_period: Some(seconds(0)),
        dependencies: BTreeSet::from([path("/db"), path("/shop")]),
        backoff: Backoff { first: seconds(3), factor: 1.25, longest: seconds(30) },
        upgrade_strategy: UpgradeStrategy { minimum_health_capacity: 0.1, maximum_over_capacity: 0.3 },
        canary: Some(Canary {
            size: CanarySize::Percent(7),
            hold: seconds(360),
            deadline: seconds(60),
            failures_max: 2,
            check: Some(CanaryCheck {
                scheme: HttpScheme::Https,
                host: "::1".into(),
                port: 9090,
                path: "/ok?q=1".into(),
                interval: seconds(2),
                timeout: seconds(1),
            }),
            on_failure: OnFailure::Stop,
        }),
        labels: texts(&[("a", "b"), ("", "empty")]),
        accepted_resource_roles: Some(BTreeSet::from(["*".into(), "shop".into()])),
        unreachable_strategy: UnreachableStrategy::Enabled {
            inactive_after: seconds(1),
            expunge_after: seconds(2),
        },
        kill_selection: KillSelection::OldestFirst,
        tty: Some(true),
        secrets: texts(&[("key", "/store/key")]),
        role: "shop".into(),
        version: at(5),
        version_info: VersionInfo { last_scaling_at: at(4), last_config_change_at: at(3) },
        ..app("/shop/web")
    }
}

/// The same app in a container on networks of its own.
fn in_container() -> App {
    let persistent = PersistentVolume {
        kind: PersistentKind::Mount,
        size: 10,
        max_size: Some(20),
        profile_name: Some("fast".into()),
        constraints: vec![Constraint {
            field: "path".into(),
            operator: Operator::Like,
            value: Some("/disk.*".into()),
        }],
    };
    let external = ExternalVolume {
        name: Some("v".into()),
        provider: "dvdi".into(),
        size: Some(3),
        options: texts(&[("dvdi/driver", "rexray")]),
        shared: true,
    };
    App {
        command: None,
        port_definitions: Vec::new(),
        require_ports: false,
        container: Some(Container {
            engine: Engine::Mesos,
            docker: Some(Docker {
                image: "web:1".into(),
                force_pull_image: true,
                privileged: false,
                parameters: Vec::new(),
                pull_config: Some(PullConfig { secret: "key".into() }),
            }),
            volumes: vec![
                volume("/etc", VolumeSource::Host("/host".into()), ReadMode::Ro),
                volume("data", VolumeSource::Persistent(persistent), ReadMode::Rw),
                volume("/v", VolumeSource::External(external), ReadMode::Rw),
                volume("key", VolumeSource::Secret("key".into()), ReadMode::Ro),
            ],
            port_mappings: vec![
                mapping("http"),
                PortMapping { host_port: None, name: None, network_names: vec![], ..mapping("") },
            ],
            linux_info: Some(LinuxInfo {
                seccomp: Some(Seccomp { profile_name: Some("p".into()), unconfined: false }),
                ipc: Some(IpcInfo { share_parent: false, shm_size: Some(16) }),
            }),
        }),
        networks: vec![Network {
            mode: NetworkMode::Container,
            name: Some("net".into()),
            labels: texts(&[("l", "m")]),
        }],
        unreachable_strategy: UnreachableStrategy::Disabled,
        ..on_host()
    }
}

fn on_bridge() -> App {
    let mut app = in_container();
    app.networks = vec![Network { mode: NetworkMode::Bridge, name: None, labels: BTreeMap::new() }];
    if let Some(container) = &mut app.container {
        container.engine = Engine::Docker;
        container.linux_info = None;
        container.volumes.clear();
        container.port_mappings.clear();
        container.docker = Some(Docker {
            image: "web:1".into(),
            privileged: true,
            parameters: vec![DockerParameter { key: "k".into(), value: String::new() }],
            ..Docker::default()
        });
    }
    app
}

fn again(app: &App) -> App {
    let mut w = Writer::new();
    write_app(&mut w, app);
    let record = w.finish();
    let read = parse(&record).and_then(|document| read_stored_app(&document));
    read.unwrap_or_else(|error| panic!("{error:?} of {}", String::from_utf8_lossy(&record)))
}

#[test]
fn apps_lose_nothing() {
    let mut bare = app("/a");
    bare.port_definitions.clear();
    for app in [app("/a"), bare, on_host(), in_container(), on_bridge()] {
        assert_eq!(again(&app), app);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_app_loses_nothing(
        cmd in "\\PC{1,40}",
        labels in proptest::collection::btree_map(".{0,20}", ".{0,20}", 0..4),
        env in proptest::collection::btree_map(".{1,20}", ".{0,20}", 0..4),
        (cpus, mem, disk) in (1..1_000_000_000u32, 0..4_000_000_000u32, 0..4_000_000_000u32),
        (gpus, instances) in (0..i32::MAX as u32, 0..i32::MAX as u32),
        (first, longest, grace) in (0..i32::MAX as u64, 0..i32::MAX as u64, 0..i32::MAX as u64),
        (factor, healthy, over) in (1_000..10_000_000u32, 0..=1_000_000_000u32, 0..=1_000_000_000u32),
        millis in 0..4_000_000_000_000u64,
    ) {
        let mut app = app("/a/b");
        app.command = Some(AppCommand::Shell(cmd));
        app.labels = labels;
        app.env = env.into_iter().map(|(name, value)| (name, EnvValue::Text(value))).collect();
        let share = |number: u32, parts: f64| f64::from(number) / parts;
        let (cpus, mem, disk) = (share(cpus, 1e3), share(mem, 1e2), share(disk, 1e6));
        app.resources = mezzo_services_model::Resources { cpus, mem, disk, gpus };
        app.instances = instances;
        app.backoff = Backoff { first: seconds(first), factor: share(factor, 1e3), longest: seconds(longest) };
        app.kill_grace_period = Some(seconds(grace));
        app.upgrade_strategy =
            UpgradeStrategy { minimum_health_capacity: share(healthy, 1e9), maximum_over_capacity: share(over, 1e9) };
        app.version = mezzo_time::Timestamp::ZERO + Duration::from_millis(millis);
        prop_assert_eq!(again(&app), app);
    }
}
