//! Kills: marathon rules 76 to 78, 183 and 184.

use mezzo_mesos::v1::TaskState;
use mezzo_services_model::*;

use super::world::*;
use crate::{Config, Input};

#[test]
fn marathon_rule_76_few_at_a_time_and_again() {
    let mut world = World::with(Config { kills_in_flight: 2, launch_tokens: 100, ..Config::default() });
    world.put([app("/a", 5)]);
    world.settle();
    world.remove("/a");
    assert_eq!(world.killed.len(), 2);
    world.pass(30);
    assert_eq!(world.killed.len(), 4);
    assert_eq!(world.killed[..2], world.killed[2..]);
    let first = world.killed[0].clone();
    world.update(&first, TaskState::TaskKilled);
    assert_eq!(world.killed.len(), 5);
    world.settle();
    assert!(world.instances("/a").is_empty());
}

#[test]
fn kills_that_were_on_their_way_are_sent_to_the_next_master() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    world.remove("/a");
    world.killed.clear();
    world.step(Input::Disconnected);
    world.subscribe();
    assert_eq!(world.killed.len(), 2);
}

#[test]
fn marathon_rule_78_out_of_reach() {
    let mut world = World::new();
    let mut a = app("/a", 1);
    a.unreachable_strategy = UnreachableStrategy::Disabled;
    world.put([a]);
    world.settle();
    let one = world.running("/a")[0].clone();
    let task = world.task_of(&one);
    world.update(&task, TaskState::TaskUnreachable);
    world.kill([one.id.clone()], false);
    assert!(world.killed.is_empty());
    let all = world.instances("/a");
    assert_eq!(all.iter().find(|known| known.id == one.id).unwrap().goal, Goal::Decommissioned);
    // Another takes its place; when the first comes back it goes.
    world.round();
    assert_eq!(world.running("/a").len(), 1);
    world.update(&task, TaskState::TaskRunning);
    assert_eq!(world.killed, [task]);
}

#[test]
fn marathon_rules_183_and_184_launched_again_or_made_anew() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    let one = world.running("/a")[0].clone();
    world.kill([one.id.clone()], false);
    world.round();
    world.pass(1);
    world.round();
    let again = world.running("/a")[0].clone();
    assert_eq!((again.id.clone(), again.incarnation), (one.id.clone(), 2));
    assert!(world.task_of(&again).ends_with("._app.2"));
    world.kill([one.id.clone()], true);
    world.round();
    world.pass(1);
    world.round();
    let other = world.running("/a")[0].clone();
    assert!(other.id != one.id && other.incarnation == 1);
}
