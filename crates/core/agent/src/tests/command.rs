//! Command tasks.

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent};

use super::harness::{World, task, visible};
use crate::{Input, LaunchStage, Limitation, Pull, query};

#[test]
fn rule_301_starting_running_and_one_terminal_state() {
    let mut world = World::new();
    assert_eq!(world.launch_command("t"), ["persist framework", "persist task t", "launch"]);
    let container = world.last_container();
    let lines = world.started(&container, 100);
    assert_eq!(
        lines,
        ["persist update t TASK_STARTING", "update t TASK_STARTING", "persist update t TASK_RUNNING"]
    );
    // Rule 207: the next one goes out only after the acknowledgement.
    let uuid = world.newest().uuid.clone().unwrap_or_default();
    assert_eq!(world.acknowledge("t", uuid), ["update t TASK_RUNNING", "persist ack t"]);
    let running = world.newest().clone();
    assert_eq!(running.source(), v1::task_status::Source::Executor);
    assert_eq!(running.executor_id.map(|id| id.value), Some("t".into()));
    assert_eq!(running.agent_id.map(|id| id.value), Some("S0".into()));
    let status = running.container_status.unwrap_or_default();
    assert_eq!(status.executor_pid, Some(100));
    assert_eq!(status.container_id.map(|id| id.value), Some(container.to_string()));
    // Rule 216: the agent's address stands for a task without a network of its own.
    let address = &status.network_infos[0].ip_addresses[0];
    assert_eq!(address.ip_address.as_deref(), Some("10.0.0.1"));
    let uuid = world.newest().uuid.clone().unwrap_or_default();
    world.acknowledge("t", uuid);
    let lines = world.exited(&container, 0);
    assert_eq!(lines, ["persist update t TASK_FINISHED", "update t TASK_FINISHED", "remove"]);
    assert_eq!(world.newest().message.as_deref(), Some("Command exited with status 0"));
    let uuid = world.newest().uuid.clone().unwrap_or_default();
    // Rule 213: the terminal acknowledgement makes it history.
    assert_eq!(world.acknowledge("t", uuid), ["persist ack t", "persist framework ended"]);
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED")]);
}

#[test]
fn rule_303_exit_status_decides() {
    for (status, state, message) in [
        (0, "TASK_FINISHED", "Command exited with status 0"),
        (3 << 8, "TASK_FAILED", "Command exited with status 3"),
        (15, "TASK_FAILED", "Command terminated with signal Terminated"),
    ] {
        let mut world = World::new();
        let container = world.running("t");
        world.exited(&container, status);
        assert_eq!(world.newest().state().as_str_name(), state);
        assert_eq!(world.newest().message.as_deref(), Some(message));
    }
}

#[test]
fn rule_303_a_killed_task_is_killed_whatever_its_status() {
    let mut world = World::new();
    let container = world.running("t");
    world.kill("t", None);
    world.exited(&container, 0);
    assert_eq!(world.newest().state(), v1::TaskState::TaskKilled);
}

#[test]
fn rule_299_and_300_the_executor_that_mesos_would_start() {
    let mut world = World::new();
    world.running("t");
    let executors = query::executors(&world.agent.snapshot());
    let info = &executors.executors[0].executor_info;
    assert_eq!(info.executor_id.value, "t");
    assert_eq!(info.source.as_deref(), Some("t"));
    assert_eq!(info.name.as_deref(), Some("Command Executor (Task: t) (Command: sh -c 'true')"));
    let spec = &world.launches[0];
    let amount = |name: &str| crate::resources::scalar_sum(&spec.resources, name, false);
    assert_eq!((amount("cpus"), amount("mem")), (0.6, 96.0));
    // The task itself shows its own request, and no executor id.
    let tasks = query::tasks(&world.agent.snapshot());
    assert_eq!(tasks.launched_tasks[0].executor_id, None);
    assert_eq!(crate::resources::scalar_sum(&tasks.launched_tasks[0].resources, "cpus", false), 0.5);
}

