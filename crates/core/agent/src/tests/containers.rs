//! Nested and standalone containers through the API.

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use v1::agent::{Call, call};

use super::harness::{World, visible};
use crate::{Answer, FoundState, query, resources::scalar};

fn id(text: &str) -> v1::ContainerId {
    crate::container_proto(&ContainerId::from(text))
}

fn launch(id: v1::ContainerId) -> Call {
    Call {
        r#type: Some(call::Type::LaunchContainer as i32),
        launch_container: Some(call::LaunchContainer {
            container_id: id,
            command: Some(v1::CommandInfo { value: Some("sleep 9".into()), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn wait(id: v1::ContainerId) -> Call {
    Call {
        r#type: Some(call::Type::WaitContainer as i32),
        wait_container: Some(call::WaitContainer { container_id: id }),
        ..Default::default()
    }
}

fn kill(id: v1::ContainerId, signal: Option<i32>) -> Call {
    Call {
        r#type: Some(call::Type::KillContainer as i32),
        kill_container: Some(call::KillContainer { container_id: id, signal }),
        ..Default::default()
    }
}

fn remove(id: v1::ContainerId) -> Call {
    Call {
        r#type: Some(call::Type::RemoveContainer as i32),
        remove_container: Some(call::RemoveContainer { container_id: id }),
        ..Default::default()
    }
}

fn exit_status(answer: &Answer) -> Option<i32> {
    let Answer::Response(response) = answer else { return None };
    let nested = response.wait_nested_container.as_ref().and_then(|w| w.exit_status);
    nested.or_else(|| response.wait_container.as_ref().and_then(|w| w.exit_status))
}

#[test]
fn rule_354_to_361_a_child_through_its_life() {
    let mut world = World::new();
    let root = world.running("t");
    let child = id(&format!("{root}.child"));
    assert_eq!(world.operator(launch(child.clone())), ["launch child"]);
    let container = world.last_container();
    assert_eq!(container.as_str(), format!("{root}.child"));
    let spec = &world.launches[1];
    assert_eq!(spec.user.as_deref(), Some("root"));
    assert_eq!(*spec.sandbox, format!("{}/containers/child", world.launches[0].sandbox));
    assert_eq!(world.started(&container, 9), ["answer ok"]);
    // Rule 361.
    assert_eq!(world.operator(launch(child.clone())), ["answer accepted"]);
    assert!(world.operator(wait(child.clone())).is_empty());
    assert_eq!(world.operator(kill(child.clone(), Some(15))), ["signal 15", "answer ok"]);
    // Rule 359.
    world.operator(remove(child.clone()));
    assert!(matches!(world.last_answer(), Answer::InternalError(_)));
    assert_eq!(world.exited(&container, 7 << 8), ["answer response"]);
    assert_eq!(exit_status(world.last_answer()), Some(1792));
    // Rule 357: the answer stays until it is removed.
    world.operator(wait(child.clone()));
    assert_eq!(exit_status(world.last_answer()), Some(1792));
    assert_eq!(world.operator(remove(child.clone())), ["remove all", "answer ok"]);
    world.operator(wait(child.clone()));
    assert_eq!(*world.last_answer(), Answer::NotFound(format!("Container {root}.child cannot be found")));
    assert_eq!(world.operator(remove(child)), ["answer ok"]);
}

#[test]
fn refused_calls_have_the_texts_of_the_original() {
    let mut world = World::new();
    let answer = |world: &mut World, call: Call| {
        world.operator(call);
        world.last_answer().clone()
    };
    assert_eq!(
        answer(&mut world, launch(id("nope.x"))),
        Answer::BadRequest("Parent container nope does not exist".into())
    );
    assert_eq!(
        answer(&mut world, wait(id("nope"))),
        Answer::NotFound("Container nope cannot be found".into())
    );
    assert_eq!(
        answer(&mut world, kill(id("nope"), None)),
        Answer::NotFound("Container 'nope' cannot be found (or is already killed)".into())
    );
    assert_eq!(
        answer(&mut world, remove(id("nope.x"))),
        Answer::InternalError("Unknown root container".into())
    );
    // The original aborts here.
    assert_eq!(
        answer(&mut world, remove(id("nope"))),
        Answer::InternalError("Unknown root container".into())
    );
    let nested = Call {
        r#type: Some(call::Type::LaunchNestedContainer as i32),
        launch_nested_container: Some(call::LaunchNestedContainer {
            container_id: id("x"),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(
        answer(&mut world, nested),
        Answer::BadRequest(
            "Failed to validate agent::Call: Expecting 'launch_nested_container.container_id.parent' to be present"
                .into()
        )
    );
    for bad in ["", "a/b", "..", "a b"] {
        let bad = v1::ContainerId { value: bad.into(), parent: None };
        assert!(matches!(answer(&mut world, launch(bad)), Answer::BadRequest(_)));
    }
    let provider = Call { r#type: Some(call::Type::AddResourceProviderConfig as i32), ..Default::default() };
    assert!(matches!(answer(&mut world, provider), Answer::NotImplemented(text) if !text.is_empty()));
}

#[test]
fn rule_371_standalone_containers() {
    let mut world = World::new();
    assert_eq!(world.operator(launch(id("alone"))), ["persist standalone", "launch"]);
    let container = world.last_container();
    // Rule 395.
    assert_eq!(&*world.launches[0].sandbox, "/data/containers/alone");
    world.started(&container, 5);
    assert!(query::containers(&world.agent.snapshot(), false, false).containers.is_empty());
    assert_eq!(query::containers(&world.agent.snapshot(), false, true).containers.len(), 1);
    assert_eq!(visible(world.exited(&container, 9)), ["remove"]);
    let mut reserved = launch(id("other"));
    let mut cpus = scalar("cpus", 1.0, None);
    cpus.reservations.push(v1::resource::ReservationInfo { role: Some("eng".into()), ..Default::default() });
    if let Some(call) = &mut reserved.launch_container {
        call.resources.push(cpus);
    }
    world.operator(reserved);
    assert!(matches!(world.last_answer(), Answer::BadRequest(_)));
}

#[test]
fn rule_360_children_and_standalone_containers_survive() {
    let mut world = World::new();
    let root = world.running("t");
    world.operator(launch(id(&format!("{root}.child"))));
    let child = world.last_container();
    world.started(&child, 9);
    world.operator(launch(id("alone")));
    let alone = world.last_container();
    world.started(&alone, 10);
    let found = vec![
        (root, FoundState::Running(100)),
        (child.clone(), FoundState::Running(9)),
        (alone.clone(), FoundState::Running(10)),
    ];
    assert!(visible(world.restart(found)).is_empty());
    let shown = query::containers(&world.agent.snapshot(), true, true).containers;
    assert_eq!(shown.len(), 3);
    assert!(world.operator(wait(crate::container_proto(&child))).is_empty());
    world.exited(&child, 0);
    assert_eq!(exit_status(world.last_answer()), Some(0));
}

#[test]
fn rule_358_children_end_with_their_root() {
    let mut world = World::new();
    let root = world.running("t");
    world.operator(launch(id(&format!("{root}.child"))));
    let child = world.last_container();
    world.started(&child, 9);
    let lines = visible(world.exited(&root, 0));
    assert_eq!(lines, ["update t TASK_FINISHED", "destroy", "remove"]);
    assert_eq!(world.exited(&child, 9), ["remove"]);
    assert!(world.agent.snapshot().containers.is_empty());
}

#[test]
fn get_containers_needs_no_payload_and_is_empty_without_containers() {
    // As recorded: without containers the answer is its type alone.
    let mut world = World::new();
    let call = Call { r#type: Some(call::Type::GetContainers as i32), ..Default::default() };
    let answer = query::answer(&world.agent.snapshot(), &call).expect("answer");
    assert_eq!(answer.r#type, Some(v1::agent::response::Type::GetContainers as i32));
    assert!(answer.get_containers.is_none());
    world.running("t");
    let answer = query::answer(&world.agent.snapshot(), &call).expect("answer");
    assert_eq!(answer.get_containers.map(|shown| shown.containers.len()), Some(1));
}

#[test]
fn rule_378_a_session_is_a_child_of_its_own_class() {
    let mut world = World::new();
    let root = world.running("t");
    let session = |container_id: v1::ContainerId, tty: bool| Call {
        r#type: Some(call::Type::LaunchNestedContainerSession as i32),
        launch_nested_container_session: Some(call::LaunchNestedContainerSession {
            container_id,
            command: Some(v1::CommandInfo { value: Some("sh".into()), ..Default::default() }),
            container: tty.then(|| v1::ContainerInfo {
                r#type: v1::container_info::Type::Mesos as i32,
                tty_info: Some(v1::TtyInfo::default()),
                ..Default::default()
            }),
        }),
        ..Default::default()
    };
    world.operator(session(id("alone"), false));
    assert!(matches!(world.last_answer(), Answer::BadRequest(text) if text.contains("container_id.parent")));
    assert_eq!(world.operator(session(id(&format!("{root}.tty")), true)), ["launch child"]);
    assert!(world.launches[1].container_info.as_ref().is_some_and(|info| info.tty_info.is_some()));
    assert_eq!(world.operator(session(id(&format!("{root}.s")), false)), ["launch child"]);
    let (task, session) = (&world.launches[0], &world.launches[2]);
    assert!(session.debug);
    // Rule 354: it looks at its parent from the parent's place, with the parent's variables.
    assert_eq!(session.working_directory.as_ref(), Some(&task.sandbox));
    assert_eq!(session.environment, task.environment);
    assert_ne!(session.sandbox, task.sandbox);
    let container = world.last_container();
    assert_eq!(world.started(&container, 9), ["answer ok"]);
    assert!(world.agent.snapshot().containers[&container].session);
    assert!(!world.agent.snapshot().containers[&root].session);
}
