//! Running deployments and their way back: marathon rules 20 to 49, 304 and 305.

use mezzo_services_model::*;

use super::world::*;
use crate::{Answer, Config, Refusal, Request};

#[test]
fn marathon_rules_4_27_28_and_29_steps_one_after_the_other() {
    let mut world = World::new();
    let plan = world.put([app("/a", 2)]);
    let shown = world.snapshot().deployments[&plan.id].clone();
    // The start is done at once; the scaling waits.
    assert_eq!(shown.step, 2);
    world.settle();
    assert_eq!(world.running("/a").len(), 2);
    assert!(world.snapshot().deployments.is_empty());
    let steps: Vec<_> = world
        .names()
        .into_iter()
        .filter(|name| ["step", "step done", "done", "group"].contains(name))
        .collect();
    assert_eq!(steps, ["group", "step", "step done", "step", "step done", "done"]);
}

#[test]
fn marathon_rules_20_21_22_and_23_locks_f212() {
    let mut world = World::new();
    world.agents = 0;
    let first = world.put([app("/a", 1)]);
    world.put([app("/b", 1)]);
    assert_eq!(world.snapshot().deployments.len(), 2);
    let again = |world: &World| world.change(|root| insert(root, app("/a", 2)));
    let change = again(&world);
    let before = world.snapshot().root;
    assert_eq!(world.send(change), Answer::Refused(Refusal::Locked(vec![first.id.clone()])));
    // Rule 26: a refused lock leaves the tree as it was.
    assert_eq!(world.snapshot().root, before);
    let mut change = again(&world);
    change.force = true;
    let second = planned(world.send(change));
    let failed = world.events.iter().find_map(|event| match event {
        EventKind::DeploymentFailed { plan, reason } if plan.id == first.id => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(failed.as_deref(), Some("The upgrade has been cancelled"));
    assert!(!world.snapshot().deployments.contains_key(&first.id));
    assert!(world.snapshot().deployments.contains_key(&second.id));
    world.agents = 2;
    world.settle();
    assert_eq!((world.running("/a").len(), world.running("/b").len()), (2, 1));
}

#[test]
fn marathon_rule_24_not_too_many() {
    let mut world = World::with(Config { running_deployments: 1, ..Config::default() });
    world.put([app("/a", 1)]);
    let change = world.change(|root| insert(root, app("/b", 1)));
    assert_eq!(world.send(change), Answer::Refused(Refusal::TooManyDeployments));
}

#[test]
fn marathon_rule_35_stopping_ends_all_and_forgets_the_app() {
    let mut world = World::new();
    world.put([app("/a", 3)]);
    world.settle();
    world.remove("/a");
    assert_eq!(world.killed.len(), 3);
    assert!(world.instances("/a").iter().all(|one| one.goal == Goal::Decommissioned));
    world.settle();
    assert!(world.instances("/a").is_empty());
    assert!(world.names().contains(&"terminated"));
}

#[test]
fn what_cannot_be_reached_is_not_waited_for() {
    let mut world = World::new();
    let mut a = app("/a", 1);
    a.unreachable_strategy = UnreachableStrategy::Disabled;
    world.put([a]);
    world.settle();
    let task = world.task_of(&world.running("/a")[0]);
    world.update(&task, mezzo_mesos::v1::TaskState::TaskUnreachable);
    world.remove("/a");
    assert!(world.snapshot().deployments.is_empty());
    // Rule 175: when it comes back nobody knows it.
    world.update(&task, mezzo_mesos::v1::TaskState::TaskRunning);
    assert_eq!(world.killed, [task]);
}

#[test]
fn marathon_rules_36_and_38_dead_ones_are_replaced_while_scaling() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.offers();
    let first = world.instances("/a")[0].clone();
    let task = world.task_of(&first);
    world.update(&task, mezzo_mesos::v1::TaskState::TaskFailed);
    assert_eq!(world.snapshot().deployments.len(), 1);
    world.pass(2);
    world.settle();
    let now = world.running("/a");
    assert_eq!((now.len(), now[0].id.clone(), now[0].incarnation), (1, first.id.clone(), 2));
}

#[test]
fn marathon_rules_40_42_and_43_the_way_back_keeps_what_others_did() {
    let mut world = World::new();
    world.put([app("/a", 1), app("/gone", 1)]);
    world.settle();
    world.agents = 0;
    let change = world.change(|root| {
        let mut a = app("/a", 1);
        a.user = Some("new".into());
        insert(root, a);
        insert(root, app("/g/added", 1));
        root.apps.remove(&path("/gone"));
    });
    let plan = planned(world.send(change));
    world.put([app("/other", 1)]);
    let back = world.request(Request::CancelDeployment { id: plan.id.clone(), force: false });
    let back = planned(back);
    let snapshot = world.snapshot();
    assert_eq!(snapshot.root.app(&path("/a")).unwrap().user, None);
    assert!(snapshot.root.app(&path("/gone")).is_some() && snapshot.root.app(&path("/other")).is_some());
    // Rule 41: the group was made by that deployment, and is empty again.
    assert!(snapshot.root.group(&path("/g")).is_none());
    assert!(!snapshot.deployments.contains_key(&plan.id) && snapshot.deployments.contains_key(&back.id));
    world.agents = 3;
    world.settle();
    assert_eq!((world.running("/a").len(), world.running("/gone").len()), (1, 1));
}

#[test]
fn marathon_rules_44_and_45_cancelling_leaves_all_as_it_is() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    let plan = world.edit("/a", |app| app.user = Some("new".into()));
    world.offers();
    let before = world.instances("/a").len();
    assert_eq!(before, 4);
    let request = Request::CancelDeployment { id: plan.id.clone(), force: true };
    assert_eq!(world.request(request.clone()), Answer::Done);
    assert_eq!(world.instances("/a").len(), before);
    assert!(world.killed.is_empty());
    let unknown = format!("DeploymentPlan {} does not exist", plan.id);
    assert_eq!(world.request(request), Answer::Refused(Refusal::Unknown(unknown)));
    // Rule 103: the next look at all numbers sets them right.
    world.pass(400);
    assert_eq!(world.instances("/a").iter().filter(|one| one.goal == Goal::Running).count(), 2);
}

