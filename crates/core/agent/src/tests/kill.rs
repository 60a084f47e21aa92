//! Kills and drains.

use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent};

use super::harness::{World, policy, task, visible};
use crate::{Input, LaunchStage};

#[test]
fn rule_226_sigterm_then_sigkill() {
    let mut world = World::new();
    world.running("t");
    assert_eq!(world.kill("t", None), ["persist kill", "signal 15"]);
    assert!(world.pass(2.9).is_empty());
    assert_eq!(world.pass(0.2), ["destroy"]);
    // Rule 314: again each second until it is gone.
    assert_eq!(world.pass(2.0), ["destroy", "destroy"]);
}

#[test]
fn rule_225_the_calls_policy_goes_before_the_tasks() {
    let mut world = World::new();
    let mut info = task("t");
    info.kill_policy = Some(policy(20.0));
    let run = world.run(vec![info]);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 1);
    world.kill("t", Some(1.0));
    assert_eq!(visible(world.pass(1.0)), ["destroy"]);
}

#[test]
fn rule_226_the_tasks_policy_goes_before_the_default() {
    let mut world = World::new();
    let mut info = task("t");
    info.kill_policy = Some(policy(20.0));
    let run = world.run(vec![info]);
    world.launch(run);
    let container = world.last_container();
    world.started(&container, 1);
    world.acknowledge_all();
    world.kill("t", None);
    assert!(visible(world.pass(19.0)).is_empty());
    assert_eq!(visible(world.pass(1.0)), ["destroy"]);
}

#[test]
fn rule_227_a_second_kill_can_only_shorten() {
    let mut world = World::new();
    world.running("t");
    world.kill("t", Some(30.0));
    assert_eq!(visible(world.kill("t", Some(60.0))), Vec::<String>::new());
    world.pass(3.0);
    assert_eq!(visible(world.kill("t", Some(5.0))), Vec::<String>::new());
    // Five seconds counted from the first kill.
    assert_eq!(visible(world.pass(1.9)), Vec::<String>::new());
    assert_eq!(visible(world.pass(0.2)), ["destroy"]);
}

#[test]
fn rule_304_killing_only_for_those_who_know_it() {
    let mut world = World::new();
    world.traits.killing_state = true;
    let container = world.running("t");
    let lines = world.kill("t", None);
    assert_eq!(
        lines,
        ["persist kill", "persist update t TASK_KILLING", "update t TASK_KILLING", "signal 15"]
    );
    world.acknowledge_all();
    world.exited(&container, 15);
    let status = world.newest();
    assert_eq!(status.state(), v1::TaskState::TaskKilled);
    assert_eq!(status.message.as_deref(), Some("Command terminated with signal Terminated"));
    assert_eq!(status.reason, None);
}

#[test]
fn rule_228_a_task_that_has_not_started_is_never_started() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    assert_eq!(visible(world.kill("t", None)), ["destroy"]);
    // It may have been too late to stop the start, and while it runs nobody is told that it does not.
    assert!(visible(world.started(&container, 1)).is_empty());
    assert_eq!(visible(world.pass(1.0)), ["destroy"]);
    let lines = visible(world.exited(&container, 9));
    assert_eq!(lines, ["update t TASK_KILLED REASON_TASK_KILLED_DURING_LAUNCH", "remove"]);
    world.acknowledge_all();
    assert_eq!(world.states(), [("t".into(), "TASK_KILLED")]);
}

/// F120
#[test]
fn rule_228_and_263_a_kill_during_the_launch_is_told_after_it() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    assert_eq!(visible(drain(&mut world, None, false)), ["destroy"]);
    let failed =
        Input::LaunchFailed { container, stage: LaunchStage::Container, message: "cancelled".into() };
    let lines = visible(world.step(failed));
    assert_eq!(lines, ["update t TASK_KILLED REASON_AGENT_DRAINING", "remove"]);
}

#[test]
fn rule_229_kill_of_a_task_nobody_knows() {
    let mut world = World::new();
    world.running("t");
    assert_eq!(visible(world.kill("other", None)), ["update other TASK_LOST REASON_EXECUTOR_TERMINATED"]);
    let mut world = World::new();
    world.traits.partition_aware = true;
    world.running("t");
    assert_eq!(visible(world.kill("other", None)), ["update other TASK_DROPPED REASON_EXECUTOR_TERMINATED"]);
}

