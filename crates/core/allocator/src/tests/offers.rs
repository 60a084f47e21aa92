//! Area offers, as far as the allocator decides.

use super::*;

#[test]
fn rule_84_events_bring_offers_at_once() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4;mem:64");
    assert_eq!(c.allocator.next_deadline(), None, "nobody wants anything");
    c.framework("f1", &["web"]);
    assert!(c.allocator.next_deadline().is_some_and(|at| at <= c.now));
    assert_eq!(c.offers(), ["f1 web a1 cpus:4; mem:64"]);
    assert_eq!(c.allocator.next_deadline(), None, "nothing is free");
    c.agent("a2", "cpus:2;mem:32");
    assert_eq!(c.offers(), ["f1 web a2 cpus:2; mem:32"]);
    // What comes back is offered without waiting for the interval.
    c.wait(0.01);
    c.finish("f1", "web", "a1", "cpus:1;mem:32");
    assert!(c.allocator.next_deadline().is_some_and(|at| at <= c.now));
    assert_eq!(c.offers(), ["f1 web a1 cpus:1; mem:32"]);
    assert_eq!(c.offers(), [""; 0]);
    assert_eq!(c.allocator.next_deadline(), None);
    c.allocator.deactivate_framework(&"f1".into());
    c.finish("f1", "web", "a1", "cpus:1;mem:32");
    assert_eq!(c.offers(), [""; 0]);
    c.allocator.activate_framework(&"f1".into());
    assert_eq!(c.takers(), ["f1 web a1"]);
}

#[test]
fn rule_84_what_comes_back_together_is_offered_together() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4");
    c.framework("f1", &["web"]);
    assert_eq!(c.takers(), ["f1 web a1"]);
    c.finish("f1", "web", "a1", "cpus:1");
    let due = c.allocator.next_deadline().expect("work");
    assert!(due > c.now && due <= c.now + Duration::from_millis(1));
    c.finish("f1", "web", "a1", "cpus:1");
    c.now = due;
    assert_eq!(c.offers(), ["f1 web a1 cpus:2"]);
}

#[test]
fn rule_85_agents_are_visited_in_random_order() {
    let order = |seed| {
        let mut c = Cluster::new();
        c.rng = ChaCha8Rng::seed_from_u64(seed);
        for i in 0..6 {
            c.agent(&format!("a{i}"), "cpus:1");
        }
        c.framework("f1", &["web"]);
        c.framework("f2", &["web"]);
        c.takers()
    };
    assert_eq!(order(1), order(1), "the same seed, the same offers");
    assert!((2..20).any(|seed| order(seed) != order(1)));
}

#[test]
fn rules_86_and_87_how_long_a_refusal_lasts() {
    let refused = |filter: Filter| {
        let mut c = Cluster::new();
        c.agent("a1", "cpus:4");
        c.framework("f1", &["web"]);
        c.pass();
        let held = c.allocator.held(&"f1".into(), &"a1".into());
        c.allocator.recover(c.now, &"f1".into(), &"a1".into(), &held, Some(filter));
        assert_eq!(c.offers(), [""; 0]);
        c.allocator.next_deadline().expect("a filter ends").since(c.now)
    };
    let seconds = Duration::from_secs;
    // rule 86
    assert_eq!(refused(Filter::of_decline(None)), seconds(5));
    assert_eq!(refused(Filter::of_decline(Some(&v1::Filters::default()))), seconds(5));
    // rule 87
    for unusable in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        assert_eq!(refused(Filter::of_decline(Some(&filters(unusable)))), seconds(5));
    }
    let year = seconds(365 * 24 * 3600);
    for long in [1e12, f64::INFINITY] {
        assert_eq!(refused(Filter::of_decline(Some(&filters(long)))), year);
    }
    // Without a filter the agent still is not offered again before the next run.
    assert!(refused(Filter::of_decline(Some(&filters(0.0)))) <= seconds(1));
    assert_eq!(Filter::of_leftover(Some(&filters(0.0))), None);
    assert_eq!(Filter::of_leftover(None), Some(Filter::of_decline(None)));
}

#[test]
fn rule_88_a_tiny_refusal_lasts_an_interval() {
    let mut c = Cluster::new();
    c.wait(0.4);
    c.agent("a1", "cpus:4");
    c.framework("f1", &["web"]);
    c.pass();
    c.decline("f1", "a1", 0.000001);
    c.wait(0.9);
    assert_eq!(c.takers(), [""; 0]);
    c.wait(0.7);
    assert_eq!(c.takers(), ["f1 web a1"]);
}

