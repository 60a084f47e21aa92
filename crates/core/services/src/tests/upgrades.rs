//! Replacing instances: marathon rules 51 to 65. The checker looks at the bounds in each step.

use std::time::Duration;

use mezzo_mesos::v1::TaskState;
use mezzo_services_model::*;

use super::world::*;
use crate::{fixtures, upgrade::Bounds};

fn bounds(instances: u32, min: f64, over: f64, active: u32) -> (u32, u32) {
    let mut app = app("/a", instances);
    app.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: min, maximum_over_capacity: over };
    let bounds = Bounds::of(&RunSpec::App(app.into()), active);
    (bounds.min, bounds.max)
}

#[test]
fn those_of_whom_nothing_is_known_yet_do_not_make_room() {
    let mut world = World::new();
    world.probe_answer = None;
    let strategy = UpgradeStrategy { minimum_health_capacity: 1.0, maximum_over_capacity: 0.0 };
    let checked = App {
        upgrade_strategy: strategy,
        health_checks: vec![http_check()],
        port_definitions: vec![port("http", 0)],
        ..app("/a", 2)
    };
    world.put([checked]);
    world.round();
    let old: Vec<String> = world.tasks.keys().cloned().collect();
    let mut change = world.change(|root| {
        let a = (**root.app(&path("/a")).unwrap()).clone();
        insert(root, App { user: Some("new".into()), ..a });
    });
    change.force = true;
    planned(world.send(change));
    for _ in 0..3 {
        world.round();
    }
    assert_eq!(old.len(), 2);
    assert!(old.iter().all(|task| world.tasks.contains_key(task)), "both may serve");
    world.probe_answer = Some(200);
    world.settle();
    assert!(old.iter().all(|task| !world.tasks.contains_key(task)));
    assert_eq!(world.running("/a").len(), 2);
}

#[test]
fn after_a_restart_nobody_goes_before_a_word_of_its_health_while_it_may_be_needed() {
    let mut world = World::new();
    let checked = App {
        upgrade_strategy: UpgradeStrategy { minimum_health_capacity: 1.0, maximum_over_capacity: 0.5 },
        health_checks: vec![http_check()],
        port_definitions: vec![port("http", 0)],
        ..app("/a", 2)
    };
    world.put([checked]);
    world.settle();
    // Of the third one no check has told yet.
    world.probe_answer = None;
    world.edit("/a", |app| app.instances = 3);
    world.round();
    let mut change = world.change(|root| {
        let a = (**root.app(&path("/a")).unwrap()).clone();
        insert(root, App { user: Some("new".into()), ..a });
    });
    change.force = true;
    planned(world.send(change));
    assert_eq!(world.killed, Vec::<String>::new());
    world.crash(world.disk.len());
    world.reconcile();
    assert_eq!(world.killed, Vec::<String>::new());
    world.probe_answer = Some(200);
    world.settle();
    let version = world.snapshot().root.app(&path("/a")).unwrap().version;
    assert!(world.running("/a").iter().all(|one| one.version == version));
}

#[test]
fn one_that_came_to_serve_during_an_upgrade_makes_room_when_it_may() {
    let mut world = World::new();
    let none = UpgradeStrategy { minimum_health_capacity: 0.0, maximum_over_capacity: 0.0 };
    world.put([App { upgrade_strategy: none, ..app("/a", 2) }]);
    world.offers();
    let tasks: Vec<String> = world.tasks.keys().cloned().collect();
    let mut change = world.change(|root| {
        let a = (**root.app(&path("/a")).unwrap()).clone();
        insert(root, App { instances: 1, user: Some("new".into()), ..a });
    });
    change.force = true;
    planned(world.send(change));
    let left = tasks.iter().find(|task| !world.killed.contains(task)).unwrap().clone();
    world.update(&left, TaskState::TaskRunning);
    world.settle();
    assert_eq!(world.running("/a").len(), 1);
    assert!(!world.tasks.contains_key(&left), "the old one has gone");
}