#[test]
fn kills_of_ended_tasks_and_unknown_frameworks_do_nothing() {
    let mut world = World::new();
    assert!(world.kill("t", None).is_empty());
    let container = world.running("t");
    world.exited(&container, 0);
    assert!(world.kill("t", None).is_empty());
}

fn drain(world: &mut World, grace: Option<f64>, mark_gone: bool) -> Vec<String> {
    let config = v1::DrainConfig {
        max_grace_period: grace.and_then(|grace| policy(grace).grace_period),
        mark_gone: Some(mark_gone),
    };
    world.master(to_agent::Message::Drain(link::Drain { config: Some(config) }))
}

#[test]
fn rule_261_and_262_draining_kills_all_and_takes_none() {
    let mut world = World::new();
    world.traits.killing_state = true;
    let container = world.running("t");
    let lines = drain(&mut world, Some(1.0), false);
    assert_eq!(visible(lines), ["update t TASK_KILLING REASON_AGENT_DRAINING", "signal 15"]);
    world.acknowledge_all();
    let lines = visible(world.launch_command("u"));
    assert_eq!(lines, ["update u TASK_LOST REASON_AGENT_DRAINING"]);
    // The smaller of the two grace periods.
    assert_eq!(visible(world.pass(1.0)), ["destroy"]);
    world.exited(&container, 9);
    assert_eq!(world.newest().state(), v1::TaskState::TaskKilled);
    assert_eq!(world.newest().reason(), v1::task_status::Reason::AgentDraining);
    let lines = world.acknowledge_all();
    assert_eq!(lines.last().map(String::as_str), Some("persist drain ended"));
    assert_eq!(world.agent.snapshot().drain, None);
}

/// Its framework acknowledges nothing, so the agent would never be empty; the master had told of the ends itself.
#[test]
fn rule_267_an_agent_taken_back_takes_tasks_whatever_is_not_acknowledged() {
    let mut world = World::new();
    let container = world.running("t");
    drain(&mut world, None, false);
    world.exited(&container, 15);
    assert!(world.agent.snapshot().drain.is_some());
    let lines = world.master(to_agent::Message::Drain(link::Drain { config: None }));
    assert_eq!(lines, ["persist drain ended"]);
    assert_eq!(world.master(to_agent::Message::Drain(link::Drain { config: None })), [""; 0]);
    assert!(visible(world.launch_command("u")).iter().all(|line| !line.contains("DRAINING")));
    assert!(world.agent.snapshot().drain.is_none());
}

#[test]
fn rule_263_mark_gone_changes_the_state_for_partition_aware_frameworks() {
    for (aware, state) in [(true, v1::TaskState::TaskGoneByOperator), (false, v1::TaskState::TaskKilled)] {
        let mut world = World::new();
        world.traits.partition_aware = aware;
        let container = world.running("t");
        drain(&mut world, None, true);
        world.exited(&container, 15);
        assert_eq!(world.newest().state(), state);
    }
}

#[test]
fn rule_268_and_422_a_drain_survives_a_restart() {
    let mut world = World::new();
    let container = world.running("t");
    drain(&mut world, Some(30.0), false);
    let lines = world.restart(vec![(container, crate::FoundState::Running(100))]);
    assert!(!lines.iter().any(|l| l == "destroy"), "{lines:?}");
    assert!(world.agent.snapshot().drain.is_some());
    world.register();
    assert_eq!(visible(world.launch_command("u")), ["update u TASK_LOST REASON_AGENT_DRAINING"]);
}

#[test]
fn rule_230_framework_shutdown_ends_silently() {
    let mut world = World::new();
    let container = world.running("t");
    let id = Some(v1::FrameworkId { value: "F".into() });
    let call = link::ShutdownFramework { framework_id: id };
    let lines = visible(world.master(to_agent::Message::ShutdownFramework(call)));
    assert_eq!(lines, ["signal 15"]);
    // The executor's shutdown grace period counts here, and a launch is not answered.
    assert!(visible(world.launch_command("u")).is_empty());
    assert_eq!(visible(world.pass(5.0)), ["destroy"]);
    let lines = visible(world.exited(&container, 9));
    assert_eq!(lines, ["remove"]);
    assert!(world.agent.snapshot().frameworks.is_empty());
    assert_eq!(world.states(), [("t".into(), "TASK_KILLED")]);
}
