//! Groups as the API shows them.

use mezzo_json::Writer;
use mezzo_services_model::Group;

use super::{
    app_info::write_app_infos,
    embed::GroupEmbeds,
    facts::Facts,
    fields::{key, list, texts, time},
};
use crate::pod::write_pod_status;

/// One group with what is asked for of it. Members come in the order of their ids.
pub fn write_group(w: &mut Writer<'_>, group: &Group, facts: &Facts<'_>, embeds: GroupEmbeds) {
    w.pause();
    w.begin_object();
    key!(w, "id");
    w.string(group.id.as_str());
    key!(w, "dependencies");
    texts(w, group.dependencies.iter().map(|id| id.as_str()));
    key!(w, "version");
    time(w, group.version);
    if !group.id.is_root() && group.id.parent().is_root() {
        key!(w, "enforceRole");
        w.boolean(group.enforce_role);
    }
    if embeds.apps {
        key!(w, "apps");
        write_app_infos(w, group.apps.values().map(AsRef::as_ref), facts, embeds.app);
    }
    if embeds.pods {
        key!(w, "pods");
        list(w, group.pods.values(), |w, pod| write_pod_status(w, pod, facts));
    }
    if embeds.groups {
        key!(w, "groups");
        list(w, group.groups.values(), |w, group| write_group(w, group, facts, embeds));
    }
    w.end_object();
}
