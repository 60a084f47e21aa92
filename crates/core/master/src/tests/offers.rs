//! What offers look like, and how they end.

use std::time::Duration;

use mezzo_mesos::v1::{self, framework_info::capability::Type, scheduler::call};

use crate::{
    Answer, Config,
    testing::{World, call, config, description, framework_info, resources, with_capabilities},
};

#[test]
fn rule_80_an_offer_describes_its_agent() {
    let mut world = World::new();
    let scheduler = world.framework();
    let mut agent = description("cpus:4;mem:4096", "10.0.0.1");
    if let Some(info) = &mut agent.info {
        info.attributes = vec![v1::Attribute {
            name: "rack".into(),
            r#type: v1::value::Type::Text.into(),
            text: Some(v1::value::Text { value: "r1".into() }),
            ..Default::default()
        }];
    }
    world.agent_described(agent);
    let offer = world.offer(&scheduler);
    assert_eq!((offer.id.value.as_str(), offer.agent_id.value.as_str()), ("m-O0", "m-S0"));
    assert_eq!(offer.framework_id.value, "m-0000");
    assert_eq!(offer.hostname, "host-10.0.0.1");
    let url = offer.url.expect("offers have a url");
    assert_eq!((url.scheme.as_str(), url.path()), ("http", "/agent(1)"));
    assert_eq!((url.address.ip(), url.address.port), ("10.0.0.1", 5051));
    assert_eq!(offer.attributes[0].name, "rack");
    // Rule 81.
    assert_eq!(offer.allocation_info, None);
    assert!(offer.resources.iter().all(|resource| resource.allocation_info.is_none()));
}

#[test]
#[expect(deprecated, reason = "the older form is made of the fields that the newer one replaces")]
fn rule_81_and_82_the_form_depends_on_capabilities() {
    let mut world = World::new();
    world.agent("cpus(eng):1;mem:4096");
    let old = v1::FrameworkInfo { role: Some("eng".into()), ..framework_info() };
    let old = world.subscribe(old).expect("valid");
    let offer = world.offer(&old);
    let cpus = offer.resources.iter().find(|r| r.name == "cpus").expect("offered");
    assert_eq!((cpus.role(), cpus.reservations.len()), ("eng", 0));
    world.close(&old);
    let new = v1::FrameworkInfo {
        roles: vec!["eng".into()],
        ..with_capabilities(framework_info(), &[Type::MultiRole, Type::ReservationRefinement])
    };
    let new = world.subscribe(new).expect("valid");
    let offer = world.offer(&new);
    let cpus = offer.resources.iter().find(|r| r.name == "cpus").expect("offered");
    assert_eq!((&cpus.role, cpus.reservations.len()), (&None, 1));
    assert_eq!(cpus.allocation_info.as_ref().map(|info| info.role()), Some("eng"));
    // Rule 79.
    assert_eq!(offer.allocation_info.as_ref().map(|info| info.role()), Some("eng"));
}

#[test]
fn rule_83_ephemeral_ports_stay_at_home() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096;ephemeral_ports:[1000-2000]");
    let names: Vec<_> = world.offer(&scheduler).resources.into_iter().map(|r| r.name).collect();
    assert_eq!(names.len(), 2);
    assert!(!names.contains(&"ephemeral_ports".to_owned()));
}

#[test]
fn rule_95_offers_expire_only_with_a_timeout() {
    let settings = Config { offer_timeout: Some(Duration::from_secs(10)), ..config() };
    let mut world = World::with(settings, Vec::new());
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    world.pass(11.0);
    let events = world.events(&scheduler);
    assert_eq!(events[0].rescind.as_ref().map(|r| &r.offer_id), Some(&offer.id));
    assert_eq!(events[1].offers.as_ref().map(|offers| offers.offers.len()), Some(1));

    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    world.offer(&scheduler);
    world.pass(3600.0 * 24.0);
    let rescinded = world.events(&scheduler).into_iter().any(|event| event.rescind.is_some());
    // The agent never answered a ping and is gone by then; that is no expiry.
    assert!(rescinded);
}

fn decline(offers: &[&v1::Offer], refuse_seconds: Option<f64>) -> v1::scheduler::Call {
    call(call::Type::Decline, |call| {
        call.decline = Some(call::Decline {
            offer_ids: offers.iter().map(|offer| offer.id.clone()).collect(),
            filters: refuse_seconds.map(|seconds| v1::Filters { refuse_seconds: Some(seconds) }),
        });
    })
}

