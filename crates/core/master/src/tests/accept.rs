//! ACCEPT: the life of a task up to the agent, and offers that cannot be used.

use std::sync::Arc;

use mezzo_mesos::v1::{
    self, OperationState, TaskState, framework_info::capability::Type, master::event::Type as Published,
    offer::operation, task_status::Reason,
};

use crate::testing::{World, accept, framework_info, task, with_capabilities};

#[test]
fn rule_100_a_launch_becomes_a_task_of_the_agent() {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    world.published();
    world.launch(
        &scheduler,
        &offer,
        vec![task("a", &offer, "cpus:1;mem:32"), task("b", &offer, "cpus:1;mem:32")],
    );
    let runs = world.runs(agent.link);
    // Command tasks of a launch leave together.
    assert_eq!(runs.len(), 1);
    let told: Vec<_> = runs[0].tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(told, ["a", "b"]);
    assert_eq!((&runs[0].executor, runs[0].group), (&None, false));
    assert_eq!(runs[0].resource_version_uuid, [7; 16]);
    let allocated = |r: &v1::Resource| r.allocation_info.as_ref().is_some_and(|info| info.role() == "*");
    assert!(runs[0].tasks[0].resources.iter().all(allocated));
    assert_eq!(world.published_types(), [Published::TaskAdded, Published::TaskAdded]);
    let known = world.master.task(&scheduler.id, &"a".into()).expect("booked");
    assert_eq!(known.info.state(), TaskState::TaskStaging);
    // Rule 102: the rest is offered again.
    let left = world.offer(&scheduler);
    let cpus = left.resources.iter().find(|r| r.name == "cpus").and_then(|r| r.scalar.as_ref());
    assert_eq!(cpus.map(|scalar| scalar.value), Some(2.0));
}

#[test]
fn tasks_that_use_the_same_share_what_is_known_of_it() {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:4;mem:4096");
    let used = |world: &World| world.master.state.agents[&agent.id].used.get(&scheduler.id).cloned();
    let of = |world: &World, id: &str| {
        world.master.task(&scheduler.id, &id.into()).expect("booked").resources.clone()
    };
    let offer = world.offer(&scheduler);
    world.launch(&scheduler, &offer, vec![task("a", &offer, "cpus:1;mem:32")]);
    let a = of(&world, "a");
    assert!(used(&world).is_some_and(|used| Arc::ptr_eq(&used, &a)));
    let offer = world.offer(&scheduler);
    world.launch(&scheduler, &offer, vec![task("b", &offer, "cpus:1;mem:32")]);
    assert!(Arc::ptr_eq(&of(&world, "b"), &a));
    assert!(used(&world).is_some_and(|used| *used == (*a).clone() + &*a));
    world.update(&agent, &scheduler, "a", TaskState::TaskFinished);
    assert!(used(&world).is_some_and(|used| used == a));
    world.update(&agent, &scheduler, "b", TaskState::TaskFinished);
    assert_eq!(used(&world), None);
}

#[test]
fn rule_97_and_98_offers_that_are_not_valid() {
    let mut world = World::new();
    let aware = with_capabilities(framework_info(), &[Type::PartitionAware]);
    for (info, state) in [(framework_info(), TaskState::TaskLost), (aware, TaskState::TaskDropped)] {
        let scheduler = world.subscribe(info).expect("valid");
        world.agent("cpus:4;mem:4096");
        let offer = world.offers(&scheduler).remove(0);
        let unknown = v1::Offer {
            id: v1::OfferId { value: "no-such-offer".into() },
            agent_id: offer.agent_id.clone(),
            ..Default::default()
        };
        let launch = v1::offer::Operation {
            r#type: Some(operation::Type::Launch.into()),
            launch: Some(operation::Launch { task_infos: vec![task("t", &offer, "cpus:1;mem:32")] }),
            ..Default::default()
        };
        let reserve = v1::offer::Operation {
            r#type: Some(operation::Type::Reserve.into()),
            id: Some(v1::OperationId { value: "op".into() }),
            reserve: Some(operation::Reserve::default()),
            ..Default::default()
        };
        world.call(&scheduler, accept(&[&offer, &unknown], vec![launch, reserve]));
        let status = world.status(&scheduler);
        assert_eq!((status.state(), status.reason()), (state, Reason::InvalidOffers));
        let text = "Task launched with invalid offers: Offer no-such-offer is no longer valid";
        assert_eq!(status.message(), text);
        let events = world.events(&scheduler);
        let operation = events.iter().find_map(|e| e.update_operation_status.as_ref()).expect("told");
        assert_eq!(operation.status.state(), OperationState::OperationError);
        assert!(!world.master.offer_agents.contains_key(offer.id.value.as_str()), "it went back");
        world.close(&scheduler);
    }
}

#[test]
fn rule_97_duplicate_offers() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    let launch = v1::offer::Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos: vec![task("t", &offer, "cpus:1;mem:32")] }),
        ..Default::default()
    };
    world.call(&scheduler, accept(&[&offer, &offer], vec![launch]));
    let text = format!("Task launched with invalid offers: Duplicate offer {} in offer list", offer.id.value);
    assert_eq!(world.status(&scheduler).message(), text);
}

#[test]
fn rule_99_offers_of_one_agent_are_combined() {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:4;mem:4096");
    let first = world.offer(&scheduler);
    world.launch(&scheduler, &first, vec![task("a", &first, "cpus:3;mem:3000")]);
    world.update(&agent, &scheduler, "a", TaskState::TaskRunning);
    let small = world.offer(&scheduler);
    world.update(&agent, &scheduler, "a", TaskState::TaskFinished);
    let large = world.offer(&scheduler);
    let launch = v1::offer::Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos: vec![task("b", &small, "cpus:4;mem:4096")] }),
        ..Default::default()
    };
    world.told(agent.link);
    world.call(&scheduler, accept(&[&small, &large], vec![launch]));
    assert_eq!(world.runs(agent.link).len(), 1);
}

#[test]
fn rule_97_offers_of_several_agents_are_not() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    world.agent("cpus:4;mem:4096");
    let offers = world.offers(&scheduler);
    let launch = v1::offer::Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos: vec![task("t", &offers[0], "cpus:1;mem:32")] }),
        ..Default::default()
    };
    world.call(&scheduler, accept(&[&offers[0], &offers[1]], vec![launch]));
    assert!(world.status(&scheduler).message().contains("must belong to one single agent"));
    assert_eq!(world.offers(&scheduler).len(), 2);
}

#[test]
fn rule_104_without_operations_it_is_a_decline() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    let mut call = accept(&[&offer], Vec::new());
    if let Some(accept) = &mut call.accept {
        accept.filters = None;
    }
    world.call(&scheduler, call);
    world.pass(3.0);
    assert!(world.events(&scheduler).is_empty());
    world.pass(4.0);
    assert_eq!(world.events(&scheduler).len(), 1);
}

#[test]
fn unknown_operations_without_id_produce_no_event() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    world.call(&scheduler, accept(&[&offer], vec![v1::offer::Operation::default()]));
    assert!(world.statuses(&scheduler).is_empty());
}