#[test]
fn rule_89_a_filter_blocks_no_more_than_was_declined() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4;mem:64");
    c.framework("f1", &["web", "ops"]);
    c.framework("f2", &["web"]);
    assert_eq!(c.takers(), ["f1 ops a1"]);
    c.decline("f1", "a1", 60.0);
    // Another role or another framework is not refused.
    assert_eq!(c.takers(), ["f1 web a1"]);
    c.decline("f1", "a1", 60.0);
    assert_eq!(c.takers(), ["f2 web a1"]);
    // A part of what was declined is blocked, more than that is not.
    c.finish("f2", "web", "a1", "cpus:1");
    c.allocator.suppress(&"f2".into(), &BTreeSet::new());
    assert_eq!(c.takers(), [""; 0]);
    let total = AgentProfile { total: parse("cpus:8;mem:64"), ..AgentProfile::default() };
    c.allocator.update_agent(&"a1".into(), total);
    assert_eq!(c.offers(), ["f1 ops a1 cpus:5"]);
}

#[test]
fn rules_90_and_91_suppress_until_revive() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4");
    c.framework("f1", &["web", "ops"]);
    c.pass();
    c.allocator.suppress(&"f1".into(), &BTreeSet::new());
    c.decline("f1", "a1", 3600.0);
    c.wait(10.0);
    assert_eq!(c.takers(), [""; 0]);
    assert_eq!(c.why("f1"), [Reason::Suppressed; 2]);
    assert_eq!(c.allocator.next_deadline(), None);
    // rule 90: of one role, with its filters
    c.allocator.revive(&"f1".into(), &roles(&["web"]));
    assert_eq!(c.takers(), ["f1 web a1"]);
    c.decline("f1", "a1", 3600.0);
    assert_eq!(c.takers(), [""; 0]);
    c.allocator.revive(&"f1".into(), &BTreeSet::new());
    assert_eq!(c.takers(), ["f1 ops a1"]);
}

#[test]
fn rule_93_going_away_clears_filters() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4");
    c.framework("f1", &["web"]);
    c.pass();
    c.decline("f1", "a1", 3600.0);
    assert_eq!(c.why("f1"), [Reason::Filtered]);
    assert_eq!(c.allocator.active_filters(), [(Role::from("web"), 1)].into());
    assert_eq!(c.allocator.runs(), 1);
    c.allocator.deactivate_framework(&"f1".into());
    assert_eq!(c.why("f1"), [Reason::Inactive]);
    assert!(c.allocator.active_filters().is_empty());
    c.allocator.activate_framework(&"f1".into());
    assert_eq!(c.takers(), ["f1 web a1"]);
}

#[test]
fn rule_94_other_attributes_clear_filters() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4");
    c.framework("f1", &["web"]);
    c.pass();
    c.decline("f1", "a1", 3600.0);
    let mut profile = AgentProfile { total: parse("cpus:4"), ..AgentProfile::default() };
    c.allocator.update_agent(&"a1".into(), profile.clone());
    assert_eq!(c.takers(), [""; 0]);
    profile.attributes = mezzo_resources::parse_attributes("rack:r1").expect("valid");
    c.allocator.update_agent(&"a1".into(), profile);
    assert_eq!(c.takers(), ["f1 web a1"]);
}

#[test]
fn rule_105_less_than_the_minimum_is_not_offered() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:0.009;mem:31;disk:1000");
    c.framework("f1", &["web"]);
    assert_eq!(c.takers(), [""; 0]);
    assert_eq!(c.why("f1"), [Reason::BelowMinimum]);
    let minimum = |text: &str| [(Role::from("web"), vec![amounts(text)])].into_iter().collect();
    let own = FrameworkProfile { min_allocatable: minimum("disk:1001"), ..profile(&["web"]) };
    c.allocator.update_framework(&"f1".into(), own);
    assert_eq!(c.takers(), [""; 0]);
    let none: BTreeMap<_, _> = [(Role::from("web"), vec![])].into_iter().collect();
    c.allocator
        .update_framework(&"f1".into(), FrameworkProfile { min_allocatable: none, ..profile(&["web"]) });
    assert_eq!(c.takers(), ["f1 web a1"]);
    c.framework("f2", &["web"]);
    for enough in ["cpus:0.01", "mem:32"] {
        c.agent("a2", enough);
        assert_eq!(c.takers(), ["f2 web a2"], "{enough}");
        c.allocator.remove_framework(&"f2".into());
        c.framework("f2", &["web"]);
        c.allocator.remove_agent(&"a2".into());
    }
}

