//! Checks and health checks (rules 171 and 172).

use mezzo_mesos::v1::{self, check_info, health_check};

use super::command::command;

/// Fills in the type of a health check from times when it had none (rule 171).
pub(super) fn upgrade_health_check(check: &mut v1::HealthCheck) {
    if check.r#type.is_some() {
        return;
    }
    let r#type = match (&check.command, &check.http) {
        (Some(_), None) => health_check::Type::Command,
        (None, Some(_)) => health_check::Type::Http,
        _ => return,
    };
    check.r#type = Some(r#type.into());
}

pub(super) fn check(check: &v1::CheckInfo) -> Result<(), String> {
    if check.r#type.is_none() {
        return Err("CheckInfo must specify 'type'".into());
    }
    match check.r#type() {
        check_info::Type::Unknown => return Err("'UNKNOWN' is not a valid check type".into()),
        check_info::Type::Command => {
            let Some(run) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND check".into());
            };
            if run.command.value.is_none() {
                let what = if run.command.shell() { "'shell command'" } else { "'executable path'" };
                return Err(format!("Command check must contain {what}"));
            }
            command(&run.command).map_err(|why| format!("Check's `CommandInfo` is invalid: {why}"))?;
        }
        check_info::Type::Http => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP check".into());
            };
            path("HTTP check", http.path.as_deref())?;
        }
        check_info::Type::Tcp => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP check".into());
            }
        }
    }
    not_negative("delay_seconds", check.delay_seconds)?;
    not_negative("interval_seconds", check.interval_seconds)?;
    not_negative("timeout_seconds", check.timeout_seconds)
}

pub(super) fn health_check(check: &v1::HealthCheck) -> Result<(), String> {
    if check.r#type.is_none() {
        return Err("HealthCheck must specify 'type'".into());
    }
    match check.r#type() {
        health_check::Type::Unknown => return Err("'UNKNOWN' is not a valid health check type".into()),
        health_check::Type::Command => {
            let Some(run) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND health check".into());
            };
            if run.value.is_none() {
                let what = if run.shell() { "'shell command'" } else { "'executable path'" };
                return Err(format!("Command health check must contain {what}"));
            }
            command(run).map_err(|why| format!("Health check's `CommandInfo` is invalid: {why}"))?;
        }
        health_check::Type::Http => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP health check".into());
            };
            if let Some(scheme) = http.scheme.as_deref().filter(|s| !matches!(*s, "http" | "https")) {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            path("HTTP health check", http.path.as_deref())?;
        }
        health_check::Type::Tcp => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP health check".into());
            }
        }
    }
    not_negative("delay_seconds", check.delay_seconds)?;
    not_negative("grace_period_seconds", check.grace_period_seconds)?;
    not_negative("interval_seconds", check.interval_seconds)?;
    not_negative("timeout_seconds", check.timeout_seconds)
}

fn path(what: &str, path: Option<&str>) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(format!("The path '{path}' of {what} must start with '/'"))
        }
        _ => Ok(()),
    }
}

fn not_negative(name: &str, seconds: Option<f64>) -> Result<(), String> {
    // NaN is not accepted either: no comparison holds for it.
    if seconds.is_none_or(|seconds| seconds >= 0.0) {
        Ok(())
    } else {
        Err(format!("Expecting '{name}' to be non-negative"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_171_the_payload_of_the_type_is_there() {
        let message = "Expecting 'http' to be set for HTTP health check";
        let http = v1::HealthCheck { r#type: Some(health_check::Type::Http.into()), ..Default::default() };
        assert_eq!(health_check(&http), Err(message.into()));
        assert!(check(&v1::CheckInfo::default()).is_err());
        let mut old = v1::HealthCheck { command: Some(v1::CommandInfo::default()), ..Default::default() };
        upgrade_health_check(&mut old);
        assert_eq!(old.r#type(), health_check::Type::Command);
    }

    #[test]
    fn rule_172_paths_schemes_and_times() {
        let with = |scheme: &str, path: &str, delay| v1::HealthCheck {
            r#type: Some(health_check::Type::Http.into()),
            http: Some(health_check::HttpCheckInfo {
                scheme: Some(scheme.into()),
                path: Some(path.into()),
                ..Default::default()
            }),
            delay_seconds: Some(delay),
            ..Default::default()
        };
        assert_eq!(health_check(&with("https", "/x", 0.0)), Ok(()));
        assert!(health_check(&with("ftp", "/x", 0.0)).is_err());
        assert!(health_check(&with("http", "x", 0.0)).is_err());
        assert!(health_check(&with("http", "/x", -1.0)).is_err());
        assert!(health_check(&with("http", "/x", f64::NAN)).is_err());
    }
}
