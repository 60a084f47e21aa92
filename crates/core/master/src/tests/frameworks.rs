//! Frameworks that change, go away and end.

use mezzo_mesos::v1::{
    self, TaskState, framework_info::capability::Type, master::event::Type as Published, scheduler::call,
    task_status::Reason,
};
use mezzo_protocol::link::to_agent;

use crate::{
    Answer, Config,
    testing::{World, call, config, framework_info, with_capabilities},
};

fn teardown() -> v1::scheduler::Call {
    call(call::Type::Teardown, |_| {})
}

#[test]
fn rule_61_a_disconnected_framework_gets_no_offers() {
    let mut world = World::new();
    let patient = v1::FrameworkInfo { failover_timeout: Some(100.0), ..framework_info() };
    let scheduler = world.subscribe(patient.clone()).expect("valid");
    world.agent("cpus:4;mem:4096");
    world.offer(&scheduler);
    world.close(&scheduler);
    let framework = &world.master.state.frameworks[&scheduler.id];
    assert!(!framework.active && framework.stream.is_none());
    assert!(world.master.offer_agents.is_empty());
    world.pass(5.0);
    assert!(world.master.offer_agents.is_empty());
    // Rule 93: it comes back and the agent is offered again at once.
    let id = Some(v1::FrameworkId { value: scheduler.id.to_string() });
    let back = world.subscribe(v1::FrameworkInfo { id, ..patient }).expect("a failover");
    assert_eq!(world.offers(&back).len(), 1);
}

#[test]
fn rule_62_a_framework_is_removed_after_its_failover_timeout() {
    let mut world = World::new();
    let patient = v1::FrameworkInfo { failover_timeout: Some(100.0), ..framework_info() };
    let scheduler = world.subscribe(patient).expect("valid");
    world.close(&scheduler);
    world.pass(99.0);
    assert!(world.master.state.frameworks.contains_key(&scheduler.id));
    world.pass(2.0);
    assert!(!world.master.state.frameworks.contains_key(&scheduler.id));

    let hasty = world.framework();
    world.close(&hasty);
    assert!(!world.master.state.frameworks.contains_key(&hasty.id));
    assert_eq!(world.master.state.completed_frameworks.len(), 2);
}

/// The scheduler that would have to acknowledge the end is gone, so that the agent would repeat it for ever, and
/// a drain of it would never be over.
#[test]
fn rule_64_agents_with_ends_that_nobody_acknowledged_are_told() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    world.told(agent.link);
    assert_eq!(world.call(&scheduler, teardown()), Answer::Accepted);
    let told = world.told(agent.link);
    assert!(matches!(told.as_slice(), [to_agent::Message::ShutdownFramework(_)]), "{told:?}");
}

#[test]
fn rule_64_tasks_of_a_removed_framework_are_killed() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    assert_eq!(world.call(&scheduler, teardown()), Answer::Accepted);
    assert!(world.closed.contains(&scheduler.stream));
    let published = world.published();
    let types: Vec<_> = published.iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [Published::TaskUpdated, Published::FrameworkRemoved]);
    let status = &published[0].task_updated.as_ref().expect("of its type").status;
    assert_eq!(status.state(), TaskState::TaskKilled);
    assert_eq!(status.reason(), Reason::FrameworkRemoved);
    let told = world.told(agent.link);
    assert!(matches!(told.as_slice(), [to_agent::Message::ShutdownFramework(_)]), "{told:?}");
    let completed = &world.master.state.completed_frameworks[0];
    assert_eq!(completed.completed_tasks.len(), 1);
    assert!(world.master.state.agents[&agent.id].used.is_empty());
    assert!(world.master.task_agents.is_empty());
    let answer = world.call(&scheduler, teardown());
    assert_eq!(answer, Answer::BadRequest("Framework cannot be found".into()));
}

#[test]
fn rule_66_histories_are_bounded() {
    let settings = Config { completed_frameworks_max: 2, completed_tasks_max: 1, ..config() };
    let mut world = World::with(settings, Vec::new());
    for _ in 0..4 {
        let scheduler = world.framework();
        world.call(&scheduler, teardown());
    }
    let ids: Vec<_> = world
        .master
        .state
        .completed_frameworks
        .iter()
        .map(|f| f.info.id.as_ref().map_or("", |id| id.value.as_str()))
        .collect();
    assert_eq!(ids, ["m-0002", "m-0003"]);
}

fn update(info: v1::FrameworkInfo) -> v1::scheduler::Call {
    call(call::Type::UpdateFramework, |call| {
        let update = call::UpdateFramework { framework_info: info, ..Default::default() };
        call.update_framework = Some(Box::new(update));
    })
}

#[test]
fn rule_59_and_67_update_framework() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    let id = Some(v1::FrameworkId { value: scheduler.id.to_string() });
    let info = v1::FrameworkInfo { id, name: "renamed".into(), ..framework_info() };
    assert_eq!(world.call(&scheduler, update(info.clone())), Answer::Ok);
    assert_eq!(world.published_types(), [Published::FrameworkUpdated]);
    let told = world.told(agent.link);
    assert!(matches!(told.as_slice(), [to_agent::Message::UpdateFramework(_)]), "{told:?}");
    let user = v1::FrameworkInfo { user: "other".into(), ..info };
    let text = "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported; \
                attempted to update from 'nobody' to 'other'";
    assert_eq!(world.call(&scheduler, update(user)), Answer::BadRequest(text.into()));
}

#[test]
fn rule_68_offers_of_a_dropped_role_are_rescinded() {
    let mut world = World::new();
    let roles = |roles: &[&str], id| v1::FrameworkInfo {
        id,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..with_capabilities(framework_info(), &[Type::MultiRole])
    };
    let scheduler = world.subscribe(roles(&["a"], None)).expect("valid");
    world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    assert_eq!(offer.allocation_info.as_ref().map(|info| info.role()), Some("a"));
    let id = Some(v1::FrameworkId { value: scheduler.id.to_string() });
    assert_eq!(world.call(&scheduler, update(roles(&["b"], id))), Answer::Ok);
    let events = world.events(&scheduler);
    assert_eq!(events[0].rescind.as_ref().map(|r| &r.offer_id), Some(&offer.id));
}
