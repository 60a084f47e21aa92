//! Agents that come back.

use std::sync::Arc;

use mezzo_mesos::v1::{
    self, TaskState, framework_info::capability::Type, master::event::Type as Published, scheduler::call,
    task_status::Reason,
};
use mezzo_protocol::link::{self, to_agent};

use crate::{
    Input,
    testing::{
        FakeAgent, World, call, description, framework_info, random, resources, task, task_id,
        with_capabilities,
    },
};

fn checkpointing() -> v1::FrameworkInfo {
    let info = v1::FrameworkInfo { checkpoint: Some(true), ..framework_info() };
    with_capabilities(info, &[Type::PartitionAware])
}

/// The agent's own word, with nothing on it.
fn empty(id: &str, ip: &str) -> link::Reregister {
    let mut agent = description("cpus:4;mem:4096", ip);
    if let Some(info) = &mut agent.info {
        info.id = Some(v1::AgentId { value: id.into() });
    }
    link::Reregister { agent: Some(agent), ..Default::default() }
}

fn allocated(text: &str) -> Vec<v1::Resource> {
    let mut resources = resources(text);
    for resource in &mut resources {
        resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some("*".into()) });
    }
    resources
}

fn running_task(framework: &str, agent: &str, id: &str) -> v1::Task {
    let state = TaskState::TaskRunning;
    v1::Task {
        name: id.into(),
        task_id: task_id(id),
        framework_id: v1::FrameworkId { value: framework.into() },
        agent_id: v1::AgentId { value: agent.into() },
        state: state.into(),
        status_update_state: Some(state.into()),
        status_update_uuid: Some(vec![1; 16]),
        resources: allocated("cpus:1;mem:32"),
        statuses: vec![v1::TaskStatus { task_id: task_id(id), state: state.into(), ..Default::default() }],
        ..Default::default()
    }
}

fn info_of(framework: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { id: Some(v1::FrameworkId { value: framework.into() }), ..checkpointing() }
}

fn ip_of(world: &World, agent: &FakeAgent) -> String {
    world.master.state.agents[&agent.id].ip.clone()
}

#[test]
fn rule_65_a_master_learns_frameworks_and_tasks_from_agents() {
    let mut world = World::new();
    let link = world.reregister(link::Reregister {
        frameworks: vec![info_of("old-0000")],
        tasks: vec![running_task("old-0000", "old-S0", "t")],
        ..empty("old-S0", "10.0.0.1")
    });
    assert!(matches!(world.told(link).first(), Some(to_agent::Message::Registered(_))));
    assert_eq!(world.published_types(), [Published::AgentAdded]);
    let framework = world.master.state.frameworks["old-0000"].clone();
    assert!(framework.recovered && !framework.active && framework.failover_deadline.is_none());
    assert!(world.master.task(&"old-0000".into(), &"t".into()).is_some());
    world.pass(60.0);
    let scheduler = world.subscribe(info_of("old-0000")).expect("a failover");
    assert!(!world.master.state.frameworks["old-0000"].recovered);
    let offer = world.offer(&scheduler);
    let cpus = offer.resources.iter().find(|r| r.name == "cpus").and_then(|r| r.scalar.as_ref());
    assert_eq!(cpus.map(|scalar| scalar.value), Some(3.0));
    // Rule 232.
    world.call(&scheduler, call(call::Type::Reconcile, |call| call.reconcile = Some(Default::default())));
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskRunning);
}

#[test]
fn rule_247_an_unreachable_agent_comes_back_with_its_tasks() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(checkpointing());
    let ip = ip_of(&world, &agent);
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.take_agent_out(moment, &agent.id, crate::agents::Departure::Unreachable("test"));
    world.step(Input::Timer);
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskUnreachable);
    world.published();
    world.reregister(link::Reregister {
        frameworks: vec![info_of(&scheduler.id)],
        tasks: vec![running_task(&scheduler.id, &agent.id, "t")],
        ..empty(&agent.id, &ip)
    });
    let status = world.status(&scheduler);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskRunning, Reason::AgentReregistered));
    assert_eq!(status.uuid, None);
    assert_eq!(world.published_types(), [Published::AgentAdded]);
    assert!(world.master.state.unreachable_agents.is_empty());
    assert!(world.master.state.frameworks[&scheduler.id].unreachable_tasks.is_empty());
}

/// F052: the launch never reached an agent that became unreachable and returns.
#[test]
fn rule_237_a_task_that_never_reached_an_unreachable_agent_is_asked_for() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(checkpointing());
    let ip = ip_of(&world, &agent);
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.take_agent_out(moment, &agent.id, crate::agents::Departure::Unreachable("test"));
    world.step(Input::Timer);
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskUnreachable);
    let link = world.reregister(empty(&agent.id, &ip));
    let told = world.told(link);
    let registered = told.iter().position(|m| matches!(m, to_agent::Message::Registered(_)));
    let asked = told.iter().position(|message| match message {
        to_agent::Message::ReconcileTasks(tasks) => tasks.tasks.len() == 1 && tasks.frameworks.len() == 1,
        _ => false,
    });
    assert!(registered < asked, "{told:?}");
    assert!(world.master.state.frameworks[&scheduler.id].unreachable_tasks.is_empty());
}

