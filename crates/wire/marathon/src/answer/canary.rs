//! Canaries: how they are asked for, and what became of them. An extension of ours.

use mezzo_json::Writer;
use mezzo_services_model::{Canary, CanaryCheck, CanaryReport, CanarySize, HttpScheme, OnFailure};

use super::fields::{key, seconds, time};

pub(crate) fn write_canary(w: &mut Writer<'_>, canary: &Canary) {
    w.begin_object();
    key!(w, "instances");
    match canary.size {
        CanarySize::Count(count) => w.unsigned(count.into()),
        CanarySize::Percent(percent) => w.string(&format!("{percent}%")),
    }
    key!(w, "holdSeconds");
    seconds(w, canary.hold);
    key!(w, "deadlineSeconds");
    seconds(w, canary.deadline);
    key!(w, "maxFailures");
    w.unsigned(canary.failures_max.into());
    if let Some(check) = &canary.check {
        key!(w, "check");
        w.begin_object();
        key!(w, "url");
        w.string(&url(check));
        key!(w, "intervalSeconds");
        seconds(w, check.interval);
        key!(w, "timeoutSeconds");
        seconds(w, check.timeout);
        w.end_object();
    }
    key!(w, "onFailure");
    w.string(match canary.on_failure {
        OnFailure::Rollback => "rollback",
        OnFailure::Stop => "stop",
    });
    w.end_object();
}

fn url(check: &CanaryCheck) -> String {
    let scheme = match check.scheme {
        HttpScheme::Http => "http",
        HttpScheme::Https => "https",
    };
    let host = if check.host.contains(':') { format!("[{}]", check.host) } else { check.host.clone() };
    format!("{scheme}://{host}:{}{}", check.port, check.path)
}

/// What became of the canaries of one version.
pub fn write_canary_report(w: &mut Writer<'_>, report: &CanaryReport) {
    w.begin_object();
    key!(w, "version");
    time(w, report.version);
    key!(w, "phase");
    w.string(report.phase.name());
    key!(w, "since");
    time(w, report.since);
    key!(w, "failures");
    w.unsigned(report.failures.into());
    key!(w, "baseVersion");
    time(w, report.base);
    if !report.reason.is_empty() {
        key!(w, "reason");
        w.string(&report.reason);
    }
    w.end_object();
}
