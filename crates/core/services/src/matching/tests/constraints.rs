use std::collections::BTreeSet;

use mezzo_mesos::v1::scheduler::{
    AttributeConstraint,
    attribute_constraint::{predicate::Predicate as Kind, selector::Selector as Field},
};
use mezzo_services_model::{Condition, Constraint, NoMatch, Operator, RunSpec, UnreachableStrategy};

use crate::{
    fixtures::{World, app, attributed, constraint, located, opened, spec, waiting},
    matching::{Placed, Waiting, counts, offer_constraints},
};

fn constrained(instances: u32, constraints: &[Constraint]) -> RunSpec {
    let mut app = app("/web");
    app.instances = instances;
    app.constraints = constraints.iter().cloned().collect();
    spec(app)
}

/// Whether the next instance may be on an agent, when others are on these.
fn allowed(run_spec: &RunSpec, others: &[&str], attributes: &str) -> bool {
    let mut placed = Placed::new(run_spec);
    for (i, other) in others.iter().enumerate() {
        placed.add(opened(attributed(&format!("other{i}"), other)).agent());
    }
    let mut offer = opened(attributed("h1", attributes));
    let result = World::new().place(&mut offer, run_spec, &waiting(run_spec, "next"), &placed);
    if let Err(mismatch) = &result {
        assert_eq!(mismatch.reasons(), [NoMatch::UnfulfilledConstraint]);
        assert_eq!(mismatch.details().len(), 1);
    }
    result.is_ok()
}

#[test]
fn marathon_rules_109_to_118_operators() {
    use Operator::{Cluster, GroupBy, Is, Like, MaxPer, Unique, Unlike};
    for (operator, value, others, offered, wanted) in [
        // Rule 109: without the attribute only UNLIKE takes an agent.
        (Unique, None, &[][..], "", false),
        (Cluster, None, &[], "", false),
        (GroupBy, Some("2"), &[], "", false),
        (Like, Some(".*"), &[], "", false),
        (MaxPer, Some("2"), &[], "", false),
        (Is, Some("r1"), &[], "", false),
        (Unlike, Some("r1"), &[], "", true),
        // Rule 110.
        (Unique, None, &["rack:r1"], "rack:r1", false),
        (Unique, None, &["rack:r1", "other:x"], "rack:r2", true),
        // Rule 111.
        (Cluster, Some("r1"), &[], "rack:r1", true),
        (Cluster, Some("r1"), &[], "rack:r2", false),
        (Cluster, None, &[], "rack:r7", true),
        (Cluster, None, &["rack:r1"], "rack:r1", true),
        (Cluster, None, &["rack:r1"], "rack:r2", false),
        // Rule 116: the whole value.
        (Like, Some("r[12]"), &[], "rack:r2", true),
        (Like, Some("r[12]"), &[], "rack:r12", false),
        (Like, Some("a|r1"), &[], "rack:r11", false),
        (Unlike, Some("r[12]"), &[], "rack:r1", false),
        (Unlike, Some("r"), &[], "rack:r1", true),
        (Like, Some("("), &[], "rack:x", false),
        (Unlike, Some("("), &[], "rack:x", false),
        // Rule 117.
        (MaxPer, Some("2"), &["rack:r1"], "rack:r1", true),
        (MaxPer, Some("2"), &["rack:r1", "rack:r1"], "rack:r1", false),
        (MaxPer, Some("2"), &["rack:r1", "rack:r1"], "rack:r2", true),
        (MaxPer, Some("two"), &[], "rack:r1", false),
        // Rules 118 and 119.
        (Is, Some("r1"), &[], "rack:r1", true),
        (Is, Some("2.50"), &[], "rack:2.5", true),
        (Is, Some("2.5"), &[], "rack:2.501", false),
        (Like, Some("[0-9]"), &[], "rack:3", true),
    ] {
        let run_spec = constrained(10, &[constraint("rack", operator, value)]);
        assert_eq!(
            allowed(&run_spec, others, offered),
            wanted,
            "{} {value:?} beside {others:?} on {offered:?}",
            operator.name()
        );
    }
}