#[test]
fn rule_302_a_second_task_for_the_same_executor_is_refused() {
    let mut world = World::new();
    world.running("t");
    let lines = visible(world.launch_command("t"));
    assert_eq!(lines, ["update t TASK_LOST REASON_TASK_INVALID"]);
}

#[test]
fn rule_305_time_is_up() {
    let mut world = World::new();
    let mut info = task("t");
    info.max_completion_time = Some(v1::DurationInfo { nanoseconds: 5_000_000_000 });
    world.traits.killing_state = true;
    let run = world.run(vec![info]);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 1);
    world.acknowledge_all();
    assert!(visible(world.pass(4.9)).is_empty());
    // Rule 304: no TASK_KILLING and no grace period.
    assert_eq!(visible(world.pass(0.2)), ["destroy"]);
    world.exited(&container, 9);
    let status = world.newest();
    assert_eq!(status.state(), v1::TaskState::TaskFailed);
    assert_eq!(status.reason(), v1::task_status::Reason::MaxCompletionTimeReached);
}

#[test]
fn rule_308_and_431_environment_and_user() {
    let mut world = World::new();
    let mut info = task("t");
    let variable = |name: &str, value: &str| v1::environment::Variable {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let command = info.command.get_or_insert_default();
    command.user = Some("alice".into());
    command.environment = Some(v1::Environment {
        variables: vec![variable("MINE", "1"), variable("MESOS_ALLOCATION_ROLE", "x")],
    });
    let run = world.run(vec![info]);
    world.launch(run);
    let spec = &world.launches[0];
    assert_eq!(spec.user.as_deref(), Some("alice"));
    let value = |name: &str| spec.environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(value("MINE"), Some("1"));
    assert_eq!(value("MESOS_ALLOCATION_ROLE"), Some("x"));
    // Rule 292.
    assert_eq!(value("MESOS_FRAMEWORK_ID"), Some("F"));
    assert_eq!(value("MESOS_EXECUTOR_ID"), Some("t"));
    assert_eq!(value("MESOS_AGENT_ENDPOINT"), Some("10.0.0.1:5051"));
    assert_eq!(value("MESOS_CHECKPOINT"), Some("1"));
    assert_eq!(value("MESOS_RECOVERY_TIMEOUT"), Some("15mins"));
    assert_eq!(value("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"), Some("5secs"));
    assert_eq!(value("LIBPROCESS_PORT"), Some("0"));
    assert_eq!(value("OLD_ID"), Some("S0"));
    assert_eq!(value("MESOS_SANDBOX"), Some(&*spec.sandbox));
    // Without a user of its own it is the framework's.
    world.launch_command("u");
    assert_eq!(world.launches[1].user.as_deref(), Some("root"));
}

fn failed(stage: LaunchStage) -> v1::TaskStatus {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.step(Input::LaunchFailed { container, stage, message: "no luck".into() });
    world.newest().clone()
}

#[test]
fn a_failed_launch_is_reported_by_the_agent() {
    use v1::task_status::Reason;
    let status = failed(LaunchStage::Container);
    assert_eq!(status.state(), v1::TaskState::TaskFailed);
    assert_eq!(status.reason(), Reason::ContainerLaunchFailed);
    assert_eq!(status.message.as_deref(), Some("no luck"));
    assert_eq!(status.source(), v1::task_status::Source::Agent);
    assert_eq!(status.container_status, None);
    let status = failed(LaunchStage::Sandbox);
    assert_eq!(status.state(), v1::TaskState::TaskLost);
    assert_eq!(status.reason(), Reason::ExecutorTerminated);
    assert_eq!(status.message.as_deref(), Some("no luck"));
}

#[test]
fn rule_364_memory_limit() {
    let mut world = World::new();
    let container = world.running("t");
    let limitation = Limitation {
        message: "Memory limit exceeded".into(),
        reason: v1::task_status::Reason::ContainerLimitationMemory,
        resources: vec![crate::resources::scalar("mem", 64.0, None)],
    };
    world.step(Input::Exited { container, status: Some(9), limitation: Some(limitation) });
    let status = world.newest();
    assert_eq!(status.state(), v1::TaskState::TaskFailed);
    assert_eq!(status.reason(), v1::task_status::Reason::ContainerLimitationMemory);
    assert_eq!(status.source(), v1::task_status::Source::Agent);
    assert_eq!(status.limitation.as_ref().map(|l| l.resources.len()), Some(1));
}

#[test]
fn rule_347_docker_containers_are_taken_by_nobody() {
    let mut world = World::new();
    let mut info = task("t");
    info.container = Some(Box::new(v1::ContainerInfo {
        r#type: v1::container_info::Type::Docker as i32,
        ..Default::default()
    }));
    let run = world.run(vec![info]);
    world.launch(run);
    assert_eq!(world.newest().state(), v1::TaskState::TaskFailed);
    assert_eq!(world.newest().message.as_deref(), Some("Abnormal executor termination: unknown container"));
}

#[test]
fn unknown_containers_are_cleaned_up() {
    let mut world = World::new();
    let stranger = ContainerId::from("stranger");
    assert_eq!(world.started(&stranger, 1), Vec::<String>::new());
    assert_eq!(world.exited(&stranger, 0), ["remove"]);
}

fn pulled(world: &mut World, container: &ContainerId, megabytes: u64) -> Vec<String> {
    let pull = Pull {
        image: "app:1".into(),
        bytes: megabytes * 1_000_000,
        bytes_total: 500_000_000,
        layers: 2,
        layers_total: 20,
    };
    world.step(Input::Pulling { container: container.clone(), pull: Box::new(pull) })
}

/// The master goes on being there.
fn wait(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.pass(1.0);
        world.master(to_agent::Message::Ping(link::Ping { connected: true }));
    }
}

