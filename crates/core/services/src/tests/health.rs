//! Health checks that the daemon makes: marathon rules 127 to 145 and 189.

use mezzo_services_model::*;

use super::world::*;
use crate::{Config, Input, ProbeOutcome};

fn checked(check: AppHealthCheck) -> App {
    let mut a = app("/a", 1);
    a.port_definitions = vec![port("http", 0)];
    a.health_checks = vec![check];
    a
}

fn started(check: AppHealthCheck) -> World {
    let mut world = World::new();
    world.put([checked(check)]);
    world.settle();
    world.probe_answer = None;
    world
}

#[test]
fn marathon_rules_127_and_137_when_and_where() {
    let mut world = World::new();
    world.probe_answer = None;
    world.put([checked(http_check())]);
    world.round();
    world.pass(4);
    assert!(world.probes.is_empty());
    world.pass(1);
    let probe = world.probes[0].clone();
    let one = world.running("/a")[0].clone();
    assert_eq!(probe.host, one.agent.as_ref().unwrap().host);
    assert_eq!(probe.port, one.tasks.values().next().unwrap().host_ports[0]);
    // Rules 36 and 143: without a success the deployment waits.
    assert_eq!(world.snapshot().deployments.len(), 1);
    world.answer_probes(200);
    assert!(world.snapshot().deployments.is_empty());
    assert_eq!(world.running("/a")[0].healthy, Some(true));
    world.pass(9);
    assert!(world.probes.is_empty());
    world.pass(1);
    assert_eq!(world.probes.len(), 1);
}

#[test]
fn marathon_rules_133_136_and_189_the_fourth_failure_kills() {
    let mut world = started(http_check());
    for failure in 1..=4 {
        world.pass(10);
        world.answer_probes(500);
        assert_eq!(world.killed.len(), usize::from(failure == 4), "{failure}");
    }
    assert!(world.names().contains(&"unhealthy killed"));
    assert!(world.snapshot().failures.get(&path("/a")).is_some());
    let one = world.running("/a")[0].clone();
    assert_eq!((one.healthy, one.goal), (Some(false), Goal::Running));
    world.round();
    // Killed is no failure for the back-off.
    assert!(world.services.delays.is_empty());
    world.probe_answer = Some(200);
    world.round();
    assert_eq!(world.running("/a")[0].incarnation, 2);
}

#[test]
fn marathon_rule_134_never() {
    let mut world = started(AppHealthCheck { max_consecutive_failures: 0, ..http_check() });
    for _ in 0..20 {
        world.pass(10);
        world.answer_probes(500);
    }
    assert!(world.killed.is_empty());
}

#[test]
fn marathon_rule_132_grace_before_the_first_success() {
    let mut world = World::new();
    world.probe_answer = None;
    world.put([checked(http_check())]);
    world.round();
    for _ in 0..3 {
        world.pass(9);
        world.answer_probes(500);
    }
    assert!(!world.names().contains(&"check failed"));
    world.pass(10);
    world.answer_probes(500);
    assert!(world.names().contains(&"check failed"));
}

#[test]
fn marathon_rules_128_129_and_131_what_is_well() {
    for (status, ignore, wanted) in [
        (200, false, Some(true)),
        (399, false, Some(true)),
        (404, false, Some(false)),
        (101, true, Some(true)),
        (101, false, Some(false)),
    ] {
        let mut world = started(AppHealthCheck { ignore_http_1xx: ignore, ..http_check() });
        world.pass(10);
        world.answer_probes(status);
        assert_eq!(world.instances("/a")[0].healthy, wanted, "{status}");
    }
    let mut world = started(AppHealthCheck { protocol: HealthProtocol::Tcp, ..http_check() });
    world.pass(10);
    let probe = world.probes.pop().unwrap();
    assert_eq!(probe.kind, crate::ProbeKind::Tcp);
    world.step(Input::Probed(probe.id, ProbeOutcome::Failed("refused".into())));
    assert_eq!(world.instances("/a")[0].healthy, Some(false));
}

#[test]
fn marathon_rule_139_several_checks() {
    let mut world = World::new();
    world.probe_answer = None;
    let mut a = checked(http_check());
    a.health_checks.push(AppHealthCheck { path: Some("/other".into()), ..http_check() });
    world.put([a]);
    world.round();
    world.pass(5);
    assert_eq!(world.probes.len(), 2);
    let second = world.probes.pop().unwrap();
    world.answer_probes(200);
    assert_eq!(world.instances("/a")[0].healthy, None);
    world.probes = vec![second];
    world.answer_probes(200);
    assert_eq!(world.instances("/a")[0].healthy, Some(true));
}

#[test]
fn marathon_rule_145_not_too_many_at_a_time() {
    let mut world = World::with(Config {
        concurrent_checks: 2,
        launch_tokens: 100,
        instances_per_offer: 100,
        ..Config::default()
    });
    world.probe_answer = None;
    let mut a = checked(http_check());
    a.instances = 5;
    world.put([a]);
    world.round();
    world.pass(6);
    assert_eq!(world.probes.len(), 2);
    world.answer_probes(200);
    assert_eq!(world.probes.len(), 2);
    world.answer_probes(200);
    assert_eq!(world.probes.len(), 1);
}

#[test]
fn marathon_rule_126_agents_checks_come_with_statuses() {
    let mut world = World::new();
    world.put([checked(AppHealthCheck { protocol: HealthProtocol::MesosHttp, ..http_check() })]);
    world.round();
    world.pass(30);
    assert!(world.probes.is_empty() && world.snapshot().deployments.len() == 1);
    let task = world.task_of(&world.running("/a")[0]);
    let status = mezzo_mesos::v1::TaskStatus {
        task_id: mezzo_mesos::v1::TaskId { value: task },
        state: mezzo_mesos::v1::TaskState::TaskRunning.into(),
        healthy: Some(true),
        ..Default::default()
    };
    world.step(Input::Update(Box::new(status)));
    assert_eq!(world.running("/a")[0].healthy, Some(true));
    assert!(world.snapshot().deployments.is_empty());
}
