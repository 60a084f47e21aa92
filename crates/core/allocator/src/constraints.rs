//! Which agents a framework wants to be offered at all.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::Role;
use mezzo_mesos::v1::{
    self,
    scheduler::{
        AttributeConstraint,
        attribute_constraint::{predicate, selector},
    },
    value,
};
use regex::Regex;

use crate::{AgentProfile, pattern};

/// Bounds of a pattern (rule 118).
#[derive(Clone, Copy, Debug)]
pub struct ConstraintLimits {
    /// --offer_constraints_re2_max_mem, applied to the length of the pattern.
    pub memory_max: usize,
    /// --offer_constraints_re2_max_program_size
    pub program_size_max: usize,
}

impl Default for ConstraintLimits {
    fn default() -> Self {
        Self { memory_max: 4096, program_size_max: 100 }
    }
}

/// Compiled offer constraints; the default excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct OfferConstraints(BTreeMap<Role, Vec<Group>>);

/// All of these must hold.
pub(crate) type Group = Vec<Constraint>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constraint {
    selector: Selector,
    predicate: Predicate,
}

#[derive(Clone, Debug, PartialEq)]
enum Selector {
    Attribute(String),
    Hostname,
    Region,
    Zone,
}

#[derive(Clone, Debug)]
enum Predicate {
    Exists,
    NotExists,
    TextEquals(String),
    TextNotEquals(String),
    TextMatches(Regex),
    TextNotMatches(Regex),
}

impl PartialEq for Predicate {
    /// Patterns are the same when their texts are.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exists, Self::Exists) | (Self::NotExists, Self::NotExists) => true,
            (Self::TextEquals(mine), Self::TextEquals(other))
            | (Self::TextNotEquals(mine), Self::TextNotEquals(other)) => mine == other,
            (Self::TextMatches(mine), Self::TextMatches(other))
            | (Self::TextNotMatches(mine), Self::TextNotMatches(other)) => mine.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// What constraints look at.
pub(crate) struct Seen<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) domain: Option<&'a v1::DomainInfo>,
    pub(crate) attributes: &'a [v1::Attribute],
}

/// Rule 112: whether one of the groups holds.
pub(crate) fn admit(groups: &[Group], agent: &Seen<'_>) -> bool {
    groups.iter().any(|group| group.iter().all(|constraint| constraint.holds(agent)))
}

/// What a selector finds on an agent.
enum Found<'a> {
    Missing,
    NotText,
    Text(&'a str),
}

impl OfferConstraints {
    /// Checks and compiles (rules 60, 113, 114, 118, 119). The error is a text for the framework.
    pub fn compile(
        message: &v1::scheduler::OfferConstraints,
        roles: &BTreeSet<Role>,
        limits: ConstraintLimits,
    ) -> Result<Self, String> {
        let mut compiled = BTreeMap::new();
        for (role, constraints) in &message.role_constraints {
            if !roles.contains(role.as_str()) {
                return Err(format!(
                    "Offer constraints specify role '{role}' the framework is not subscribed to"
                ));
            }
            if constraints.groups.is_empty() {
                return Err(format!("Offer constraints for role '{role}' have no groups"));
            }
            let mut groups = Vec::with_capacity(constraints.groups.len());
            for group in &constraints.groups {
                if group.attribute_constraints.is_empty() {
                    return Err(format!(
                        "Offer constraints for role '{role}' have a group without constraints"
                    ));
                }
                let compile = |constraint| Constraint::compile(constraint, limits);
                let group: Result<Group, String> = group.attribute_constraints.iter().map(compile).collect();
                groups.push(group.map_err(|why| format!("Offer constraints for role '{role}': {why}"))?);
            }
            compiled.insert(Role::from(role.as_str()), groups);
        }
        Ok(Self(compiled))
    }

