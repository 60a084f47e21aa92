//! Secrets by name. An extension of ours.

use mezzo_json::Writer;
use mezzo_services_model::PathId;
use mezzo_time::Timestamp;

use super::fields::{key, list, texts, time};

/// All secrets: name, when it was set, and the services whose definitions need it.
pub fn write_secret_list<'a>(
    w: &mut Writer<'_>,
    secrets: impl IntoIterator<Item = (&'a str, Timestamp, &'a [PathId])>,
) {
    w.begin_object();
    key!(w, "secrets");
    list(w, secrets, |w, (name, changed, users)| {
        w.begin_object();
        key!(w, "name");
        w.string(name);
        key!(w, "changed");
        time(w, changed);
        key!(w, "usedBy");
        texts(w, users.iter().map(PathId::as_str));
        w.end_object();
    });
    w.end_object();
}
