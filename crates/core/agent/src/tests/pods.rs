//! Task groups under the default executor.

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent};

use super::harness::{World, executor, task, visible};
use crate::{FoundState, Input, LaunchStage, query};

fn group(world: &World, ids: &[&str], new: bool) -> link::Run {
    link::Run {
        executor: Some(executor("pod", v1::executor_info::Type::Default)),
        group: true,
        launch_executor: new,
        ..world.run(ids.iter().map(|id| task(id)).collect())
    }
}

/// A pod with these tasks running and acknowledged: the pod's container, then the tasks'.
fn running(world: &mut World, ids: &[&str]) -> (ContainerId, Vec<ContainerId>) {
    let run = group(world, ids, true);
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    let children: Vec<ContainerId> = world.launches[1..].iter().map(|l| l.container.clone()).collect();
    for child in &children {
        world.started(child, 200);
    }
    world.acknowledge_all();
    (pod, children)
}

#[test]
fn rule_310_and_311_starting_when_launching_running_when_all_started() {
    let mut world = World::new();
    let run = group(&world, &["a", "b"], true);
    let lines = world.launch(run);
    assert_eq!(
        lines,
        ["persist framework", "persist executor pod", "persist task a", "persist task b", "launch pod"]
    );
    assert_eq!(query::tasks(&world.agent.snapshot()).queued_tasks.len(), 2);
    let pod = world.last_container();
    let lines = visible(world.started(&pod, 0));
    assert_eq!(lines, ["update a TASK_STARTING", "launch child", "update b TASK_STARTING", "launch child"]);
    let status = world.newest().container_status.clone().unwrap_or_default();
    let id = status.container_id.unwrap_or_default();
    assert_eq!(id.parent.map(|p| p.value), Some(pod.to_string()));
    world.acknowledge_all();
    let (a, b) = (world.launches[1].container.clone(), world.launches[2].container.clone());
    assert_eq!(world.launches[1].parent.as_ref(), Some(&pod));
    assert!(visible(world.started(&a, 11)).is_empty());
    assert_eq!(visible(world.started(&b, 12)), ["update a TASK_RUNNING", "update b TASK_RUNNING"]);
    let status = world.newest().container_status.clone().unwrap_or_default();
    assert_eq!(status.executor_pid, Some(12));
    assert_eq!(world.newest().executor_id.as_ref().map(|e| e.value.as_str()), Some("pod"));
}

#[test]
fn rule_368_and_370_children_have_the_network_of_their_pod() {
    let mut world = World::new();
    let run = group(&world, &["a"], true);
    world.launch(run);
    let pod = world.last_container();
    let address = v1::network_info::IpAddress { protocol: None, ip_address: Some("10.9.0.2".into()) };
    let network =
        v1::NetworkInfo { name: Some("net".into()), ip_addresses: vec![address], ..Default::default() };
    world.step(Input::Joined { container: pod.clone(), networks: vec![network.clone()] });
    world.started(&pod, 0);
    world.acknowledge_all();
    let child = world.last_container();
    world.started(&child, 11);
    let status = world.newest().container_status.clone().unwrap_or_default();
    assert_eq!(status.network_infos, std::slice::from_ref(&network));
    let shown = query::containers(&world.agent.snapshot(), true, false).containers;
    assert_eq!(shown.len(), 2);
    for container in shown {
        let status = container.container_status.unwrap_or_default();
        assert_eq!(status.network_infos, std::slice::from_ref(&network));
        // What else isolators know of one that runs; none puts it into a class of the network's, which is all
        // that cgroup_info could tell.
        let id = crate::container_text(&status.container_id.unwrap_or_default());
        let pid = if id == pod { None } else { Some(11) };
        assert_eq!((status.executor_pid, status.cgroup_info), (pid, None), "{id}");
    }
}

