//! Rules that need a moment of their own: what never ends, what does not matter, and what is forgotten.

use std::collections::BTreeSet;

use mezzo_mesos::v1::TaskState;
use mezzo_services_model::*;

use super::world::*;
use crate::{Input, ProbeOutcome, Record, fixtures, upgrade::Bounds};

#[test]
fn marathon_rule_17_pods_take_no_part_in_the_order() {
    let mut world = World::new();
    let mut pod = fixtures::pod("/p", vec![fixtures::pod_container("c")]);
    pod.role = "*".into();
    let mut after = app("/a", 1);
    after.dependencies.insert(path("/p"));
    let change = world.change(|root| {
        insert(root, after);
        root.pods.insert(path("/p"), pod.into());
    });
    let plan = planned(world.send(change));
    assert_eq!(steps(&plan), [["start /a", "start /p"], ["scale /a 1", "scale /p 1"]]);
}

#[test]
fn marathon_rule_32_a_deployment_waits_for_ever() {
    let mut world = World::new();
    let mut huge = app("/a", 1);
    huge.resources.cpus = 10_000.0;
    world.put([huge]);
    for _ in 0..24 {
        world.offers();
        world.pass(3_600);
    }
    assert_eq!(world.snapshot().deployments.len(), 1);
}

#[test]
fn marathon_rule_55_resident_apps_go_below_instead_of_above() {
    let mut resident = app("/a", 4);
    resident.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: 1.0, maximum_over_capacity: 0.0 };
    let mut container = fixtures::container(Engine::Mesos, None);
    container.volumes.push(AppVolume {
        container_path: "data".into(),
        source: VolumeSource::Persistent(PersistentVolume {
            kind: PersistentKind::Root,
            size: 10,
            max_size: None,
            profile_name: None,
            constraints: Vec::new(),
        }),
        mode: ReadMode::Rw,
    });
    resident.container = Some(container);
    let bounds = Bounds::of(&RunSpec::App(resident.into()), 4);
    assert_eq!((bounds.min, bounds.max), (3, 4));
}

#[test]
fn marathon_rule_60_an_upgrade_does_not_ask_who_is_youngest() {
    let killed = |selection: KillSelection| {
        let mut world = World::new();
        let mut a = app("/a", 1);
        a.kill_selection = selection;
        a.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: 0.5, maximum_over_capacity: 0.0 };
        world.put([a]);
        world.settle();
        world.pass(10);
        world.edit("/a", |app| app.instances = 2);
        world.settle();
        world.edit("/a", |app| app.user = Some("new".into()));
        world.killed.clone()
    };
    assert_eq!(killed(KillSelection::YoungestFirst).len(), 1);
    assert_eq!(killed(KillSelection::YoungestFirst), killed(KillSelection::OldestFirst));
}

/// An app of two instances that are looked at, the older one first.
fn checked() -> (World, Vec<InstanceId>) {
    let mut world = World::new();
    let mut a = app("/a", 1);
    a.port_definitions = vec![port("http", 0)];
    a.health_checks = vec![http_check()];
    a.unreachable_strategy = UnreachableStrategy::Disabled;
    world.put([a]);
    world.settle();
    let old = world.running("/a")[0].id.clone();
    world.pass(60);
    world.answer_probes(200);
    world.edit("/a", |app| app.instances = 2);
    world.settle();
    let young = world.running("/a").iter().find(|one| one.id != old).map(|one| one.id.clone());
    world.probe_answer = None;
    world.answer_probes(200);
    (world, vec![old, young.expect("a second one")])
}

fn fail_probes_of(world: &mut World, instance: &InstanceId) {
    for probe in std::mem::take(&mut world.probes) {
        let outcome = if probe.instance.as_ref() == Some(instance) {
            ProbeOutcome::Failed("refused".into())
        } else {
            ProbeOutcome::Answered(HttpAnswer {
                status: 200,
                content_type: String::new(),
                body: String::new(),
            })
        };
        world.step(Input::Probed(probe.id, outcome));
    }
}

#[test]
fn marathon_rule_73_health_does_not_matter_when_there_are_too_many() {
    let (mut world, ids) = checked();
    world.pass(10);
    fail_probes_of(&mut world, &ids[0]);
    let old = world.running("/a").iter().find(|one| one.id == ids[0]).and_then(|one| one.healthy);
    assert_eq!(old, Some(false));
    world.edit("/a", |app| app.instances = 1);
    let going: Vec<_> = world
        .instances("/a")
        .iter()
        .filter(|one| one.goal != Goal::Running)
        .map(|one| one.id.clone())
        .collect();
    assert_eq!(going, [ids[1].clone()], "the youngest, although it is well");
}

#[test]
fn marathon_rule_135_what_cannot_be_reached_is_not_killed_for_it() {
    let (mut world, ids) = checked();
    let lost = world.running("/a").iter().find(|one| one.id == ids[0]).map(|one| world.task_of(one));
    world.update(&lost.expect("it runs"), TaskState::TaskUnreachable);
    for _ in 0..6 {
        world.pass(10);
        fail_probes_of(&mut world, &ids[0]);
    }
    assert!(world.killed.is_empty(), "{:?}", world.killed);
}

#[test]
fn marathon_rule_144_health_is_found_out_again_after_a_restart() {
    let (mut world, ids) = checked();
    let known = |world: &World| {
        world.snapshot().health.get(&ids[0]).is_some_and(|all| all.iter().any(Option::is_some))
    };
    assert!(known(&world));
    world.crash(world.disk.len());
    assert!(!known(&world));
    world.reconcile();
    world.pass(10);
    world.answer_probes(200);
    assert!(known(&world));
    assert_eq!(world.running("/a").len(), 2);
}

#[test]
fn marathon_rule_83_a_launch_restarts_the_clock_of_the_wait() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    let task = world.task_of(&world.running("/a")[0]);
    world.update(&task, TaskState::TaskFailed);
    let before = world.services.delays.values().next().expect("a wait").1;
    world.pass(5);
    world.round();
    let after = world.services.delays.values().next().expect("the same wait").1;
    assert_eq!(after.length, before.length);
    assert!(after.since > before.since);
}

#[test]
fn marathon_rule_98_offers_are_wanted_for_the_roles_that_wait() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    let revived: Vec<_> = world.calls.iter().filter_map(|call| call.revive.clone()).collect();
    assert_eq!(revived.last().map(|revive| revive.roles.clone()), Some(vec!["*".to_owned()]));
}

#[test]
fn marathon_rule_105_instances_of_nothing_end() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    let nothing = Group::empty(PathId::root(), world.now);
    world.disk.push(vec![Record::Root(nothing.into())]);
    world.crash(world.disk.len());
    world.reconcile();
    world.pass(620);
    assert!(world.instances("/a").iter().all(|one| one.goal == Goal::Decommissioned));
    // Each again and again until it is heard of.
    let killed: BTreeSet<_> = world.killed.iter().collect();
    assert_eq!(killed.len(), 2);
}

#[test]
fn marathon_rule_182_what_has_ended_for_good_is_forgotten() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    world.edit("/a", |app| app.instances = 1);
    let going = world.instances("/a").iter().find(|one| one.goal == Goal::Decommissioned).cloned();
    let going = going.expect("one goes");
    let task = world.task_of(&going);
    world.update(&task, TaskState::TaskKilled);
    assert!(world.instances("/a").iter().all(|one| one.id != going.id));
    let gone = |record: &Record| matches!(record, Record::InstanceGone(id) if *id == going.id);
    assert!(world.disk.iter().flatten().any(gone));
}