#[test]
fn marathon_rules_112_to_115_groups() {
    let a = "rack:a";
    let (b, c) = ("rack:b", "rack:c");
    for (value, instances, others, offered, wanted) in [
        // Rule 112: 7 over 3 are 3, 2 and 2, in any order.
        (Some("3"), 7, &[a, a][..], a, true),
        (Some("3"), 7, &[a, a, a], a, false),
        (Some("3"), 7, &[a, a, a, b, b], b, false),
        (Some("3"), 7, &[a, a, a, b, b], c, true),
        (Some("3"), 7, &[a, a, b, b, c, c], c, true),
        // A fourth value is one too many.
        (Some("2"), 4, &[a, b], c, false),
        // Fewer instances than values.
        (Some("3"), 2, &[a], b, true),
        (Some("3"), 2, &[a, b], c, false),
        (Some("3"), 2, &[a], a, false),
        // Rule 115.
        (Some("inf"), 5, &[a, b], c, true),
        (Some("inf"), 5, &[a, b], a, false),
        // Rules 113 and 114: without a number, new values and the emptiest.
        (None, 9, &[], a, true),
        (None, 9, &[a, a], b, true),
        (None, 9, &[a, a, b], a, false),
        (None, 9, &[a, a, b], b, true),
        (None, 9, &[a, b], a, true),
        (Some("0"), 9, &[a, b], a, true),
    ] {
        let run_spec = constrained(instances, &[constraint("rack", Operator::GroupBy, value)]);
        assert_eq!(allowed(&run_spec, others, offered), wanted, "{value:?} {others:?} {offered}");
    }
}

#[test]
fn marathon_rules_91_and_112_a_wanting_number_is_told() {
    let mut placed = Placed::new(&constrained(2, &[constraint("rack", Operator::GroupBy, Some("2"))]));
    let on_a = opened(attributed("h1", "rack:a"));
    placed.add(on_a.agent());
    assert_eq!(placed.judge(on_a.agent()).len(), 1);
    placed.want(4);
    assert!(placed.judge(on_a.agent()).is_empty());
    placed.add(on_a.agent());
    assert_eq!(
        placed.judge(on_a.agent()),
        [
            "rack GROUP_BY 2: 2 instances are on a, whose share of 4 is full; an agent with another value would do \
          (1 of 2 are used)"
        ]
    );
    placed.remove(on_a.agent());
    placed.remove(on_a.agent());
    assert!(placed.judge(on_a.agent()).is_empty());
    assert_eq!(placed.count(), 0);
}

#[test]
fn marathon_rule_106_hosts_regions_and_zones() {
    for (field, operator, value, wanted) in [
        ("hostname", Operator::Is, "h1", true),
        ("@hostname", Operator::Unlike, "h[0-9]", false),
        ("@region", Operator::Is, "eu", true),
        ("@zone", Operator::Is, "eu-2", false),
    ] {
        let run_spec = constrained(1, &[constraint(field, operator, Some(value))]);
        let result = World::new().first(located("h1", "eu", "eu-1"), &run_spec);
        assert_eq!(result.is_ok(), wanted, "{field} {value}");
    }
}

#[test]
fn marathon_rule_122_other_regions_are_asked_for() {
    let plain = constrained(1, &[]);
    for (own, offered, constraints, wanted) in [
        (Some("eu"), "eu", &[][..], true),
        (Some("eu"), "us", &[], false),
        (None, "us", &[], true),
        (Some("eu"), "us", &[constraint("@region", Operator::Is, Some("us"))], true),
        (Some("eu"), "us", &[constraint("@zone", Operator::Like, Some("us.*"))], true),
        (Some("eu"), "us", &[constraint("hostname", Operator::Unique, None)], false),
    ] {
        let mut world = World::new();
        world.region = own;
        let result =
            world.first(located("h1", offered, &format!("{offered}-1")), &constrained(1, constraints));
        assert_eq!(result.is_ok(), wanted, "{own:?} {offered} {constraints:?}");
    }
    // An agent that tells no region is in the master's.
    let mut world = World::new();
    world.region = Some("eu");
    assert!(world.first(attributed("h1", ""), &plain).is_ok());
}

