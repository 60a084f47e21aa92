//! Upgrades that are tried on a few instances first. The checker looks at every step.

use std::time::Duration;

use mezzo_mesos::v1::TaskState;
use mezzo_services_model::*;

use super::world::*;
use crate::{Answer, Input, ProbeKind, ProbeOutcome, Request};

fn canary(count: u32) -> Canary {
    Canary {
        size: CanarySize::Count(count),
        hold: Duration::from_secs(60),
        deadline: Duration::from_secs(100),
        failures_max: 0,
        check: None,
        on_failure: OnFailure::Rollback,
    }
}

fn check() -> CanaryCheck {
    CanaryCheck {
        scheme: HttpScheme::Http,
        host: "metrics".into(),
        port: 9090,
        path: "/ok".into(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    }
}

/// `/a` with so many instances at rest, whose upgrades are tried like this.
fn at_rest(instances: u32, min: f64, over: f64, canary: Canary) -> World {
    let mut world = World::new();
    let mut a = app("/a", instances);
    a.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: min, maximum_over_capacity: over };
    a.canary = Some(canary);
    world.put([a]);
    world.settle();
    assert!(world.snapshot().canaries.is_empty(), "the first version has nothing to go back to");
    world
}

fn upgrade(world: &mut World) {
    world.edit("/a", |app| app.user = Some("new".into()));
}

fn wanted(world: &World) -> App {
    (**world.snapshot().root.app(&path("/a")).unwrap()).clone()
}

fn report(world: &World) -> CanaryReport {
    let snapshot = world.snapshot();
    snapshot.canaries.get(&path("/a")).unwrap().values().next_back().unwrap().clone()
}

/// Instances of the wanted definition, and others, that are to stay.
fn shares(world: &World) -> (usize, usize) {
    let current = wanted(world).version_info.last_config_change_at;
    let all = world.instances("/a");
    let staying: Vec<_> = all.iter().filter(|one| one.goal == Goal::Running).collect();
    let new = staying.iter().filter(|one| one.version >= current).count();
    (new, staying.len() - new)
}

fn rounds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.round();
        world.pass(1);
    }
}

fn ids(instances: &[std::sync::Arc<Instance>]) -> Vec<InstanceId> {
    instances.iter().map(|one| one.id.clone()).collect()
}

/// The task of the canary that runs.
fn canary_task(world: &World) -> String {
    let current = wanted(world).version_info.last_config_change_at;
    let new = world.running("/a").into_iter().find(|one| one.version >= current).expect("a canary");
    world.task_of(&new)
}

#[test]
fn the_others_follow_when_canaries_have_held() {
    let mut world = at_rest(4, 1.0, 1.0, canary(1));
    let old = ids(&world.running("/a"));
    upgrade(&mut world);
    rounds(&mut world, 50);
    assert_eq!((shares(&world), report(&world).phase), ((1, 4), CanaryPhase::Holding));
    assert!(old.iter().all(|id| ids(&world.running("/a")).contains(id)));
    world.settle();
    assert_eq!((shares(&world), report(&world).phase), ((4, 0), CanaryPhase::Passed));
    let phases: Vec<CanaryPhase> = world
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::CanaryChanged { report } => Some(report.phase),
            _ => None,
        })
        .collect();
    assert_eq!(phases, [CanaryPhase::Holding, CanaryPhase::Passed]);
}