    /// Roles with constraints.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.0.keys()
    }

    /// Whether agents like this one are not offered for the role (rule 112).
    pub fn exclude(&self, role: &Role, agent: &AgentProfile) -> bool {
        let AgentProfile { hostname, domain, attributes, .. } = agent;
        let seen = Seen { hostname, domain: domain.as_ref(), attributes };
        self.groups(role).is_some_and(|groups| !admit(groups, &seen))
    }

    /// The alternatives of a role; `None` when it is not constrained.
    pub(crate) fn groups(&self, role: &Role) -> Option<&Vec<Group>> {
        self.0.get(role)
    }
}

impl Constraint {
    fn compile(message: &AttributeConstraint, limits: ConstraintLimits) -> Result<Self, String> {
        let selector = match &message.selector.selector {
            Some(selector::Selector::AttributeName(name)) => Selector::Attribute(name.clone()),
            Some(selector::Selector::PseudoattributeType(kind)) => {
                match selector::PseudoattributeType::try_from(*kind) {
                    Ok(selector::PseudoattributeType::Hostname) => Selector::Hostname,
                    Ok(selector::PseudoattributeType::Region) => Selector::Region,
                    Ok(selector::PseudoattributeType::Zone) => Selector::Zone,
                    Ok(selector::PseudoattributeType::Unknown) | Err(_) => {
                        return Err("unknown pseudoattribute type".into());
                    }
                }
            }
            None => return Err("a constraint has no selector".into()),
        };
        let predicate = match &message.predicate.predicate {
            Some(predicate::Predicate::Exists(_)) => Predicate::Exists,
            Some(predicate::Predicate::NotExists(_)) => Predicate::NotExists,
            Some(predicate::Predicate::TextEquals(text)) => Predicate::TextEquals(text.value.clone()),
            Some(predicate::Predicate::TextNotEquals(text)) => Predicate::TextNotEquals(text.value.clone()),
            Some(predicate::Predicate::TextMatches(text)) => {
                Predicate::TextMatches(pattern::compile(&text.regex, limits)?)
            }
            Some(predicate::Predicate::TextNotMatches(text)) => {
                Predicate::TextNotMatches(pattern::compile(&text.regex, limits)?)
            }
            None => return Err("a constraint has no predicate, or an unknown one".into()),
        };
        Ok(Self { selector, predicate })
    }

    pub(crate) fn looks_at_hostname(&self) -> bool {
        self.selector == Selector::Hostname
    }

    /// Rules 115 to 117.
    fn holds(&self, agent: &Seen<'_>) -> bool {
        let found = self.selector.find(agent);
        match (&self.predicate, found) {
            (Predicate::Exists, found) => !matches!(found, Found::Missing),
            (Predicate::NotExists, found) => matches!(found, Found::Missing),
            (_, Found::NotText) => true,
            (Predicate::TextNotEquals(_) | Predicate::TextNotMatches(_), Found::Missing) => true,
            (Predicate::TextEquals(_) | Predicate::TextMatches(_), Found::Missing) => false,
            (Predicate::TextEquals(wanted), Found::Text(text)) => text == wanted,
            (Predicate::TextNotEquals(unwanted), Found::Text(text)) => text != unwanted,
            (Predicate::TextMatches(pattern), Found::Text(text)) => pattern.is_match(text),
            (Predicate::TextNotMatches(pattern), Found::Text(text)) => !pattern.is_match(text),
        }
    }
}

impl Selector {
    fn find<'a>(&self, agent: &Seen<'a>) -> Found<'a> {
        let domain = agent.domain.and_then(|domain| domain.fault_domain.as_ref());
        let text = |text: Option<&'a str>| text.map_or(Found::Missing, Found::Text);
        match self {
            Self::Hostname => Found::Text(agent.hostname),
            Self::Region => text(domain.map(|domain| domain.region.name.as_str())),
            Self::Zone => text(domain.map(|domain| domain.zone.name.as_str())),
            Self::Attribute(name) => {
                match agent.attributes.iter().find(|attribute| attribute.name == *name) {
                    None => Found::Missing,
                    Some(attribute) => match (attribute.r#type(), &attribute.text) {
                        (value::Type::Text, Some(text)) => Found::Text(&text.value),
                        _ => Found::NotText,
                    },
                }
            }
        }
    }
}