#[test]
fn rule_237_tasks_that_the_agent_lacks_are_asked_for() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(checkpointing());
    let ip = ip_of(&world, &agent);
    world.step(Input::LinkLost(agent.link));
    let link = world.reregister(empty(&agent.id, &ip));
    let told = world.told(link);
    let lacking = told.iter().find_map(|message| match message {
        to_agent::Message::ReconcileTasks(tasks) => Some(tasks),
        _ => None,
    });
    let lacking = lacking.expect("the agent is asked");
    // The agent may know nothing of the framework, and has to keep the end of its task.
    assert_eq!(lacking.frameworks, [info_of(&scheduler.id)]);
    let lacking = &lacking.tasks;
    assert_eq!((lacking.len(), lacking[0].partition_aware), (1, true));
    assert_eq!(lacking[0].framework_id.as_ref().map(|id| id.value.as_str()), Some(scheduler.id.as_str()));
    assert!(world.statuses(&scheduler).is_empty(), "the agent will answer");
    // No AGENT_ADDED: it was there all the time.
    assert!(!world.published_types().contains(&Published::AgentAdded));
    assert_eq!(world.offers(&scheduler).len(), 1);
}

#[test]
fn an_agent_that_is_back_may_run_more_than_the_books_say() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(checkpointing());
    let ip = ip_of(&world, &agent);
    world.step(Input::LinkDown(agent.link));
    let tasks = ["t", "u"].map(|id| running_task(&scheduler.id, &agent.id, id)).to_vec();
    world.reregister(link::Reregister {
        frameworks: vec![info_of(&scheduler.id)],
        tasks,
        ..empty(&agent.id, &ip)
    });
    assert!(world.closed_links.contains(&agent.link));
    assert_eq!(world.master.task_agents[&scheduler.id].len(), 2);
    let offers = world.offers(&scheduler);
    let cpus = offers[0].resources.iter().find(|r| r.name == "cpus").and_then(|r| r.scalar.as_ref());
    assert_eq!(cpus.map(|scalar| scalar.value), Some(2.0));
}

#[test]
fn rule_248_tasks_of_completed_frameworks_are_shut_down() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(checkpointing());
    let ip = ip_of(&world, &agent);
    world.step(Input::LinkLost(agent.link));
    world.call(&scheduler, call(call::Type::Teardown, |_| {}));
    let link = world.reregister(link::Reregister {
        frameworks: vec![info_of(&scheduler.id)],
        tasks: vec![running_task(&scheduler.id, &agent.id, "t")],
        ..empty(&agent.id, &ip)
    });
    let told = world.told(link);
    assert!(told.iter().any(|m| matches!(m, to_agent::Message::ShutdownFramework(_))), "{told:?}");
    assert!(world.master.task_agents.is_empty() && world.master.state.frameworks.is_empty());
}

#[test]
fn rule_249_gone_agents_stay_gone() {
    let mut world = World::new();
    let agent = world.agent("cpus:1;mem:64");
    let ip = ip_of(&world, &agent);
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.mark_agent_gone(moment, &agent.id);
    let link = world.reregister(empty(&agent.id, &ip));
    let told = world.told(link);
    assert!(matches!(told.as_slice(), [to_agent::Message::Shutdown(_)]), "{told:?}");
    assert!(world.closed_links.contains(&link));
    assert!(world.master.state.agents.is_empty());
}

#[test]
fn rule_250_another_address_under_the_same_id() {
    let mut world = World::new();
    let agent = world.agent("cpus:1;mem:64");
    let link = world.reregister(empty(&agent.id, "10.9.9.9"));
    let told = world.told(link);
    assert!(matches!(told.as_slice(), [to_agent::Message::Shutdown(_)]), "{told:?}");
    assert_eq!(world.master.state.agents[&agent.id].link, Some(agent.link));
}

