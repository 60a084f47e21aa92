//! SUBSCRIBE and the checks of every other scheduler call.

use std::sync::Arc;

use mezzo_ids::Role;
use mezzo_mesos::v1::{
    self, framework_info::capability::Type, master::event::Type as Published, scheduler::call,
};

use crate::{
    Answer, Input,
    testing::{World, call, config, framework_info, with_capabilities},
};

fn revive() -> v1::scheduler::Call {
    call(call::Type::Revive, |_| {})
}

fn with_id(id: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { id: Some(v1::FrameworkId { value: id.into() }), ..framework_info() }
}

#[test]
fn rule_54_ids_count_from_0000() {
    let mut world = World::new();
    assert_eq!(world.framework().id.as_str(), "m-0000");
    assert_eq!(world.framework().id.as_str(), "m-0001");
    assert_eq!(world.published_types(), [Published::FrameworkAdded, Published::FrameworkAdded]);
}

#[test]
fn rule_52_subscribed_comes_first() {
    let mut world = World::new();
    let stream = crate::StreamId(77);
    let subscribe = call::Subscribe { framework_info: framework_info(), ..Default::default() };
    let call = Box::new(v1::scheduler::Call {
        r#type: Some(call::Type::Subscribe.into()),
        subscribe: Some(Box::new(subscribe)),
        ..Default::default()
    });
    let now = world.now;
    let mut rng = NoRandom;
    let input = Input::Subscribe { stream, stream_uuid: "u".into(), call, principal: None };
    let effects = world.master.step(now, &mut rng, input);
    let crate::Effect::Event { event, .. } = &effects[0] else { panic!("{effects:?}") };
    let subscribed = event.subscribed.as_ref().expect("the first event");
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert_eq!(subscribed.master_info.as_ref().map(|info| info.id.as_str()), Some("m"));
    assert!(matches!(effects[1], crate::Effect::StartHeartbeat(s) if s == stream));
}

/// Nothing random is needed.
struct NoRandom;

impl rand_core::TryRng for NoRandom {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(0);
        Ok(())
    }
}

#[test]
fn rule_51_a_refused_subscription_ends_with_an_error_event() {
    let mut world = World::new();
    let bad = with_id("a/b");
    assert_eq!(world.subscribe(bad).err().as_deref(), Some("'a/b' contains invalid characters"));
    assert_eq!(world.closed.len(), 1);
    assert!(world.master.state.frameworks.is_empty());
}

#[test]
fn rule_55_unknown_ids_are_taken_and_removed_ones_refused() {
    let mut world = World::new();
    let scheduler = world.subscribe(with_id("no-such-framework-id")).expect("a failover");
    assert_eq!(scheduler.id.as_str(), "no-such-framework-id");
    assert_eq!(world.call(&scheduler, call(call::Type::Teardown, |_| {})), Answer::Accepted);
    let again = world.subscribe(with_id("no-such-framework-id"));
    assert_eq!(again.err().as_deref(), Some("Framework has been removed"));
}

#[test]
fn rule_56_and_57_the_newest_subscription_wins() {
    let mut world = World::new();
    let old = world.framework();
    world.agent("cpus:4;mem:4096");
    assert_eq!(world.offers(&old).len(), 1);
    world.published();
    let new = world.subscribe(with_id(&old.id)).expect("a failover");
    assert_eq!(new.id, old.id);
    let events = world.events(&old);
    assert_eq!(events.len(), 1, "an error and no RESCIND: {events:?}");
    assert_eq!(events[0].error.as_ref().map(|e| e.message.as_str()), Some("Framework failed over"));
    assert_eq!(world.closed, [old.stream]);
    assert_eq!(world.offers(&new).len(), 1);
    assert_eq!(world.published_types(), [Published::FrameworkUpdated]);
    // The end of the old stream means nothing any more.
    world.close(&old);
    assert!(world.master.state.frameworks[&new.id].active);
    // Rule 47: the stream id is that of the new subscription.
    let text = "The stream ID 'stream-1' included in this request didn't match the stream ID currently \
                associated with framework ID m-0000";
    assert_eq!(world.call(&old, revive()), Answer::BadRequest(text.into()));
}

