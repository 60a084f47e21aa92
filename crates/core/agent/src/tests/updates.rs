//! Status update streams.

use mezzo_ids::{ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent, to_master};

use super::harness::{World, visible};
use crate::Input;

#[test]
fn rule_206_and_210_updates_are_stored_before_they_are_sent() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    let lines = world.started(&container, 1);
    let stored = lines.iter().position(|l| l == "persist update t TASK_STARTING");
    let sent = lines.iter().position(|l| l == "update t TASK_STARTING");
    assert!(stored < sent, "{lines:?}");
    assert_eq!(world.newest().uuid.as_ref().map(Vec::len), Some(16));
}

#[test]
fn rule_210_and_410_only_checkpointing_frameworks_are_stored() {
    let mut world = World::new();
    world.traits.transient = true;
    assert_eq!(world.launch_command("t"), ["launch"]);
    let container = world.last_container();
    assert_eq!(world.started(&container, 1), ["update t TASK_STARTING"]);
    assert_eq!(world.acknowledge_all(), ["update t TASK_RUNNING"]);
    assert_eq!(world.exited(&container, 0), ["update t TASK_FINISHED", "remove"]);
    world.acknowledge_all();
    assert_eq!(world.log.len(), 1, "only the agent's identity");
}

#[test]
fn rule_208_retries_after_ten_seconds_doubling_to_ten_minutes() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.started(&container, 1);
    let mut waits = Vec::new();
    let mut last = world.now;
    for _ in 0..9 {
        let before = world.told.len();
        while world.told.len() == before {
            world.master(to_agent::Message::Ping(link::Ping { connected: true }));
            world.told.retain(|m| !matches!(m, to_master::Message::Pong(_)));
            world.pass(1.0);
        }
        waits.push(world.now.since(last).as_secs());
        last = world.now;
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
}

#[test]
fn rule_209_retries_stop_without_a_master() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.started(&container, 1);
    world.step(Input::LinkDown);
    assert!(visible(world.pass(3600.0)).is_empty());
    world.step(Input::LinkUp);
    assert_eq!(visible(world.pass(1.0)), ["reregister"]);
    assert_eq!(visible(world.registered()), ["update t TASK_STARTING"]);
}

#[test]
fn updates_made_while_the_link_was_down_follow_when_it_is_resumed() {
    let mut world = World::new();
    let container = world.running("t");
    world.step(Input::LinkDown);
    assert_eq!(visible(world.exited(&container, 0)), ["remove"]);
    assert_eq!(visible(world.step(Input::LinkResumed)), ["update t TASK_FINISHED"]);
}

#[test]
fn rule_214_a_wrong_acknowledgement_is_ignored() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.started(&container, 1);
    assert!(world.acknowledge("t", vec![9; 16]).is_empty());
    assert!(world.acknowledge("other", vec![9; 16]).is_empty());
    let uuid = world.newest().uuid.clone().unwrap_or_default();
    assert!(!world.acknowledge("t", uuid.clone()).is_empty());
    // The same one again.
    assert!(world.acknowledge("t", uuid).is_empty());
}

#[test]
fn latest_state_may_be_ahead_of_the_update() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    world.started(&container, 1);
    world.exited(&container, 0);
    world.updates.clear();
    world.pass(10.0);
    let update = world.updates.last().expect("a retry");
    assert_eq!(update.status.as_ref().map(v1::TaskStatus::state), Some(v1::TaskState::TaskStarting));
    assert_eq!(update.latest_state(), v1::TaskState::TaskFinished);
    let tasks = crate::query::tasks(&world.agent.snapshot());
    assert_eq!(tasks.terminated_tasks[0].status_update_state(), v1::TaskState::TaskStarting);
}

