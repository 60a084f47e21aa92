//! Back-off, unreachable agents and unknown tasks: marathon rules 79 to 87, 99 to 101, 170 to 190.

use std::time::Duration;

use mezzo_mesos::v1::{TaskState, scheduler::call::Type, task_status::Reason};
use mezzo_services_model::*;

use super::world::*;
use crate::{
    Answer, Input, Refusal, Request,
    updates::{condition_of, worst},
};

fn fail(world: &mut World) {
    world.round();
    let task = world.task_of(&world.running("/a")[0]);
    world.update(&task, TaskState::TaskFailed);
}

#[test]
fn marathon_rules_79_81_82_and_87_waits_grow_f210() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    let mut waits = Vec::new();
    for _ in 0..4 {
        fail(&mut world);
        let item = world.snapshot().queue.values().next().unwrap().clone();
        let until = item.delayed_until.unwrap();
        waits.push(until.since(world.now).as_millis());
        world.offers();
        assert_eq!(world.running("/a").len(), 0, "nothing is launched before its time");
        world.pass(until.since(world.now).as_secs() + 1);
    }
    assert_eq!(waits, [1_000, 1_150, 1_322, 1_520]);
    // Rule 82: another definition begins anew; so does rule 65's restart.
    fail(&mut world);
    world.edit("/a", |app| app.user = Some("new".into()));
    world.settle();
    fail(&mut world);
    let item = world.snapshot().queue.values().next().unwrap().clone();
    assert_eq!(item.delayed_until.unwrap().since(world.now), Duration::from_secs(1));
}

#[test]
fn marathon_rules_80_84_and_85_what_counts() {
    let delayed = |state: TaskState, reason: Option<Reason>| {
        let mut world = World::new();
        world.put([app("/a", 1)]);
        world.settle();
        let task = world.task_of(&world.running("/a")[0]);
        world.update_with(&task, state, reason);
        let delayed = world.snapshot().queue.values().next().unwrap().delayed_until.is_some();
        world.pass(320);
        assert!(world.services.delays.is_empty(), "a wait is forgotten");
        delayed
    };
    for state in [TaskState::TaskFailed, TaskState::TaskFinished, TaskState::TaskError, TaskState::TaskGone] {
        assert!(delayed(state, None), "{state:?}");
    }
    assert!(!delayed(TaskState::TaskKilled, None));
    assert!(!delayed(TaskState::TaskGoneByOperator, Some(Reason::AgentDraining)));
}

#[test]
fn marathon_rule_86_a_wait_is_cut_short() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    let reset = Request::ResetDelay { run_spec: path("/a") };
    let Answer::Refused(Refusal::Unknown(_)) = world.request(reset.clone()) else { panic!() };
    fail(&mut world);
    assert_eq!(world.request(reset), Answer::Done);
    world.round();
    assert_eq!(world.running("/a").len(), 1);
}

#[test]
fn marathon_rule_179_lost_tasks() {
    for (reason, wanted) in [
        (Some(Reason::Reconciliation), Condition::Unreachable),
        (Some(Reason::AgentRemoved), Condition::Unreachable),
        (Some(Reason::TaskUnknown), Condition::Unknown),
        (Some(Reason::ExecutorTerminated), Condition::Gone),
        (None, Condition::Gone),
    ] {
        assert_eq!(condition_of(TaskState::TaskLost, reason), wanted);
    }
}

#[test]
fn marathon_rule_181_the_worst_of_its_tasks() {
    let id = TaskId::parse("a.instance-1._app.1").unwrap();
    let task = |condition| Task {
        id: id.clone(),
        condition,
        staged_at: START,
        started_at: None,
        status: None,
        host_ports: Vec::new(),
        healthy: None,
    };
    let of = |all: &[Condition]| worst(&all.iter().map(|one| task(*one)).collect::<Vec<_>>());
    assert_eq!(of(&[Condition::Running, Condition::Failed, Condition::Error]), Condition::Error);
    assert_eq!(of(&[Condition::Running, Condition::Staging]), Condition::Staging);
    assert_eq!(of(&[Condition::Running, Condition::Finished]), Condition::Running);
    assert_eq!(of(&[Condition::Killed, Condition::Finished]), Condition::Finished);
}

