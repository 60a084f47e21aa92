//! What must hold after any sequence of events.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Agent(u8, u32, u32),
    NoAgent(u8),
    Framework(u8, u8),
    NoFramework(u8),
    Decline(u8, u8, u8),
    Finish(u8, u8),
    Suppress(u8),
    Revive(u8),
    Quota(u8, u32, u32),
    Wait(u8),
    Reserve(u8),
}

const ROLES: [&str; 4] = ["a", "a/x", "b", "c"];

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..5_u8, 0..9_u32, 0..4_u32).prop_map(|(a, c, r)| Event::Agent(a, c, r)),
        (0..5_u8).prop_map(Event::NoAgent),
        (0..4_u8, 0..4_u8).prop_map(|(f, r)| Event::Framework(f, r)),
        (0..4_u8).prop_map(Event::NoFramework),
        (0..4_u8, 0..5_u8, 0..9_u8).prop_map(|(f, a, s)| Event::Decline(f, a, s)),
        (0..4_u8, 0..5_u8).prop_map(|(f, a)| Event::Finish(f, a)),
        (0..4_u8).prop_map(Event::Suppress),
        (0..4_u8).prop_map(Event::Revive),
        (0..3_u8, 0..6_u32, 0..9_u32).prop_map(|(r, g, l)| Event::Quota(r, g, l)),
        (0..20_u8).prop_map(Event::Wait),
        (0..5_u8).prop_map(Event::Reserve),
    ]
}

fn apply(c: &mut Cluster, event: &Event) {
    let framework = |f: u8| FrameworkId::from(format!("f{f}"));
    let agent = |a: u8| AgentId::from(format!("a{a}"));
    match *event {
        Event::Agent(a, cpus, reserved) => {
            c.agent(&agent(a), &format!("cpus:{cpus};mem:64;cpus(a):{reserved};ports:[1-9]"));
        }
        Event::NoAgent(a) => c.allocator.remove_agent(&agent(a)),
        Event::Framework(f, role) => c.framework(&framework(f), &[ROLES[usize::from(role)]]),
        Event::NoFramework(f) => c.allocator.remove_framework(&framework(f)),
        Event::Decline(f, a, seconds) => c.decline(&framework(f), &agent(a), seconds.into()),
        Event::Finish(f, a) => {
            let held = c.allocator.held(&framework(f), &agent(a));
            if let Some(one) = held.iter().next() {
                c.allocator.recover(c.now, &framework(f), &agent(a), &one.clone().into(), None);
            }
        }
        Event::Suppress(f) => c.allocator.suppress(&framework(f), &BTreeSet::new()),
        Event::Revive(f) => c.allocator.revive(&framework(f), &BTreeSet::new()),
        Event::Quota(r, guarantee, limit) => {
            let role = ["a", "b", "c"][usize::from(r)];
            c.quota(role, &format!("cpus:{}", guarantee.min(limit)), &format!("cpus:{limit}"));
        }
        Event::Wait(tenths) => c.wait(f64::from(tenths) / 10.0),
        Event::Reserve(a) => {
            // Refused when it is not free, which is as good.
            let _ = c.allocator.convert_available(&agent(a), &parse("cpus:1"), &parse("cpus(b):1"));
        }
    }
}

