//! Whether something of an agent is for a framework at all.

use std::collections::BTreeMap;

use mezzo_ids::Role;
use mezzo_mesos::v1::{
    self,
    scheduler::{
        AttributeConstraint,
        attribute_constraint::{predicate::Predicate, selector},
    },
    value,
};
use mezzo_resources::Resource;
use regex::Regex;

use crate::{Agent, Cluster, Framework, cluster::is_within};

/// Patterns that were met, compiled; `None` where that is not possible.
pub(crate) type Patterns<'a> = BTreeMap<&'a str, Option<Regex>>;

impl Cluster {
    /// Rules 106, 107, 109, 112 and 132; says which rule is against it.
    pub(crate) fn refuses_agent<'a>(
        &self,
        framework: &'a Framework,
        role: &Role,
        agent: &Agent,
        patterns: &mut Patterns<'a>,
    ) -> Option<u16> {
        let region = |domain: &Option<v1::DomainInfo>| {
            Some(domain.as_ref()?.fault_domain.as_ref()?.region.name.clone())
        };
        let has_gpus = agent.total.iter().any(|resource| *resource.name() == "gpus");
        let is_remote = match (region(&agent.domain), &self.settings.region) {
            (Some(theirs), Some(ours)) => theirs != *ours,
            _ => false,
        };
        let lacks = (framework.can.multi_role && agent.lacks_multi_role)
            || (role.contains('/') && agent.lacks_nested_roles);
        [
            (!agent.is_offered, 109),
            (lacks, 132),
            (self.settings.filter_gpus && has_gpus && !framework.can.gpus, 106),
            (is_remote && !framework.can.region_aware, 107),
            (!is_wanted(framework, role, agent, patterns), 112),
        ]
        .into_iter()
        .find_map(|(against, rule)| against.then_some(rule))
    }
}

/// Rules 108 and 129; says which rule is against it.
pub(crate) fn refuses_resource(framework: &Framework, role: &Role, resource: &Resource) -> Option<u16> {
    let can = framework.can;
    if resource.top_role().is_some_and(|reserved| !is_within(role, reserved)) {
        return Some(129);
    }
    let lacks = (resource.is_revocable() && !can.revocable)
        || (resource.is_shared() && !can.shared)
        || (resource.reservations().len() > 1 && !can.refinement);
    lacks.then_some(108)
}

/// Rules 112 and 115 to 118.
fn is_wanted<'a>(framework: &'a Framework, role: &Role, agent: &Agent, patterns: &mut Patterns<'a>) -> bool {
    let constraints = framework.constraints.as_ref().and_then(|all| all.role_constraints.get(role.as_str()));
    constraints.is_none_or(|constraints| {
        constraints.groups.iter().any(|group| {
            group.attribute_constraints.iter().all(|constraint| holds(constraint, agent, patterns))
        })
    })
}

fn holds<'a>(constraint: &'a AttributeConstraint, agent: &Agent, patterns: &mut Patterns<'a>) -> bool {
    let domain = agent.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    // `None`: missing; `Some(None)`: there, but no text.
    let found: Option<Option<String>> = match &constraint.selector.selector {
        Some(selector::Selector::AttributeName(name)) => {
            agent.attributes.iter().find(|attribute| attribute.name == *name).map(|attribute| {
                let text = attribute.text.as_ref().filter(|_| attribute.r#type() == value::Type::Text);
                text.map(|text| text.value.clone())
            })
        }
        Some(selector::Selector::PseudoattributeType(kind)) => {
            use selector::PseudoattributeType as Kind;
            match Kind::try_from(*kind) {
                Ok(Kind::Hostname) => Some(Some(agent.hostname.clone())),
                Ok(Kind::Region) => domain.map(|domain| Some(domain.region.name.clone())),
                Ok(Kind::Zone) => domain.map(|domain| Some(domain.zone.name.clone())),
                Ok(Kind::Unknown) | Err(_) => None,
            }
        }
        None => None,
    };
    let mut is_match = |pattern: &'a str, text: &str| {
        let compile = || Regex::new(&format!(r"\A(?:{pattern})\z")).ok();
        let compiled = patterns.entry(pattern).or_insert_with(compile);
        compiled.as_ref().is_some_and(|pattern| pattern.is_match(text))
    };
    match (&constraint.predicate.predicate, found) {
        (Some(Predicate::Exists(_)), found) => found.is_some(),
        (Some(Predicate::NotExists(_)), found) => found.is_none(),
        (Some(Predicate::TextNotEquals(_) | Predicate::TextNotMatches(_)), None) | (_, Some(None)) => true,
        (_, None) | (None, _) => false,
        (Some(Predicate::TextEquals(wanted)), Some(Some(text))) => text == wanted.value,
        (Some(Predicate::TextNotEquals(unwanted)), Some(Some(text))) => text != unwanted.value,
        (Some(Predicate::TextMatches(wanted)), Some(Some(text))) => is_match(&wanted.regex, &text),
        (Some(Predicate::TextNotMatches(unwanted)), Some(Some(text))) => !is_match(&unwanted.regex, &text),
    }
}
