//! Area offer constraints.

use v1::scheduler::{
    AttributeConstraint, OfferConstraints as Message,
    attribute_constraint::{
        Predicate, Selector,
        predicate::{
            Exists, NotExists, Predicate as P, TextEquals, TextMatches, TextNotEquals, TextNotMatches,
        },
        selector::{PseudoattributeType as Pseudo, Selector as S},
    },
    offer_constraints::{RoleConstraints, role_constraints::Group},
};

use super::*;

fn name(name: &str) -> S {
    S::AttributeName(name.into())
}

fn pseudo(kind: Pseudo) -> S {
    S::PseudoattributeType(kind.into())
}

fn constraint(selector: S, predicate: P) -> AttributeConstraint {
    AttributeConstraint {
        selector: Selector { selector: Some(selector) },
        predicate: Predicate { predicate: Some(predicate) },
    }
}

fn equals(value: &str) -> P {
    P::TextEquals(TextEquals { value: value.into() })
}

fn matches(regex: &str) -> P {
    P::TextMatches(TextMatches { regex: regex.into() })
}

fn message(groups: Vec<Vec<AttributeConstraint>>) -> Message {
    let groups = groups.into_iter().map(|attribute_constraints| Group { attribute_constraints }).collect();
    Message { role_constraints: [("web".to_string(), RoleConstraints { groups })].into() }
}

fn compile(message: &Message) -> Result<OfferConstraints, String> {
    OfferConstraints::compile(message, &roles(&["web", "ops"]), ConstraintLimits::default())
}

/// A framework in web with constraints and in ops without, on one agent per attribute text.
fn cluster(groups: Vec<Vec<AttributeConstraint>>, agents: &[&str]) -> Cluster {
    let mut c = Cluster::new();
    for (i, attributes) in agents.iter().enumerate() {
        let attributes = mezzo_resources::parse_attributes(attributes).expect("valid");
        let profile = AgentProfile {
            attributes,
            total: parse("cpus:1"),
            domain: if i == 0 { region("east") } else { None },
            ..AgentProfile::default()
        };
        c.agent_as(&format!("a{i}"), profile);
    }
    let constraints = compile(&message(groups)).expect("valid constraints");
    c.framework_as("f1", FrameworkProfile { constraints, ..profile(&["web"]) });
    c
}

fn admitted(groups: Vec<Vec<AttributeConstraint>>, agents: &[&str]) -> Vec<usize> {
    let mut c = cluster(groups, agents);
    let mut all: Vec<usize> =
        c.pass().offers.iter().filter_map(|offer| offer.agent[1..].parse().ok()).collect();
    all.sort_unstable();
    all
}

#[test]
fn rule_112_groups_are_alternatives_and_their_constraints_all_hold() {
    let groups = vec![
        vec![constraint(name("rack"), equals("r1")), constraint(name("tier"), equals("gold"))],
        vec![constraint(name("rack"), equals("r2"))],
    ];
    let agents = ["rack:r1;tier:gold", "rack:r1;tier:tin", "rack:r2", "tier:gold"];
    assert_eq!(admitted(groups.clone(), &agents), [0, 2]);
    // A role that is not named is not constrained.
    let mut c = cluster(groups, &agents);
    let constraints = compile(&message(vec![vec![constraint(name("rack"), equals("none"))]])).expect("valid");
    c.framework_as("f1", FrameworkProfile { constraints, ..profile(&["web", "ops"]) });
    assert!(c.takers().iter().all(|line| line.starts_with("f1 ops")));
}

#[test]
fn rules_113_114_and_119_what_is_refused() {
    let refused = |message: &Message| compile(message).expect_err("refused");
    // rule 113
    refused(&message(vec![]));
    refused(&message(vec![vec![]]));
    // rule 114
    refused(&message(vec![vec![constraint(pseudo(Pseudo::Unknown), equals("x"))]]));
    refused(&message(vec![vec![constraint(S::PseudoattributeType(99), equals("x"))]]));
    let mut bad = constraint(name("a"), equals("x"));
    bad.selector.selector = None;
    refused(&message(vec![vec![bad]]));
    // rule 119
    let mut bad = constraint(name("a"), equals("x"));
    bad.predicate.predicate = None;
    refused(&message(vec![vec![bad]]));
    // rule 118
    refused(&message(vec![vec![constraint(name("a"), matches("("))]]));
    refused(&message(vec![vec![constraint(name("a"), matches("(a{100}){100}"))]]));
    // rule 60
    let mut other = message(vec![vec![constraint(name("a"), equals("x"))]]);
    other.role_constraints = other.role_constraints.into_values().map(|v| ("other".to_string(), v)).collect();
    refused(&other);
}

#[test]
fn rule_114_pseudoattributes() {
    let agents = ["a:1", "a:1"];
    let of = |kind, predicate| admitted(vec![vec![constraint(pseudo(kind), predicate)]], &agents);
    assert_eq!(of(Pseudo::Hostname, equals("a1.example")), [1]);
    assert_eq!(of(Pseudo::Hostname, matches("a.\\.example")), [0, 1]);
    assert_eq!(of(Pseudo::Region, equals("east")), [0]);
    assert_eq!(of(Pseudo::Zone, equals("east-1")), [0]);
    assert_eq!(of(Pseudo::Region, P::NotExists(NotExists::default())), [1]);
}

#[test]
fn rules_115_to_118_predicates() {
    let agents = ["rack:r1", "rack:r2;rack:r1", "rack:7", "tier:gold"];
    let of = |predicate| admitted(vec![vec![constraint(name("rack"), predicate)]], &agents);
    // rule 115
    assert_eq!(of(P::Exists(Exists::default())), [0, 1, 2]);
    assert_eq!(of(P::NotExists(NotExists::default())), [3]);
    // rule 116: agent 2 has a number; rule 117: agent 1 counts as r2
    assert_eq!(of(equals("r1")), [0, 2]);
    assert_eq!(of(P::TextNotEquals(TextNotEquals { value: "r1".into() })), [1, 2, 3]);
    // rule 118: the whole text has to match
    assert_eq!(of(matches("r[12]")), [0, 1, 2]);
    assert_eq!(of(matches("r")), [2]);
    assert_eq!(of(P::TextNotMatches(TextNotMatches { regex: "r1|x".into() })), [1, 2, 3]);
}

#[test]
fn an_excluded_agent_is_explained() {
    let c = cluster(vec![vec![constraint(name("rack"), equals("r1"))]], &["rack:r1", "rack:r2"]);
    assert_eq!(c.why("f1"), [Reason::Constraints]);
    assert_eq!(c.allocator.suppressed(&"f1".into()).count(), 0);
}
