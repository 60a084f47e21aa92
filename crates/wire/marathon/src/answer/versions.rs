//! Lists of versions.

use mezzo_json::Writer;
use mezzo_services_model::CanaryReport;
use mezzo_time::Timestamp;

use super::{
    canary::write_canary_report,
    fields::{key, list, time},
};

/// The versions of an app, newest first: `{"versions":[..]}`, where canaries were tried what became of them, and where it is
/// known who asked.
pub fn write_app_versions<'a>(
    w: &mut Writer<'_>,
    versions: impl IntoIterator<Item = Timestamp>,
    canaries: impl IntoIterator<Item = &'a CanaryReport>,
    principals: impl IntoIterator<Item = (Timestamp, &'a str)>,
) {
    w.begin_object();
    key!(w, "versions");
    write_versions(w, versions);
    let mut canaries = canaries.into_iter().peekable();
    if canaries.peek().is_some() {
        key!(w, "canaries");
        list(w, canaries, write_canary_report);
    }
    let mut principals = principals.into_iter().peekable();
    if principals.peek().is_some() {
        key!(w, "principals");
        list(w, principals, |w, (version, name)| {
            w.begin_object();
            key!(w, "version");
            time(w, version);
            key!(w, "principal");
            w.string(name);
            w.end_object();
        });
    }
    w.end_object();
}

/// The versions of a pod or a group as a bare list.
pub fn write_versions(w: &mut Writer<'_>, versions: impl IntoIterator<Item = Timestamp>) {
    list(w, versions, time);
}