#[test]
fn rule_312_finished_leaves_the_others_alone() {
    let mut world = World::new();
    let (_, children) = running(&mut world, &["a", "b"]);
    assert_eq!(visible(world.exited(&children[1], 0)), ["update b TASK_FINISHED", "remove"]);
    let status = world.newest().container_status.clone().unwrap_or_default();
    // What the container had is gone with it; only its id is told.
    assert_eq!((status.executor_pid, status.network_infos.len()), (None, 0));
}

#[test]
fn rule_312_failure_kills_the_group_but_no_other_group() {
    let mut world = World::new();
    let (pod, children) = running(&mut world, &["a", "b"]);
    let run = group(&world, &["c"], false);
    world.launch(run);
    let c = world.last_container();
    world.started(&c, 300);
    world.acknowledge_all();
    let lines = visible(world.exited(&children[0], 1 << 8));
    assert_eq!(lines, ["update a TASK_FAILED", "signal 15", "remove"]);
    assert_eq!(visible(world.exited(&children[1], 15)), ["update b TASK_KILLED", "remove"]);
    // Rule 313: with the last child the pod ends, with 0.
    assert_eq!(visible(world.exited(&c, 0)), ["update c TASK_FINISHED", "destroy", "remove"]);
    let lines = visible(world.exited(&pod, 9));
    assert_eq!(lines, ["remove", "exited pod 0"]);
    world.acknowledge_all();
    assert!(world.agent.snapshot().frameworks.is_empty());
}

#[test]
fn rule_186_and_228_a_kill_before_delivery_kills_the_group() {
    let mut world = World::new();
    let run = group(&world, &["a", "b"], true);
    world.launch(run);
    let lines = visible(world.kill("b", None));
    assert_eq!(
        lines,
        [
            "update a TASK_KILLED REASON_TASK_KILLED_DURING_LAUNCH",
            "update b TASK_KILLED REASON_TASK_KILLED_DURING_LAUNCH",
            "destroy"
        ]
    );
}