#[test]
fn rule_58_and_69_what_a_resubscription_changes() {
    let mut world = World::new();
    let first = world.framework();
    let changed = v1::FrameworkInfo {
        user: "other".into(),
        checkpoint: Some(true),
        name: "renamed".into(),
        hostname: Some("h".into()),
        ..with_id(&first.id)
    };
    world.subscribe(changed).expect("a failover");
    let info = &world.master.state.frameworks[&first.id].info;
    assert_eq!((info.user.as_str(), info.checkpoint), ("nobody", None));
    assert_eq!((info.name.as_str(), info.hostname()), ("renamed", "h"));
    let principal = v1::FrameworkInfo { principal: Some("p".into()), ..with_id(&first.id) };
    let text = "Changing framework's principal is not allowed.";
    assert_eq!(world.subscribe(principal).err().as_deref(), Some(text));
}

#[test]
fn rule_50_the_principal_is_filled_in() {
    let mut world = World::new();
    let subscribe = call::Subscribe { framework_info: framework_info(), ..Default::default() };
    let scheduler = world.subscribe_with(subscribe, Some("ops")).expect("valid");
    assert_eq!(world.master.state.frameworks[&scheduler.id].info.principal(), "ops");
}

#[test]
fn rule_48_checks_of_other_calls_come_in_this_order() {
    let mut world = World::new();
    let scheduler = world.framework();
    let with_framework = |id: &str| v1::scheduler::Call {
        framework_id: Some(v1::FrameworkId { value: id.into() }),
        ..revive()
    };
    let refused = |text: &str| Answer::BadRequest(text.into());
    let answer = world.call_raw(revive(), None);
    assert_eq!(answer, refused("Failed to validate scheduler::Call: Expecting 'framework_id' to be present"));
    let answer = world.call_raw(with_framework("nope"), None);
    assert_eq!(answer, refused("Framework cannot be found"));
    let answer = world.call_raw(with_framework("m-0000"), None);
    assert_eq!(answer, refused("All non-subscribe calls should include the 'Mesos-Stream-Id' header"));
    let answer = world.call_raw(with_framework("m-0000"), Some(Arc::from("not-a-uuid")));
    let text = "The stream ID 'not-a-uuid' included in this request didn't match the stream ID currently \
                associated with framework ID m-0000";
    assert_eq!(answer, refused(text));
    assert_eq!(world.call(&scheduler, revive()), Answer::Accepted);
    let weeks = v1::FrameworkInfo { failover_timeout: Some(1e6), ..with_id("m-0000") };
    let scheduler = world.subscribe(weeks).expect("a failover");
    world.close(&scheduler);
    assert_eq!(world.call(&scheduler, revive()), Answer::Forbidden("Framework is not subscribed".into()));
}

#[test]
fn rule_60_suppressed_roles_and_constraints_name_own_roles() {
    let mut world = World::new();
    let info = v1::FrameworkInfo {
        roles: vec!["a".into()],
        ..with_capabilities(framework_info(), &[Type::MultiRole])
    };
    let mut subscribe =
        call::Subscribe { framework_info: info, suppressed_roles: vec!["b".into()], ..Default::default() };
    assert!(world.subscribe_with(subscribe.clone(), None).is_err());
    subscribe.suppressed_roles = vec!["a".into()];
    let constraints = |role: &str| v1::scheduler::OfferConstraints {
        role_constraints: [(role.to_owned(), Default::default())].into(),
    };
    subscribe.offer_constraints = Some(constraints("b"));
    assert!(world.subscribe_with(subscribe.clone(), None).is_err());
    subscribe.offer_constraints = None;
    let scheduler = world.subscribe_with(subscribe, None).expect("valid");
    assert_eq!(world.master.state.frameworks[&scheduler.id].suppressed, [Role::from("a")]);
    world.agent("cpus:1;mem:64");
    // Rule 91.
    assert!(world.offers(&scheduler).is_empty());
}

#[test]
fn rule_73_roles_outside_the_whitelist() {
    let settings = crate::Config { roles: Some(vec![Role::from("a")]), ..config() };
    let mut world = World::with(settings, Vec::new());
    assert!(world.subscribe(framework_info()).is_err());
}
