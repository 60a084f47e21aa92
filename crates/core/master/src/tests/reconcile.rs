//! RECONCILE and RECONCILE_OPERATIONS, by the tables of task-states-and-reasons.md.

use mezzo_mesos::v1::{
    self, OperationState, TaskState,
    framework_info::capability::Type,
    scheduler::call,
    task_status::{Reason, Source},
};
use mezzo_protocol::records::{AdmittedAgent, RegistryRecord, registry_record::Record};

use crate::{
    Answer,
    testing::{Scheduler, World, call, config, framework_info, task_id, with_capabilities},
};

fn reconcile(world: &mut World, of: &Scheduler, tasks: &[(&str, Option<&str>)]) -> Vec<v1::TaskStatus> {
    let tasks = tasks
        .iter()
        .map(|(task, agent)| call::reconcile::Task {
            task_id: task_id(task),
            agent_id: agent.map(|id| v1::AgentId { value: id.into() }),
        })
        .collect();
    let call = call(call::Type::Reconcile, |call| call.reconcile = Some(call::Reconcile { tasks }));
    assert_eq!(world.call(of, call), Answer::Accepted);
    world.statuses(of)
}

fn patient() -> v1::FrameworkInfo {
    v1::FrameworkInfo { checkpoint: Some(true), ..framework_info() }
}

#[test]
fn rule_231_and_233_each_listed_task_is_answered() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(patient());
    let asked = [("t", None), ("nope", None), ("quick", Some(&*agent.id)), ("other", Some("no-such-agent"))];
    let statuses = reconcile(&mut world, &scheduler, &asked);
    let texts: Vec<_> = statuses.iter().map(|status| (status.state(), status.message())).collect();
    let expected = [
        (TaskState::TaskRunning, "Reconciliation: Latest task state"),
        (TaskState::TaskLost, "Reconciliation: Task is unknown"),
        (TaskState::TaskLost, "Reconciliation: Task is unknown to the agent"),
        (TaskState::TaskLost, "Reconciliation: Task is unknown"),
    ];
    assert_eq!(texts, expected);
    for status in &statuses {
        assert_eq!((status.source(), status.reason()), (Source::Master, Reason::Reconciliation));
        assert_eq!(status.uuid, None);
    }
    assert_eq!(statuses[1].agent_id, None);
}

#[test]
fn rule_231_and_235_partition_aware_frameworks_hear_more() {
    let mut world = World::new();
    let info = with_capabilities(patient(), &[Type::PartitionAware]);
    let (scheduler, agent) = world.running(info);
    let lost = world.agent("cpus:1;mem:64");
    let gone = world.agent("cpus:1;mem:64");
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut crate::testing::random() };
    world.master.take_agent_out(moment, &lost.id, crate::agents::Departure::Unreachable("test"));
    world.master.mark_agent_gone(moment, &gone.id);
    let asked = [
        ("x", Some(&*agent.id)),
        ("x", Some(&*lost.id)),
        ("x", Some(&*gone.id)),
        ("x", None),
        ("x", Some("no")),
    ];
    let statuses = reconcile(&mut world, &scheduler, &asked);
    let states: Vec<_> = statuses.iter().map(|status| status.state()).collect();
    use TaskState::*;
    assert_eq!(states, [TaskGone, TaskUnreachable, TaskGoneByOperator, TaskUnknown, TaskUnknown]);
    assert!(statuses[1].unreachable_time.is_some());
    assert!(statuses[0].unreachable_time.is_none());
}

#[test]
fn rule_232_an_empty_list_means_all() {
    let mut world = World::new();
    let (scheduler, _) = world.running(patient());
    let statuses = reconcile(&mut world, &scheduler, &[]);
    assert_eq!(statuses.len(), 1);
    assert_eq!((statuses[0].task_id.value.as_str(), statuses[0].state()), ("t", TaskState::TaskRunning));
}

#[test]
fn rule_231_the_state_is_that_of_the_last_forwarded_status() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(patient());
    let task = world.master.task(&scheduler.id, &"t".into()).expect("running");
    assert_eq!(task.info.status_update_state(), TaskState::TaskRunning);
    world.update(&agent, &scheduler, "t", TaskState::TaskKilling);
    world.events(&scheduler);
    let statuses = reconcile(&mut world, &scheduler, &[("t", None)]);
    assert_eq!(statuses[0].state(), TaskState::TaskKilling);
}

#[test]
fn rule_234_while_agents_recover_there_is_no_answer() {
    let info = v1::AgentInfo {
        hostname: "h".into(),
        id: Some(v1::AgentId { value: "old-S0".into() }),
        ..Default::default()
    };
    let admitted = AdmittedAgent { info: Some(info), ..Default::default() };
    let registry = vec![RegistryRecord { record: Some(Record::AdmittedAgent(admitted)) }];
    let mut world = World::with(config(), registry);
    if world.master.state.recovered_agents.is_empty() {
        // The registry belongs to another part; this one is about what recovered agents mean.
        let info = v1::AgentInfo::default();
        world.master.state.recovered_agents.insert("old-S0".into(), info.into());
    }
    let scheduler = world.framework();
    assert!(reconcile(&mut world, &scheduler, &[("x", Some("old-S0"))]).is_empty());
    assert!(reconcile(&mut world, &scheduler, &[("x", None)]).is_empty());
    assert_eq!(reconcile(&mut world, &scheduler, &[("x", Some("other"))]).len(), 1);
}

#[test]
fn rule_236_operations_are_answered_by_events() {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:1;mem:64");
    world.events(&scheduler);
    let call = call(call::Type::ReconcileOperations, |call| {
        call.reconcile_operations = Some(call::ReconcileOperations {
            operations: vec![call::reconcile_operations::Operation {
                operation_id: v1::OperationId { value: "nope".into() },
                agent_id: Some(v1::AgentId { value: agent.id.to_string() }),
                resource_provider_id: None,
            }],
        });
    });
    assert_eq!(world.call(&scheduler, call), Answer::Accepted);
    let events = world.events(&scheduler);
    let status = events.into_iter().find_map(|e| e.update_operation_status).expect("told").status;
    assert_eq!(status.state(), OperationState::OperationUnknown);
    assert_eq!(status.message(), "Reconciliation: Operation is unknown");
    assert_eq!((status.operation_id.map(|id| id.value), status.uuid), (Some("nope".into()), None));
}
