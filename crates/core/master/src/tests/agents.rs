//! Agents that come, do not answer, leave.

use std::time::Duration;

use mezzo_mesos::v1::{
    self, TaskState, framework_info::capability::Type, master::event::Type as Published, task_status::Reason,
};
use mezzo_protocol::{
    link::{self, to_agent, to_master},
    records::registry_record::Record,
};

use crate::{
    Config, Input,
    testing::{FakeAgent, World, config, description, framework_info, random, task_id, with_capabilities},
};

fn checkpointing() -> v1::FrameworkInfo {
    v1::FrameworkInfo { checkpoint: Some(true), failover_timeout: Some(1e6), ..framework_info() }
}

fn aware() -> v1::FrameworkInfo {
    with_capabilities(checkpointing(), &[Type::PartitionAware])
}

/// Lets time pass while some agents answer their pings.
fn pass_answering(world: &mut World, seconds: u32, answering: &[&FakeAgent]) {
    for _ in 0..seconds {
        world.pass(1.0);
        for agent in answering {
            let pinged = world.told(agent.link).iter().any(|m| matches!(m, to_agent::Message::Ping(_)));
            if pinged {
                world.tell(agent.link, to_master::Message::Pong(link::Pong {}));
            }
        }
    }
}

#[test]
fn rule_238_and_257_registration() {
    let mut world = World::new();
    let link = crate::LinkId(0);
    let agent = Some(description("cpus:1", "10.0.0.1"));
    world.tell(link, to_master::Message::Register(link::Register { agent }));
    let told = world.told(link);
    let [to_agent::Message::Registered(registered)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(registered.agent_id.as_ref().map(|id| id.value.as_str()), Some("m-S0"));
    assert_eq!(registered.ping_timeout_nanos, 75_000_000_000);
    assert!(matches!(world.records.as_slice(), [Record::AdmittedAgent(_)]));
    assert_eq!(world.published_types(), [Published::AgentAdded]);
    assert_eq!(world.agent("cpus:1").id.as_str(), "m-S1");
}

#[test]
fn rule_239_unanswered_pings_make_an_agent_unreachable() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(aware());
    let other = world.agent("cpus:1;mem:64");
    world.records.clear();
    pass_answering(&mut world, 88, &[&other]);
    assert!(world.master.state.agents.contains_key(&agent.id));
    pass_answering(&mut world, 3, &[&other]);
    assert!(!world.master.state.agents.contains_key(&agent.id));
    assert!(world.master.state.agents.contains_key(&other.id));
    assert!(world.master.state.unreachable_agents.contains_key(&agent.id));
    // Rule 245: the registry, the task, then everybody.
    assert!(matches!(world.records.as_slice(), [Record::UnreachableAgent(_)]));
    let events = world.events(&scheduler);
    let status = events.iter().find_map(|e| e.update.as_ref()).map(|u| &u.status).expect("told");
    assert_eq!((status.state(), status.reason()), (TaskState::TaskUnreachable, Reason::AgentRemoved));
    assert!(status.unreachable_time.is_some() && status.uuid.is_none());
    let failure = events.iter().find_map(|e| e.failure.as_ref()).expect("told");
    assert_eq!(failure.agent_id.as_ref().map(|id| id.value.as_str()), Some(agent.id.as_str()));
    assert_eq!(world.master.state.frameworks[&scheduler.id].unreachable_tasks.len(), 1);
    // Rule 246.
    assert!(!world.published_types().contains(&Published::AgentRemoved));
    // Rule 152: its id stays taken.
    let offer = world.offers(&scheduler);
    assert!(offer.is_empty() || offer[0].agent_id.value == other.id.as_str());
}

#[test]
fn rule_239_an_agent_that_came_back_is_pinged_once() {
    let mut world = World::new();
    let agent = world.agent_described(description("cpus:1;mem:64", "10.0.0.1"));
    world.pass(5.0);
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.take_agent_out(moment, &agent.id, crate::agents::Departure::Unreachable("test"));
    let mut back = description("cpus:1;mem:64", "10.0.0.1");
    if let Some(info) = &mut back.info {
        info.id = Some(v1::AgentId { value: agent.id.to_string() });
    }
    let link = world.reregister(link::Reregister { agent: Some(back), ..Default::default() });
    world.pass(60.0);
    let pings = world.told(link).into_iter().filter(|m| matches!(m, to_agent::Message::Ping(_))).count();
    assert_eq!(pings, 4);
}

