//! KILL and SHUTDOWN.

use mezzo_mesos::v1::{self, TaskState, scheduler::call, task_status::Reason};
use mezzo_protocol::link::{self, to_agent};

use crate::{
    Answer, Input,
    testing::{World, call, description, framework_info, task_id},
};

fn kill(task: &str, agent: Option<&str>, grace: Option<i64>) -> v1::scheduler::Call {
    call(call::Type::Kill, |call| {
        let duration = |nanoseconds| v1::DurationInfo { nanoseconds };
        call.kill = Some(call::Kill {
            task_id: task_id(task),
            agent_id: agent.map(|id| v1::AgentId { value: id.into() }),
            kill_policy: grace.map(|grace| v1::KillPolicy { grace_period: Some(duration(grace)) }),
        });
    })
}

#[test]
fn rule_225_the_policy_of_the_call_goes_along() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    assert_eq!(world.call(&scheduler, kill("t", None, Some(5))), Answer::Accepted);
    let told = world.told(agent.link);
    let [to_agent::Message::Kill(kill)] = told.as_slice() else { panic!("{told:?}") };
    let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
    assert_eq!(grace.map(|grace| grace.nanoseconds), Some(5));
    assert_eq!(kill.task_id, Some(task_id("t")));
}

#[test]
fn rule_222_an_unknown_task_is_reconciled() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.call(&scheduler, kill("no-such-task", None, None));
    let status = world.status(&scheduler);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::Reconciliation));
    assert_eq!(status.message(), "Reconciliation: Task is unknown");
}

#[test]
fn rule_223_the_wrong_agent_drops_the_call() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    assert_eq!(world.call(&scheduler, kill("t", Some("other"), None)), Answer::Accepted);
    assert!(world.told(agent.link).is_empty());
    assert!(world.statuses(&scheduler).is_empty());
}

#[test]
fn rule_224_a_kill_waits_for_a_disconnected_agent() {
    let mut world = World::new();
    let info = v1::FrameworkInfo { checkpoint: Some(true), ..framework_info() };
    let (scheduler, agent) = world.running(info);
    world.step(Input::LinkLost(agent.link));
    world.call(&scheduler, kill("t", None, None));
    assert!(world.told(agent.link).is_empty());
    let known = world.master.task(&scheduler.id, &"t".into()).expect("it stays").info.clone();
    let mut description = description("cpus:4;mem:4096", "10.0.0.2");
    let ip = world.master.state.agents[&agent.id].ip.clone();
    description.ip.clone_from(&ip);
    if let Some(info) = &mut description.info {
        info.id = Some(v1::AgentId { value: agent.id.to_string() });
        info.hostname = format!("host-{ip}");
    }
    let link = world.reregister(link::Reregister {
        agent: Some(description),
        tasks: vec![known],
        ..Default::default()
    });
    let told = world.told(link);
    assert!(told.iter().any(|message| matches!(message, to_agent::Message::Kill(_))), "{told:?}");
}

#[test]
fn rule_230_shutdown_goes_to_the_agent() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    let shutdown = call(call::Type::Shutdown, |call| {
        call.shutdown = Some(call::Shutdown {
            executor_id: v1::ExecutorId { value: "e".into() },
            agent_id: v1::AgentId { value: agent.id.to_string() },
        });
    });
    assert_eq!(world.call(&scheduler, shutdown), Answer::Accepted);
    let told = world.told(agent.link);
    assert!(matches!(told.as_slice(), [to_agent::Message::ShutdownExecutor(_)]), "{told:?}");
}
