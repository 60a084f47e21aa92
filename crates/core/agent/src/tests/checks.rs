//! Checks and health checks.

use mezzo_mesos::v1;

use super::harness::{World, task, visible};
use crate::{CheckId, CheckKind, CheckOutcome, Effect, Input};

fn healthy_task(failures: u32) -> v1::TaskInfo {
    let mut info = task("t");
    info.health_check = Some(Box::new(v1::HealthCheck {
        r#type: Some(v1::health_check::Type::Http as i32),
        http: Some(v1::health_check::HttpCheckInfo {
            port: 8080,
            path: Some("up".into()),
            ..Default::default()
        }),
        consecutive_failures: Some(failures),
        grace_period_seconds: Some(30.0),
        ..Default::default()
    }));
    info
}

fn checked(world: &mut World, check: u64, outcome: CheckOutcome) -> Vec<String> {
    let lines = visible(world.step(Input::Checked { check: CheckId(check), outcome }));
    world.acknowledge_all();
    lines
}

fn run(world: &mut World, info: v1::TaskInfo) -> mezzo_ids::ContainerId {
    let run = world.run(vec![info]);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 1);
    world.acknowledge_all();
    container
}

const UPDATE: &str = "update t TASK_RUNNING REASON_TASK_HEALTH_CHECK_STATUS_UPDATED";

#[test]
fn rule_335_and_338_defaults_and_http() {
    let mut world = World::new();
    let launch = world.run(vec![healthy_task(3)]);
    world.launch(launch);
    let container = world.last_container();
    let effects = world.agent.step(world.now, &mut world.dice, Input::Started { container, pid: 1 });
    let spec = effects.iter().find_map(|e| match e {
        Effect::StartCheck { spec, .. } => Some(spec),
        _ => None,
    });
    let spec = spec.expect("a check was started");
    assert_eq!((spec.delay.as_secs(), spec.interval.as_secs(), spec.timeout.as_secs()), (15, 10, 20));
    let CheckKind::Http { scheme, port, path, ipv6 } = &spec.kind else { panic!("an HTTP check") };
    assert_eq!((scheme.as_str(), *port, path.as_str(), *ipv6), ("http", 8080, "/up", false));
}

#[test]
fn rule_340_failures_in_the_grace_period_do_not_count() {
    let mut world = World::new();
    run(&mut world, healthy_task(1));
    assert!(checked(&mut world, 1, CheckOutcome::Status(500)).is_empty());
    world.pass(10.0);
    assert!(checked(&mut world, 1, CheckOutcome::TimedOut).is_empty());
    // Until the first success.
    assert_eq!(checked(&mut world, 1, CheckOutcome::Status(200)), [UPDATE]);
    assert_eq!(checked(&mut world, 1, CheckOutcome::Status(500)), [UPDATE, "uncheck 1", "signal 15"]);
}

#[test]
fn rule_341_and_342_every_failure_is_told_and_enough_of_them_kill() {
    let mut world = World::new();
    let container = run(&mut world, healthy_task(3));
    assert_eq!(checked(&mut world, 1, CheckOutcome::Status(399)), [UPDATE]);
    // A success after a success is no news.
    assert!(checked(&mut world, 1, CheckOutcome::Status(200)).is_empty());
    assert_eq!(checked(&mut world, 1, CheckOutcome::Status(400)), [UPDATE]);
    assert_eq!(checked(&mut world, 1, CheckOutcome::Failed("refused".into())), [UPDATE]);
    assert_eq!(checked(&mut world, 1, CheckOutcome::Status(200)), [UPDATE]);
    for _ in 0..2 {
        assert_eq!(checked(&mut world, 1, CheckOutcome::Status(500)), [UPDATE]);
    }
    assert_eq!(checked(&mut world, 1, CheckOutcome::Status(500)), [UPDATE, "uncheck 1", "signal 15"]);
    // A late result means nothing.
    assert!(checked(&mut world, 1, CheckOutcome::Status(200)).is_empty());
    world.exited(&container, 15);
    // Rule 306.
    assert_eq!(world.newest().state(), v1::TaskState::TaskKilled);
    assert_eq!(world.newest().healthy, Some(false));
}

#[test]
fn rule_337_what_is_healthy() {
    for (outcome, healthy) in [
        (CheckOutcome::Exit(0), true),
        (CheckOutcome::Exit(1), false),
        (CheckOutcome::Status(199), false),
        (CheckOutcome::Status(200), true),
        (CheckOutcome::Status(399), true),
        (CheckOutcome::Status(400), false),
        (CheckOutcome::Connected(true), true),
        (CheckOutcome::Connected(false), false),
        (CheckOutcome::TimedOut, false),
    ] {
        let mut world = World::new();
        run(&mut world, healthy_task(9));
        world.pass(31.0);
        world.step(Input::Checked { check: CheckId(1), outcome: outcome.clone() });
        assert_eq!(world.newest().healthy, Some(healthy), "{outcome:?}");
    }
}

#[test]
fn rule_343_checks_only_report() {
    let mut world = World::new();
    let mut info = task("t");
    info.check = Some(Box::new(v1::CheckInfo {
        r#type: Some(v1::check_info::Type::Command as i32),
        command: Some(v1::check_info::Command {
            command: v1::CommandInfo { value: Some("test -f x".into()), ..Default::default() },
        }),
        ..Default::default()
    }));
    run(&mut world, info);
    let known = |world: &World| {
        let tasks = crate::query::tasks(&world.agent.snapshot());
        let last = tasks.launched_tasks[0].statuses.last().cloned().expect("it runs");
        last.check_status.and_then(|c| c.command).map(|c| c.exit_code)
    };
    assert_eq!(known(&world), Some(None), "an empty payload at first");
    let update = "update t TASK_RUNNING REASON_TASK_CHECK_STATUS_UPDATED";
    assert_eq!(checked(&mut world, 1, CheckOutcome::Exit(1)), [update]);
    assert_eq!(known(&world), Some(Some(1)));
    assert!(checked(&mut world, 1, CheckOutcome::Exit(1)).is_empty());
    assert_eq!(checked(&mut world, 1, CheckOutcome::Exit(0)), [update]);
    // Rule 336: a run that took too long is the empty payload again.
    assert_eq!(checked(&mut world, 1, CheckOutcome::TimedOut), [update]);
    assert_eq!(known(&world), Some(None));
}

#[test]
fn rule_346_checks_start_again_with_the_agent() {
    let mut world = World::new();
    let container = run(&mut world, healthy_task(3));
    let lines = world.restart(vec![(container, crate::FoundState::Running(1))]);
    assert_eq!(visible(lines), ["check 1"]);
}