#[test]
fn marathon_rules_107_and_108_who_counts() {
    let run_spec = constrained(3, &[constraint("hostname", Operator::Unique, None)]);
    let mut world = World::new();
    let running = world.first(attributed("h1", ""), &run_spec).unwrap().instance;
    assert!(counts(&running, &run_spec));
    let with = |condition| {
        let mut instance = running.clone();
        instance.condition = condition;
        counts(&instance, &run_spec)
    };
    for (condition, wanted) in [
        (Condition::Provisioned, true),
        (Condition::Running, true),
        (Condition::Killing, true),
        (Condition::Scheduled, false),
        (Condition::Unreachable, false),
        (Condition::UnreachableInactive, false),
        (Condition::Unknown, false),
        (Condition::Failed, false),
    ] {
        assert_eq!(with(condition), wanted, "{condition:?}");
    }
    // Rule 107: of an older make.
    let mut changed = app("/web");
    changed.constraints = run_spec.constraints().clone();
    changed.version_info.last_config_change_at = crate::fixtures::NOW;
    changed.version = crate::fixtures::NOW;
    changed.unreachable_strategy = UnreachableStrategy::Disabled;
    let changed = spec(changed);
    assert!(!counts(&running, &changed));
    let placed = Placed::of(&changed, [&running]);
    assert_eq!(placed.count(), 0);
    let beside = world.place(&mut opened(attributed("h1", "")), &changed, &waiting(&changed, "n"), &placed);
    assert!(beside.is_ok());
    let placed = Placed::of(&run_spec, [&running]);
    let beside = world.place(&mut opened(attributed("h1", "")), &run_spec, &waiting(&run_spec, "n"), &placed);
    assert_eq!(beside.unwrap_err().first(), NoMatch::UnfulfilledConstraint);
}

fn told(one: &AttributeConstraint) -> (String, String) {
    let field = match one.selector.selector.as_ref().unwrap() {
        Field::PseudoattributeType(number) => format!("@{number}"),
        Field::AttributeName(name) => name.clone(),
    };
    let kind = match one.predicate.predicate.as_ref().unwrap() {
        Kind::Exists(_) => "exists".to_owned(),
        Kind::NotExists(_) => "not exists".to_owned(),
        Kind::TextEquals(equals) => format!("={}", equals.value),
        Kind::TextNotEquals(equals) => format!("!={}", equals.value),
        Kind::TextMatches(matches) => format!("~{}", matches.regex),
        Kind::TextNotMatches(matches) => format!("!~{}", matches.regex),
    };
    (field, kind)
}

