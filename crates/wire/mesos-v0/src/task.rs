//! One task.

use mezzo_json::Writer;
use mezzo_mesos::v1;

use crate::resources::{allocation_role, write_proto_resources};
use crate::shapes::{
    bool_field, double_field, labels_field, optional_string, string_field, write_network_info,
};

/// A task, on the master or an agent. `statuses` come oldest first, equal states in a row collapsed.
pub fn write_task(w: &mut Writer<'_>, task: &v1::Task) {
    w.begin_object();
    string_field(w, b"\"id\":", &task.task_id.value);
    string_field(w, b"\"name\":", &task.name);
    string_field(w, b"\"framework_id\":", &task.framework_id.value);
    string_field(w, b"\"executor_id\":", task.executor_id.as_ref().map_or("", |id| &id.value));
    string_field(w, b"\"slave_id\":", &task.agent_id.value);
    string_field(w, b"\"state\":", state_name(task.state));
    w.raw_key(b"\"resources\":");
    write_proto_resources(w, &task.resources);
    if !task.limits.is_empty() {
        w.raw_key(b"\"limits\":");
        w.begin_object();
        for (name, limit) in &task.limits {
            w.key(name);
            w.double(limit.value);
        }
        w.end_object();
    }
    string_field(w, b"\"role\":", allocation_role(&task.resources).unwrap_or("*"));
    w.raw_key(b"\"statuses\":");
    w.begin_array();
    for status in &task.statuses {
        write_status(w, status);
    }
    w.end_array();
    optional_string(w, b"\"user\":", task.user.as_deref());
    labels_field(w, &task.labels);
    if let Some(discovery) = &task.discovery {
        w.raw_key(b"\"discovery\":");
        w.value(discovery);
    }
    if let Some(container) = &task.container {
        w.raw_key(b"\"container\":");
        w.value(container);
    }
    if let Some(check) = &task.health_check {
        w.raw_key(b"\"health_check\":");
        w.value(check);
    }
    w.end_object();
}

pub(crate) fn state_name(state: i32) -> &'static str {
    v1::TaskState::try_from(state).unwrap_or(v1::TaskState::TaskUnknown).as_str_name()
}

fn write_status(w: &mut Writer<'_>, status: &v1::TaskStatus) {
    w.begin_object();
    string_field(w, b"\"state\":", state_name(status.state));
    double_field(w, b"\"timestamp\":", status.timestamp.unwrap_or(0.0));
    labels_field(w, &status.labels);
    if let Some(container) = &status.container_status {
        w.raw_key(b"\"container_status\":");
        write_container_status(w, container);
    }
    if let Some(healthy) = status.healthy {
        bool_field(w, b"\"healthy\":", healthy);
    }
    w.end_object();
}

fn write_container_status(w: &mut Writer<'_>, status: &v1::ContainerStatus) {
    w.begin_object();
    if let Some(id) = &status.container_id {
        w.raw_key(b"\"container_id\":");
        w.value(id);
    }
    if !status.network_infos.is_empty() {
        w.raw_key(b"\"network_infos\":");
        w.begin_array();
        for info in &status.network_infos {
            write_network_info(w, info);
        }
        w.end_array();
    }
    if let Some(info) = &status.cgroup_info {
        w.raw_key(b"\"cgroup_info\":");
        w.value(info);
    }
    w.end_object();
}
