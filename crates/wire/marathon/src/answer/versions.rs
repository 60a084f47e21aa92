//! Lists of versions.

use mezzo_json::Writer;
use mezzo_time::Timestamp;

use super::fields::{key, list, time};

/// The versions of an app, newest first: `{"versions":[..]}`.
pub fn write_app_versions(w: &mut Writer<'_>, versions: impl IntoIterator<Item = Timestamp>) {
    w.begin_object();
    key!(w, "versions");
    write_versions(w, versions);
    w.end_object();
}

/// The versions of a pod or a group as a bare list.
pub fn write_versions(w: &mut Writer<'_>, versions: impl IntoIterator<Item = Timestamp>) {
    list(w, versions, time);
}