#[test]
fn f212_an_upgrade_that_makes_way_half_way_is_done_to_the_end() {
    for instances in [6, 2] {
        let mut world = World::new();
        world.put([app("/a", 4)]);
        world.settle();
        world.edit("/a", |app| app.user = Some("new".into()));
        let mut change = world.change(|root| {
            let mut a = (**root.app(&path("/a")).unwrap()).clone();
            a.instances = instances;
            insert(root, a);
        });
        change.force = true;
        let plan = planned(world.send(change));
        assert_eq!(steps(&plan), [["restart /a"]]);
        world.settle();
        let upgraded = world.snapshot().root.app(&path("/a")).unwrap().version_info.last_config_change_at;
        let running = world.running("/a");
        assert_eq!(running.len(), instances as usize);
        assert!(running.iter().all(|one| one.version >= upgraded), "none is of before");
    }
}

#[test]
fn marathon_rules_304_and_305_suspended() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    world.edit("/a", |app| app.instances = 0);
    world.settle();
    assert!(world.instances("/a").is_empty());
    assert!(world.snapshot().versions.get(&path("/a")).is_some_and(|versions| versions.len() == 2));
    let plan = world.edit("/a", |app| app.user = Some("x".into()));
    assert_eq!(steps(&plan), [["scale /a 0"]]);
    assert!(world.snapshot().deployments.is_empty());
    world.edit("/a", |app| app.instances = 1);
    world.settle();
    assert_eq!((world.running("/a").len(), world.running("/a")[0].incarnation), (1, 1));
}

#[test]
fn marathon_rule_12_restart_of_nothing() {
    let mut world = World::new();
    world.put([app("/a", 0)]);
    let mut change = world.change(|_| {});
    change.restart.insert(path("/a"));
    planned(world.send(change));
    assert!(world.snapshot().deployments.is_empty());
}
