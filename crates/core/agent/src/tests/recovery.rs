//! The agent ends and starts again on its log.

use mezzo_mesos::v1;
use mezzo_protocol::link::to_master;

use super::harness::{World, config, task, visible};
use crate::{Agent, FoundState, Input, ReconfigurationPolicy, RecoverMode, resources::scalar};

#[test]
fn rule_412_a_running_task_is_not_touched() {
    let mut world = World::new();
    let container = world.running("t");
    let lines = world.restart(vec![(container.clone(), FoundState::Running(100))]);
    assert!(visible(lines).is_empty());
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING")]);
    // Without executors of their own to wait for, nothing holds the registration back.
    world.step(Input::LinkUp);
    assert_eq!(visible(world.pass(1.0)), ["reregister"]);
    let Some(to_master::Message::Reregister(told)) = world.told.last() else { panic!("reregistered") };
    assert_eq!(told.tasks.len(), 1);
    assert_eq!(told.tasks[0].state(), v1::TaskState::TaskRunning);
    assert_eq!(told.tasks[0].status_update_state(), v1::TaskState::TaskRunning);
    assert_eq!(told.frameworks.len(), 1);
    assert!(told.executors.is_empty(), "the master knows nothing of command executors");
    let id = told.agent.as_ref().and_then(|a| a.info.as_ref()?.id.clone());
    assert_eq!(id.map(|id| id.value), Some("S0".into()));
    world.registered();
    world.exited(&container, 0);
    assert_eq!(world.newest().state(), v1::TaskState::TaskFinished);
    assert_eq!(
        world.newest().container_status.as_ref().and_then(|c| c.executor_pid),
        Some(100),
        "the same process"
    );
}

#[test]
fn an_end_while_away_is_reported() {
    let mut world = World::new();
    let container = world.running("t");
    let lines = world.restart(vec![(container, FoundState::Ended(Some(3 << 8)))]);
    assert_eq!(visible(lines), ["remove"]);
    world.register();
    assert_eq!(world.newest().state(), v1::TaskState::TaskFailed);
    assert_eq!(world.newest().message.as_deref(), Some("Command exited with status 3"));
    world.acknowledge_all();
    assert!(world.agent.snapshot().frameworks.is_empty());
}

/// The agent dies between the kill of a task that was being started and the end of its container. Its task
/// is told to be killed when the container is gone, whatever became of it meanwhile.
#[test]
fn a_container_whose_task_was_killed_early_ends_after_a_restart() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    assert!(world.kill("t", None).contains(&"destroy".to_owned()));
    let lines = world.restart(vec![(container.clone(), FoundState::Running(100))]);
    assert_eq!(visible(lines), ["destroy"]);
    world.register();
    let lines = visible(world.exited(&container, 9));
    assert_eq!(lines, ["update t TASK_KILLED REASON_TASK_KILLED_DURING_LAUNCH", "remove"]);
    world.acknowledge_all();
    assert!(world.agent.snapshot().frameworks.is_empty());
    for found in [Some(FoundState::Ended(Some(9))), None] {
        let mut world = World::new();
        world.launch_command("t");
        let container = world.last_container();
        world.kill("t", None);
        world.restart(found.map(|found| (container, found)).into_iter().collect());
        world.register();
        assert_eq!(world.newest().state(), v1::TaskState::TaskKilled);
        world.acknowledge_all();
        assert!(world.agent.snapshot().frameworks.is_empty());
    }
}

#[test]
fn rule_419_unacknowledged_updates_are_sent_again() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.started(&container, 1);
    let first = world.newest().uuid.clone();
    world.restart(vec![(container, FoundState::Running(1))]);
    world.register();
    assert_eq!(world.newest().uuid, first);
    assert_eq!(world.newest().state(), v1::TaskState::TaskStarting);
    assert_eq!(visible(world.acknowledge_all()), ["update t TASK_RUNNING"]);
}

#[test]
fn rule_419_a_launch_that_never_happened_is_dropped() {
    let mut world = World::new();
    world.traits.partition_aware = true;
    world.launch_command("t");
    world.restart(vec![]);
    world.register();
    assert_eq!(world.newest().state(), v1::TaskState::TaskDropped);
    assert_eq!(world.newest().reason(), v1::task_status::Reason::AgentRestarted);
}

#[test]
fn a_start_that_was_not_written_down_is_reported_now() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.restart(vec![(container, FoundState::Running(7))]);
    world.register();
    assert_eq!(world.newest().state(), v1::TaskState::TaskStarting);
    world.acknowledge_all();
    assert_eq!(world.states(), [("t".into(), "TASK_RUNNING")]);
}

#[test]
fn a_whole_life_that_was_not_written_down_is_reported_now() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.restart(vec![(container, FoundState::Ended(Some(0)))]);
    world.register();
    world.acknowledge_all();
    assert_eq!(world.states(), [("t".into(), "TASK_FINISHED")]);
}

#[test]
fn rule_418_after_a_reboot_tasks_are_reported_as_ended() {
    let mut world = World::new();
    world.running("t");
    let rebooted = crate::Config { boot_id: "another".into(), ..config() };
    world.restart_as(rebooted, vec![]).expect("the settings fit");
    world.register();
    assert_eq!(world.newest().state(), v1::TaskState::TaskFailed);
    assert_eq!(world.newest().reason(), v1::task_status::Reason::ExecutorTerminated);
    assert_eq!(world.agent.snapshot().id.as_deref(), Some("S0"));
}