#[test]
fn rule_86_and_89_a_declined_offer_stays_away_for_5_seconds() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    let offer = world.offer(&scheduler);
    assert_eq!(world.call(&scheduler, decline(&[&offer], None)), Answer::Accepted);
    world.pass(3.0);
    assert!(world.events(&scheduler).is_empty());
    world.pass(4.0);
    assert_eq!(world.events(&scheduler).len(), 1);
}

#[test]
fn rule_103_unknown_offers_are_ignored_by_decline() {
    let mut world = World::new();
    let scheduler = world.framework();
    let other = world.framework();
    let unknown = v1::Offer { id: v1::OfferId { value: "nope".into() }, ..Default::default() };
    assert_eq!(world.call(&scheduler, decline(&[&unknown], None)), Answer::Accepted);
    world.agent("cpus:4;mem:4096");
    world.pass(1.0);
    let mut offers = world.offers(&scheduler);
    let (owner, thief) = if offers.is_empty() { (other, scheduler) } else { (scheduler, other) };
    offers.extend(world.offers(&owner));
    world.call(&thief, decline(&[&offers[0]], None));
    assert_eq!(world.master.offer_agents.len(), 1, "only the owner can decline");
}

fn roles(r#type: call::Type, roles: &[&str]) -> v1::scheduler::Call {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    call(r#type, |call| match r#type {
        call::Type::Suppress => call.suppress = Some(call::Suppress { roles }),
        _ => call.revive = Some(call::Revive { roles }),
    })
}

#[test]
fn rule_90_and_91_suppress_and_revive() {
    let mut world = World::new();
    let scheduler = world.framework();
    assert_eq!(world.call(&scheduler, roles(call::Type::Suppress, &[])), Answer::Accepted);
    world.agent("cpus:4;mem:4096");
    assert!(world.offers(&scheduler).is_empty());
    assert_eq!(world.call(&scheduler, roles(call::Type::Revive, &[])), Answer::Accepted);
    let offer = world.offer(&scheduler);
    world.call(&scheduler, decline(&[&offer], Some(1000.0)));
    world.call(&scheduler, roles(call::Type::Revive, &["*"]));
    assert_eq!(world.offers(&scheduler).len(), 1);
}

#[test]
fn rule_92_roles_of_others_change_nothing() {
    let mut world = World::new();
    let scheduler = world.framework();
    for wrong in ["nope", "/x"] {
        assert_eq!(world.call(&scheduler, roles(call::Type::Suppress, &["*", wrong])), Answer::Accepted);
        assert!(world.master.state.frameworks[&scheduler.id].suppressed.is_empty());
    }
}

#[test]
fn rule_111_request_is_taken_and_ignored() {
    let mut world = World::new();
    let scheduler = world.framework();
    let request = call(call::Type::Request, |call| {
        call.request = Some(call::Request {
            requests: vec![v1::Request { resources: resources("cpus:1"), ..Default::default() }],
        });
    });
    assert_eq!(world.call(&scheduler, request), Answer::Accepted);
    assert!(world.events(&scheduler).is_empty());
}

#[test]
fn rule_96_offers_that_become_invalid_are_rescinded() {
    use mezzo_protocol::link::{self, to_master::Message};
    let revocable = |amount: &str| {
        let mut resources = resources(amount);
        for resource in &mut resources {
            resource.revocable = Some(v1::resource::RevocableInfo {});
        }
        resources
    };
    let oversubscribe = |amount: &str| {
        Message::UpdateAgent(link::UpdateAgent {
            resources: resources("cpus:4;mem:4096"),
            resource_version_uuid: vec![7; 16],
            oversubscribed: revocable(amount),
            ..Default::default()
        })
    };
    let mut world = World::new();
    let info = with_capabilities(framework_info(), &[Type::RevocableResources]);
    let scheduler = world.subscribe(info).expect("valid");
    let agent = world.agent("cpus:4;mem:4096");
    world.tell(agent.link, oversubscribe("cpus:2"));
    assert!(!world.offers(&scheduler).is_empty());
    world.pass(1.0);
    world.events(&scheduler);
    let rescinded = |world: &mut World| {
        let rescinds = |event: &v1::scheduler::Event| event.rescind.is_some();
        world.events(&scheduler).iter().any(rescinds)
    };
    world.tell(agent.link, oversubscribe("cpus:1"));
    assert!(rescinded(&mut world), "oversubscription changed");
    world.pass(1.0);
    world.events(&scheduler);
    world.tell(agent.link, Message::Unregister(link::Unregister {}));
    assert!(rescinded(&mut world), "the agent left");
}
