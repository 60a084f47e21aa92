//! Whether an agent that was started with another description is still the same agent
//! (rules 415 to 418).

use mezzo_mesos::v1;
use mezzo_resources::Resources;

use crate::config::ReconfigurationPolicy;

/// Why the description does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Incompatible {
    #[error("the {0} changed")]
    Changed(&'static str),
    #[error("attribute '{0}' changed or is gone")]
    Attribute(String),
    #[error("resources became fewer")]
    Resources,
}

/// Whether the description changed, when the policy allows what changed.
pub(crate) fn compare(
    policy: ReconfigurationPolicy,
    old: &v1::AgentInfo,
    new: &v1::AgentInfo,
) -> Result<bool, Incompatible> {
    let (had, have) = (
        Resources::from_proto(&old.resources).unwrap_or_default(),
        Resources::from_proto(&new.resources).unwrap_or_default(),
    );
    if old.hostname != new.hostname {
        return Err(Incompatible::Changed("hostname"));
    }
    if old.port != new.port {
        return Err(Incompatible::Changed("port"));
    }
    let equal = had == have && old.attributes == new.attributes && old.domain == new.domain;
    if equal {
        return Ok(false);
    }
    if policy == ReconfigurationPolicy::Equal {
        return Err(if had != have {
            Incompatible::Changed("resources")
        } else if old.attributes != new.attributes {
            Incompatible::Changed("attributes")
        } else {
            Incompatible::Changed("domain")
        });
    }
    if old.domain.is_some() && old.domain != new.domain {
        return Err(Incompatible::Changed("domain"));
    }
    for attribute in &old.attributes {
        if !new.attributes.iter().any(|candidate| grew(attribute, candidate)) {
            return Err(Incompatible::Attribute(attribute.name.clone()));
        }
    }
    if !have.contains(&had) {
        return Err(Incompatible::Resources);
    }
    Ok(true)
}

/// Scalar and text attributes stay equal, ranges may grow.
fn grew(old: &v1::Attribute, new: &v1::Attribute) -> bool {
    if old.name != new.name || old.r#type != new.r#type {
        return false;
    }
    let inside = |range: &v1::value::Range| {
        new.ranges.iter().flat_map(|r| &r.range).any(|n| n.begin <= range.begin && range.end <= n.end)
    };
    match &old.ranges {
        Some(ranges) => ranges.range.iter().all(inside),
        None => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::scalar;

    fn info(cpus: f64, rack: &str) -> v1::AgentInfo {
        v1::AgentInfo {
            hostname: "h".into(),
            port: Some(5051),
            resources: vec![scalar("cpus", cpus, None)],
            attributes: vec![v1::Attribute {
                name: "rack".into(),
                r#type: v1::value::Type::Text as i32,
                text: Some(v1::value::Text { value: rack.into() }),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn rule_415_equal_allows_nothing() {
        let policy = ReconfigurationPolicy::Equal;
        assert_eq!(compare(policy, &info(4.0, "a"), &info(4.0, "a")), Ok(false));
        assert_eq!(
            compare(policy, &info(4.0, "a"), &info(8.0, "a")),
            Err(Incompatible::Changed("resources"))
        );
        assert_eq!(
            compare(policy, &info(4.0, "a"), &info(4.0, "b")),
            Err(Incompatible::Changed("attributes"))
        );
    }

    #[test]
    fn rule_416_additive_allows_growth() {
        let policy = ReconfigurationPolicy::Additive;
        assert_eq!(compare(policy, &info(4.0, "a"), &info(8.0, "a")), Ok(true));
        assert_eq!(compare(policy, &info(8.0, "a"), &info(4.0, "a")), Err(Incompatible::Resources));
        assert_eq!(
            compare(policy, &info(4.0, "a"), &info(4.0, "b")),
            Err(Incompatible::Attribute("rack".into()))
        );
        let mut moved = info(4.0, "a");
        moved.hostname = "other".into();
        assert_eq!(compare(policy, &info(4.0, "a"), &moved), Err(Incompatible::Changed("hostname")));
        let mut zoned = info(4.0, "a");
        zoned.domain = Some(v1::DomainInfo::default());
        assert_eq!(compare(policy, &info(4.0, "a"), &zoned), Ok(true));
        assert_eq!(compare(policy, &zoned, &info(4.0, "a")), Err(Incompatible::Changed("domain")));
    }
}