#[test]
fn of_new_ones_that_are_too_many_those_that_do_not_serve_go_first() {
    let mut world = World::new();
    let checked =
        App { health_checks: vec![http_check()], port_definitions: vec![port("http", 0)], ..app("/a", 4) };
    world.put([checked]);
    world.settle();
    world.edit("/a", |app| app.user = Some("new".into()));
    world.offers();
    let new: Vec<(InstanceId, String)> = world
        .instances("/a")
        .iter()
        .filter(|one| one.condition == Condition::Provisioned)
        .map(|one| (one.id.clone(), world.task_of(one)))
        .collect();
    // The youngest, which would go first, is the only one that is known to serve.
    world.probe_answer = None;
    for (_, task) in &new {
        world.pass(1);
        world.update(task, TaskState::TaskRunning);
    }
    let youngest = new.last().map(|(id, _)| id.clone());
    while !world.probes.iter().any(|probe| probe.instance == youngest) {
        world.pass(1);
    }
    world.probes.retain(|probe| probe.instance == youngest);
    world.answer_probes(200);
    let mut change = world.change(|root| {
        let a = (**root.app(&path("/a")).unwrap()).clone();
        insert(root, App { instances: 1, ..a });
    });
    change.force = true;
    planned(world.send(change));
    world.round();
    assert!(world.running("/a").iter().any(|one| Some(&one.id) == youngest.as_ref()));
    world.settle();
    assert_eq!(world.running("/a").iter().map(|one| Some(one.id.clone())).collect::<Vec<_>>(), [youngest]);
}

#[test]
fn marathon_rules_51_54_56_and_57_bounds() {
    assert_eq!(bounds(3, 0.7, 0.0, 3), (3, 4));
    assert_eq!(bounds(3, 0.7, 1.0, 3), (3, 6));
    assert_eq!(bounds(10, 0.5, 0.25, 10), (5, 12));
    assert_eq!(bounds(4, 0.0, 0.0, 4), (0, 4));
    assert_eq!(bounds(4, 1.0, 0.0, 4), (4, 5));
    assert_eq!(bounds(4, 1.0, 0.0, 3), (4, 4));
}

fn upgraded(instances: u32, min: f64, over: f64) -> World {
    let mut world = World::new();
    let mut a = app("/a", instances);
    a.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: min, maximum_over_capacity: over };
    world.put([a]);
    world.settle();
    world.edit("/a", |app| app.user = Some("new".into()));
    world
}

fn goals(world: &World, wanted: Goal) -> usize {
    world.instances("/a").iter().filter(|one| one.goal == wanted).count()
}

#[test]
fn marathon_rules_52_and_53_at_the_start() {
    let world = upgraded(4, 0.5, 0.25);
    assert_eq!((world.killed.len(), goals(&world, Goal::Running)), (2, 3));
    let world = upgraded(4, 0.0, 0.0);
    assert_eq!((world.killed.len(), goals(&world, Goal::Running)), (4, 0));
    let world = upgraded(3, 1.0, 1.0);
    assert_eq!((world.killed.len(), goals(&world, Goal::Running)), (0, 6));
}

#[test]
fn marathon_rules_58_and_64_all_strategies_come_to_their_end() {
    for instances in [1, 2, 3, 5, 10] {
        for min in [0.0, 0.3, 0.5, 0.7, 1.0] {
            for over in [0.0, 0.2, 0.5, 1.0] {
                let mut world = upgraded(instances, min, over);
                world.settle();
                let version = world.snapshot().root.app(&path("/a")).unwrap().version;
                let running = world.running("/a");
                assert_eq!(running.len(), instances as usize, "{min} {over}");
                assert!(running.iter().all(|one| one.version == version));
                assert_eq!(world.instances("/a").len(), instances as usize);
            }
        }
    }
}

#[test]
fn marathon_rule_58_one_for_one() {
    let mut world = upgraded(3, 1.0, 1.0);
    world.offers();
    let new: Vec<String> = world
        .instances("/a")
        .iter()
        .filter(|one| one.condition == Condition::Provisioned)
        .map(|one| world.task_of(one))
        .collect();
    assert_eq!(new.len(), 3);
    world.update(&new[0], TaskState::TaskRunning);
    assert_eq!(world.killed.len(), 1);
    world.update(&new[1], TaskState::TaskRunning);
    assert_eq!(world.killed.len(), 2);
}

#[test]
fn marathon_rules_13_and_62_scaled_and_changed_at_once() {
    for to in [1, 2, 6] {
        let mut world = World::new();
        world.put([app("/a", 4)]);
        world.settle();
        let plan = world.edit("/a", |app| {
            app.instances = to;
            app.user = Some("new".into());
        });
        assert_eq!(steps(&plan), [["restart /a"]]);
        world.settle();
        assert_eq!(world.running("/a").len(), to as usize);
    }
}

#[test]
fn marathon_rule_63_old_ones_that_die_are_replaced_by_new_ones() {
    let mut world = upgraded(2, 1.0, 0.5);
    let old = world.running("/a")[0].clone();
    let task = world.task_of(&old);
    world.update(&task, TaskState::TaskFailed);
    assert!(world.instances("/a").iter().all(|one| one.id != old.id));
    world.pass(2);
    world.settle();
    assert_eq!(world.running("/a").len(), 2);
}