#[test]
fn rule_245_frameworks_that_are_not_aware_hear_lost() {
    let mut world = World::new();
    let (scheduler, _) = world.running(checkpointing());
    world.pass(91.0);
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskLost);
    assert_eq!(world.master.state.frameworks[&scheduler.id].unreachable_tasks.len(), 1);
}

#[test]
fn rule_240_and_241_the_rate_limit_and_a_late_answer() {
    let limit = Some((1, Duration::from_secs(1000)));
    let mut world = World::with(Config { agent_removal_rate_limit: limit, ..config() }, Vec::new());
    let agents: Vec<FakeAgent> = (0..3).map(|_| world.agent("cpus:1;mem:64")).collect();
    world.pass(95.0);
    assert_eq!(world.master.state.agents.len(), 2, "one at once, the others wait");
    let saved = agents.iter().rev().find(|a| world.master.state.agents.contains_key(&a.id)).expect("waits");
    world.tell(saved.link, to_master::Message::Pong(link::Pong {}));
    pass_answering(&mut world, 1100, &[saved]);
    assert_eq!(world.master.state.agents.keys().collect::<Vec<_>>(), [&saved.id]);
}

#[test]
fn rule_242_a_broken_connection_rescinds_offers_and_keeps_tasks() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(checkpointing());
    assert_eq!(world.offers(&scheduler).len() + world.master.offer_agents.len(), 1);
    world.step(Input::LinkDown(agent.link));
    assert!(world.events(&scheduler).iter().any(|event| event.rescind.is_some()));
    assert!(world.offers(&scheduler).is_empty());
    assert!(world.master.task(&scheduler.id, &"t".into()).is_some());
    world.step(Input::LinkResumed(agent.link));
    assert_eq!(world.offers(&scheduler).len(), 1);
    world.step(Input::LinkLost(agent.link));
    assert!(world.master.task(&scheduler.id, &"t".into()).is_some());
    assert!(world.statuses(&scheduler).is_empty());
}

#[test]
fn rule_243_tasks_without_checkpoints_end_with_the_connection() {
    for info in [framework_info(), with_capabilities(framework_info(), &[Type::PartitionAware])] {
        let mut world = World::new();
        let (scheduler, agent) = world.running(info);
        world.step(Input::LinkLost(agent.link));
        let status = world.status(&scheduler);
        assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentDisconnected));
        assert!(world.master.task_agents.is_empty());
    }
}

#[test]
fn rule_244_a_disconnected_agent_has_10_minutes() {
    let settings = Config { agent_ping_timeouts_max: 1000, ..config() };
    let mut world = World::with(settings, Vec::new());
    let agent = world.agent("cpus:1;mem:64");
    world.step(Input::LinkLost(agent.link));
    world.pass(599.0);
    assert!(world.master.state.agents.contains_key(&agent.id));
    world.pass(2.0);
    assert!(world.master.state.unreachable_agents.contains_key(&agent.id));
}

#[test]
fn rule_251_a_fresh_agent_at_the_same_address_replaces_the_old() {
    let mut world = World::new();
    let old = world.agent_described(description("cpus:1;mem:64", "10.0.0.1"));
    world.published();
    let new = world.agent_described(description("cpus:1;mem:64", "10.0.0.1"));
    assert_eq!(world.master.state.agents.keys().collect::<Vec<_>>(), [&new.id]);
    assert_eq!(world.published_types(), [Published::AgentRemoved, Published::AgentAdded]);
    assert!(world.closed_links.contains(&old.link));
}

#[test]
fn rule_252_a_leaving_agent_takes_its_tasks_along() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(aware());
    world.tell(agent.link, to_master::Message::Unregister(link::Unregister {}));
    let status = world.status(&scheduler);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRemoved));
    assert!(matches!(world.records.as_slice(), [Record::ForgottenAgent(_)]));
    assert!(world.published_types().contains(&Published::AgentRemoved));
    assert!(world.master.state.frameworks[&scheduler.id].unreachable_tasks.is_empty());
}

