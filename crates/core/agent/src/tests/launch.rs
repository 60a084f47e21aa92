//! What is checked when a launch arrives.

use mezzo_mesos::v1;

use super::harness::{World, config, executor, task, visible};
use crate::{Config, query, resources::scalar};

#[test]
fn rule_423_outdated_resource_version() {
    let mut world = World::new();
    let mut run = world.run(vec![task("t")]);
    run.resource_version_uuid = vec![1; 16];
    assert_eq!(visible(world.launch(run)), ["update t TASK_LOST REASON_INVALID_OFFERS"]);
}

/// Found by the fault tests: the master went on sending tasks to an executor that was never started.
#[test]
fn a_refused_launch_tells_that_its_executor_is_not_there() {
    for launch_executor in [true, false] {
        let mut world = World::new();
        let mut run = world.run(vec![task("t")]);
        run.executor = Some(executor("e", v1::executor_info::Type::Custom));
        run.launch_executor = launch_executor;
        if launch_executor {
            run.resource_version_uuid = vec![1; 16];
        }
        let lines = visible(world.launch(run));
        // What is sent for an executor that the master counts on already is told by the earlier launch.
        let exited = lines.iter().filter(|line| *line == "exited e -1").count();
        assert!(lines[0].starts_with("update t TASK_LOST"), "{lines:?}");
        assert_eq!(exited, usize::from(launch_executor), "{lines:?}");
    }
}

#[test]
fn rule_424_unknown_reserved_resources() {
    let mut world = World::new();
    let mut info = task("t");
    let mut reserved = scalar("cpus", 0.5, Some("eng"));
    reserved.reservations = vec![v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some("eng".into()),
        ..Default::default()
    }];
    info.resources.push(reserved);
    let run = world.run(vec![info]);
    assert_eq!(visible(world.launch(run)), ["update t TASK_LOST REASON_RESOURCES_UNKNOWN"]);
}

#[test]
fn rule_426_master_and_agent_disagree_about_the_executor() {
    let mut world = World::new();
    let mut run = world.run(vec![task("t")]);
    run.executor = Some(executor("e", v1::executor_info::Type::Custom));
    run.launch_executor = false;
    assert_eq!(visible(world.launch(run)), ["update t TASK_LOST REASON_EXECUTOR_TERMINATED"]);
    let mut run = world.run(vec![task("t")]);
    run.executor = Some(executor("e", v1::executor_info::Type::Custom));
    assert_eq!(visible(world.launch(run.clone())), ["launch"]);
    run.tasks = vec![task("u")];
    assert_eq!(visible(world.launch(run)), ["update u TASK_LOST REASON_EXECUTOR_TERMINATED"]);
}

#[test]
fn rule_427_default_container_info() {
    let container = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos as i32,
        hostname: Some("inside".into()),
        ..Default::default()
    };
    let mut world = World::with(Config { default_container_info: Some(container.clone()), ..config() });
    world.launch_command("t");
    assert_eq!(world.launches[0].container_info.as_ref(), Some(&container));
    let mut info = task("u");
    info.container = Some(Box::new(v1::ContainerInfo { hostname: None, ..container }));
    let run = world.run(vec![info.clone()]);
    world.launch(run);
    assert_eq!(world.launches[1].container_info.as_ref(), info.container.as_deref());
}

#[test]
fn rule_429_limits_need_cgroups() {
    let mut world = World::with(Config { limits_enforced: false, ..config() });
    let mut info = task("t");
    info.limits.insert("mem".into(), v1::value::Scalar { value: 128.0 });
    let run = world.run(vec![info]);
    assert_eq!(visible(world.launch(run)), ["update t TASK_LOST REASON_GC_ERROR"]);
}

#[test]
fn rule_430_limits_are_summed_and_infinity_wins() {
    let mut world = World::new();
    let mut info = task("t");
    info.limits.insert("mem".into(), v1::value::Scalar { value: 128.0 });
    info.limits.insert("cpus".into(), v1::value::Scalar { value: f64::INFINITY });
    let run = world.run(vec![info]);
    world.launch(run);
    let limits = &world.launches[0].limits;
    // The executor's own share comes on top.
    assert_eq!((limits.cpus, limits.mem), (Some(f64::INFINITY), Some(160.0)));
    world.launch_command("u");
    assert_eq!(world.launches[1].limits, Default::default());
}

#[test]
fn rule_431_nobody_switches_without_switch_user() {
    let mut world = World::with(Config { switch_user: false, ..config() });
    world.launch_command("t");
    assert_eq!(world.launches[0].user, None);
}

#[test]
fn rule_298_completed_things_are_bounded() {
    let mut world = World::with(Config { completed_executors_max: 2, ..config() });
    world.running("stays");
    for id in ["a", "b", "c"] {
        let container = world.running(id);
        world.exited(&container, 0);
        world.acknowledge_all();
    }
    let executors = query::executors(&world.agent.snapshot());
    let kept: Vec<_> =
        executors.completed_executors.iter().map(|e| e.executor_info.executor_id.value.as_str()).collect();
    assert_eq!(kept, ["b", "c"]);
}

#[test]
fn a_framework_comes_back_with_its_history() {
    let mut world = World::new();
    let container = world.running("a");
    world.exited(&container, 0);
    world.acknowledge_all();
    let state = world.agent.snapshot();
    assert_eq!((state.frameworks.len(), state.completed_frameworks.len()), (0, 1));
    world.running("b");
    let state = world.agent.snapshot();
    assert_eq!((state.frameworks.len(), state.completed_frameworks.len()), (1, 0));
    assert_eq!(state.frameworks["F"].completed_executors.len(), 1);
}

#[test]
fn answers_of_the_reading_calls() {
    let mut world = World::new();
    world.running("t");
    let state = world.agent.snapshot();
    for kind in [
        v1::agent::call::Type::GetState,
        v1::agent::call::Type::GetTasks,
        v1::agent::call::Type::GetExecutors,
        v1::agent::call::Type::GetFrameworks,
        v1::agent::call::Type::GetAgent,
        v1::agent::call::Type::GetOperations,
        v1::agent::call::Type::GetResourceProviders,
        v1::agent::call::Type::GetHealth,
    ] {
        let call = v1::agent::Call { r#type: Some(kind as i32), ..Default::default() };
        let answer = query::answer(&state, &call).expect("a reading call");
        assert_eq!(answer.r#type().as_str_name(), kind.as_str_name());
    }
    let containers = query::containers(&state, false, false).containers;
    assert_eq!(containers.len(), 1);
    let status = containers[0].container_status.clone().unwrap_or_default();
    assert_eq!(status.executor_pid, Some(100));
    let metrics = crate::process_metrics(&state, world.now);
    let value = |name: &str| metrics.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
    assert_eq!(value("tasks_running"), Some(1.0));
    assert_eq!(value("cpus_used"), Some(0.6));
    assert_eq!(value("cpus_percent"), Some(0.15));
    assert_eq!(value("executors_running"), Some(1.0));
    assert_eq!(value("valid_status_updates"), Some(2.0));
}

#[test]
fn command_tasks_of_one_message_stand_for_themselves() {
    let mut world = World::new();
    world.running("b");
    let run = world.run(vec![task("a"), task("b"), task("c")]);
    world.launch(run);
    let launched: Vec<_> = world.launches.iter().map(|spec| spec.sandbox.clone()).collect();
    assert_eq!(launched.len(), 3, "{launched:?}");
    assert_eq!(world.newest().task_id.value, "b");
    assert_eq!(world.newest().state(), v1::TaskState::TaskLost);
}