#[test]
fn rule_106_agents_with_gpus_are_for_those_who_want_them() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4;gpus:1");
    c.framework("f1", &["web"]);
    assert_eq!(c.takers(), [""; 0]);
    assert_eq!(c.why("f1"), [Reason::Gpus]);
    let capabilities = FrameworkCapabilities { gpu_resources: true, ..Default::default() };
    c.framework_as("f2", FrameworkProfile { capabilities, ..profile(&["web"]) });
    assert_eq!(c.offers(), ["f2 web a1 cpus:4; gpus:1"]);
    let mut c = Cluster::with(Config { filter_gpu_resources: false, ..Config::default() });
    c.agent("a1", "cpus:4;gpus:1");
    c.framework("f1", &["web"]);
    assert_eq!(c.takers(), ["f1 web a1"]);
}

#[test]
fn rule_107_other_regions_are_for_those_who_want_them() {
    let mut c = Cluster::with(Config { master_domain: region("east"), ..Config::default() });
    for (id, domain) in [("a1", region("east")), ("a2", region("west")), ("a3", None)] {
        c.agent_as(id, AgentProfile { domain, total: parse("cpus:4"), ..AgentProfile::default() });
    }
    c.framework("f1", &["web"]);
    assert_eq!(c.takers(), ["f1 web a1", "f1 web a3"]);
    assert!(c.why("f1").contains(&Reason::Region));
    let capabilities = FrameworkCapabilities { region_aware: true, ..Default::default() };
    c.framework_as("f2", FrameworkProfile { capabilities, ..profile(&["web"]) });
    assert_eq!(c.takers(), ["f2 web a2"]);
}

#[test]
fn rule_108_special_resources_need_their_capability() {
    let revocable = parse("cpus:2").map(|resource| resource.with_revocable(true));
    let stack = |resource: mezzo_resources::Resource| {
        resource.push_reservation(mezzo_resources::Reservation {
            kind: mezzo_resources::ReservationKind::Dynamic,
            role: "web/shop".into(),
            principal: None,
            labels: None,
        })
    };
    let refined = parse("cpus(web):3").map(stack);
    let total = parse("cpus:1;mem:32") + revocable + refined;
    let offered = |capabilities| {
        let mut c = Cluster::new();
        c.agent_as("a1", AgentProfile { total: total.clone(), ..AgentProfile::default() });
        c.framework_as("f1", FrameworkProfile { capabilities, ..profile(&["web/shop"]) });
        let resources = c.pass().offers.remove(0).resources();
        resources.scalar("cpus").as_f64()
    };
    let none = FrameworkCapabilities::default();
    assert_eq!(offered(none), 1.0, "the rest of the agent is offered");
    assert_eq!(offered(FrameworkCapabilities { revocable_resources: true, ..none }), 3.0);
    assert_eq!(offered(FrameworkCapabilities { reservation_refinement: true, ..none }), 4.0);
}

#[test]
fn rule_109_whitelist_and_deactivation() {
    let hostnames = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
    let mut c = Cluster::with(Config { agent_whitelist: hostnames(&["a1.example"]), ..Config::default() });
    c.agent("a1", "cpus:4");
    c.agent("a2", "cpus:4");
    c.framework("f1", &["web"]);
    assert_eq!(c.takers(), ["f1 web a1"]);
    assert!(c.why("f1").contains(&Reason::NotWhitelisted));
    c.allocator.set_agent_whitelist(hostnames(&["a2.example"]));
    assert_eq!(c.takers(), ["f1 web a2"]);
    c.allocator.deactivate_agent(&"a2".into());
    c.finish("f1", "web", "a2", "cpus:4");
    assert_eq!(c.takers(), [""; 0]);
    assert!(c.why("f1").contains(&Reason::AgentInactive));
    c.allocator.activate_agent(&"a2".into());
    assert_eq!(c.takers(), ["f1 web a2"]);
}

/// An agent whose disk is a shared volume of role web.
fn shared_volume_agent() -> AgentProfile {
    AgentProfile { total: parse("cpus:4;mem:64") + shared_volume("web"), ..AgentProfile::default() }
}

