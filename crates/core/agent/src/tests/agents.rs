//! Registration, pings and the end of the agent.

use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent};

use super::harness::{World, config, visible};
use crate::Input;

#[test]
fn rule_421_registration_waits_and_backs_off_to_a_minute() {
    let mut world = World::unregistered(config());
    assert!(world.step(Input::LinkUp).is_empty());
    let mut waits = Vec::new();
    let mut last = world.now;
    while waits.len() < 9 {
        let at = world.agent.next_deadline().expect("it goes on trying");
        world.now = at;
        assert_eq!(world.step(Input::Timer), ["register"]);
        waits.push(world.now.since(last).as_secs_f64());
        last = world.now;
    }
    assert!(waits[0] < 1.0);
    assert_eq!(waits[1..], [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
}

#[test]
fn the_id_is_durable_before_anything_else() {
    let mut world = World::unregistered(config());
    world.step(Input::LinkUp);
    world.pass(1.0);
    assert_eq!(world.registered(), ["persist identity"]);
    let state = world.agent.snapshot();
    assert!(state.registered);
    assert_eq!(state.info.id.as_ref().map(|id| id.value.as_str()), Some("S0"));
    // The same answer again changes nothing; another id is a grave error.
    assert!(world.registered().is_empty());
    let other = link::Registered { agent_id: Some(v1::AgentId { value: "S9".into() }), ..Default::default() };
    assert_eq!(world.master(to_agent::Message::Registered(Box::new(other))), ["exit 1"]);
}

#[test]
fn rule_239_and_257_pings() {
    let mut world = World::new();
    world.pass(70.0);
    assert_eq!(world.master(to_agent::Message::Ping(link::Ping { connected: true })), ["pong"]);
    assert!(world.pass(74.0).is_empty());
    assert_eq!(world.pass(1.0), ["reconnect"]);
    assert!(!world.agent.snapshot().registered);
}

#[test]
fn a_master_that_missed_the_agent_is_told_everything() {
    let mut world = World::new();
    let lines = world.master(to_agent::Message::Ping(link::Ping { connected: false }));
    assert_eq!(lines, ["pong", "reregister"]);
}

#[test]
fn rule_249_shutdown_by_the_master() {
    let mut world = World::new();
    let container = world.running("t");
    let shutdown = link::Shutdown { message: "gone".into() };
    assert_eq!(visible(world.master(to_agent::Message::Shutdown(shutdown))), ["signal 15"]);
    assert_eq!(visible(world.exited(&container, 15)), ["remove", "exit 1"]);
}

#[test]
fn rule_252_leaving_unregisters() {
    let mut world = World::new();
    assert_eq!(world.step(Input::Leave), ["unregister", "exit 0"]);
}

#[test]
fn frameworks_are_renewed() {
    let mut world = World::new();
    world.running("t");
    let mut info = world.framework();
    info.name = "renamed".into();
    let update = link::UpdateFramework { framework: Some(info) };
    assert_eq!(world.master(to_agent::Message::UpdateFramework(update.clone())), ["persist framework"]);
    assert!(world.master(to_agent::Message::UpdateFramework(update)).is_empty());
    assert_eq!(world.agent.snapshot().frameworks["F"].info.name, "renamed");
}
