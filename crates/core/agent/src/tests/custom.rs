//! Custom executors: processes that speak the executor API.

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent};
use v1::executor::call::{self, Type};

use super::harness::{World, executor, executor_call, executor_status, policy, task, visible};
use crate::{Answer, ExecutorClaims, FoundState, Input, StreamId};

fn launch(world: &World, id: &str, new: bool) -> link::Run {
    link::Run {
        executor: Some(executor("e", v1::executor_info::Type::Custom)),
        launch_executor: new,
        ..world.run(vec![task(id)])
    }
}

/// An executor that has subscribed on stream 1 and was given task `t`.
fn subscribed(world: &mut World) -> ContainerId {
    let run = launch(world, "t", true);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 50);
    world.subscribe(1, "e");
    container
}

#[test]
fn rule_283_subscribed_then_queued_tasks() {
    let mut world = World::new();
    let run = launch(&world, "t", true);
    let lines = world.launch(run);
    assert_eq!(lines, ["persist framework", "persist executor e", "persist task t", "launch"]);
    let container = world.last_container();
    world.started(&container, 50);
    let run = launch(&world, "u", false);
    assert_eq!(visible(world.launch(run)), Vec::<String>::new());
    assert_eq!(
        world.subscribe(1, "e"),
        ["answer ok", "event 1 SUBSCRIBED", "event 1 LAUNCH", "event 1 LAUNCH"]
    );
    let subscribed = world.events[0].1.subscribed.clone().expect("SUBSCRIBED has its message");
    assert_eq!(subscribed.container_id.map(|id| id.value), Some(container.to_string()));
    assert_eq!(subscribed.executor_info.framework_id.map(|id| id.value), Some("F".into()));
    assert_eq!(subscribed.agent_info.id.map(|id| id.value), Some("S0".into()));
    // Rule 428: in the order received; and rule 281: later ones go to the same executor.
    let order: Vec<_> = world.events[1..]
        .iter()
        .filter_map(|(_, e)| e.launch.as_ref())
        .map(|l| &*l.task.task_id.value)
        .collect();
    assert_eq!(order, ["t", "u"]);
    let run = launch(&world, "v", false);
    assert_eq!(visible(world.launch(run)), ["event 1 LAUNCH"]);
}

#[test]
fn rule_283_groups_arrive_as_groups() {
    let mut world = World::new();
    let mut run = launch(&world, "a", true);
    run.tasks.push(task("b"));
    run.group = true;
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 50);
    assert_eq!(world.subscribe(1, "e").last().map(String::as_str), Some("event 1 LAUNCH_GROUP"));
    let group = world.events[1].1.launch_group.clone().expect("LAUNCH_GROUP has its message");
    assert_eq!(group.task_group.tasks.len(), 2);
}

#[test]
fn rule_211_and_216_an_update_is_stored_then_acknowledged() {
    let mut world = World::new();
    let container = subscribed(&mut world);
    let lines = world.executor_update("e", "t", v1::TaskState::TaskRunning, 1);
    assert_eq!(
        lines,
        ["persist update t TASK_RUNNING", "update t TASK_RUNNING", "event 1 ACKNOWLEDGED", "answer accepted"]
    );
    let status = world.newest().clone();
    assert_eq!(status.source(), v1::task_status::Source::Executor);
    let about = status.container_status.unwrap_or_default();
    assert_eq!(about.container_id.map(|id| id.value), Some(container.to_string()));
    assert_eq!(about.executor_pid, Some(50));
    assert_eq!(about.network_infos.len(), 1);
    // Rule 212: the same one again is acknowledged again and not sent again.
    let lines = world.executor_update("e", "t", v1::TaskState::TaskRunning, 1);
    assert_eq!(lines, ["event 1 ACKNOWLEDGED", "answer accepted"]);
}

