//! Lists of versions.

use mezzo_json::Writer;
use mezzo_services_model::CanaryReport;
use mezzo_time::Timestamp;

use super::{
    canary::write_canary_report,
    fields::{key, list, time},
};

/// The versions of an app, newest first: `{"versions":[..]}`, and where canaries were tried what became of them.
pub fn write_app_versions<'a>(
    w: &mut Writer<'_>,
    versions: impl IntoIterator<Item = Timestamp>,
    canaries: impl IntoIterator<Item = &'a CanaryReport>,
) {
    w.begin_object();
    key!(w, "versions");
    write_versions(w, versions);
    let mut canaries = canaries.into_iter().peekable();
    if canaries.peek().is_some() {
        key!(w, "canaries");
        list(w, canaries, write_canary_report);
    }
    w.end_object();
}

/// The versions of a pod or a group as a bare list.
pub fn write_versions(w: &mut Writer<'_>, versions: impl IntoIterator<Item = Timestamp>) {
    list(w, versions, time);
}
