use std::time::Duration;

use mezzo_mesos::v1::{check_info, health_check::Type, network_info::Protocol};
use mezzo_services_model::{
    App, AppHealthCheck, Check, CheckTarget, Engine, HealthCheck, HealthProtocol, HttpScheme, NetworkMode,
    PortRef, ShellOrArgs,
};

use crate::fixtures::{World, app, container, definition, endpoint, mapping, network, pod, pod_container};

fn check(protocol: HealthProtocol) -> AppHealthCheck {
    AppHealthCheck {
        protocol,
        command: None,
        port: None,
        path: None,
        ipv6: false,
        ignore_http_1xx: false,
        grace_period: Duration::from_secs(300),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        delay: Duration::from_secs(15),
        max_consecutive_failures: 3,
    }
}

fn on_host(checks: Vec<AppHealthCheck>) -> App {
    let mut one = app("/web");
    one.port_definitions = vec![definition(0, None), definition(0, None)];
    one.health_checks = checks;
    one
}

#[test]
fn marathon_rules_126_and_140_one_check_goes_to_the_agent() {
    let ours = [HealthProtocol::Http, HealthProtocol::Https, HealthProtocol::Tcp];
    let task = World::new().task(on_host(ours.map(check).to_vec()));
    assert!(task.health_check.is_none(), "those are made by the services daemon");
    let mut first = check(HealthProtocol::Command);
    first.command = Some("true".into());
    let mut second = first.clone();
    second.command = Some("false".into());
    let task = World::new().task(on_host(vec![check(HealthProtocol::Http), first, second]));
    let health = task.health_check.unwrap();
    assert_eq!(health.r#type(), Type::Command);
    let command = health.command.unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(true), Some("true")));
}

#[test]
fn marathon_rules_138_141_and_142_ports_and_times() {
    let mut http = check(HealthProtocol::MesosHttps);
    http.path = Some("/health".into());
    http.port = Some(PortRef::Index(1));
    http.delay = Duration::from_millis(1500);
    http.ipv6 = true;
    let health = World::new().task(on_host(vec![http.clone()])).health_check.unwrap();
    assert_eq!(health.r#type(), Type::Http);
    let asked = health.http.as_ref().unwrap();
    assert_eq!(
        (asked.port, asked.path.as_deref(), asked.scheme.as_deref()),
        (31_002, Some("/health"), Some("https"))
    );
    assert_eq!(asked.protocol(), Protocol::IPv6);
    assert_eq!(health.delay_seconds, Some(1.5));
    assert_eq!((health.interval_seconds, health.timeout_seconds), (Some(60.0), Some(20.0)));
    assert_eq!((health.grace_period_seconds, health.consecutive_failures), (Some(300.0), Some(3)));

    // Rule 138: inside a container the port of the container.
    let mut bridged = on_host(vec![http]);
    bridged.port_definitions.clear();
    bridged.networks = vec![network(NetworkMode::Bridge, None)];
    let mut with = container(Engine::Mesos, None);
    with.port_mappings = vec![mapping(80, Some(0)), mapping(0, Some(0))];
    bridged.container = Some(with);
    let port = |app: App| World::new().task(app).health_check.map(|health| health.http.unwrap().port);
    assert_eq!(port(bridged.clone()), Some(31_002), "the container's port is the host's there");
    bridged.health_checks[0].port = Some(PortRef::Index(0));
    assert_eq!(port(bridged.clone()), Some(80));
    bridged.health_checks[0].port = None;
    assert_eq!(port(bridged.clone()), Some(80));
    bridged.health_checks[0].port = Some(PortRef::Number(4321));
    assert_eq!(port(bridged.clone()), Some(4321));
    // Rule 141 is refused before; here there is then no check rather than one of nothing.
    bridged.health_checks[0].port = Some(PortRef::Index(7));
    assert_eq!(port(bridged), None);

    let mut tcp = check(HealthProtocol::MesosTcp);
    tcp.max_consecutive_failures = 0;
    let health = World::new().task(on_host(vec![tcp])).health_check.unwrap();
    assert_eq!((health.r#type(), health.tcp.unwrap().port), (Type::Tcp, 31_001));
    assert_eq!(health.consecutive_failures, Some(u32::MAX), "rule 134: never");
}

#[test]
fn marathon_rule_147_checks_of_pods() {
    let health = |target| HealthCheck {
        target,
        grace_period: Duration::from_secs(1),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        delay: Duration::ZERO,
        max_consecutive_failures: 5,
    };
    let port = Some(PortRef::Endpoint("ui".into()));
    let targets = [
        CheckTarget::Http { port: port.clone(), path: Some("/x".into()), scheme: HttpScheme::Https },
        CheckTarget::Tcp { port },
        CheckTarget::Command(ShellOrArgs::Args(vec!["probe".into(), "-q".into()])),
    ];
    for (mode, name, wanted) in [(NetworkMode::Host, None, 31_001), (NetworkMode::Container, Some("net"), 80)]
    {
        for target in &targets {
            let mut main = pod_container("main");
            main.endpoints = vec![endpoint("ui", Some(80), Some(0))];
            main.health_check = Some(health(target.clone()));
            main.check = Some(Check {
                target: target.clone(),
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(1),
                delay: Duration::ZERO,
            });
            let mut one = pod("/pod", vec![main]);
            one.networks = vec![network(mode, name)];
            let task = World::new().group(one).task_group.tasks.remove(0);
            let (health, check) = (task.health_check.unwrap(), task.check.unwrap());
            assert_eq!((health.consecutive_failures, check.interval_seconds), (Some(5), Some(2.0)));
            match target {
                CheckTarget::Http { .. } => {
                    assert_eq!((health.r#type(), check.r#type()), (Type::Http, check_info::Type::Http));
                    assert_eq!((health.http.unwrap().port, check.http.unwrap().port), (wanted, wanted));
                }
                CheckTarget::Tcp { .. } => {
                    assert_eq!((health.tcp.unwrap().port, check.tcp.unwrap().port), (wanted, wanted));
                }
                CheckTarget::Command(_) => {
                    let command = health.command.unwrap();
                    assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("probe")));
                    assert_eq!(command.arguments, ["probe", "-q"]);
                    assert!(check.command.is_some());
                }
            }
        }
    }
}

#[test]
fn an_apps_check_tells_something() {
    let mut one = on_host(Vec::new());
    one.check = Some(Check {
        target: CheckTarget::Http { port: Some(PortRef::Index(0)), path: None, scheme: HttpScheme::Http },
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        delay: Duration::ZERO,
    });
    let check = World::new().task(one).check.unwrap();
    assert_eq!((check.r#type(), check.http.unwrap().port), (check_info::Type::Http, 31_001));
}