#[test]
fn rule_219_and_289_refused_calls() {
    let mut world = World::new();
    let run = launch(&world, "t", true);
    world.launch(run);
    let refused = |world: &mut World, call: v1::executor::Call| {
        world.executor_call(call);
        world.last_answer().clone()
    };
    let bad = |text: &str| Answer::BadRequest(format!("Failed to validate Executor::Call: {text}"));
    let update = |status: v1::TaskStatus| {
        let mut call = executor_call("e", Type::Update);
        call.update = Some(call::Update { status });
        call
    };
    let running = executor_status("t", v1::TaskState::TaskRunning, 1);
    assert_eq!(
        refused(&mut world, update(running.clone())),
        Answer::Forbidden("Executor is not subscribed".into())
    );
    let mut untyped = executor_call("e", Type::Update);
    untyped.r#type = None;
    assert_eq!(refused(&mut world, untyped), bad("Expecting 'type' to be present"));
    assert_eq!(
        refused(&mut world, executor_call("e", Type::Subscribe)),
        bad("Expecting 'subscribe' to be present")
    );
    let mut bare = running.clone();
    bare.uuid = None;
    assert_eq!(refused(&mut world, update(bare)), bad("Expecting 'uuid' to be present"));
    let mut wrong = running.clone();
    wrong.source = Some(v1::task_status::Source::Master as i32);
    assert_eq!(
        refused(&mut world, update(wrong)),
        bad("Received Call from executor e of framework F with invalid source, expecting 'SOURCE_EXECUTOR'")
    );
    let staging = executor_status("t", v1::TaskState::TaskStaging, 2);
    assert_eq!(
        refused(&mut world, update(staging)),
        bad("Received TASK_STAGING from executor e of framework F which is not allowed")
    );
    let mut other = update(running.clone());
    other.framework_id.value = "nope".into();
    assert_eq!(refused(&mut world, other), Answer::BadRequest("Framework cannot be found".into()));
    let mut other = update(running);
    other.executor_id.value = "nope".into();
    assert_eq!(refused(&mut world, other), Answer::BadRequest("Executor cannot be found".into()));
    assert_eq!(refused(&mut world, executor_call("e", Type::Unknown)), Answer::NotImplemented(String::new()));
    // Rule 290.
    let mut beat = executor_call("nope", Type::Heartbeat);
    beat.framework_id.value = "nope".into();
    assert_eq!(refused(&mut world, beat), Answer::Accepted);
}

#[test]
fn rule_285_a_second_subscription_closes_the_first() {
    let mut world = World::new();
    subscribed(&mut world);
    world.executor_update("e", "t", v1::TaskState::TaskRunning, 1);
    let lines = world.subscribe(2, "e");
    assert_eq!(lines[..2], ["answer ok", "close 1"]);
    // The end of the old connection changes nothing.
    world.step(Input::StreamClosed(StreamId(1)));
    assert_eq!(visible(world.kill("t", Some(7.0))), ["event 2 KILL"]);
    let kill = world.events.last().and_then(|(_, e)| e.kill.clone()).expect("KILL has its message");
    assert_eq!(kill.kill_policy, Some(policy(7.0)));
}

#[test]
fn rule_286_an_executor_without_tasks_is_told_to_end() {
    let mut world = World::new();
    let run = launch(&world, "t", true);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 50);
    assert_eq!(visible(world.kill("t", None)), ["update t TASK_KILLED REASON_TASK_KILLED_DURING_LAUNCH"]);
    assert_eq!(world.subscribe(1, "e"), ["answer ok", "event 1 SHUTDOWN"]);
    // Rule 297.
    assert_eq!(visible(world.pass(5.0)), ["destroy"]);
}

#[test]
fn rule_287_and_288_an_executor_that_ends_takes_its_tasks_along() {
    let mut world = World::new();
    let container = subscribed(&mut world);
    let lines = world.exited(&container, 1 << 8);
    assert_eq!(
        visible(lines),
        ["close 1", "update t TASK_FAILED REASON_EXECUTOR_TERMINATED", "remove", "exited e 256"]
    );
    world.acknowledge_all();
    assert!(world.agent.snapshot().frameworks.is_empty());
}

#[test]
fn rule_426_a_launch_that_meets_an_ended_executor_is_told_as_its_end() {
    let mut world = World::new();
    let container = subscribed(&mut world);
    world.exited(&container, 9);
    // The master heard of that end and counts on a new executor from now on.
    let run = launch(&world, "u", true);
    let lines = visible(world.launch(run));
    assert_eq!(lines, ["update u TASK_LOST REASON_EXECUTOR_TERMINATED", "exited e -1"]);
    world.acknowledge_all();
    let run = launch(&world, "v", true);
    assert_eq!(visible(world.launch(run)), ["launch"]);
}

#[test]
fn rule_282_registration_timeout() {
    let mut world = World::new();
    let run = launch(&world, "t", true);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 50);
    assert!(visible(world.pass(59.0)).is_empty());
    assert_eq!(visible(world.pass(1.0)), ["destroy"]);
    world.exited(&container, 9);
    assert_eq!(world.newest().reason(), v1::task_status::Reason::ExecutorRegistrationTimeout);
    assert_eq!(world.newest().state(), v1::TaskState::TaskFailed);
}

#[test]
fn rule_230_and_297_shutdown_event_then_destroy() {
    let mut world = World::new();
    subscribed(&mut world);
    let call = link::ShutdownExecutor {
        framework_id: Some(v1::FrameworkId { value: "F".into() }),
        executor_id: Some(v1::ExecutorId { value: "e".into() }),
    };
    assert_eq!(visible(world.master(to_agent::Message::ShutdownExecutor(call))), ["event 1 SHUTDOWN"]);
    // Nothing more is given to it.
    let run = launch(&world, "u", false);
    assert_eq!(visible(world.launch(run)), ["update u TASK_LOST REASON_EXECUTOR_TERMINATED"]);
    assert_eq!(visible(world.pass(5.0)), ["destroy"]);
}

