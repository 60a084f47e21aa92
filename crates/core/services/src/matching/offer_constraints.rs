//! Constraints that the master looks at before it offers (rule 123).

use std::collections::BTreeMap;

use mezzo_mesos::v1::scheduler::{
    AttributeConstraint, OfferConstraints,
    attribute_constraint::{
        Predicate, Selector,
        predicate::{Exists, Predicate as Kind, TextEquals, TextMatches, TextNotEquals, TextNotMatches},
        selector::{PseudoattributeType, Selector as Field},
    },
    offer_constraints::{RoleConstraints, role_constraints::Group},
};
use mezzo_services_model::{Constraint, Operator, RunSpec};

use super::{Placed, placed::is_pattern};

/// Values of one field that are ruled out one by one; each costs a comparison per agent and allocation. With more of them
/// they are left out: constraints at the master only spare offers that would be declined.
const VALUES_MAX: usize = 1000;

/// A service of which instances wait for offers.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The role of the instances.
    pub role: &'a str,
    /// What they will run.
    pub run_spec: &'a RunSpec,
    /// Where the other instances are.
    pub placed: &'a Placed,
    /// Some keep a reservation, or one is to be cleaned up: offers of its agent are wanted, whatever the constraints say.
    pub keeps: bool,
}

/// What to tell the master. A role of which one service takes any agent is not constrained; neither is one that is not there.
pub fn offer_constraints<'a>(waiting: impl IntoIterator<Item = Waiting<'a>>) -> OfferConstraints {
    let mut roles: BTreeMap<String, Option<RoleConstraints>> = BTreeMap::new();
    for service in waiting {
        let constraints: Vec<AttributeConstraint> = if service.keeps {
            Vec::new()
        } else {
            service.run_spec.constraints().iter().flat_map(|one| of(one, service.placed)).collect()
        };
        let role = roles.entry(service.role.to_owned()).or_insert_with(|| Some(RoleConstraints::default()));
        if constraints.is_empty() {
            *role = None;
        } else if let Some(role) = role {
            role.groups.push(Group { attribute_constraints: constraints });
        }
    }
    let role_constraints = roles.into_iter().filter_map(|(role, groups)| Some((role, groups?))).collect();
    OfferConstraints { role_constraints }
}

fn of(constraint: &Constraint, placed: &Placed) -> Vec<AttributeConstraint> {
    let field = &constraint.field;
    let one = |kind| vec![predicate(field, kind)];
    let equals = |value: &str| Kind::TextEquals(TextEquals { value: value.to_owned() });
    let value = constraint.value.as_deref();
    let exists = || predicate(field, Kind::Exists(Exists {}));
    let without = |full: u32| {
        let values: Vec<&str> = placed
            .values(constraint)
            .filter(|(_, count)| *count >= full)
            .map(|(value, _)| value)
            .take(VALUES_MAX + 1)
            .collect();
        let mut all = vec![exists()];
        if values.len() <= VALUES_MAX {
            let not = |value: &str| Kind::TextNotEquals(TextNotEquals { value: value.to_owned() });
            all.extend(values.into_iter().map(|value| predicate(field, not(value))));
        }
        all
    };
    match (constraint.operator, value) {
        (Operator::Unique, _) => without(1),
        (Operator::MaxPer, Some(most)) => match most.parse() {
            Ok(most) => without(most),
            Err(_) => vec![exists()],
        },
        (Operator::MaxPer, None) | (Operator::GroupBy, _) => vec![exists()],
        (Operator::Cluster, Some(value)) if !value.is_empty() => one(equals(value)),
        (Operator::Cluster, _) => match placed.values(constraint).next() {
            Some((value, _)) => one(equals(value)),
            None => vec![exists()],
        },
        (Operator::Is, Some(value)) => one(equals(value)),
        (Operator::Like, Some(regex)) if is_pattern(regex) => {
            one(Kind::TextMatches(TextMatches { regex: regex.to_owned() }))
        }
        (Operator::Unlike, Some(regex)) if is_pattern(regex) => {
            one(Kind::TextNotMatches(TextNotMatches { regex: regex.to_owned() }))
        }
        (Operator::Is | Operator::Like | Operator::Unlike, _) => Vec::new(),
    }
}

fn predicate(field: &str, kind: Kind) -> AttributeConstraint {
    let field = match field {
        "hostname" | "@hostname" => Field::PseudoattributeType(PseudoattributeType::Hostname.into()),
        "@region" => Field::PseudoattributeType(PseudoattributeType::Region.into()),
        "@zone" => Field::PseudoattributeType(PseudoattributeType::Zone.into()),
        name => Field::AttributeName(name.to_owned()),
    };
    AttributeConstraint {
        selector: Selector { selector: Some(field) },
        predicate: Predicate { predicate: Some(kind) },
    }
}
