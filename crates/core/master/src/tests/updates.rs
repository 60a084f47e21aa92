//! Status updates, acknowledgements, executors.

use mezzo_mesos::v1::{self, TaskState, master::event::Type as Published, scheduler::call};
use mezzo_protocol::link::{self, to_agent, to_master};

use crate::{
    Answer,
    testing::{FakeAgent, Scheduler, World, call, framework_info, task_id, uuid_of},
};

fn acknowledge(agent: &FakeAgent, state: TaskState) -> v1::scheduler::Call {
    call(call::Type::Acknowledge, |call| {
        call.acknowledge = Some(call::Acknowledge {
            agent_id: v1::AgentId { value: agent.id.to_string() },
            task_id: task_id("t"),
            uuid: uuid_of(state),
        });
    })
}

fn status_of(agent: &FakeAgent, state: TaskState) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task_id("t"),
        state: state.into(),
        agent_id: Some(v1::AgentId { value: agent.id.to_string() }),
        uuid: Some(uuid_of(state)),
        ..Default::default()
    }
}

fn report(world: &mut World, agent: &FakeAgent, of: &Scheduler, status: v1::TaskStatus, latest: TaskState) {
    let update = link::StatusUpdate {
        framework_id: Some(v1::FrameworkId { value: of.id.to_string() }),
        executor_id: None,
        latest_state: latest.into(),
        status: Some(status),
    };
    world.tell(agent.link, to_master::Message::StatusUpdate(update));
}

#[test]
fn rule_206_updates_of_agents_carry_their_uuid() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    let status = world.status(&scheduler);
    assert_eq!(status.uuid, Some(uuid_of(TaskState::TaskFinished)));
    // Rule 217: the scheduler sees data, the history does not.
    assert_eq!(status.data(), b"data");
    let task = world.master.task(&scheduler.id, &"t".into()).expect("not acknowledged yet");
    assert!(task.info.statuses.iter().all(|status| status.data.is_none()));
}

#[test]
fn rule_213_the_receipt_of_a_terminal_status_ends_the_task() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    assert_eq!(world.call(&scheduler, acknowledge(&agent, TaskState::TaskRunning)), Answer::Accepted);
    assert!(world.master.task(&scheduler.id, &"t".into()).is_some());
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    // The resources are free before anybody acknowledges.
    assert!(world.master.state.agents[&agent.id].used.is_empty());
    // Rule 214: an old receipt ends nothing.
    world.call(&scheduler, acknowledge(&agent, TaskState::TaskRunning));
    assert!(world.master.task(&scheduler.id, &"t".into()).is_some());
    world.call(&scheduler, acknowledge(&agent, TaskState::TaskFinished));
    assert!(world.master.task(&scheduler.id, &"t".into()).is_none());
    assert_eq!(world.master.state.frameworks[&scheduler.id].completed_tasks.len(), 1);
    let told = world.told(agent.link);
    let receipts = told.iter().filter(|m| matches!(m, to_agent::Message::Acknowledge(_))).count();
    assert_eq!(receipts, 3, "the agent decides what they mean");
}

#[test]
fn rule_218_equal_states_are_one_entry() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.update(&agent, &scheduler, "t", TaskState::TaskRunning);
    world.update(&agent, &scheduler, "t", TaskState::TaskKilling);
    let task = world.master.task(&scheduler.id, &"t".into()).expect("running");
    let states: Vec<_> = task.info.statuses.iter().map(|status| status.state()).collect();
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskKilling]);
}

#[test]
fn rule_221_operators_hear_of_changes_and_checks() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.update(&agent, &scheduler, "t", TaskState::TaskRunning);
    assert_eq!(world.published_types(), []);
    let reason = v1::task_status::Reason::TaskHealthCheckStatusUpdated;
    let status = v1::TaskStatus {
        reason: Some(reason.into()),
        healthy: Some(true),
        ..status_of(&agent, TaskState::TaskRunning)
    };
    report(&mut world, &agent, &scheduler, status, TaskState::TaskRunning);
    assert_eq!(world.published_types(), [Published::TaskUpdated]);
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    assert_eq!(world.published_types(), [Published::TaskUpdated]);
}

#[test]
fn rule_207_the_latest_state_frees_resources_before_its_update_arrives() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    let running = status_of(&agent, TaskState::TaskRunning);
    report(&mut world, &agent, &scheduler, running, TaskState::TaskFinished);
    let task = world.master.task(&scheduler.id, &"t".into()).expect("not acknowledged yet");
    assert_eq!(task.info.state(), TaskState::TaskFinished);
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskRunning);
    assert!(world.master.state.agents[&agent.id].used.is_empty());
}

#[test]
fn a_terminal_state_stays_and_later_updates_are_forwarded() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    world.update(&agent, &scheduler, "t", TaskState::TaskRunning);
    assert_eq!(world.statuses(&scheduler).len(), 2);
    let task = world.master.task(&scheduler.id, &"t".into()).expect("not acknowledged yet");
    assert_eq!(task.info.state(), TaskState::TaskFinished);
}

#[test]
fn rule_288_the_end_of_an_executor_is_a_failure_event() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    let exited = |command_executor| {
        to_master::Message::ExecutorExited(link::ExecutorExited {
            framework_id: Some(v1::FrameworkId { value: scheduler.id.to_string() }),
            executor_id: Some(v1::ExecutorId { value: "e".into() }),
            status: 256,
            command_executor,
        })
    };
    world.tell(agent.link, exited(true));
    assert!(world.events(&scheduler).into_iter().all(|event| event.failure.is_none()));
    world.tell(agent.link, exited(false));
    let failure = world.events(&scheduler).into_iter().find_map(|event| event.failure).expect("told");
    assert_eq!((failure.status, failure.executor_id.map(|id| id.value)), (Some(256), Some("e".into())));
}

#[test]
fn messages_go_both_ways() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    let executor_id = v1::ExecutorId { value: "e".into() };
    let message = call(call::Type::Message, |call| {
        call.message = Some(call::Message {
            agent_id: v1::AgentId { value: agent.id.to_string() },
            executor_id: executor_id.clone(),
            data: b"down".to_vec(),
        });
    });
    assert_eq!(world.call(&scheduler, message), Answer::Accepted);
    let told = world.told(agent.link);
    let [to_agent::Message::FrameworkMessage(down)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(down.data, b"down");
    let up = link::ExecutorMessage {
        framework_id: Some(v1::FrameworkId { value: scheduler.id.to_string() }),
        executor_id: Some(executor_id),
        data: b"up".to_vec(),
    };
    world.tell(agent.link, to_master::Message::ExecutorMessage(up));
    let message = world.events(&scheduler).into_iter().find_map(|event| event.message).expect("told");
    assert_eq!(message.data, b"up");
}
