//! Canaries in words.

use serde_json::Value;

use super::{list as members, text};
use crate::{error::CliError, services::Services};

/// What became of canaries of an app, newest version first. A genuine Marathon tells nothing.
pub(crate) async fn reports(services: &Services, app: &str) -> Result<Vec<Value>, CliError> {
    let answer = services.get(&format!("/v2/apps{app}/versions")).await?;
    Ok(members(&answer, "canaries").to_vec())
}

/// The report of a version.
pub(crate) fn of<'a>(reports: &'a [Value], version: &str) -> Option<&'a Value> {
    reports.iter().find(|report| report["version"].as_str() == Some(version))
}

/// Whether the others may not follow, or may not yet.
pub(crate) fn is_open(report: &Value) -> bool {
    !matches!(text(report, "phase").as_str(), "passed" | "waived")
}

/// `10 % 6 min, passed`: what a definition asks for, and what became of it.
pub(crate) fn words(definition: &Value, report: &Value) -> String {
    let canary = &definition["canary"];
    let size = match (canary["instances"].as_str(), canary["instances"].as_u64()) {
        (Some(share), _) => format!("{} % ", share.trim_end_matches('%')),
        (None, Some(count)) => format!("{count} "),
        (None, None) => String::new(),
    };
    let hold =
        canary["holdSeconds"].as_u64().map(|seconds| format!("{}, ", time(seconds))).unwrap_or_default();
    format!("{size}{hold}{}", verdict(report))
}

/// `passed`, or `failed: the one on h ended`.
pub(crate) fn verdict(report: &Value) -> String {
    let (phase, reason) = (text(report, "phase"), text(report, "reason"));
    if reason.is_empty() || !is_open(report) { phase } else { format!("{phase}: {reason}") }
}

fn time(seconds: u64) -> String {
    match seconds {
        0 => "0 s".into(),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// What `why` and `show` say of the version that is tried, or that has been taken back.
pub(crate) fn line(app: &Value, reports: &[Value]) -> Option<String> {
    if let Some(report) = of(reports, &text(app, "version")) {
        return is_open(report).then(|| format!("  canary {}", words(app, report)));
    }
    let last = reports.first().filter(|report| report["phase"] == "failed")?;
    Some(format!("  version {} was taken back, its canary {}", text(last, "version"), verdict(last)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canaries_in_few_words() {
        let app = json!({ "version": "v2", "canary": { "instances": "10%", "holdSeconds": 360 } });
        let report = |version: &str, phase: &str, reason: &str| json!({ "version": version, "phase": phase, "reason": reason });
        assert_eq!(words(&app, &report("v2", "passed", "an old one")), "10 % 6 min, passed");
        let two = json!({ "canary": { "instances": 2, "holdSeconds": 45 } });
        assert_eq!(
            words(&two, &report("v2", "failed", "the one on h failed")),
            "2 45 s, failed: the one on h failed"
        );
        assert_eq!(words(&json!({}), &report("v2", "waived", "")), "waived");
        assert_eq!(
            line(&app, &[report("v2", "holding", "")]).as_deref(),
            Some("  canary 10 % 6 min, holding")
        );
        assert_eq!(line(&app, &[report("v2", "passed", "")]), None);
        let back = line(&app, &[report("v1", "failed", "x")]);
        assert_eq!(back.as_deref(), Some("  version v1 was taken back, its canary failed: x"));
        assert_eq!(line(&app, &[]), None);
    }
}