#[test]
fn marathon_rules_175_and_187_unknown_tasks_and_acknowledgements() {
    let mut world = World::new();
    let before = world.calls.len();
    world.update("b.instance-1._app.1", TaskState::TaskRunning);
    assert_eq!(world.killed, ["b.instance-1._app.1"]);
    world.update("b.instance-1._app.1", TaskState::TaskFinished);
    assert_eq!(world.names().last(), Some(&"unknown terminated"));
    world.update("not one of ours", TaskState::TaskRunning);
    let types: Vec<i32> = world.calls[before..].iter().filter_map(|call| call.r#type).collect();
    assert_eq!(types.iter().filter(|kind| **kind == i32::from(Type::Acknowledge)).count(), 3);
}

#[test]
fn marathon_rules_180_and_188_late_words_and_long_ones() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    let task = world.task_of(&world.running("/a")[0]);
    let status = mezzo_mesos::v1::TaskStatus {
        task_id: mezzo_mesos::v1::TaskId { value: task.clone() },
        state: TaskState::TaskFailed.into(),
        message: Some("ä".repeat(20_000)),
        ..Default::default()
    };
    world.step(Input::Update(Box::new(status)));
    let failure = world.snapshot().failures.get(&path("/a")).unwrap().clone();
    // Rule 189.
    assert_eq!((failure.message.chars().count(), failure.state.as_str()), (10_000, "TASK_FAILED"));
    world.update(&task, TaskState::TaskRunning);
    assert_eq!(world.running("/a").len(), 0);
    world.remove("/a");
    world.settle();
    assert!(world.snapshot().failures.is_empty());
}

#[test]
fn marathon_rule_171_replaced_and_forgotten_at_once() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    let lost = world.running("/a")[0].clone();
    let task = world.task_of(&lost);
    world.update(&task, TaskState::TaskUnreachable);
    assert!(world.instances("/a").iter().all(|one| one.id != lost.id));
    world.round();
    assert_eq!(world.running("/a").len(), 2);
}

#[test]
fn marathon_rules_170_172_174_and_176_waited_for_then_replaced_then_forgotten_f209() {
    let mut world = World::new();
    let mut a = app("/a", 1);
    a.unreachable_strategy = UnreachableStrategy::Enabled {
        inactive_after: Duration::from_secs(60),
        expunge_after: Duration::from_secs(600),
    };
    world.put([a]);
    world.settle();
    let lost = world.running("/a")[0].clone();
    let task = world.task_of(&lost);
    world.update(&task, TaskState::TaskUnreachable);
    world.pass(50);
    world.round();
    assert_eq!(
        (world.instances("/a").len(), world.instances("/a")[0].condition),
        (1, Condition::Unreachable)
    );
    // Back in time: nothing has happened.
    world.update(&task, TaskState::TaskRunning);
    assert_eq!(world.running("/a")[0].id, lost.id);
    // Away for longer: it is replaced, and when it comes back one of the two goes.
    world.update(&task, TaskState::TaskUnreachable);
    world.pass(61);
    world.round();
    assert_eq!((world.instances("/a").len(), world.running("/a").len()), (2, 1));
    world.update(&task, TaskState::TaskRunning);
    assert_eq!(world.running("/a").len(), 2);
    world.pass(300);
    world.round();
    assert_eq!(world.instances("/a").len(), 1);
    // Away for good: it is forgotten.
    let lost = world.running("/a")[0].clone();
    let task = world.task_of(&lost);
    world.update(&task, TaskState::TaskUnreachable);
    world.pass(700);
    world.round();
    assert!(world.instances("/a").iter().all(|one| one.id != lost.id));
    assert_eq!(world.running("/a").len(), 1);
}

/// Before the service has instances of the other definition, and after.
#[test]
fn one_that_was_given_up_and_comes_back_to_another_definition_goes() {
    for is_early in [true, false] {
        let mut world = World::new();
        let mut a = app("/a", 1);
        a.unreachable_strategy = UnreachableStrategy::Enabled {
            inactive_after: Duration::from_secs(60),
            expunge_after: Duration::from_secs(10_000),
        };
        world.put([a]);
        world.settle();
        let lost = world.running("/a")[0].clone();
        let task = world.task_of(&lost);
        world.update(&task, TaskState::TaskUnreachable);
        world.pass(61);
        world.edit("/a", |app| app.instances = 0);
        world.settle();
        world.edit("/a", |app| app.user = Some("new".into()));
        world.settle();
        if is_early {
            world.update(&task, TaskState::TaskRunning);
        }
        world.edit("/a", |app| app.instances = 3);
        world.settle();
        if !is_early {
            world.update(&task, TaskState::TaskRunning);
        }
        world.pass(300);
        world.round();
        let left = world.running("/a");
        assert!(left.len() == 3 && left.iter().all(|one| one.id != lost.id), "{is_early}: {left:?}");
    }
}

