//! Tasks of apps, their health and their failures.

use mezzo_json::Writer;
use mezzo_mesos::v1;
use mezzo_services_model::{App, Health, Instance, Readiness, Reservation, Task, TaskFailure, VolumeId};

use super::{
    facts::Facts,
    fields::{key, list, time, time_or_null},
    state::task_state,
};

/// The tasks of one app as a list: `{"tasks":[..]}` is the caller's.
pub(crate) fn write_tasks_of(w: &mut Writer<'_>, app: &App, facts: &Facts<'_>, with_service_ports: bool) {
    for instance in facts.instances(&app.id) {
        for task in instance.tasks.values() {
            w.pause();
            write_task(w, task, instance, app, facts, with_service_ports);
        }
    }
}

/// The answer with the tasks of some apps; `with_service_ports` where tasks of all apps are listed.
pub fn write_task_list<'a>(
    w: &mut Writer<'_>,
    apps: impl IntoIterator<Item = &'a App>,
    facts: &Facts<'_>,
    with_service_ports: bool,
    wanted: impl Fn(&Task) -> bool,
) {
    w.begin_object();
    key!(w, "tasks");
    w.begin_array();
    for app in apps {
        for instance in facts.instances(&app.id) {
            for task in instance.tasks.values().filter(|task| wanted(task)) {
                w.pause();
                write_task(w, task, instance, app, facts, with_service_ports);
            }
        }
    }
    w.end_array();
    w.end_object();
}

/// One task. Where and since when it runs is told while it is active.
pub fn write_task(
    w: &mut Writer<'_>,
    task: &Task,
    instance: &Instance,
    app: &App,
    facts: &Facts<'_>,
    with_service_ports: bool,
) {
    w.begin_object();
    key!(w, "id");
    w.string(task.id.as_str());
    key!(w, "appId");
    w.string(app.id.as_str());
    key!(w, "host");
    w.string(instance.agent.as_ref().map_or("", |agent| &agent.host));
    if let Some(agent) = &instance.agent {
        key!(w, "slaveId");
        w.string(&agent.id);
        optional_text(w, b"\"region\":", agent.region.as_deref());
        optional_text(w, b"\"zone\":", agent.zone.as_deref());
    }
    key!(w, "state");
    w.string(task_state(task.condition));
    let is_active = task.condition.is_active();
    key!(w, "ports");
    list(w, task.host_ports.iter().filter(|_| is_active), |w, port| w.unsigned((*port).into()));
    if is_active {
        key!(w, "stagedAt");
        time(w, task.staged_at);
        if let Some(at) = task.started_at {
            key!(w, "startedAt");
            time(w, at);
        }
        key!(w, "version");
        time(w, instance.version);
    }
    key!(w, "ipAddresses");
    w.begin_array();
    for (address, protocol) in ip_addresses(task.status.as_deref()) {
        write_ip_address(w, address, protocol);
    }
    w.end_array();
    key!(w, "servicePorts");
    w.begin_array();
    if with_service_ports {
        for port in app.service_ports() {
            w.unsigned(port.into());
        }
    }
    w.end_array();
    key!(w, "localVolumes");
    write_local_volumes(w, instance.reservation.as_ref());
    key!(w, "healthCheckResults");
    list(w, facts.health(&instance.id), write_health);
    if let Some(check) = task.status.as_ref().and_then(|status| status.check_status.as_ref()) {
        write_check_result(w, check);
    }
    key!(w, "role");
    w.string(&instance.role);
    w.end_object();
}

fn optional_text(w: &mut Writer<'_>, key: &'static [u8], text: Option<&str>) {
    if let Some(text) = text {
        w.raw_key(key);
        w.string(text);
    }
}

/// The addresses that a status tells, with the names of their kinds.
pub(crate) fn ip_addresses(status: Option<&v1::TaskStatus>) -> impl Iterator<Item = (&str, &'static str)> {
    let networks = status.and_then(|status| status.container_status.as_ref());
    networks.into_iter().flat_map(|container| &container.network_infos).flat_map(|network| {
        network.ip_addresses.iter().filter_map(|address| {
            let text = address.ip_address.as_deref()?;
            Some((text, protocol_name(text)))
        })
    })
}

/// The name of an address's kind; agents may leave it out, and the text tells it as well.
pub(crate) fn protocol_name(address: &str) -> &'static str {
    if address.contains(':') { "IPv6" } else { "IPv4" }
}