#[test]
fn marathon_rule_123_constraints_for_the_master() {
    use Operator::{Cluster, GroupBy, Is, Like, MaxPer, Unique, Unlike};
    for (operator, value, others, wanted) in [
        (Unique, None, &[][..], &["exists"][..]),
        (Unique, None, &["rack:a", "rack:b"], &["exists", "!=a", "!=b"]),
        (MaxPer, Some("2"), &["rack:a", "rack:a", "rack:b"], &["exists", "!=a"]),
        (GroupBy, Some("2"), &["rack:a", "rack:a"], &["exists"]),
        (Cluster, Some("a"), &[], &["=a"]),
        (Cluster, None, &[], &["exists"]),
        (Cluster, None, &["rack:b"], &["=b"]),
        (Is, Some("a"), &[], &["=a"]),
        (Like, Some("a.*"), &[], &["~a.*"]),
        (Unlike, Some("a.*"), &[], &["!~a.*"]),
    ] {
        let run_spec = constrained(4, &[constraint("rack", operator, value)]);
        let mut placed = Placed::new(&run_spec);
        for other in others {
            placed.add(opened(attributed("other", other)).agent());
        }
        let one = Waiting { role: "web", run_spec: &run_spec, placed: &placed, keeps: false };
        let constraints = offer_constraints([one]);
        let group = &constraints.role_constraints["web"].groups[0].attribute_constraints;
        let kinds: Vec<String> = group.iter().map(|one| told(one).1).collect();
        assert_eq!(kinds, wanted, "{operator:?} {value:?}");
        assert!(group.iter().all(|one| told(one).0 == "rack"));
    }
    // One that takes any agent lifts what another asks for; so does one that keeps a place.
    let strict = constrained(1, &[constraint("@zone", Operator::Unique, None)]);
    let open = constrained(1, &[]);
    let (of_strict, of_open) = (Placed::new(&strict), Placed::new(&open));
    let strict = |keeps| Waiting { role: "web", run_spec: &strict, placed: &of_strict, keeps };
    let open = Waiting { role: "web", run_spec: &open, placed: &of_open, keeps: false };
    assert_eq!(offer_constraints([strict(false), strict(false)]).role_constraints["web"].groups.len(), 2);
    for both in [[strict(false), open], [open, strict(false)], [strict(false), strict(true)]] {
        assert!(offer_constraints(both).role_constraints.is_empty());
    }
    let roles: BTreeSet<String> = offer_constraints([Waiting { role: "db", ..strict(false) }, open])
        .role_constraints
        .into_keys()
        .collect();
    assert_eq!(roles, BTreeSet::from(["db".to_owned()]));
}

/// Draws numbers below a bound, the same ones in each run.
fn draws(mut state: u64) -> impl FnMut(usize) -> usize {
    move |bound| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    }
}

#[test]
fn counts_that_are_kept_are_those_that_are_made_afresh() {
    let run_spec = constrained(
        30,
        &[
            constraint("hostname", Operator::Unique, None),
            constraint("rack", Operator::GroupBy, Some("3")),
            constraint("rack", Operator::GroupBy, None),
            constraint("rack", Operator::MaxPer, Some("4")),
            constraint("rack", Operator::Cluster, None),
        ],
    );
    let agents: Vec<_> =
        (0..12).map(|i| opened(attributed(&format!("h{i}"), &format!("rack:r{}", i % 4)))).collect();
    let mut draw = draws(7);
    let mut kept = Placed::new(&run_spec);
    let mut on: Vec<usize> = Vec::new();
    for _ in 0..500 {
        if on.is_empty() || draw(5) < 3 {
            let agent = draw(agents.len());
            kept.add(agents[agent].agent());
            on.push(agent);
        } else {
            let agent = on.swap_remove(draw(on.len()));
            kept.remove(agents[agent].agent());
        }
        let mut afresh = Placed::new(&run_spec);
        on.iter().for_each(|agent| afresh.add(agents[*agent].agent()));
        for agent in &agents {
            assert_eq!(kept.judge(agent.agent()), afresh.judge(agent.agent()), "{on:?}");
        }
        assert_eq!(kept.count() as usize, on.len());
    }
}

#[test]
fn marathon_rule_112_shares_are_even_in_whatever_order_offers_come() {
    for (groups, instances) in [(5, 23), (5, 25), (4, 3), (1, 6)] {
        for seed in 0..5 {
            let value = groups.to_string();
            let run_spec = constrained(instances, &[constraint("rack", Operator::GroupBy, Some(&value))]);
            let mut draw = draws(seed);
            let mut placed = Placed::new(&run_spec);
            let mut on = vec![0_u32; groups];
            // More than enough tries for each of five values to come up as often as it has to.
            for _ in 0..600 {
                let rack = draw(groups);
                let agent = opened(attributed("h", &format!("rack:r{rack}")));
                if placed.count() < instances && placed.judge(agent.agent()).is_empty() {
                    placed.add(agent.agent());
                    on[rack] += 1;
                }
            }
            assert_eq!(on.iter().sum::<u32>(), instances, "{on:?}");
            let (most, fewest) = (on.iter().max().unwrap(), on.iter().min().unwrap());
            assert!(most - fewest <= 1, "{on:?}");
        }
    }
}