#[test]
fn rule_358_containers_in_a_task_end_with_it() {
    let mut world = World::new();
    let (_, children) = running(&mut world, &["a", "b"]);
    let mut parent = children[0].clone();
    for name in ["inner", "innermost"] {
        let id = ContainerId::from(format!("{parent}.{name}"));
        world.operator(v1::agent::Call {
            r#type: Some(v1::agent::call::Type::LaunchNestedContainer as i32),
            launch_nested_container: Some(v1::agent::call::LaunchNestedContainer {
                container_id: crate::container_proto(&id),
                command: Some(v1::CommandInfo { value: Some("sleep 9".into()), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        });
        world.started(&id, 300);
        parent = id;
    }
    // They are known by folders in that of the task.
    let lines = visible(world.exited(&children[0], 0));
    assert_eq!(lines, ["destroy", "destroy", "update a TASK_FINISHED", "remove"]);
}

#[test]
fn rule_358_containers_in_a_task_end_with_it_while_there_is_no_agent() {
    let mut world = World::new();
    let (pod, children) = running(&mut world, &["a", "b"]);
    let inner = ContainerId::from(format!("{}.inner", children[0]));
    let innermost = ContainerId::from(format!("{inner}.innermost"));
    let found = vec![
        (pod, FoundState::Running(0)),
        (children[0].clone(), FoundState::Ended(Some(0))),
        (children[1].clone(), FoundState::Running(201)),
        (inner.clone(), FoundState::Running(300)),
        (innermost, FoundState::Running(301)),
    ];
    assert_eq!(visible(world.restart(found)), ["destroy", "destroy", "remove"]);
    assert_eq!(visible(world.exited(&inner, 9)), ["remove"]);
    world.register();
    world.acknowledge_all();
    assert_eq!(world.states(), [("b".into(), "TASK_RUNNING"), ("a".into(), "TASK_FINISHED")]);
}

/// In Mesos the executor would end by it, and with it all of its containers.
#[test]
fn a_group_ends_with_the_container_around_it() {
    let mut world = World::new();
    let (pod, children) = running(&mut world, &["a", "b"]);
    let kill = |signal| v1::agent::Call {
        r#type: Some(v1::agent::call::Type::KillContainer as i32),
        kill_container: Some(v1::agent::call::KillContainer {
            container_id: crate::container_proto(&pod),
            signal,
        }),
        ..Default::default()
    };
    assert_eq!(visible(world.operator(kill(Some(28)))), ["answer ok"], "a size of a terminal ends nobody");
    let lines = visible(world.operator(kill(None)));
    assert_eq!(lines, ["destroy", "destroy", "destroy", "answer ok"]);
    for child in &children {
        let lines = visible(world.exited(child, 9));
        assert!(lines[0].ends_with("TASK_FAILED") && lines[0].starts_with("update "), "{lines:?}");
    }
    let lines = visible(world.exited(&pod, 9));
    assert_eq!(lines.last().map(|line| &line[..10]), Some("exited pod"), "{lines:?}");
}

#[test]
fn killing_one_task_kills_its_group() {
    let mut world = World::new();
    let (_, children) = running(&mut world, &["a", "b"]);
    assert_eq!(visible(world.kill("a", None)), ["signal 15"]);
    let lines = visible(world.exited(&children[0], 15));
    assert_eq!(lines, ["update a TASK_KILLED", "signal 15", "remove"]);
}

#[test]
fn rule_309_a_single_task_ends_the_default_executor() {
    let mut world = World::new();
    let mut run = group(&world, &["a"], true);
    run.group = false;
    assert_eq!(visible(world.launch(run)), ["launch pod", "destroy"]);
    let pod = world.last_container();
    let lines = visible(world.exited(&pod, 0));
    assert_eq!(lines, ["update a TASK_FAILED REASON_EXECUTOR_TERMINATED", "remove", "exited pod 0"]);
}

#[test]
fn rule_314_a_child_is_killed_again_and_again() {
    let mut world = World::new();
    running(&mut world, &["a"]);
    world.kill("a", None);
    assert_eq!(visible(world.pass(5.0)), ["destroy", "destroy", "destroy"]);
}

#[test]
fn rule_315_shutdown_uses_three_seconds() {
    let mut world = World::new();
    running(&mut world, &["a"]);
    let call = link::ShutdownExecutor {
        framework_id: Some(v1::FrameworkId { value: "F".into() }),
        executor_id: Some(v1::ExecutorId { value: "pod".into() }),
    };
    assert_eq!(visible(world.master(to_agent::Message::ShutdownExecutor(call))), ["signal 15"]);
    assert!(visible(world.pass(2.9)).is_empty());
    assert_eq!(visible(world.pass(0.1)), ["destroy"]);
}

#[test]
fn a_child_that_cannot_start_fails_its_group() {
    let mut world = World::new();
    let run = group(&world, &["a", "b"], true);
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    world.acknowledge_all();
    let (a, b) = (world.launches[1].container.clone(), world.launches[2].container.clone());
    world.started(&b, 1);
    let input = Input::LaunchFailed { container: a, stage: LaunchStage::Container, message: "no".into() };
    let lines = visible(world.step(input));
    assert_eq!(lines, ["update a TASK_FAILED REASON_CONTAINER_LAUNCH_FAILED", "signal 15"]);
    assert_eq!(visible(world.exited(&b, 15)), ["update b TASK_KILLED", "destroy", "remove"]);
}

#[test]
fn an_end_before_the_group_runs_is_told_after_running() {
    let mut world = World::new();
    let run = group(&world, &["a", "b"], true);
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    let (a, b) = (world.launches[1].container.clone(), world.launches[2].container.clone());
    world.started(&a, 1);
    assert!(visible(world.exited(&a, 0)).is_empty(), "its end is kept with its container");
    let lines = visible(world.started(&b, 2));
    assert_eq!(lines.last().map(String::as_str), Some("remove"));
    world.acknowledge_all();
    assert_eq!(world.states(), [("b".into(), "TASK_RUNNING"), ("a".into(), "TASK_FINISHED")]);
    let tasks = query::tasks(&world.agent.snapshot());
    let told: Vec<_> = tasks.completed_tasks[0].statuses.iter().map(|s| s.state().as_str_name()).collect();
    assert_eq!(told, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
}

#[test]
fn rule_318_environment_of_a_task_in_a_group() {
    let mut world = World::new();
    running(&mut world, &["a"]);
    let spec = &world.launches[1];
    let value = |name: &str| spec.environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(value("MESOS_CONTAINER_IP"), Some("10.0.0.1"));
    assert_eq!(value("MESOS_ALLOCATION_ROLE"), Some("*"));
    assert_eq!(value("MESOS_SANDBOX"), Some(&*spec.sandbox));
    // Rule 355.
    assert!(spec.sandbox.starts_with(&format!("{}/containers/", world.launches[0].sandbox)));
}

#[test]
fn rule_319_and_360_a_pod_goes_on_over_a_restart() {
    let mut world = World::new();
    let (pod, children) = running(&mut world, &["a", "b"]);
    let found = vec![
        (pod, FoundState::Running(0)),
        (children[0].clone(), FoundState::Running(200)),
        (children[1].clone(), FoundState::Ended(Some(0))),
    ];
    let lines = visible(world.restart(found));
    assert_eq!(lines, ["remove"]);
    world.register();
    assert_eq!(world.newest().state(), v1::TaskState::TaskFinished);
    world.acknowledge_all();
    assert_eq!(world.states(), [("a".into(), "TASK_RUNNING"), ("b".into(), "TASK_FINISHED")]);
    assert_eq!(visible(world.exited(&children[0], 0)), ["update a TASK_FINISHED", "destroy", "remove"]);
}

#[test]
fn rule_419_a_child_that_was_not_made_when_the_agent_ended_is_dropped() {
    let mut world = World::new();
    world.traits.partition_aware = true;
    let run = group(&world, &["a", "b"], true);
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    let a = world.launches[1].container.clone();
    // The start of both was told, and only one was made.
    world.restart(vec![(pod, FoundState::Running(0)), (a, FoundState::Running(200))]);
    world.register();
    world.acknowledge_all();
    assert_eq!(world.states(), [("a".into(), "TASK_RUNNING"), ("b".into(), "TASK_DROPPED")]);
}

#[test]
fn an_end_that_waited_for_its_group_is_told_after_a_restart() {
    let mut world = World::new();
    let run = group(&world, &["a", "b"], true);
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    let (a, b) = (world.launches[1].container.clone(), world.launches[2].container.clone());
    world.started(&a, 1);
    world.exited(&a, 0);
    let found =
        vec![(pod, FoundState::Running(0)), (a, FoundState::Ended(Some(0))), (b, FoundState::Running(2))];
    world.restart(found);
    world.register();
    world.acknowledge_all();
    assert_eq!(world.states(), [("b".into(), "TASK_RUNNING"), ("a".into(), "TASK_FINISHED")]);
}

#[test]
fn an_end_that_waited_for_a_child_that_cannot_start_is_told() {
    let mut world = World::new();
    let run = group(&world, &["a", "b"], true);
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    world.acknowledge_all();
    let (a, b) = (world.launches[1].container.clone(), world.launches[2].container.clone());
    world.started(&a, 1);
    world.exited(&a, 0);
    let input = Input::LaunchFailed { container: b, stage: LaunchStage::Container, message: "no".into() };
    let lines = visible(world.step(input));
    let told = ["update b TASK_FAILED REASON_CONTAINER_LAUNCH_FAILED", "update a TASK_FINISHED"];
    assert_eq!(lines[..2], told, "{lines:?}");
    assert!(lines.iter().any(|line| line == "destroy"), "the pod is over: {lines:?}");
}
