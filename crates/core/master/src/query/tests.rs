//! What the reading calls answer, against what a genuine Mesos was seen to answer.

use mezzo_mesos::v1::{self, TaskState, master::response::Type};

use super::{Item, List, View, layout};
use crate::{
    Master,
    state::Snapshot,
    testing::{World, framework_info},
};

const PATH: &str = "/agent(1)";

fn view(snapshot: &Snapshot) -> View<'_> {
    View { snapshot, agent_url_path: PATH }
}

fn snapshot(world: &World) -> Snapshot {
    Master::snapshot(&world.master)
}

#[test]
fn rule_150_without_weights_there_is_no_list() {
    let empty = Snapshot::default();
    assert_eq!(view(&empty).get_weights().get_weights, None);
    assert_eq!(view(&empty).get_roles().get_roles, Some(Default::default()));
    assert_eq!(view(&empty).get_operations().get_operations, Some(Default::default()));
}

#[test]
fn rule_145_quotas_in_both_forms() {
    let mut snapshot = Snapshot::default();
    let scalar = |value| v1::value::Scalar { value };
    let config = v1::quota::QuotaConfig {
        role: "eng".into(),
        guarantees: [("cpus".into(), scalar(1.0))].into(),
        limits: [("cpus".into(), scalar(2.0)), ("gpus".into(), scalar(0.0))].into(),
    };
    snapshot.quotas.insert("eng".into(), crate::state::Quota::from_proto(&config));
    let status = view(&snapshot).get_quota().get_quota.expect("the answer has a status").status;
    assert_eq!(status.configs, [config]);
    #[expect(deprecated, reason = "the form that old clients read")]
    let info = &status.infos[0];
    assert_eq!(info.role(), "eng");
    assert_eq!(info.guarantee[0].scalar, Some(scalar(1.0)));
}

#[test]
fn an_agent_with_a_task_and_an_offer() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.pass(1.0);
    let snapshot = snapshot(&world);
    let agents = view(&snapshot).get_agents().get_agents.expect("the answer has agents");
    let shown = &agents.agents[0];
    assert_eq!(shown.agent_info.id.as_ref().map(|id| id.value.as_str()), Some(agent.id.as_str()));
    let ip = &snapshot.agents[&agent.id].ip;
    assert_eq!(shown.pid.as_deref(), Some(format!("agent(1)@{ip}:5051").as_str()));
    let amount = |resources: &[v1::Resource]| resources[0].scalar.map(|scalar| scalar.value);
    assert_eq!(amount(&shown.total_resources), Some(4.0));
    assert_eq!(amount(&shown.allocated_resources), Some(1.0));
    assert_eq!(amount(&shown.offered_resources), Some(3.0));
    #[expect(deprecated, reason = "operators see the older form as well")]
    let role = shown.total_resources[0].role.as_deref();
    assert_eq!(role, Some("*"));
    assert_eq!((shown.active, shown.deactivated), (true, Some(false)));

    let frameworks = view(&snapshot).get_frameworks().get_frameworks.expect("the answer has frameworks");
    let shown = &frameworks.frameworks[0];
    assert!(shown.active && shown.connected && !shown.recovered);
    assert_eq!(shown.unregistered_time, None);
    assert_eq!(shown.registered_time, shown.reregistered_time);
    assert_eq!(shown.offer_constraints, Some(Default::default()));
    assert_eq!(amount(&shown.allocated_resources), Some(1.0));
    assert_eq!(amount(&shown.offers[0].resources), Some(3.0));
    assert_eq!(shown.offers[0].url.as_ref().and_then(|url| url.path.as_deref()), Some(PATH));

    let tasks = view(&snapshot).get_tasks().get_tasks.expect("the answer has tasks");
    assert_eq!(tasks.tasks[0].state(), TaskState::TaskRunning);
    assert_eq!(tasks.tasks[0].framework_id.value, scheduler.id.as_str());

    let metrics = crate::metrics::values(&snapshot);
    assert_eq!(metrics["master/cpus_used"], 1.0);
    assert_eq!(metrics["master/cpus_percent"], 0.25);
    assert_eq!(metrics["master/tasks_running"], 1.0);
    assert_eq!(metrics["allocator/mesos/resources/cpus/offered_or_allocated"], 4.0);
    let of_framework = format!("master/frameworks/test/{}/tasks/active/task_running", scheduler.id);
    assert_eq!(metrics.get(&of_framework), Some(&1.0));
}

#[test]
fn rule_499_the_stream_opens_with_the_whole_state() {
    let mut world = World::new();
    world.running(framework_info());
    let snapshot = snapshot(&world);
    let subscribed = view(&snapshot).subscribed().subscribed.expect("the event has a state");
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert_eq!(subscribed.get_state, view(&snapshot).get_state().get_state);
}

#[test]
fn lists_hold_what_the_whole_answer_holds() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    world.acknowledge(&agent, &scheduler, "t", TaskState::TaskFinished);
    let snapshot = snapshot(&world);
    let state = view(&snapshot).get_state().get_state.expect("the answer has a state");
    let count = |list| view(&snapshot).items(list).count();
    let tasks = state.get_tasks.expect("the state has tasks");
    assert_eq!((count(List::Tasks), count(List::CompletedTasks)), (0, 1));
    assert_eq!(count(List::CompletedTasks), tasks.completed_tasks.len());
    assert_eq!(count(List::Agents), 1);
    assert_eq!(count(List::Frameworks), 1);
    let first = view(&snapshot).items(List::CompletedTasks).next();
    assert!(matches!(first, Some(Item::Task(task)) if *task == tasks.completed_tasks[0]));
    let groups = layout(Type::GetState).expect("the state has groups");
    let keys: Vec<_> = groups.iter().map(|group| group.key).collect();
    assert_eq!(keys, ["get_tasks", "get_executors", "get_frameworks", "get_agents"]);
    assert!(layout(Type::GetHealth).is_none());
}