#[test]
fn rule_254_agents_before_1_0_are_ignored() {
    let mut world = World::new();
    let old = link::AgentDescription { version: "0.28.2".into(), ..description("cpus:1", "10.0.0.1") };
    let link = crate::LinkId(1);
    world.tell(link, to_master::Message::Register(link::Register { agent: Some(old) }));
    assert!(world.master.state.agents.is_empty());
    assert_eq!(world.closed_links, [link]);
}

#[test]
fn rule_256_domains() {
    let link = crate::LinkId(1);
    let register = |agent| to_master::Message::Register(link::Register { agent: Some(agent) });
    let mut world = World::with(Config { require_agent_domain: true, ..config() }, Vec::new());
    world.tell(link, register(description("cpus:1", "10.0.0.1")));
    assert!(world.master.state.agents.is_empty());
    let mut world = World::new();
    let mut agent = description("cpus:1", "10.0.0.1");
    if let Some(info) = &mut agent.info {
        info.domain = Some(v1::DomainInfo::default());
    }
    world.tell(link, register(agent));
    assert!(world.master.state.agents.is_empty(), "the master has no domain");
}

#[test]
fn rule_259_gone_agents() {
    let expected = [(aware(), TaskState::TaskGoneByOperator), (checkpointing(), TaskState::TaskLost)];
    for (info, state) in expected {
        let mut world = World::new();
        let (scheduler, agent) = world.running(info);
        let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
        assert!(world.master.mark_agent_gone(moment, &agent.id));
        // Rule 258: again, or never known.
        assert!(world.master.mark_agent_gone(moment, &agent.id));
        assert!(!world.master.mark_agent_gone(moment, &"nope".into()));
        world.step(Input::Timer);
        assert_eq!(world.status(&scheduler).state(), state);
        let told = world.told(agent.link);
        assert!(told.iter().any(|message| matches!(message, to_agent::Message::Shutdown(_))), "{told:?}");
        assert!(matches!(world.records.as_slice(), [Record::GoneAgent(_)]));
    }
}

/// F055: a task that has ended keeps its end, and its framework hears it from the master when the agent
/// cannot tell it any more.
#[test]
fn rule_259_what_ended_before_its_agent_was_gone_stays_ended() {
    use crate::agents::Departure;
    let departures: [fn() -> Departure; 3] =
        [|| Departure::Gone, || Departure::Removed("test"), || Departure::Unreachable("test")];
    for departure in departures {
        let mut world = World::new();
        let (scheduler, agent) = world.running(aware());
        world.events(&scheduler);
        // An update that waits for its acknowledgement keeps the end from being told.
        let status = v1::TaskStatus {
            task_id: task_id("t"),
            state: TaskState::TaskRunning.into(),
            uuid: Some(vec![7; 16]),
            ..Default::default()
        };
        world.tell(
            agent.link,
            to_master::Message::StatusUpdate(link::StatusUpdate {
                framework_id: Some(v1::FrameworkId { value: scheduler.id.to_string() }),
                executor_id: None,
                status: Some(status),
                latest_state: TaskState::TaskFinished.into(),
            }),
        );
        world.events(&scheduler);
        let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
        world.master.take_agent_out(moment, &agent.id, departure());
        world.step(Input::Timer);
        let told: Vec<TaskState> = world.statuses(&scheduler).iter().map(v1::TaskStatus::state).collect();
        match departure() {
            // It may come back and tell the end with all that belongs to it.
            Departure::Unreachable(_) => assert_eq!(told, []),
            _ => assert_eq!(told, [TaskState::TaskFinished]),
        }
        let framework = &world.master.state.frameworks[&scheduler.id];
        assert_eq!(framework.completed_tasks[0].info.state(), TaskState::TaskFinished);
    }
}

