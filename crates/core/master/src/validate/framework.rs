//! What a FrameworkInfo may say (rules 58 to 63 and 70 to 76).

use std::collections::BTreeSet;

use mezzo_ids::Role;
use mezzo_mesos::v1;

use crate::{frameworks::roles_of, state::Capabilities};

/// Rejects what no master may accept; the text is that of the ERROR event or 400 answer.
pub fn framework_info(
    info: &v1::FrameworkInfo,
    root_submissions: bool,
    whitelist: Option<&[Role]>,
) -> Result<(), String> {
    roles(info)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.value.is_empty()) {
        super::id(&id.value)?;
    }
    failover_timeout(info.failover_timeout())?;
    offer_filters(info)?;
    // Rule 74.
    if info.user == "root" && !root_submissions {
        return Err("User 'root' is not allowed to run frameworks".into());
    }
    // Rule 73.
    if let Some(whitelist) = whitelist {
        let refused: BTreeSet<String> = roles_of(info)
            .into_iter()
            .filter(|role| !whitelist.contains(role))
            .map(|role| role.to_string())
            .collect();
        if !refused.is_empty() {
            return Err(format!("Roles {} are not present in the master's --roles", set(&refused)));
        }
    }
    Ok(())
}

#[expect(deprecated, reason = "frameworks without MULTI_ROLE use the older field")]
fn roles(info: &v1::FrameworkInfo) -> Result<(), String> {
    let multi_role = Capabilities::of(info).multi_role;
    // Rule 70.
    if multi_role && info.role.is_some() {
        return Err("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into());
    }
    if !multi_role && !info.roles.is_empty() {
        return Err(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".into()
        );
    }
    if !multi_role {
        return super::role(info.role())
            .map_err(|why| format!("'FrameworkInfo.role' is not a valid role: {why}"));
    }
    // Rule 71.
    let mut seen = BTreeSet::new();
    let duplicates: BTreeSet<String> =
        info.roles.iter().filter(|role| !seen.insert(role.as_str())).cloned().collect();
    if !duplicates.is_empty() {
        return Err(format!("'FrameworkInfo.roles' contains duplicate items: {}", set(&duplicates)));
    }
    for role in &info.roles {
        super::role(role).map_err(|why| format!("'FrameworkInfo.roles' contains invalid role: {why}"))?;
    }
    Ok(())
}

/// A set of texts as Mesos prints it.
fn set(items: &BTreeSet<String>) -> String {
    format!("{{ {} }}", items.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// Rule 63: it must fit 64 bits of nanoseconds. A negative one passes, as it does in Mesos.
fn failover_timeout(seconds: f64) -> Result<(), String> {
    if seconds.is_nan() || (seconds * 1e9).abs() >= i64::MAX as f64 {
        return Err(format!("The framework failover_timeout ({}) is invalid", general(seconds)));
    }
    Ok(())
}

/// A double as C++ streams print it: six significant digits, exponents of at least two digits.
fn general(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string().to_lowercase();
    }
    let scientific = format!("{value:.5e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Rule 75.
fn offer_filters(info: &v1::FrameworkInfo) -> Result<(), String> {
    for (role, filters) in &info.offer_filters {
        super::role(role)
            .map_err(|why| format!("Invalid role '{role}' in 'FrameworkInfo.offer_filters': {why}"))?;
        let Some(minimum) = &filters.min_allocatable_resources else { continue };
        for quantities in &minimum.quantities {
            for (name, scalar) in &quantities.quantities {
                if !scalar.value.is_finite() || scalar.value < 0.0 {
                    return Err(format!(
                        "Invalid offer filters for role '{role}': the minimum of '{name}' must be finite and not negative"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Rule 60.
pub fn suppressed_roles(info: &v1::FrameworkInfo, suppressed: &[String]) -> Result<(), String> {
    let roles = roles_of(info);
    for role in suppressed {
        if !roles.iter().any(|known| known.as_str() == role) {
            return Err(format!("Suppressed role '{role}' is not contained in the list of roles"));
        }
    }
    Ok(())
}

/// What UPDATE_FRAMEWORK must not change (rule 59).
pub fn framework_update(old: &v1::FrameworkInfo, new: &v1::FrameworkInfo) -> Result<(), String> {
    if old.principal != new.principal && new.principal.is_some() {
        return Err("Changing framework's principal is not allowed.".into());
    }
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    if old.checkpoint() != new.checkpoint() {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{}' to '{}'",
            old.checkpoint(),
            new.checkpoint()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multi_role(roles: &[&str]) -> v1::FrameworkInfo {
        v1::FrameworkInfo {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            capabilities: vec![v1::framework_info::Capability {
                r#type: Some(v1::framework_info::capability::Type::MultiRole.into()),
            }],
            ..Default::default()
        }
    }

    fn check(info: &v1::FrameworkInfo) -> Result<(), String> {
        framework_info(info, true, None)
    }

    #[expect(deprecated, reason = "frameworks without MULTI_ROLE use the older field")]
    fn set_role(info: &mut v1::FrameworkInfo) {
        info.role = Some("a".into());
    }

    #[test]
    fn rule_70_role_or_roles() {
        let mut both = multi_role(&[]);
        set_role(&mut both);
        let message = "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable";
        assert_eq!(check(&both), Err(message.into()));
        let roles = v1::FrameworkInfo { roles: vec!["a".into()], ..Default::default() };
        let message = "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable";
        assert_eq!(check(&roles), Err(message.into()));
    }

    #[test]
    fn rule_71_roles_are_valid_and_differ() {
        assert_eq!(check(&multi_role(&["a", "b"])), Ok(()));
        let message = "'FrameworkInfo.roles' contains duplicate items: { a }";
        assert_eq!(check(&multi_role(&["a", "a"])), Err(message.into()));
        let message = "'FrameworkInfo.roles' contains invalid role: Role '/bad' cannot start with a slash";
        assert_eq!(check(&multi_role(&["/bad"])), Err(message.into()));
    }

    #[test]
    fn rule_72_without_role_it_is_the_star() {
        assert_eq!(roles_of(&v1::FrameworkInfo::default()), [Role::from("*")]);
    }

    #[test]
    fn rule_73_and_74_what_the_operator_allows() {
        let only = [Role::from("a")];
        assert_eq!(framework_info(&multi_role(&["a"]), true, Some(&only)), Ok(()));
        assert!(framework_info(&multi_role(&["a", "b"]), true, Some(&only)).is_err());
        let root = v1::FrameworkInfo { user: "root".into(), ..Default::default() };
        assert!(framework_info(&root, false, None).is_err());
        assert_eq!(framework_info(&root, true, None), Ok(()));
    }

    #[test]
    fn rule_63_failover_timeouts_fit() {
        let with = |seconds| v1::FrameworkInfo { failover_timeout: Some(seconds), ..Default::default() };
        assert_eq!(check(&with(1e30)), Err("The framework failover_timeout (1e+30) is invalid".into()));
        assert!(check(&with(f64::NAN)).is_err());
        assert_eq!(check(&with(-1.0)), Ok(()));
        assert_eq!(check(&with(3600.0)), Ok(()));
    }

    #[test]
    fn rule_75_offer_filters() {
        let filters = |value| {
            let quantities = v1::offer_filters::ResourceQuantities {
                quantities: [("cpus".to_owned(), v1::value::Scalar { value })].into(),
            };
            v1::OfferFilters {
                min_allocatable_resources: Some(v1::offer_filters::MinAllocatableResources {
                    quantities: vec![quantities],
                }),
            }
        };
        let info = |role: &str, value| v1::FrameworkInfo {
            offer_filters: [(role.to_owned(), filters(value))].into(),
            ..Default::default()
        };
        assert_eq!(check(&info("*", 1.0)), Ok(()));
        for bad in [info("*", -1.0), info("*", f64::INFINITY), info("/x", 1.0)] {
            assert!(check(&bad).is_err());
        }
    }

    #[test]
    fn rule_60_suppressed_roles_are_its_own() {
        assert_eq!(suppressed_roles(&multi_role(&["a"]), &["a".into()]), Ok(()));
        assert!(suppressed_roles(&multi_role(&["a"]), &["b".into()]).is_err());
    }

    #[test]
    fn rule_59_what_an_update_must_not_change() {
        let old = v1::FrameworkInfo { user: "root".into(), ..Default::default() };
        let message =
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'root' to 'other'";
        let new = v1::FrameworkInfo { user: "other".into(), ..old.clone() };
        assert_eq!(framework_update(&old, &new), Err(message.into()));
        let message =
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'false' to 'true'";
        let new = v1::FrameworkInfo { checkpoint: Some(true), ..old.clone() };
        assert_eq!(framework_update(&old, &new), Err(message.into()));
        let new = v1::FrameworkInfo { principal: Some("p".into()), ..old.clone() };
        assert_eq!(
            framework_update(&old, &new),
            Err("Changing framework's principal is not allowed.".into())
        );
    }
}