#[test]
fn a_canary_that_ends_takes_the_upgrade_back_and_the_old_ones_stay() {
    let mut world = at_rest(4, 1.0, 1.0, canary(2));
    let old = ids(&world.running("/a"));
    let before = wanted(&world);
    upgrade(&mut world);
    let trial = wanted(&world).version;
    rounds(&mut world, 5);
    assert_eq!(shares(&world), (2, 4));
    let task = canary_task(&world);
    world.update(&task, TaskState::TaskFailed);
    let failed = world.events.iter().find_map(|event| match event {
        EventKind::DeploymentFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(failed.unwrap().starts_with("Canary of /a has failed: the one on h"));
    world.settle();
    let after = wanted(&world);
    assert_eq!(ids(&world.running("/a")), old, "the very instances that were there");
    assert_eq!(world.instances("/a").len(), 4);
    assert_eq!((after.user.clone(), after.canary.clone()), (before.user, before.canary));
    assert!(after.version > trial, "another version, which says the same");
    assert!(world.running("/a").iter().all(|one| one.version == after.version));
    let report = report(&world);
    assert_eq!((report.version, report.phase, report.failures), (trial, CanaryPhase::Failed, 1));
    // And what comes next is tried again.
    upgrade(&mut world);
    rounds(&mut world, 5);
    assert_eq!(shares(&world), (2, 4));
}

#[test]
fn canaries_that_do_not_become_well_in_time() {
    for (ready, reason) in [(true, "0 of 1 were well after 100 s"), (false, "0 of 1 were well after 100 s")] {
        let mut world = at_rest(2, 1.0, 0.5, canary(1));
        upgrade(&mut world);
        if ready {
            // Launched, and nothing is heard of it.
            world.offers();
            world.pass(101);
        } else {
            // No place for it.
            world.agents = 0;
            rounds(&mut world, 102);
        }
        let report = report(&world);
        assert_eq!((report.phase, report.reason.as_str()), (CanaryPhase::Failed, reason));
        world.agents = 4;
        world.settle();
        assert_eq!((wanted(&world).user, world.running("/a").len()), (None, 2));
    }
}

#[test]
fn canaries_that_are_unhealthy() {
    let mut world = World::new();
    let mut a = app("/a", 3);
    a.port_definitions = vec![port("http", 0)];
    a.health_checks = vec![http_check()];
    a.canary = Some(canary(1));
    world.put([a]);
    world.settle();
    upgrade(&mut world);
    rounds(&mut world, 30);
    assert_eq!(report(&world).phase, CanaryPhase::Holding);
    world.probe_answer = None;
    let current = wanted(&world).version;
    for _ in 0..20 {
        world.pass(1);
        let new =
            ids(&world.running("/a").into_iter().filter(|one| one.version >= current).collect::<Vec<_>>());
        for probe in std::mem::take(&mut world.probes) {
            let status = if probe.instance.as_ref().is_some_and(|id| new.contains(id)) { 500 } else { 200 };
            let answer = HttpAnswer { status, content_type: String::new(), body: String::new() };
            world.step(Input::Probed(probe.id, ProbeOutcome::Answered(answer)));
        }
    }
    let report = report(&world);
    assert_eq!(report.phase, CanaryPhase::Failed);
    assert!(report.reason.ends_with("is unhealthy: the answer was 500"), "{}", report.reason);
    world.probe_answer = Some(200);
    world.settle();
    assert_eq!((wanted(&world).user, world.running("/a").len()), (None, 3));
}

#[test]
fn a_check_of_the_operators_has_to_answer_well() {
    for good in [true, false] {
        let mut world = at_rest(3, 1.0, 1.0, Canary { check: Some(check()), ..canary(1) });
        upgrade(&mut world);
        world.probe_answer = None;
        rounds(&mut world, 3);
        world.pass(70);
        let probe = world.probes.pop().expect("a question");
        assert_eq!((probe.host.as_str(), probe.port, probe.instance), ("metrics", 9090, None));
        assert_eq!(probe.kind, ProbeKind::Http { scheme: HttpScheme::Http, path: "/ok".into() });
        assert_eq!(report(&world).phase, CanaryPhase::Holding, "without an answer nothing follows");
        let status = if good { 204 } else { 404 };
        let answer = HttpAnswer { status, content_type: String::new(), body: String::new() };
        world.step(Input::Probed(probe.id, ProbeOutcome::Answered(answer)));
        world.settle();
        let (phase, user) = (report(&world).phase, wanted(&world).user);
        if good {
            assert_eq!((phase, user.as_deref()), (CanaryPhase::Passed, Some("new")));
        } else {
            assert_eq!((phase, user.as_deref()), (CanaryPhase::Failed, None));
            assert_eq!(report(&world).reason, "the check of metrics answered 404");
        }
    }
}

#[test]
fn failures_that_are_let_pass_begin_the_wait_again() {
    let mut world = at_rest(3, 1.0, 1.0, Canary { failures_max: 1, ..canary(1) });
    upgrade(&mut world);
    rounds(&mut world, 40);
    let task = canary_task(&world);
    world.update(&task, TaskState::TaskFailed);
    assert_eq!((report(&world).phase, report(&world).failures), (CanaryPhase::Waiting, 1));
    rounds(&mut world, 40);
    assert_eq!(report(&world).phase, CanaryPhase::Holding, "a minute has not passed without a break");
    let task = canary_task(&world);
    world.update(&task, TaskState::TaskFinished);
    assert_eq!((report(&world).phase, report(&world).failures), (CanaryPhase::Failed, 2));
    world.settle();
    assert_eq!(wanted(&world).user, None);
}

fn stopped() -> World {
    let mut world = at_rest(4, 1.0, 0.5, Canary { on_failure: OnFailure::Stop, ..canary(1) });
    upgrade(&mut world);
    rounds(&mut world, 3);
    let task = canary_task(&world);
    world.update(&task, TaskState::TaskFailed);
    rounds(&mut world, 300);
    assert_eq!((report(&world).phase, shares(&world)), (CanaryPhase::Failed, (1, 4)));
    assert_eq!(world.snapshot().deployments.len(), 1);
    world
}

#[test]
fn one_that_stops_waits_for_a_word() {
    // Back, which ends nothing but the canary.
    let mut world = stopped();
    let old: Vec<InstanceId> = ids(&world.running("/a")).into_iter().collect();
    let id = world.snapshot().deployments.keys().next().unwrap().clone();
    planned(world.request(Request::CancelDeployment { id, force: false }));
    world.settle();
    assert_eq!((wanted(&world).user, world.running("/a").len()), (None, 4));
    assert!(ids(&world.running("/a")).iter().all(|id| old.contains(id)));

    // On all the same: the definition does not ask for canaries any more.
    let mut world = stopped();
    let mut change = world.change(|root| {
        let mut a = (**root.app(&path("/a")).unwrap()).clone();
        a.canary = None;
        insert(root, a);
    });
    change.force = true;
    planned(world.send(change));
    world.settle();
    assert_eq!((shares(&world), report(&world).phase), ((4, 0), CanaryPhase::Waived));

    // Another try, which goes back to the same.
    let mut world = stopped();
    let mut change = world.change(|root| {
        let mut a = (**root.app(&path("/a")).unwrap()).clone();
        a.user = Some("newer".into());
        a.canary = Some(canary(2));
        insert(root, a);
    });
    change.force = true;
    planned(world.send(change));
    rounds(&mut world, 5);
    assert_eq!(shares(&world), (2, 4), "the canary of before is gone");
    let task = canary_task(&world);
    world.update(&task, TaskState::TaskFailed);
    world.settle();
    assert_eq!((wanted(&world).user, shares(&world)), (None, (4, 0)));

    // The end.
    let mut world = stopped();
    let mut change = world.change(|root| {
        root.apps.remove(&path("/a"));
    });
    change.force = true;
    planned(world.send(change));
    world.settle();
    assert!(world.instances("/a").is_empty() && world.snapshot().canaries.is_empty());
}

#[test]
fn one_that_is_left_as_it_is_launches_old_ones_again_as_they_were() {
    let mut world = stopped();
    let id = world.snapshot().deployments.keys().next().unwrap().clone();
    assert_eq!(world.request(Request::CancelDeployment { id, force: true }), Answer::Done);
    let current = wanted(&world).version;
    let old = world.running("/a").into_iter().find(|one| one.version < current).unwrap();
    let task = world.task_of(&old);
    world.update(&task, TaskState::TaskFailed);
    rounds(&mut world, 10);
    assert_eq!(shares(&world), (1, 4));
    // Back by hand.
    world.edit("/a", |app| app.user = None);
    world.settle();
    assert_eq!(shares(&world), (4, 0));
    assert!(ids(&world.running("/a")).contains(&old.id));
}

#[test]
fn numbers_that_change_while_canaries_are_looked_at() {
    for failing in [false, true] {
        let mut world = at_rest(4, 1.0, 0.5, canary(1));
        upgrade(&mut world);
        rounds(&mut world, 3);
        let mut change = world.change(|root| {
            let mut a = (**root.app(&path("/a")).unwrap()).clone();
            a.instances = 6;
            insert(root, a);
        });
        change.force = true;
        planned(world.send(change));
        rounds(&mut world, 5);
        let (new, old) = shares(&world);
        assert!(new == 1 && new + old == 6, "as many as were asked for: {new} and {old}");
        if failing {
            let task = canary_task(&world);
            world.update(&task, TaskState::TaskFailed);
        }
        world.settle();
        assert_eq!((wanted(&world).user.is_none(), world.running("/a").len()), (failing, 6));
        assert_eq!(world.instances("/a").len(), 6);
    }
    // In the same change: back to the number of before.
    for to in [2, 6] {
        let mut world = at_rest(4, 1.0, 0.5, canary(1));
        world.edit("/a", |app| (app.instances, app.user) = (to, Some("new".into())));
        rounds(&mut world, 5);
        let task = canary_task(&world);
        world.update(&task, TaskState::TaskFailed);
        world.settle();
        assert_eq!((wanted(&world).user, world.running("/a").len()), (None, 4));
    }
}

#[test]
fn old_ones_that_die_meanwhile_come_again_as_what_they_were() {
    let mut world = at_rest(3, 1.0, 0.5, canary(1));
    upgrade(&mut world);
    rounds(&mut world, 3);
    let current = wanted(&world).version;
    let old = world.running("/a").into_iter().find(|one| one.version < current).unwrap();
    let task = world.task_of(&old);
    world.update(&task, TaskState::TaskFailed);
    rounds(&mut world, 5);
    assert_eq!((shares(&world), report(&world).failures), ((1, 3), 0));
    // Lost with its agent and forgotten.
    let old = world.running("/a").into_iter().find(|one| one.version < current).unwrap();
    let task = world.task_of(&old);
    world.update(&task, TaskState::TaskUnreachable);
    rounds(&mut world, 5);
    assert_eq!(shares(&world).0, 1);
    assert_eq!(world.running("/a").len(), 3, "one of them is the canary, so that nobody is missing");
    world.settle();
    assert_eq!(shares(&world), (3, 0));
}

#[test]
fn all_bounds_hold_and_all_trials_come_to_their_end() {
    for instances in [1, 2, 3, 5, 10] {
        for (min, over) in [(0.0, 0.0), (0.5, 0.0), (0.7, 0.2), (1.0, 0.0), (1.0, 0.5), (1.0, 1.0)] {
            for size in [CanarySize::Count(1), CanarySize::Percent(50), CanarySize::Percent(100)] {
                for failing in [false, true] {
                    let mut world = at_rest(instances, min, over, Canary { size, ..canary(1) });
                    upgrade(&mut world);
                    for _ in 0..60 {
                        rounds(&mut world, 1);
                        if report(&world).phase == CanaryPhase::Holding {
                            break;
                        }
                    }
                    let case = format!("{instances} {min} {over} {size:?} {failing}");
                    assert_eq!(report(&world).phase, CanaryPhase::Holding, "{case}");
                    if failing {
                        let task = canary_task(&world);
                        world.update(&task, TaskState::TaskFailed);
                    }
                    world.settle();
                    assert_eq!(wanted(&world).user.is_none(), failing, "{case}");
                    let whole = instances as usize;
                    assert_eq!((shares(&world), world.instances("/a").len()), ((whole, 0), whole), "{case}");
                }
            }
        }
    }
}

/// A machine that ends after any of its writes goes on with the trial, and comes to the same end.
#[test]
fn any_prefix_of_what_was_written_is_enough() {
    let begin = |on_failure| {
        let mut world = at_rest(3, 1.0, 0.5, Canary { on_failure, ..canary(1) });
        upgrade(&mut world);
        world
    };
    let play = |world: &mut World, failing: bool, writes: usize| {
        let mut failed = false;
        for _ in 0..200 {
            rounds(world, 1);
            if failing && !failed && report(world).phase == CanaryPhase::Holding {
                let task = canary_task(world);
                world.update(&task, TaskState::TaskFailed);
                failed = true;
            }
            if world.disk.len() >= writes {
                return;
            }
        }
    };
    for failing in [false, true] {
        let mut world = begin(OnFailure::Rollback);
        let first = world.disk.len();
        play(&mut world, failing, usize::MAX);
        let last = world.disk.len();
        assert!(last > first + 2);
        for writes in first..=last {
            let mut world = begin(OnFailure::Rollback);
            play(&mut world, failing, writes);
            let kept = writes.min(world.disk.len());
            world.crash(kept);
            world.reconcile();
            let current = wanted(&world).version;
            let trial_is_open =
                report(&world).version == current && report(&world).phase != CanaryPhase::Passed;
            world.settle();
            world.pass(400);
            rounds(&mut world, 5);
            assert_eq!((shares(&world), world.tasks.len()), ((3, 0), 3), "{failing} {writes} of {last}");
            if failing && !trial_is_open {
                assert_eq!(wanted(&world).user, None, "{writes} of {last}");
            }
            assert!(world.snapshot().deployments.is_empty());
        }
    }
}

#[test]
fn restarts_and_first_versions_are_not_tried() {
    let mut world = at_rest(3, 1.0, 1.0, canary(1));
    let mut change = world.change(|_| {});
    change.restart.insert(path("/a"));
    planned(world.send(change));
    rounds(&mut world, 10);
    assert!(world.snapshot().deployments.is_empty() && world.snapshot().canaries.is_empty());
    world.edit("/a", |app| app.instances = 0);
    world.settle();
    world.edit("/a", |app| (app.instances, app.user) = (2, Some("new".into())));
    rounds(&mut world, 10);
    assert_eq!((shares(&world), world.snapshot().deployments.len()), ((2, 0), 0));
}
