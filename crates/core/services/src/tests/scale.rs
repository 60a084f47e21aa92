//! Scaling, and who goes first: marathon rules 39, 69 to 75, 103 and 105.

use std::collections::BTreeSet;

use mezzo_mesos::v1::TaskState;
use mezzo_services_model::*;

use super::world::*;

#[test]
fn marathon_rules_70_and_190_named_ones_go_first() {
    let mut world = World::new();
    world.put([app("/a", 3)]);
    world.settle();
    let all = world.running("/a");
    let named = all[1].id.clone();
    let mut change = world.change(|root| insert(root, app("/a", 2)));
    change.kill = BTreeSet::from([named]);
    assert_eq!(steps(&planned(world.send(change))), [["scale /a 2"]]);
    world.settle();
    let left: Vec<_> = world.running("/a").iter().map(|one| one.id.clone()).collect();
    assert_eq!(left, [all[0].id.clone(), all[2].id.clone()]);
}

#[test]
fn marathon_rule_72_youngest_or_oldest_first() {
    for (selection, youngest) in [(KillSelection::YoungestFirst, true), (KillSelection::OldestFirst, false)] {
        let mut world = World::new();
        let mut a = app("/a", 1);
        a.kill_selection = selection;
        world.put([a]);
        world.settle();
        let first = world.running("/a")[0].id.clone();
        world.pass(10);
        world.edit("/a", |app| app.instances = 2);
        world.settle();
        world.edit("/a", |app| app.instances = 1);
        world.settle();
        assert_eq!(world.running("/a")[0].id == first, youngest);
    }
}

#[test]
fn marathon_rule_71_unreachable_and_staging_ones_before_running_ones() {
    let mut world = World::new();
    let mut a = app("/a", 3);
    a.unreachable_strategy = UnreachableStrategy::Disabled;
    world.put([a]);
    world.settle();
    let lost = world.running("/a")[2].clone();
    let task = world.task_of(&lost);
    world.update(&task, TaskState::TaskUnreachable);
    world.edit("/a", |app| app.instances = 2);
    assert!(world.instances("/a").iter().any(|one| one.id == lost.id && one.goal == Goal::Decommissioned));
    assert!(world.killed.is_empty() && world.snapshot().deployments.is_empty());
}

#[test]
fn marathon_rules_74_and_75_group_by_is_evened_out() {
    let mut world = World::new();
    let mut a = app("/a", 6);
    a.constraints.insert(Constraint {
        field: "hostname".into(),
        operator: Operator::GroupBy,
        value: Some("2".into()),
    });
    world.agents = 2;
    world.put([a]);
    world.settle();
    // From three and three by age, which may leave three on one side; then the larger side goes first.
    world.edit("/a", |app| app.instances = 4);
    world.settle();
    world.edit("/a", |app| app.instances = 3);
    world.settle();
    let all = world.running("/a");
    let first = all.iter().filter(|one| one.agent.as_ref().is_some_and(|agent| agent.host == "h0")).count();
    assert!((all.len(), first) == (3, 1) || (all.len(), first) == (3, 2), "{first}");
}

#[test]
fn waiting_ones_go_before_running_ones() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    world.agents = 0;
    world.edit("/a", |app| app.instances = 4);
    world.round();
    let mut change = world.change(|root| insert(root, app("/a", 2)));
    change.force = true;
    planned(world.send(change));
    assert!(world.killed.is_empty());
    assert_eq!((world.running("/a").len(), world.snapshot().deployments.len()), (2, 0));
}

#[test]
fn marathon_rules_34_and_103_the_look_at_all_numbers() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    let id = world.running("/a")[0].id.clone();
    // Rule 184.
    world.kill([id.clone()], true);
    world.round();
    world.pass(1);
    world.round();
    let now = world.running("/a");
    assert!(now.len() == 2 && now.iter().all(|one| one.id != id));
}