#[test]
fn a_task_that_waits_for_its_image_says_how_far_it_is_but_seldom() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    // An image that is here soon is not worth a word.
    assert!(pulled(&mut world, &container, 1).is_empty());
    let mut words = Vec::new();
    for second in 1..=300 {
        wait(&mut world, 1);
        if !pulled(&mut world, &container, second).is_empty() {
            words.push(second);
            assert_eq!(world.newest().state(), v1::TaskState::TaskStarting);
            let told = format!("Pulling image 'app:1': {second}.0 of 500.0 MB");
            assert_eq!(world.newest().message.as_deref(), Some(told.as_str()));
            world.acknowledge_all();
        }
    }
    assert_eq!(words, [2, 6, 14, 30, 62, 122, 182, 242]);
    assert_eq!(world.states(), [("t".into(), "TASK_STARTING")]);
    // Every byte is here, but not every layer.
    wait(&mut world, 60);
    pulled(&mut world, &container, 500);
    let told = "Pulling image 'app:1': 500.0 MB are here, 2 of 20 layers unpacked";
    assert_eq!(world.newest().message.as_deref(), Some(told));
    // Nothing more is told before this is acknowledged.
    wait(&mut world, 600);
    assert!(pulled(&mut world, &container, 500).is_empty());
    world.started(&container, 100);
    world.acknowledge_all();
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING")]);
    // A word that comes late is about nothing.
    wait(&mut world, 600);
    assert!(pulled(&mut world, &container, 500).is_empty());
}

#[test]
fn rule_419_a_task_whose_image_was_on_its_way_when_the_agent_ended_never_started() {
    let mut world = World::new();
    world.traits.partition_aware = true;
    world.launch_command("t");
    let container = world.last_container();
    pulled(&mut world, &container, 1);
    world.pass(2.0);
    assert!(!pulled(&mut world, &container, 2).is_empty());
    world.acknowledge_all();
    world.restart(Vec::new());
    world.register();
    assert_eq!(world.newest().state(), v1::TaskState::TaskDropped);
}

#[test]
fn a_task_that_is_killed_while_its_image_is_on_its_way_says_no_more() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    pulled(&mut world, &container, 1);
    world.kill("t", None);
    world.pass(10.0);
    assert!(pulled(&mut world, &container, 2).is_empty());
}