/// Recomputes every sum that is kept up to date, and compares.
fn check(c: &Cluster) {
    let allocator = &c.allocator;
    let mut capacity = Quantities::default();
    let mut headroom = Quantities::default();
    let mut held_by_role: BTreeMap<Role, Quantities> = BTreeMap::new();
    for (id, slot) in &allocator.agent_ids {
        let agent = &allocator.agents[*slot];
        assert_eq!(&agent.id, id);
        let mut held = Resources::empty();
        for entry in &agent.held {
            assert!(!entry.bundle.is_empty());
            let client = &allocator.roles.clients[entry.client];
            assert!(client.agents.contains(slot));
            let role = &allocator.roles.nodes[client.role].role;
            let resources = entry.bundle.resources(agent.order, None);
            *held_by_role.entry(role.clone()).or_default() += &resources.quantities();
            held += resources;
        }
        // No plan exceeds an agent.
        let total = allocator.total(id);
        assert!(total.contains(&held), "{id} has less than is held of it");
        let mut free = total.clone();
        assert!(free.checked_sub(&held));
        assert_eq!(free, allocator.available(id));
        assert_eq!(agent.is_free(), agent.active && !free.is_empty());
        if agent.is_free() {
            assert_eq!(allocator.free[allocator.free_at[*slot as usize] as usize], *slot);
        }
        let is_new = |entry: &crate::agent::Held| {
            agent.held.iter().filter(|other| other.client == entry.client).count() == 1
        };
        assert!(agent.held.iter().all(is_new));
        capacity += &total.quantities();
        headroom += &free.unreserved().quantities();
    }
    assert_eq!(allocator.agent_ids.len(), allocator.agents.len());
    assert_eq!(allocator.free.len(), allocator.agents.iter().filter(|(_, agent)| agent.is_free()).count());
    assert_eq!(capacity, allocator.capacity.quantities());
    assert_eq!(headroom, allocator.headroom.quantities());
    let mut required = Quantities::default();
    for (role, node) in allocator.roles.iter() {
        assert_eq!(node.own.allocated.quantities(), held_by_role.get(role).cloned().unwrap_or_default());
        let subtree = node.subtree.allocated.quantities();
        assert!(subtree.contains(&node.own.allocated.quantities()));
        let mut own = Quantities::default();
        for client in node.clients.values() {
            let slot = client;
            let client = &allocator.roles.clients[*slot];
            assert!(client.subscribed || client.holds > 0, "an idle client is forgotten");
            own += &client.share.allocated.quantities();
            assert_eq!(client.holds, allocator.agents_of(*slot).len());
        }
        assert_eq!(own, node.own.allocated.quantities());
        if let Some(quota) = &node.quota {
            let mut missing = quota.quota.guarantee.clone();
            missing.subtract(&allocator.consumption(role));
            required += &missing;
        }
    }
    assert_eq!(required, allocator.roles.required.quantities());
    for role in held_by_role.keys() {
        assert!(allocator.roles.find(role).is_some());
    }
}

/// What each limited role consumes, and its limit.
fn over_limit(c: &Cluster) -> BTreeMap<Role, Scalar> {
    let over = |(role, quota): (&Role, &Quota)| {
        let consumed = c.allocator.consumption(role).get("cpus");
        let limit = quota.limit.get("cpus").copied()?;
        (consumed > limit).then(|| (role.clone(), consumed))
    };
    c.allocator.quotas().filter_map(over).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn sums_agree_and_nothing_is_given_twice(events in prop::collection::vec(any_event(), 1..60)) {
        let mut c = Cluster::new();
        for event in &events {
            apply(&mut c, event);
            check(&c);
            let over = over_limit(&c);
            c.pass();
            check(&c);
            // Rule 130: a pass never brings a role above its limit, or further above.
            for (role, consumed) in over_limit(&c) {
                prop_assert_eq!(over.get(&role), Some(&consumed));
            }
            // A pass leaves nothing to do at once.
            prop_assert!(c.allocator.next_deadline().is_none_or(|at| at > c.now));
        }
        // Everything that is wanted is given once the filters have ended.
        c.wait(60.0);
        c.pass();
        c.pass();
        prop_assert_eq!(c.allocator.next_deadline(), None);
    }

    #[test]
    fn the_same_events_bring_the_same_offers(events in prop::collection::vec(any_event(), 1..40)) {
        let run = || {
            let mut c = Cluster::new();
            let step = |event| {
                apply(&mut c, event);
                c.pass()
            };
            events.iter().map(step).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn looking_at_what_changed_finds_what_a_full_pass_finds(
        events in prop::collection::vec(any_event(), 1..40)
    ) {
        let mut c = Cluster::new();
        for event in &events {
            if !matches!(event, Event::Quota(..)) {
                apply(&mut c, event);
                c.pass();
            }
        }
        c.allocator.consider_all();
        prop_assert_eq!(c.pass(), Allocations::default());
    }
}