#[test]
fn a_kill_goes_on_after_a_restart() {
    let mut world = World::new();
    let container = world.running("t");
    world.kill("t", Some(10.0));
    world.now = world.now + std::time::Duration::from_secs(4);
    world.restart(vec![(container.clone(), FoundState::Running(100))]);
    world.register();
    assert_eq!(visible(world.pass(4.0)), Vec::<String>::new());
    assert_eq!(visible(world.pass(1.1)), ["destroy"]);
    world.exited(&container, 9);
    assert_eq!(world.newest().state(), v1::TaskState::TaskKilled);
}

#[test]
fn rule_410_tasks_of_other_frameworks_end_with_the_agent() {
    let mut world = World::new();
    world.traits.transient = true;
    let container = world.running("t");
    let lines = world.restart(vec![(container.clone(), FoundState::Running(100))]);
    assert_eq!(lines, ["destroy"]);
    assert_eq!(world.exited(&container, 9), ["remove"]);
    assert!(world.states().is_empty());
}

#[test]
fn rule_414_cleanup_ends_everything_and_exits() {
    let mut world = World::new();
    let container = world.running("t");
    let cleanup = crate::Config { recover: RecoverMode::Cleanup, ..config() };
    let lines = world
        .restart_as(cleanup, vec![(container.clone(), FoundState::Running(100))])
        .expect("the settings fit");
    assert_eq!(visible(lines), ["signal 15"]);
    assert_eq!(visible(world.exited(&container, 15)), ["remove", "exit 0"]);
}

#[test]
fn rule_417_other_settings_are_refused_with_advice() {
    let mut world = World::new();
    let other = |boot: &str| {
        let mut other = config();
        other.info.hostname = "elsewhere".into();
        other.boot_id = boot.into();
        other
    };
    let container = world.running("t");
    let found = vec![(container, FoundState::Running(100))];
    let error = world.restart_as(other("boot"), found.clone()).expect_err("another hostname");
    assert!(error.to_string().contains("--reconfiguration_policy=additive"), "{error}");
    // After a reboot it is another agent.
    let lines = world.restart_as(other("another"), found).expect("a fresh start");
    assert_eq!(lines, ["destroy"]);
    assert_eq!(world.agent.snapshot().id, None);
    world.step(Input::LinkUp);
    assert_eq!(visible(world.pass(1.0)), ["register"]);
}

#[test]
fn rule_416_and_420_more_resources_need_a_master_that_takes_them() {
    let mut world = World::new();
    let mut more = config();
    more.reconfiguration_policy = ReconfigurationPolicy::Additive;
    more.info.resources[0] = scalar("cpus", 8.0, None);
    world.restart_as(more, vec![]).expect("they only grew");
    assert_eq!(crate::resources::scalar_sum(&world.agent.snapshot().total, "cpus", false), 8.0);
    world.step(Input::LinkUp);
    world.pass(1.0);
    let registered = mezzo_protocol::link::Registered {
        agent_id: Some(v1::AgentId { value: "S0".into() }),
        ..Default::default()
    };
    let message = mezzo_protocol::link::to_agent::Message::Registered(Box::new(registered));
    assert_eq!(world.master(message), ["exit 1"]);
    assert_eq!(world.registered(), ["persist identity"]);
}

#[test]
fn resources_that_were_added_come_on_top_of_what_was_reserved() {
    let mut world = World::new();
    world.log.extend(world.agent.records());
    let mut more = config();
    more.reconfiguration_policy = ReconfigurationPolicy::Additive;
    more.info.resources[0] = scalar("cpus", 8.0, None);
    for _ in 0..2 {
        world.restart_as(more.clone(), vec![]).expect("they only grew");
        world.register();
        assert_eq!(crate::resources::scalar_sum(&world.agent.snapshot().total, "cpus", false), 8.0);
    }
}

#[test]
fn a_rewritten_log_gives_the_same_state() {
    let mut world = World::new();
    let running = world.running("running");
    let done = world.running("done");
    world.exited(&done, 0);
    world.acknowledge_all();
    let pending = world.running("pending");
    world.exited(&pending, 1 << 8);
    let mut killed = task("killed");
    killed.name = "other".into();
    let run = world.run(vec![killed]);
    world.launch(run);
    let killing = world.last_container();
    world.started(&killing, 9);
    world.kill("killed", Some(60.0));
    let before = world.states();
    let short = world.agent.records();
    assert!(short.len() < world.log.len() + 5);
    world.log = short;
    world.restart(vec![(running, FoundState::Running(100)), (killing, FoundState::Running(9))]);
    let mut after = world.states();
    let mut before = before;
    before.sort();
    after.sort();
    assert_eq!(after, before);
    assert_eq!(world.agent.records().len(), world.log.len());
    let kill = world.agent.snapshot().frameworks["F"].executors["killed"].tasks["killed"].run.kill.clone();
    assert!(kill.is_some());
}

/// Every prefix of a log is something a crash can leave behind.
#[test]
fn any_prefix_of_the_log_recovers() {
    let mut world = World::new();
    let container = world.running("a");
    world.launch_command("b");
    let other = world.last_container();
    world.started(&other, 5);
    world.kill("b", None);
    world.exited(&container, 0);
    world.exited(&other, 15);
    world.acknowledge_all();
    for length in 0..=world.log.len() {
        let found = |id: &mezzo_ids::ContainerId, state| crate::FoundContainer { id: id.clone(), state };
        for state in [FoundState::Running(5), FoundState::Ended(Some(0)), FoundState::Ended(None)] {
            let recovered = Agent::recover(
                config(),
                world.log[..length].to_vec(),
                vec![found(&container, state), found(&other, state)],
                world.now,
                &mut world.dice,
            );
            assert!(recovered.is_ok());
        }
    }
}