pub(crate) fn write_ip_address(w: &mut Writer<'_>, address: &str, protocol: &'static str) {
    w.begin_object();
    key!(w, "ipAddress");
    w.string(address);
    key!(w, "protocol");
    w.string(protocol);
    w.end_object();
}

/// The id of a volume as the kernel carries it.
pub(crate) fn persistence_id(volume: &VolumeId) -> String {
    format!("{}#{}#{}", volume.run_spec.underscored(), volume.container_path, volume.uuid)
}

pub(crate) fn write_local_volumes(w: &mut Writer<'_>, reservation: Option<&Reservation>) {
    list(w, reservation.iter().flat_map(|reservation| &reservation.volumes), |w, volume| {
        w.begin_object();
        key!(w, "runSpecId");
        w.string(volume.run_spec.as_str());
        key!(w, "containerPath");
        w.string(&volume.container_path);
        key!(w, "uuid");
        w.string(&volume.uuid);
        key!(w, "persistenceId");
        w.string(&persistence_id(volume));
        w.end_object();
    });
}

/// What one health check says.
pub(crate) fn write_health(w: &mut Writer<'_>, health: &Health) {
    w.begin_object();
    key!(w, "alive");
    w.boolean(health.is_alive());
    key!(w, "consecutiveFailures");
    w.unsigned(health.consecutive_failures.into());
    key!(w, "firstSuccess");
    time_or_null(w, health.first_success);
    key!(w, "lastFailure");
    time_or_null(w, health.last_failure);
    key!(w, "lastSuccess");
    time_or_null(w, health.last_success);
    key!(w, "lastFailureCause");
    match &health.last_failure_cause {
        Some(cause) => w.string(cause),
        None => w.null(),
    }
    key!(w, "instanceId");
    w.string(health.instance.as_str());
    w.end_object();
}

/// The field with what a check found, when it found anything.
fn write_check_result(w: &mut Writer<'_>, check: &v1::CheckStatusInfo) {
    let command = check.command.as_ref().and_then(|command| command.exit_code);
    let http = check.http.as_ref().and_then(|http| http.status_code);
    let tcp = check.tcp.as_ref().and_then(|tcp| tcp.succeeded);
    if command.is_none() && http.is_none() && tcp.is_none() {
        return;
    }
    key!(w, "checkResult");
    w.begin_object();
    if let Some(code) = http {
        key!(w, "http");
        w.begin_object();
        key!(w, "statusCode");
        w.unsigned(code.into());
        w.end_object();
    }
    if let Some(yes) = tcp {
        key!(w, "tcp");
        w.begin_object();
        key!(w, "succeeded");
        w.boolean(yes);
        w.end_object();
    }
    if let Some(code) = command {
        key!(w, "command");
        w.begin_object();
        key!(w, "exitCode");
        w.integer(code.into());
        w.end_object();
    }
    w.end_object();
}

/// The last failure of an app.
pub(crate) fn write_task_failure(w: &mut Writer<'_>, failure: &TaskFailure) {
    w.begin_object();
    key!(w, "appId");
    w.string(failure.run_spec.as_str());
    key!(w, "host");
    w.string(&failure.host);
    key!(w, "message");
    w.string(&failure.message);
    if let Some(agent) = &failure.agent_id {
        key!(w, "slaveId");
        w.string(agent);
    }
    key!(w, "state");
    w.string(&failure.state);
    key!(w, "taskId");
    w.string(failure.task.as_str());
    key!(w, "timestamp");
    time(w, failure.at);
    key!(w, "version");
    time(w, failure.version);
    w.end_object();
}

/// What a readiness check says of a task. Its answer is shown where the definition keeps it (rule 153).
pub(crate) fn write_readiness(w: &mut Writer<'_>, readiness: &Readiness, with_response: bool) {
    w.begin_object();
    key!(w, "name");
    w.string(&readiness.name);
    key!(w, "taskId");
    w.string(readiness.task.as_str());
    key!(w, "ready");
    w.boolean(readiness.is_ready);
    if let Some(answer) = readiness.last_response.as_ref().filter(|_| with_response) {
        key!(w, "lastResponse");
        w.begin_object();
        key!(w, "status");
        w.unsigned(answer.status.into());
        key!(w, "contentType");
        w.string(&answer.content_type);
        key!(w, "body");
        w.string(&answer.body);
        w.end_object();
    }
    w.end_object();
}

/// Whether the answers of a readiness check of an app are shown.
pub(crate) fn keeps_response(app: &App, readiness: &Readiness) -> bool {
    app.readiness_checks.iter().any(|check| check.name == readiness.name && check.preserve_last_response)
}
