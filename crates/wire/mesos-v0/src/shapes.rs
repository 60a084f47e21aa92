//! Shapes that several endpoints share.

use mezzo_json::Writer;
use mezzo_mesos::v1;

/// Field by field what Mesos shows of labels: all of it.
pub(crate) fn write_labels(w: &mut Writer<'_>, labels: &v1::Labels) {
    w.value(&labels.labels[..]);
}

pub(crate) fn labels_field(w: &mut Writer<'_>, labels: &Option<v1::Labels>) {
    if let Some(labels) = labels {
        w.raw_key(b"\"labels\":");
        write_labels(w, labels);
    }
}

pub(crate) fn domain_field(w: &mut Writer<'_>, domain: &Option<v1::DomainInfo>) {
    if let Some(domain) = domain {
        w.raw_key(b"\"domain\":");
        w.value(domain);
    }
}

pub(crate) fn string_field(w: &mut Writer<'_>, key: &'static [u8], value: &str) {
    w.raw_key(key);
    w.string(value);
}

pub(crate) fn optional_string(w: &mut Writer<'_>, key: &'static [u8], value: Option<&str>) {
    if let Some(value) = value {
        string_field(w, key, value);
    }
}

pub(crate) fn bool_field(w: &mut Writer<'_>, key: &'static [u8], value: bool) {
    w.raw_key(key);
    w.boolean(value);
}

pub(crate) fn double_field(w: &mut Writer<'_>, key: &'static [u8], value: f64) {
    w.raw_key(key);
    w.double(value);
}

pub(crate) fn strings<'i>(w: &mut Writer<'_>, items: impl IntoIterator<Item = &'i str>) {
    w.begin_array();
    for item in items {
        w.string(item);
    }
    w.end_array();
}

/// A command; of its URIs only value and executable are shown, and of secrets not what they hold.
pub(crate) fn write_command(w: &mut Writer<'_>, command: Option<&v1::CommandInfo>) {
    w.begin_object();
    if let Some(shell) = command.and_then(|c| c.shell) {
        bool_field(w, b"\"shell\":", shell);
    }
    optional_string(w, b"\"value\":", command.and_then(|c| c.value.as_deref()));
    w.raw_key(b"\"argv\":");
    strings(w, command.iter().flat_map(|c| c.arguments.iter().map(String::as_str)));
    if let Some(environment) = command.and_then(|c| c.environment.as_ref()) {
        w.raw_key(b"\"environment\":");
        let mut shown = environment.clone();
        for secret in shown.variables.iter_mut().filter_map(|variable| variable.secret.as_mut()) {
            secret.value = None;
        }
        w.value(&shown);
    }
    w.raw_key(b"\"uris\":");
    w.begin_array();
    for uri in command.iter().flat_map(|c| &c.uris) {
        w.begin_object();
        string_field(w, b"\"value\":", &uri.value);
        bool_field(w, b"\"executable\":", uri.executable.unwrap_or(false));
        w.end_object();
    }
    w.end_array();
    w.end_object();
}

pub(crate) fn write_network_info(w: &mut Writer<'_>, info: &v1::NetworkInfo) {
    w.begin_object();
    if !info.groups.is_empty() {
        w.raw_key(b"\"groups\":");
        strings(w, info.groups.iter().map(String::as_str));
    }
    labels_field(w, &info.labels);
    if !info.ip_addresses.is_empty() {
        w.raw_key(b"\"ip_addresses\":");
        w.value(&info.ip_addresses[..]);
    }
    optional_string(w, b"\"name\":", info.name.as_deref());
    if !info.port_mappings.is_empty() {
        w.raw_key(b"\"port_mappings\":");
        w.value(&info.port_mappings[..]);
    }
    w.end_object();
}

/// The keys of an executor on the master, inside an open object.
pub(crate) fn executor_fields(w: &mut Writer<'_>, executor: &v1::ExecutorInfo) {
    string_field(w, b"\"executor_id\":", &executor.executor_id.value);
    string_field(w, b"\"name\":", executor.name.as_deref().unwrap_or_default());
    string_field(w, b"\"framework_id\":", executor.framework_id.as_ref().map_or("", |id| &id.value));
    w.raw_key(b"\"command\":");
    write_command(w, executor.command.as_ref());
    w.raw_key(b"\"resources\":");
    crate::write_proto_resources(w, &executor.resources);
    optional_string(w, b"\"role\":", crate::resources::allocation_role(&executor.resources));
    labels_field(w, &executor.labels);
    optional_string(w, b"\"type\":", executor_type(executor));
}

pub(crate) fn executor_type(executor: &v1::ExecutorInfo) -> Option<&'static str> {
    let kind = v1::executor_info::Type::try_from(executor.r#type?).ok()?;
    Some(kind.as_str_name())
}