#[test]
fn marathon_rule_177_disabled_is_forever() {
    let mut world = World::new();
    let mut a = app("/a", 1);
    a.unreachable_strategy = UnreachableStrategy::Disabled;
    world.put([a]);
    world.settle();
    let task = world.task_of(&world.running("/a")[0]);
    world.update(&task, TaskState::TaskUnreachable);
    world.pass(100_000);
    world.round();
    assert_eq!(world.instances("/a").len(), 1);
}

#[test]
fn marathon_rule_99_launches_without_an_answer() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.offers();
    world.pass(290);
    assert!(world.killed.is_empty());
    world.pass(20);
    assert_eq!(world.killed.len(), 1);
}

#[test]
fn marathon_rules_100_and_101_an_accept_that_fails() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.offers();
    let call = world.calls.iter().rev().find(|call| call.accept.is_some()).unwrap().clone();
    let written = world.disk.iter().flatten().any(
        |record| matches!(record, crate::Record::Instance(one) if one.condition == Condition::Provisioned),
    );
    assert!(written);
    world.tasks.clear();
    world.step(Input::CallFailed(Box::new(call)));
    assert_eq!(world.instances("/a")[0].condition, Condition::Scheduled);
    world.settle();
    assert_eq!(world.running("/a").len(), 1);
}

#[test]
fn what_lost_calls_asked_for_is_asked_for_again() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    let last = |world: &World, kind: Type| {
        world.calls.iter().rev().find(|call| call.r#type == Some(kind.into())).cloned()
    };
    let revive = last(&world, Type::Revive).unwrap();
    world.calls.clear();
    world.step(Input::CallLost(Box::new(revive)));
    assert!(world.calls.is_empty(), "more may be lost: it waits a little");
    world.pass(5);
    assert!(last(&world, Type::Revive).is_some());
    world.offers();
    let accept = last(&world, Type::Accept).unwrap();
    world.step(Input::CallLost(Box::new(accept.clone())));
    world.pass(6);
    let declined: Vec<_> =
        world.calls.iter().flat_map(|call| &call.decline).flat_map(|decline| &decline.offer_ids).collect();
    assert!(accept.accept.unwrap().offer_ids.iter().all(|id| declined.contains(&id)), "{declined:?}");
    assert_eq!(world.instances("/a")[0].condition, Condition::Provisioned, "it may have been launched");
    world.settle();
    let suppress = last(&world, Type::Suppress).unwrap();
    world.calls.clear();
    world.step(Input::CallLost(Box::new(suppress)));
    world.pass(6);
    assert!(last(&world, Type::Suppress).is_some());
}

#[test]
fn marathon_rules_89_95_and_97_the_queue_and_its_tokens() {
    let mut world = World::with(crate::Config { launch_tokens: 2, ..crate::Config::default() });
    world.put([app("/a", 5)]);
    let item = world.snapshot().queue.values().next().unwrap().clone();
    assert_eq!((item.count, item.role.as_str()), (5, "*"));
    let revives =
        |world: &World| world.calls.iter().filter(|call| call.r#type == Some(Type::Revive.into())).count();
    assert_eq!(revives(&world), 1);
    world.offers();
    assert_eq!(world.tasks.len(), 2);
    world.pass(30);
    world.offers();
    assert_eq!(world.tasks.len(), 4);
    world.settle();
    assert!(world.snapshot().queue.is_empty());
    let last = world.calls.iter().rev().find(|call| call.suppress.is_some());
    assert!(last.is_some(), "when nothing is wanted the master is told");
}

#[test]
fn marathon_rule_104_reconciliation() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    world.calls.clear();
    world.pass(620);
    let asked: Vec<usize> =
        world.calls.iter().filter_map(|call| call.reconcile.as_ref()).map(|call| call.tasks.len()).collect();
    assert!(asked.ends_with(&[1, 0]), "{asked:?}");
}