#[test]
fn marathon_rules_59_and_61_unhealthy_ones_first() {
    let mut world = World::new();
    let mut a = app("/a", 3);
    a.port_definitions = vec![port("http", 0)];
    a.health_checks = vec![http_check()];
    a.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: 0.6, maximum_over_capacity: 0.0 };
    world.put([a]);
    world.settle();
    world.probe_answer = None;
    world.pass(20);
    let bad = world.probes.first().unwrap().instance.clone().unwrap();
    let outs = std::mem::take(&mut world.probes);
    for probe in outs {
        let status = if probe.instance.as_ref() == Some(&bad) { 500 } else { 200 };
        let answer = HttpAnswer { status, content_type: String::new(), body: String::new() };
        world.step(crate::Input::Probed(probe.id, crate::ProbeOutcome::Answered(answer)));
    }
    assert_eq!(world.instances("/a").iter().filter(|one| one.healthy == Some(false)).count(), 1);
    world.probe_answer = Some(200);
    world.edit("/a", |app| app.user = Some("new".into()));
    // Two healthy of at least two: none may go for its own sake, but the one that does not serve is no loss.
    let gone: Vec<_> = world
        .instances("/a")
        .into_iter()
        .filter(|one| one.goal != Goal::Running)
        .map(|one| one.id.clone())
        .collect();
    assert_eq!(gone, [bad]);
    world.settle();
    assert_eq!(world.running("/a").len(), 3);
}

#[test]
fn marathon_rules_148_149_150_and_154_readiness_holds_the_upgrade() {
    let mut world = World::new();
    let mut a = app("/a", 1);
    a.port_definitions = vec![port("http", 0)];
    a.readiness_checks = vec![ReadinessCheck {
        name: "ready".into(),
        scheme: HttpScheme::Http,
        path: "/ready".into(),
        port_name: "http".into(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        ready_statuses: vec![200],
        preserve_last_response: true,
    }];
    world.probe_answer = None;
    let plan = world.put([a]);
    world.round();
    world.pass(1);
    assert_eq!(world.probes.len(), 1);
    assert_eq!(world.probes[0].port, world.running("/a")[0].tasks.values().next().unwrap().host_ports[0]);
    world.answer_probes(503);
    let shown = world.snapshot().deployments[&plan.id].clone();
    let (_, readiness) = shown.readiness.iter().next().unwrap();
    assert!(!readiness.is_ready && readiness.last_response.as_ref().unwrap().status == 503);
    world.pass(9);
    assert!(world.probes.is_empty());
    world.pass(1);
    let probe = world.probes.pop().unwrap();
    world.step(crate::Input::Probed(probe.id, crate::ProbeOutcome::Failed("refused".into())));
    let shown = world.snapshot().deployments[&plan.id].clone();
    let answer = shown.readiness.iter().next().unwrap().1.last_response.clone().unwrap();
    assert_eq!((answer.status, answer.content_type.as_str()), (504, "text/plain"));
    world.pass(10);
    world.answer_probes(200);
    assert!(world.snapshot().deployments.is_empty());
    // Rule 148: afterwards nobody asks.
    world.pass(60);
    assert!(world.probes.is_empty());
}

/// Old ones that end while their service waits for its turn to change are launched again as what they were, where their own
/// constraint lets them be.
#[test]
fn old_ones_that_are_launched_again_keep_to_their_constraint() {
    let mut world = World::new();
    world.agents = 2;
    let mut after = app("/after", 2);
    after.dependencies.insert(path("/first"));
    after.constraints.insert(fixtures::constraint("hostname", Operator::Unique, None));
    world.put([app("/first", 1), after.clone()]);
    world.settle();
    // No new one of the first comes to run, so the second waits.
    let first = App { user: Some("new".into()), instances: 9, ..app("/first", 1) };
    world.put([first, App { user: Some("new".into()), ..after }]);
    for one in world.running("/after") {
        let task = world.task_of(&one);
        world.update(&task, TaskState::TaskFailed);
    }
    world.pass(2);
    world.offers();
    let hosts: Vec<_> = world
        .instances("/after")
        .iter()
        .filter_map(|one| one.agent.as_ref().map(|at| at.host.clone()))
        .collect();
    let different: std::collections::BTreeSet<_> = hosts.iter().collect();
    assert_eq!((hosts.len(), different.len()), (2, 2), "{hosts:?}");
}
