//! What the master is told of constraints: marathon rule 123.

use std::time::Duration;

use mezzo_mesos::v1::{
    TaskState,
    scheduler::{OfferConstraints, call::Type},
};
use mezzo_services_model::*;

use super::world::*;
use crate::{Config, Input};

fn world() -> World {
    let interval = Some(Duration::from_secs(5));
    World::with(Config { launch_tokens: 100, offer_constraints: interval, ..Config::default() })
}

fn unique(id: &str, instances: u32) -> App {
    let one = Constraint { field: "hostname".into(), operator: Operator::Unique, value: None };
    App { constraints: [one].into(), ..app(id, instances) }
}

/// What has been said since the last look, in order.
fn said(world: &mut World) -> Vec<OfferConstraints> {
    let calls = std::mem::take(&mut world.calls);
    let updates = calls.into_iter().filter(|call| call.r#type == Some(Type::UpdateFramework.into()));
    updates.filter_map(|call| call.update_framework?.offer_constraints).collect()
}

/// How many constraints there are in each group of the one role.
fn sizes(constraints: &OfferConstraints) -> Vec<usize> {
    let roles = constraints.role_constraints.values();
    roles.flat_map(|role| &role.groups).map(|group| group.attribute_constraints.len()).collect()
}

#[test]
fn the_master_hears_of_constraints_as_they_change_and_no_more_often_than_it_may() {
    let mut world = world();
    let first = said(&mut world);
    assert_eq!(first.iter().map(sizes).collect::<Vec<_>>(), [Vec::<usize>::new()]);
    world.pass(5);
    world.put([unique("/a", 3)]);
    assert_eq!(said(&mut world).iter().map(sizes).collect::<Vec<_>>(), [[1]], "the field has to exist");
    world.agents = 2;
    for _ in 0..3 {
        world.round();
        world.pass(1);
    }
    assert!(said(&mut world).is_empty(), "not yet again");
    world.pass(5);
    let told = said(&mut world);
    assert_eq!(told.iter().map(sizes).collect::<Vec<_>>(), [[3]], "and two hosts are taken");
    world.pass(20);
    assert!(said(&mut world).is_empty(), "nothing has changed");
    // One that goes anywhere lifts them.
    world.agents = 0;
    world.put([app("/b", 1)]);
    assert_eq!(said(&mut world).iter().map(sizes).collect::<Vec<_>>(), [Vec::<usize>::new()]);
}

#[test]
fn another_master_and_one_that_may_not_have_heard_are_told_again() {
    let mut world = world();
    world.agents = 0;
    world.put([unique("/a", 1)]);
    world.pass(10);
    let calls = std::mem::take(&mut world.calls);
    let call = calls.into_iter().rfind(|call| call.update_framework.is_some()).unwrap();
    world.step(Input::CallLost(Box::new(call.clone())));
    world.pass(10);
    let again = said(&mut world);
    assert_eq!(again, [call.update_framework.unwrap().offer_constraints.unwrap()]);
    world.step(Input::Disconnected);
    world.pass(10);
    assert!(said(&mut world).is_empty(), "nobody is there");
    world.subscribe();
    assert_eq!(said(&mut world), again);
}

#[test]
fn constraints_are_not_told_unless_asked_for() {
    let mut world = World::new();
    world.put([unique("/a", 1)]);
    world.settle();
    let task = world.task_of(&world.running("/a")[0]);
    world.update(&task, TaskState::TaskFailed);
    world.settle();
    assert!(said(&mut world).is_empty());
}
