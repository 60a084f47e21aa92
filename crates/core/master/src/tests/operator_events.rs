//! What operators who watch are told.

use mezzo_mesos::v1::{self, TaskState, master::event::Type as Published, scheduler::call};
use mezzo_protocol::link::{self, to_master};

use crate::testing::{World, call, task};

#[test]
fn rule_500_the_events_of_a_short_life() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    let scheduler = world.framework();
    let offer = world.offer(&scheduler);
    world.launch(&scheduler, &offer, vec![task("t", &offer, "cpus:1;mem:32")]);
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    world.call(&scheduler, call(call::Type::Teardown, |_| {}));
    world.tell(agent.link, to_master::Message::Unregister(link::Unregister {}));
    let published = world.published();
    let types: Vec<_> = published.iter().map(|event| event.r#type()).collect();
    use Published::*;
    assert_eq!(types, [AgentAdded, FrameworkAdded, TaskAdded, TaskUpdated, FrameworkRemoved, AgentRemoved]);

    let added = published[0].agent_added.as_ref().expect("of its type");
    assert_eq!(added.agent.pid(), "agent(1)@10.0.0.1:5051");
    assert!(added.agent.active && added.agent.registered_time.is_some());
    assert_eq!(added.agent.total_resources.len(), 2);

    let framework = &published[1].framework_added.as_ref().expect("of its type").framework;
    assert!(framework.active && framework.connected && !framework.recovered);
    assert_eq!(framework.registered_time, framework.reregistered_time);
    assert_eq!(framework.unregistered_time.map(|time| time.nanoseconds), Some(0));

    let staging = &published[2].task_added.as_ref().expect("of its type").task;
    assert_eq!((staging.state(), staging.executor_id.is_none()), (TaskState::TaskStaging, true));
    assert!(staging.statuses.is_empty());

    let updated = published[3].task_updated.as_ref().expect("of its type");
    assert_eq!((updated.state(), updated.status.state()), (TaskState::TaskFinished, TaskState::TaskFinished));
    assert_eq!(updated.status.data(), b"data");

    let removed = published[4].framework_removed.as_ref().expect("of its type");
    assert_eq!(removed.framework_info.id, Some(v1::FrameworkId { value: scheduler.id.to_string() }));
}

#[test]
fn events_of_tasks_are_not_made_while_nobody_watches() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    let scheduler = world.framework();
    world.master.set_watched(false);
    let offer = world.offer(&scheduler);
    world.launch(&scheduler, &offer, vec![task("t", &offer, "cpus:1;mem:32")]);
    world.master.set_watched(true);
    world.update(&agent, &scheduler, "t", TaskState::TaskFinished);
    let types: Vec<_> = world.published().iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [Published::AgentAdded, Published::FrameworkAdded, Published::TaskUpdated]);
}