#[test]
fn rule_291_heartbeats_every_thirty_minutes() {
    let mut world = World::new();
    subscribed(&mut world);
    world.step(Input::LinkDown);
    assert!(visible(world.pass(1799.0)).is_empty());
    assert_eq!(visible(world.pass(1.0)), ["event 1 HEARTBEAT"]);
    assert_eq!(visible(world.pass(1800.0)), ["event 1 HEARTBEAT"]);
}

#[test]
fn messages_go_both_ways() {
    let mut world = World::new();
    subscribed(&mut world);
    let mut call = executor_call("e", Type::Message);
    call.message = Some(call::Message { data: b"up".to_vec() });
    assert_eq!(world.executor_call(call), ["message up", "answer accepted"]);
    let message = link::FrameworkMessage {
        framework_id: Some(v1::FrameworkId { value: "F".into() }),
        executor_id: Some(v1::ExecutorId { value: "e".into() }),
        data: b"down".to_vec(),
    };
    assert_eq!(world.master(to_agent::Message::FrameworkMessage(message)), ["event 1 MESSAGE"]);
}

#[test]
fn rule_284_and_412_an_executor_comes_back() {
    let mut world = World::new();
    let container = subscribed(&mut world);
    let run = launch(&world, "lost", false);
    world.launch(run);
    world.executor_update("e", "t", v1::TaskState::TaskRunning, 1);
    let lines = world.restart(vec![(container, FoundState::Running(50))]);
    assert!(visible(lines).is_empty());
    // Rule 413: no registration before it had its time.
    world.step(Input::LinkUp);
    assert!(visible(world.pass(1.5)).is_empty());
    let again = call::Subscribe {
        unacknowledged_tasks: vec![],
        unacknowledged_updates: vec![
            call::Update { status: executor_status("t", v1::TaskState::TaskRunning, 1) },
            call::Update { status: executor_status("t", v1::TaskState::TaskFinished, 2) },
        ],
    };
    let lines = world.subscribe_with(3, "e", again);
    assert_eq!(
        lines,
        [
            "answer ok",
            "event 3 ACKNOWLEDGED",
            "persist update t TASK_FINISHED",
            "event 3 ACKNOWLEDGED",
            "resize",
            "persist update lost TASK_LOST REASON_AGENT_RESTARTED",
            "event 3 SHUTDOWN"
        ]
    );
    // With the last executor back there is nothing to wait for.
    assert_eq!(visible(world.pass(1.0)), ["reregister"]);
}

#[test]
fn rule_412_a_late_executor_is_killed() {
    let mut world = World::new();
    world.traits.partition_aware = true;
    let container = subscribed(&mut world);
    world.restart(vec![(container.clone(), FoundState::Running(50))]);
    world.step(Input::LinkUp);
    let lines = visible(world.pass(2.0));
    assert_eq!(lines, ["destroy"]);
    assert_eq!(visible(world.pass(1.0)), ["reregister"]);
    world.registered();
    let lines = visible(world.exited(&container, 9));
    assert_eq!(lines[0], "update t TASK_GONE REASON_EXECUTOR_REREGISTRATION_TIMEOUT");
}

#[test]
fn rule_220_the_last_updates_outlive_the_executor() {
    let mut world = World::new();
    let container = subscribed(&mut world);
    world.executor_update("e", "t", v1::TaskState::TaskRunning, 1);
    world.executor_update("e", "t", v1::TaskState::TaskFinished, 2);
    world.exited(&container, 0);
    let lines = world.acknowledge_all();
    assert!(lines.contains(&"update t TASK_FINISHED".to_owned()), "{lines:?}");
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED")]);
}

#[test]
fn rule_452_a_call_with_the_claims_of_somebody_else_is_forbidden() {
    let mut world = World::new();
    let container = subscribed(&mut world);
    let own = ExecutorClaims { framework: "F".into(), executor: "e".into(), container };
    let ping = |world: &mut World, claims: &ExecutorClaims| {
        let mut call = executor_call("e", Type::Message);
        call.message = Some(call::Message { data: b"m".to_vec() });
        let (request, claims) = (world.request(), Some(claims.clone()));
        world.step(Input::ExecutorCall { request, call: Box::new(call), claims });
        world.answers.last().cloned().expect("answered").1
    };
    assert_eq!(ping(&mut world, &own), Answer::Accepted);
    for stranger in [
        ExecutorClaims { framework: "G".into(), ..own.clone() },
        ExecutorClaims { executor: "d".into(), ..own.clone() },
        // An earlier run of the same executor.
        ExecutorClaims { container: "c".into(), ..own },
    ] {
        assert!(matches!(ping(&mut world, &stranger), Answer::Forbidden(_)), "{stranger:?}");
        let mut call = executor_call("e", Type::Subscribe);
        call.subscribe = Some(call::Subscribe::default());
        let (request, call, stream) = (world.request(), Box::new(call), StreamId(9));
        let lines = world.step(Input::ExecutorSubscribe { stream, call, request, claims: Some(stranger) });
        assert!(matches!(&lines[..], [line] if line.starts_with("answer Forbidden")), "{lines:?}");
    }
}