#[test]
fn rule_255_the_registry_is_pruned() {
    let settings = Config { registry_agent_count_max: 1, ..config() };
    let mut world = World::with(settings, Vec::new());
    let agents: Vec<FakeAgent> = (0..2).map(|_| world.agent("cpus:1;mem:64")).collect();
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.take_agent_out(moment, &agents[0].id, crate::agents::Departure::Unreachable("test"));
    world.pass(1.0);
    let moment = &mut crate::master::Moment { now: world.now, rng: &mut random() };
    world.master.take_agent_out(moment, &agents[1].id, crate::agents::Departure::Unreachable("test"));
    world.pass(901.0);
    assert_eq!(world.master.state.unreachable_agents.keys().collect::<Vec<_>>(), [&agents[1].id]);
    world.pass(15.0 * 24.0 * 3600.0);
    assert!(world.master.state.unreachable_agents.is_empty());
}

#[test]
fn rule_253_agents_that_stay_away_after_a_failover() {
    let recovered = |limit| {
        let settings = Config { recovery_agent_removal_limit: limit, ..config() };
        let mut world = World::with(settings, Vec::new());
        for id in ["old-S0", "old-S1"] {
            let info = v1::AgentInfo::default();
            world.master.state.recovered_agents.insert(id.into(), info.into());
        }
        world.master.start_timers(world.now);
        world.pass(599.0);
        assert_eq!(world.master.state.recovered_agents.len(), 2);
        world.pass(2.0);
        world
    };
    let world = recovered(1.0);
    assert_eq!(world.master.state.unreachable_agents.len(), 2);
    assert_eq!(world.exit, None);
    assert!(recovered(0.4).exit.is_some());
}

#[test]
fn rule_251_a_new_agent_in_the_place_of_one_that_has_not_come_back() {
    let mut world = World::new();
    let description = description("cpus:1;mem:64", "10.0.0.1");
    let info = description.info.clone().expect("described");
    let elsewhere = v1::AgentInfo { hostname: "elsewhere".into(), ..info.clone() };
    for (id, info) in [("old-S0", info), ("old-S1", elsewhere)] {
        world.master.state.recovered_agents.insert(id.into(), info.into());
    }
    let scheduler = world.framework();
    world.agent_described(description);
    // Killed before its id was on its disk, it has lost that id for good: nothing has to be waited for.
    assert_eq!(
        world.master.state.recovered_agents.keys().map(|id| id.as_str()).collect::<Vec<_>>(),
        ["old-S1"]
    );
    assert!(matches!(world.records.as_slice(), [Record::ForgottenAgent(_), Record::AdmittedAgent(_)]));
    let failure = world.events(&scheduler).into_iter().find_map(|event| event.failure).expect("told");
    assert_eq!(failure.agent_id.map(|id| id.value).as_deref(), Some("old-S0"));
}

#[test]
fn rule_275_agents_of_a_machine_that_is_down_are_shut_down() {
    let mut world = World::new();
    let machine = crate::state::Machine {
        info: v1::MachineInfo {
            id: v1::MachineId { hostname: Some("HOST-10.0.0.1".into()), ip: None },
            mode: Some(v1::machine_info::Mode::Down.into()),
            unavailability: None,
        },
        statuses: Vec::new(),
    };
    world.master.state.machines = vec![machine].into();
    let link = crate::LinkId(1);
    let agent = Some(description("cpus:1", "10.0.0.1"));
    world.tell(link, to_master::Message::Register(link::Register { agent }));
    let told = world.told(link);
    assert!(matches!(told.as_slice(), [to_agent::Message::Shutdown(_)]), "{told:?}");
    assert!(world.master.state.agents.is_empty());
}

#[test]
fn a_registration_that_is_asked_twice_is_answered_twice() {
    let mut world = World::new();
    let agent = world.agent("cpus:1;mem:64");
    let again = Some(description("cpus:1;mem:64", "10.0.0.1"));
    world.tell(agent.link, to_master::Message::Register(link::Register { agent: again }));
    let told = world.told(agent.link);
    let [to_agent::Message::Registered(registered)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(registered.agent_id.as_ref().map(|id| id.value.as_str()), Some(agent.id.as_str()));
    assert_eq!(world.master.state.agents.len(), 1);
}