#[test]
fn rule_268_a_drain_survives_absence() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    let ip = ip_of(&world, &agent);
    let drain = v1::DrainInfo { state: v1::DrainState::Draining.into(), config: Default::default() };
    if let Some(entry) = world.master.state.agents.get_mut(&agent.id).map(Arc::make_mut) {
        entry.drain = Some(drain);
        entry.deactivated = true;
    }
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.take_agent_out(moment, &agent.id, crate::agents::Departure::Unreachable("test"));
    let scheduler = world.framework();
    let link = world.reregister(link::Reregister {
        frameworks: vec![info_of(&scheduler.id)],
        tasks: vec![running_task(&scheduler.id, &agent.id, "t")],
        ..empty(&agent.id, &ip)
    });
    let entry = &world.master.state.agents[&agent.id];
    assert!(entry.deactivated && !entry.active);
    assert_eq!(entry.drain.as_ref().map(|drain| drain.state()), Some(v1::DrainState::Draining));
    let told = world.told(link);
    assert!(told.iter().any(|m| matches!(m, to_agent::Message::Drain(_))), "{told:?}");
    assert!(world.offers(&scheduler).is_empty());
    // Rule 264: it is drained once its last task is acknowledged.
    let back = FakeAgent { id: agent.id.clone(), link };
    world.update(&back, &scheduler, "t", TaskState::TaskKilled);
    let acknowledge = call(call::Type::Acknowledge, |call| {
        call.acknowledge = Some(call::Acknowledge {
            agent_id: v1::AgentId { value: agent.id.to_string() },
            task_id: task_id("t"),
            uuid: crate::testing::uuid_of(TaskState::TaskKilled),
        });
    });
    world.call(&scheduler, acknowledge);
    let entry = &world.master.state.agents[&agent.id];
    assert_eq!(entry.drain.as_ref().map(|drain| drain.state()), Some(v1::DrainState::Drained));
    assert!(entry.deactivated);
}

/// It was taken back while it was away, or had not heard of it.
#[test]
fn rule_267_an_agent_that_comes_back_hears_that_its_drain_is_over() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    let ip = ip_of(&world, &agent);
    for is_away in [true, false] {
        if is_away {
            let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
            world.master.take_agent_out(moment, &agent.id, crate::agents::Departure::Unreachable("test"));
        }
        let mut message = empty(&agent.id, &ip);
        let over = to_agent::Message::Drain(link::Drain { config: None });
        let link = world.reregister(message.clone());
        assert!(!world.told(link).contains(&over), "nothing to hear for one that drains nothing");
        message.agent.get_or_insert_default().drain_config = Some(v1::DrainConfig::default());
        let link = world.reregister(message);
        assert!(world.told(link).contains(&over));
    }
}

/// An agent that died had said that its task runs, over a connection that was cut off; its next life tells the
/// end first.
#[test]
fn what_comes_over_an_older_link_was_said_before() {
    let mut world = World::new();
    let framework = world.subscribe(info_of("old-0000")).expect("subscribed");
    let before = world.reregister(empty("old-S0", "10.0.0.1"));
    world.step(Input::LinkLost(before));
    let after = world.reregister(empty("old-S0", "10.0.0.1"));
    world.closed_links.clear();
    let late = link::Reregister {
        tasks: vec![running_task("old-0000", "old-S0", "t")],
        ..empty("old-S0", "10.0.0.1")
    };
    world.tell(before, link::to_master::Message::Reregister(late));
    assert_eq!(world.closed_links, [before]);
    assert_eq!(world.master.state.agents["old-S0"].link, Some(after));
    assert!(world.master.task(&"old-0000".into(), &"t".into()).is_none());
    assert!(world.statuses(&framework).is_empty());
}

#[test]
fn who_registered_over_an_older_link_does_not_take_a_newer_agents_place() {
    let mut world = World::new();
    let before = world.reregister(empty("old-S0", "10.0.0.1"));
    world.step(Input::LinkLost(before));
    let after = world.reregister(empty("old-S1", "10.0.0.1"));
    world.closed_links.clear();
    let agent = Some(description("cpus:4;mem:4096", "10.0.0.1"));
    world.tell(before, link::to_master::Message::Register(link::Register { agent }));
    world.tell(before, link::to_master::Message::Reregister(empty("old-S0", "10.0.0.1")));
    assert_eq!(world.closed_links, [before, before]);
    assert_eq!(world.master.state.agents.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["old-S1"]);
    assert_eq!(world.master.state.agents["old-S1"].link, Some(after));
}

#[test]
fn an_agent_that_asks_twice_is_older_than_what_was_sent_meanwhile() {
    let mut world = World::new();
    let framework = info_of("old-0000");
    let before = || link::Reregister { frameworks: vec![framework.clone()], ..empty("old-S0", "10.0.0.1") };
    let link = world.reregister(before());
    let scheduler = world.subscribe(framework.clone()).expect("a failover");
    let offer = world.offer(&scheduler);
    world.launch(&scheduler, &offer, vec![task("t", &offer, "cpus:1;mem:32")]);
    world.told(link);
    world.tell(link, link::to_master::Message::Reregister(before()));
    let told = world.told(link);
    assert!(matches!(told.as_slice(), [to_agent::Message::Registered(_)]), "{told:?}");
    assert!(world.master.task(&"old-0000".into(), &"t".into()).is_some());
}