#[test]
fn rules_108_and_110_shared_volumes() {
    let mut c = Cluster::new();
    c.agent_as("a1", shared_volume_agent());
    c.framework("f0", &["web"]);
    assert_eq!(c.offers(), ["f0 web a1 cpus:4; mem:64"], "rule 108");
    c.allocator.remove_framework(&"f0".into());
    let capabilities = FrameworkCapabilities { shared_resources: true, ..Default::default() };
    let none: BTreeMap<_, _> = [(Role::from("web"), vec![])].into_iter().collect();
    for id in ["f1", "f2"] {
        let wants = FrameworkProfile { capabilities, min_allocatable: none.clone(), ..profile(&["web"]) };
        c.framework_as(id, wants);
    }
    // Once in this run, whoever gets it ...
    let first = c.pass().offers;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].resources().shared().len(), 1);
    // ... and again in the next one, though it is in use.
    assert!(c.allocator.next_deadline().is_some_and(|at| at <= c.now + Duration::from_secs(1)));
    c.wait(1.0);
    let second = c.pass().offers;
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].framework, first[0].framework);
    assert_eq!(second[0].resources().shared(), second[0].resources());
}

#[test]
fn inverse_offers_go_once_to_whom_the_agent_matters() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4");
    c.framework("f1", &["web"]);
    c.framework("f2", &["ops"]);
    let taker = c.pass().offers.remove(0).framework;
    let window = v1::Unavailability {
        start: v1::TimeInfo { nanoseconds: 5 },
        duration: Some(v1::DurationInfo { nanoseconds: 7 }),
    };
    c.allocator.set_unavailability(&"a1".into(), Some(window));
    let asked = c.pass().inverse_offers;
    assert_eq!(
        asked,
        [InverseAllocation { framework: taker.clone(), agent: "a1".into(), unavailability: window }]
    );
    assert_eq!(c.pass().inverse_offers, []);
    let status = v1::allocator::InverseOfferStatus {
        status: v1::allocator::inverse_offer_status::Status::Decline.into(),
        framework_id: v1::FrameworkId { value: taker.to_string() },
        timestamp: v1::TimeInfo { nanoseconds: 1 },
    };
    let filter = Some(Filter::of_decline(None));
    c.allocator.update_inverse_offer(c.now, &taker, &"a1".into(), Some(status), filter);
    assert_eq!(c.allocator.inverse_offer_statuses(&"a1".into()).count(), 1);
    assert_eq!(c.pass().inverse_offers, []);
    c.wait(5.0);
    assert!(c.allocator.next_deadline().is_some_and(|at| at <= c.now));
    assert_eq!(c.pass().inverse_offers.len(), 1);
    // Rule 90: REVIVE removes filters of inverse offers too.
    c.allocator.update_inverse_offer(c.now, &taker, &"a1".into(), None, filter);
    assert_eq!(c.pass().inverse_offers, []);
    c.allocator.revive(&taker, &BTreeSet::new());
    assert_eq!(c.pass().inverse_offers.len(), 1);
    // Another window is asked about anew.
    c.allocator.set_unavailability(&"a1".into(), Some(v1::Unavailability { duration: None, ..window }));
    assert_eq!(c.pass().inverse_offers.len(), 1);
    c.allocator.set_unavailability(&"a1".into(), None);
    assert_eq!(c.pass().inverse_offers, []);
    assert_eq!(c.allocator.inverse_offer_statuses(&"a1".into()).count(), 0);
}

#[test]
fn offers_show_ports_before_numbers_as_recorded() {
    let mut c = Cluster::new();
    c.agent("a1", "cpus:4;mem:4096;disk:10240;ports:[31000-32000]");
    c.framework("f1", &["*"]);
    assert_eq!(c.offers(), ["f1 * a1 ports:[31000-32000]; cpus:4; mem:4096; disk:10240"]);
}