#[test]
fn rule_218_equal_states_replace_each_other() {
    let mut world = World::new();
    world.running("t");
    let (framework, executor, task) = (FrameworkId::from("F"), ExecutorId::from("t"), TaskId::from("t"));
    assert_eq!(world.agent.task(&framework, &executor, &task).map(|t| t.statuses.len()), Some(2));
    let known = world.agent.task_mut(&framework, &executor, &task).expect("it runs");
    let mut again = (*known.statuses[1]).clone();
    again.healthy = Some(true);
    crate::updates::record(known, &again.into());
    assert_eq!(known.statuses.len(), 2);
    assert_eq!(known.statuses[1].healthy, Some(true));
}

fn lacking(id: &str, partition_aware: bool) -> link::reconcile_tasks::Task {
    link::reconcile_tasks::Task {
        framework_id: Some(v1::FrameworkId { value: "F".into() }),
        task_id: Some(v1::TaskId { value: id.into() }),
        executor_id: None,
        partition_aware,
    }
}

#[test]
fn rule_237_tasks_the_master_has_and_the_agent_lacks() {
    let mut world = World::new();
    world.running("t");
    let tasks = vec![lacking("t", true), lacking("a", true), lacking("b", false)];
    let lines =
        world.master(to_agent::Message::ReconcileTasks(link::ReconcileTasks { tasks, ..Default::default() }));
    assert_eq!(
        visible(lines),
        ["update a TASK_DROPPED REASON_RECONCILIATION", "update b TASK_LOST REASON_RECONCILIATION"]
    );
}

#[test]
fn rule_237_the_end_of_a_task_that_was_never_here_outlives_restarts() {
    let mut world = World::new();
    world.traits.partition_aware = true;
    let container = world.running("t");
    let tasks = vec![lacking("a", true)];
    world.master(to_agent::Message::ReconcileTasks(link::ReconcileTasks { tasks, ..Default::default() }));
    let dropped = world.updates.pop().expect("one update");
    world.exited(&container, 0);
    world.acknowledge_all();
    for _ in 0..2 {
        world.restart(vec![]);
        // A fresh master hears of the task and its framework before it is asked about them.
        world.register();
        let told = world.told.iter().rev().find_map(|message| match message {
            to_master::Message::Reregister(told) => Some(told),
            _ => None,
        });
        let told = told.expect("it has registered again");
        assert_eq!(told.frameworks.len(), 1);
        assert_eq!(told.tasks.len(), 1);
        assert_eq!(told.tasks[0].task_id.value, "a");
        assert_eq!(told.tasks[0].state(), v1::TaskState::TaskDropped);
        assert_eq!(world.newest().uuid, dropped.status.as_ref().and_then(|s| s.uuid.clone()));
    }
    world.acknowledge_all();
    assert!(world.agent.snapshot().frameworks.is_empty());
    assert!(world.agent.streams.is_empty());
}

#[test]
fn rule_237_the_end_of_a_task_outlives_restarts_where_its_framework_never_ran_anything() {
    let mut world = World::new();
    world.traits.partition_aware = true;
    let frameworks = vec![world.framework()];
    let tasks = vec![lacking("a", true)];
    world.master(to_agent::Message::ReconcileTasks(link::ReconcileTasks { tasks, frameworks }));
    let dropped = world.updates.pop().expect("one update");
    for _ in 0..2 {
        world.restart(vec![]);
        // Without the framework a fresh master could not keep the task, and would call it gone.
        world.register();
        let told = world.told.iter().rev().find_map(|message| match message {
            to_master::Message::Reregister(told) => Some(told),
            _ => None,
        });
        let told = told.expect("it has registered again");
        assert_eq!(told.frameworks, [world.framework()]);
        assert_eq!(told.tasks.len(), 1);
        assert_eq!(
            (told.tasks[0].task_id.value.as_str(), told.tasks[0].state()),
            ("a", v1::TaskState::TaskDropped)
        );
        assert_eq!(world.newest().uuid, dropped.status.as_ref().and_then(|s| s.uuid.clone()));
    }
    world.acknowledge_all();
    assert!(world.agent.snapshot().frameworks.is_empty());
    assert!(world.agent.streams.is_empty());
}