#[test]
fn operations_change_what_is_held_or_free() {
    let mut c = Cluster::new();
    let agent = AgentId::from("a1");
    c.agent("a1", "cpus:4;mem:64");
    c.framework("f1", &["web"]);
    let convert = |c: &mut Cluster, from: &str, to: &str| {
        c.allocator.convert_available(&agent, &parse(from), &parse(to))
    };
    assert_eq!(convert(&mut c, "cpus:1", "cpus(web):1"), Ok(()));
    assert!(convert(&mut c, "cpus:4", "cpus(web):4").is_err());
    assert_eq!(c.allocator.total(&agent), parse("cpus:3;mem:64;cpus(web):1"));
    c.pass();
    assert!(convert(&mut c, "cpus:1", "cpus(web):1").is_err(), "offered is not free");
    let web = Role::from("web");
    let (from, to) = (parse("cpus(web):1").allocated(&web), parse("cpus:1").allocated(&web));
    assert_eq!(c.allocator.convert(&"f1".into(), &agent, &from, &to), Ok(()));
    assert!(c.allocator.convert(&"f1".into(), &agent, &from, &to).is_err());
    assert_eq!(c.allocator.total(&agent), parse("cpus:4;mem:64"));
    assert_eq!(c.allocator.held(&"f1".into(), &agent), parse("cpus:4;mem:64").allocated(&web));
    assert!(c.allocator.convert(&"f1".into(), &"a9".into(), &from, &to).is_err());
    c.allocator.remove_framework(&"f1".into());
    assert_eq!(c.allocator.available(&agent), parse("cpus:4;mem:64"));
    assert_eq!(c.allocator.roles(), []);
}

#[test]
fn what_agents_bring_belongs_to_frameworks_known_or_not() {
    let mut c = Cluster::new();
    let used: BTreeMap<_, _> =
        [(FrameworkId::from("f1"), parse("cpus:3").allocated(&"web".into()))].into_iter().collect();
    let profile = AgentProfile { total: parse("cpus:4;mem:64"), ..AgentProfile::default() };
    c.allocator.add_agent(&"a1".into(), profile, &used);
    c.framework("f2", &["web"]);
    assert_eq!(c.offers(), ["f2 web a1 cpus:1; mem:64"]);
    c.allocator.hold(&"f1".into(), &"a1".into(), &parse("disk:1").allocated(&"web".into()));
    c.finish("f1", "web", "a1", "cpus:3");
    // What nobody holds any more cannot come back twice.
    c.finish("f1", "web", "a1", "cpus:3");
    c.finish("f9", "web", "a9", "cpus:3");
    assert_eq!(c.offers(), ["f2 web a1 cpus:3"]);
}

#[test]
fn an_explanation_in_parts_is_the_whole_one() {
    let mut c = Cluster::new();
    c.framework("f1", &["a", "b", "c"]);
    c.allocator.suppress(&"f1".into(), &BTreeSet::from(["b".into()]));
    for n in 0..7 {
        c.agent(&format!("a{n}"), "cpus:1;mem:1024");
    }
    c.allocator.deactivate_agent(&"a3".into());
    // Everything is offered to f1 and declined, so that filters and what is held both say why.
    for offer in c.pass().offers.into_iter().take(4) {
        let filter = Some(Filter::of_decline(Some(&filters(60.0))));
        c.allocator.recover(c.now, &offer.framework, &offer.agent, &offer.resources(), filter);
    }
    let whole = c.allocator.why(&"f1".into());
    let ask = |steps: u64| {
        let (mut inquiry, mut parts) = (Inquiry::new("f1".into()), 1);
        while !c.allocator.inquire(&mut inquiry, steps) {
            parts += 1;
        }
        (inquiry.finish(), parts)
    };
    let (sums, parts) = ask(u64::MAX);
    assert_eq!(parts, 1);
    assert_eq!(sums.iter().map(|sum| sum.agents).sum::<usize>(), whole.len() - 1);
    for sum in &sums {
        let same = |withheld: &&Withheld| withheld.role == sum.role && withheld.reason == sum.reason;
        assert_eq!(whole.iter().filter(same).count(), sum.agents.max(1));
    }
    for steps in 1..9 {
        let (in_parts, parts) = ask(steps);
        assert_eq!(in_parts, sums, "{steps} at a time");
        assert!(parts > 1);
    }
}

#[test]
fn an_explanation_goes_on_though_its_framework_goes() {
    let mut c = Cluster::new();
    c.framework("f1", &["a", "b"]);
    c.agent("a1", "cpus:1;mem:1024");
    c.agent("a2", "cpus:1;mem:1024");
    c.allocator.deactivate_agent(&"a1".into());
    c.allocator.deactivate_agent(&"a2".into());
    let mut inquiry = Inquiry::new("f1".into());
    assert!(!c.allocator.inquire(&mut inquiry, 1));
    c.allocator.remove_agent(&"a1".into());
    assert!(!c.allocator.inquire(&mut inquiry, 1));
    c.allocator.remove_framework(&"f1".into());
    assert!(c.allocator.inquire(&mut inquiry, 1));
    let sums = inquiry.finish();
    assert_eq!((sums.len(), sums[0].reason, sums[0].agents), (1, Reason::AgentInactive, 2));
}
