//! What subscribers of `/v2/events` are sent.

use mezzo_json::Writer;
use mezzo_services_model::{Event, EventKind, Plan};

use crate::answer::{
    app::{write_app, write_app_health_check},
    current_step,
    fields::{key, list, time},
    task::{protocol_name, write_ip_address},
    write_canary_report, write_plan, write_step,
};

/// What goes over a stream now and then when nothing happens, so that both ends notice when the other is gone.
pub const EVENT_HEARTBEAT: &[u8] = b"\r\n";

/// The names of all events that are sent; the last is an extension of ours.
pub const EVENT_NAMES: [&str; 28] = [
    "event_stream_attached",
    "event_stream_detached",
    "api_post_event",
    "pod_created_event",
    "pod_updated_event",
    "pod_deleted_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "scheduler_disconnected_event",
    "framework_message_event",
    "add_health_check_event",
    "remove_health_check_event",
    "failed_health_check_event",
    "health_status_changed_event",
    "unhealthy_instance_kill_event",
    "group_change_success",
    "group_change_failed",
    "deployment_info",
    "deployment_step_success",
    "deployment_step_failure",
    "deployment_success",
    "deployment_failed",
    "status_update_event",
    "instance_changed_event",
    "instance_health_changed_event",
    "unknown_instance_terminated_event",
    "app_terminated_event",
    "canary_changed_event",
];

/// The name of an event, by which subscribers choose.
pub fn event_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::StreamAttached { .. } => "event_stream_attached",
        EventKind::StreamDetached { .. } => "event_stream_detached",
        EventKind::AppPosted { .. } => "api_post_event",
        EventKind::PodCreated { .. } => "pod_created_event",
        EventKind::PodUpdated { .. } => "pod_updated_event",
        EventKind::PodDeleted { .. } => "pod_deleted_event",
        EventKind::SchedulerRegistered { .. } => "scheduler_registered_event",
        EventKind::SchedulerReregistered { .. } => "scheduler_reregistered_event",
        EventKind::SchedulerDisconnected => "scheduler_disconnected_event",
        EventKind::FrameworkMessage { .. } => "framework_message_event",
        EventKind::HealthCheckAdded { .. } => "add_health_check_event",
        EventKind::HealthCheckRemoved { .. } => "remove_health_check_event",
        EventKind::HealthCheckFailed { .. } => "failed_health_check_event",
        EventKind::HealthStatusChanged { .. } => "health_status_changed_event",
        EventKind::UnhealthyInstanceKilled { .. } => "unhealthy_instance_kill_event",
        EventKind::GroupChanged { .. } => "group_change_success",
        EventKind::GroupChangeFailed { .. } => "group_change_failed",
        EventKind::DeploymentInfo { .. } => "deployment_info",
        EventKind::DeploymentStepSucceeded { .. } => "deployment_step_success",
        EventKind::DeploymentStepFailed { .. } => "deployment_step_failure",
        EventKind::DeploymentSucceeded { .. } => "deployment_success",
        EventKind::DeploymentFailed { .. } => "deployment_failed",
        EventKind::TaskStatus { .. } => "status_update_event",
        EventKind::InstanceChanged { .. } => "instance_changed_event",
        EventKind::InstanceHealthChanged { .. } => "instance_health_changed_event",
        EventKind::UnknownInstanceTerminated { .. } => "unknown_instance_terminated_event",
        EventKind::AppTerminated { .. } => "app_terminated_event",
        EventKind::CanaryChanged { .. } => "canary_changed_event",
    }
}

/// The frame of an event: written once, sent to all who want it.
pub fn event_frame(event: &Event) -> Vec<u8> {
    let mut frame = Vec::with_capacity(512);
    frame.extend_from_slice(b"event: ");
    frame.extend_from_slice(event_name(&event.kind).as_bytes());
    frame.extend_from_slice(b"\r\ndata: ");
    let mut w = Writer::appending(frame);
    write_event(&mut w, event);
    let mut frame = w.finish();
    frame.extend_from_slice(b"\r\n\r\n");
    frame
}

/// The object of an event.
pub fn write_event(w: &mut Writer<'_>, event: &Event) {
    w.begin_object();
    write_kind(w, &event.kind);
    key!(w, "eventType");
    w.string(event_name(&event.kind));
    key!(w, "timestamp");
    time(w, event.at);
    w.end_object();
}

fn text_or_null(w: &mut Writer<'_>, text: Option<&str>) {
    match text {
        Some(text) => w.string(text),
        None => w.null(),
    }
}

fn write_request(w: &mut Writer<'_>, client_ip: &str, uri: &str) {
    key!(w, "clientIp");
    w.string(client_ip);
    key!(w, "uri");
    w.string(uri);
}

fn write_plan_and_step(w: &mut Writer<'_>, plan: &Plan, step: usize) {
    key!(w, "plan");
    write_plan(w, plan);
    key!(w, "currentStep");
    write_step(w, current_step(plan, step).unwrap_or(&mezzo_services_model::Step::default()));
}

fn write_kind(w: &mut Writer<'_>, kind: &EventKind) {
    match kind {
        EventKind::StreamAttached { remote_address } | EventKind::StreamDetached { remote_address } => {
            key!(w, "remoteAddress");
            w.string(remote_address);
        }
        EventKind::AppPosted { client_ip, uri, app } => {
            write_request(w, client_ip, uri);
            key!(w, "appDefinition");
            write_app(w, app);
        }
        EventKind::PodCreated { client_ip, uri }
        | EventKind::PodUpdated { client_ip, uri }
        | EventKind::PodDeleted { client_ip, uri } => write_request(w, client_ip, uri),
        EventKind::SchedulerRegistered { framework_id, master } => {
            key!(w, "frameworkId");
            w.string(framework_id);
            key!(w, "master");
            w.string(master);
        }
        EventKind::SchedulerReregistered { master } => {
            key!(w, "master");
            w.string(master);
        }
        EventKind::SchedulerDisconnected => {}
        EventKind::FrameworkMessage { executor_id, agent_id, message } => {
            key!(w, "executorId");
            w.string(executor_id);
            key!(w, "slaveId");
            w.string(agent_id);
            key!(w, "message");
            // Bytes with their signs, as Java has them.
            list(w, message, |w, byte| w.integer(i64::from(byte.cast_signed())));
        }
        EventKind::GroupChanged { group, version } => {
            key!(w, "groupId");
            w.string(group.as_str());
            key!(w, "version");
            time(w, *version);
        }
        EventKind::GroupChangeFailed { group, version, reason } => {
            key!(w, "groupId");
            w.string(group.as_str());
            key!(w, "version");
            time(w, *version);
            key!(w, "reason");
            w.string(reason);
        }
        EventKind::DeploymentInfo { plan, step }
        | EventKind::DeploymentStepSucceeded { plan, step }
        | EventKind::DeploymentStepFailed { plan, step } => write_plan_and_step(w, plan, *step),
        EventKind::DeploymentSucceeded { plan } => {
            key!(w, "id");
            w.string(&plan.id.0);
            key!(w, "plan");
            write_plan(w, plan);
        }
        EventKind::DeploymentFailed { plan, reason } => {
            key!(w, "id");
            w.string(&plan.id.0);
            key!(w, "plan");
            write_plan(w, plan);
            key!(w, "reason");
            w.string(reason);
        }
        EventKind::AppTerminated { app } => {
            key!(w, "appId");
            w.string(app.as_str());
        }
        EventKind::CanaryChanged { report } => {
            key!(w, "appId");
            w.string(report.run_spec.as_str());
            key!(w, "canary");
            write_canary_report(w, report);
        }
        _ => write_instance_kind(w, kind),
    }
}

/// What happens to instances, their tasks and their health.
fn write_instance_kind(w: &mut Writer<'_>, kind: &EventKind) {
    match kind {
        EventKind::HealthCheckAdded { app, version, check } => {
            key!(w, "appId");
            w.string(app.as_str());
            key!(w, "version");
            time(w, *version);
            key!(w, "healthCheck");
            write_app_health_check(w, check);
        }
        EventKind::HealthCheckRemoved { app } => {
            key!(w, "appId");
            w.string(app.as_str());
        }
        EventKind::HealthCheckFailed { app, instance, check } => {
            key!(w, "appId");
            w.string(app.as_str());
            // The key says task, the value is the instance's id.
            key!(w, "taskId");
            w.string(instance.as_str());
            key!(w, "healthCheck");
            write_app_health_check(w, check);
        }
        EventKind::HealthStatusChanged { app, instance, version, alive } => {
            key!(w, "appId");
            w.string(app.as_str());
            key!(w, "instanceId");
            w.string(instance.as_str());
            key!(w, "version");
            time(w, *version);
            key!(w, "alive");
            w.boolean(*alive);
        }
        EventKind::UnhealthyInstanceKilled { app, task, instance, version, reason, host, agent_id } => {
            key!(w, "appId");
            w.string(app.as_str());
            key!(w, "taskId");
            w.string(task.as_str());
            key!(w, "instanceId");
            w.string(instance.as_str());
            key!(w, "version");
            time(w, *version);
            key!(w, "reason");
            w.string(reason);
            key!(w, "host");
            w.string(host);
            key!(w, "slaveId");
            text_or_null(w, agent_id.as_deref());
        }
        EventKind::TaskStatus { app, task, agent_id, state, message, host, ip_addresses, ports, version } => {
            key!(w, "slaveId");
            w.string(agent_id.as_deref().unwrap_or(""));
            key!(w, "taskId");
            w.string(task.as_str());
            key!(w, "taskStatus");
            w.string(state);
            key!(w, "message");
            w.string(message);
            key!(w, "appId");
            w.string(app.as_str());
            key!(w, "host");
            w.string(host);
            key!(w, "ipAddresses");
            list(w, ip_addresses, |w, address| write_ip_address(w, address, protocol_name(address)));
            key!(w, "ports");
            list(w, ports, |w, port| w.unsigned((*port).into()));
            key!(w, "version");
            time(w, *version);
        }
        EventKind::InstanceChanged { instance, run_spec, condition, goal: _, agent_id, host, version } => {
            key!(w, "instanceId");
            w.string(instance.as_str());
            key!(w, "condition");
            w.string(condition.name());
            key!(w, "runSpecId");
            w.string(run_spec.as_str());
            key!(w, "agentId");
            text_or_null(w, agent_id.as_deref());
            key!(w, "host");
            text_or_null(w, host.as_deref());
            key!(w, "runSpecVersion");
            time(w, *version);
        }
        EventKind::InstanceHealthChanged { instance, run_spec, version, healthy } => {
            key!(w, "instanceId");
            w.string(instance.as_str());
            key!(w, "runSpecVersion");
            time(w, *version);
            key!(w, "healthy");
            match healthy {
                Some(healthy) => w.boolean(*healthy),
                None => w.null(),
            }
            key!(w, "runSpecId");
            w.string(run_spec.as_str());
        }
        EventKind::UnknownInstanceTerminated { instance, run_spec, condition } => {
            key!(w, "instanceId");
            w.string(instance.as_str());
            key!(w, "runSpecId");
            w.string(run_spec.as_str());
            key!(w, "condition");
            w.string(condition.name());
        }
        // All others are written by `write_kind`.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use mezzo_services_model::{
        AppHealthCheck, CanaryPhase, CanaryReport, Condition, DeploymentId, Goal, Group, HealthProtocol,
        InstanceId, PathId, TaskId,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::sample::{app, at, instance_id, path};

    /// The project's table of events, where it lies beside the repository.
    const TABLE: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/reference/marathon/events.tsv");

    /// What the table does not know.
    const OURS: &str = "canary_changed_event";

    /// Events of which the table says that nothing raises them.
    const NEVER_SENT: [&str; 3] = ["subscribe_event", "unsubscribe_event", "unhealthy_task_kill_event"];

    fn check() -> AppHealthCheck {
        AppHealthCheck {
            protocol: HealthProtocol::Http,
            command: None,
            port: None,
            path: Some("/".into()),
            ipv6: false,
            ignore_http_1xx: false,
            grace_period: Default::default(),
            interval: Default::default(),
            timeout: Default::default(),
            delay: Default::default(),
            max_consecutive_failures: 3,
        }
    }

    /// One of each kind.
    fn all() -> Vec<EventKind> {
        let app_id: PathId = path("/web");
        let instance: InstanceId = instance_id(&app_id, 1);
        let task = TaskId::new(&instance, None, 1);
        let version = at(0);
        let root = Arc::new(Group::empty(PathId::root(), at(0)));
        let plan = Arc::new(Plan {
            id: DeploymentId("d1".into()),
            original: root.clone(),
            target: root,
            steps: vec![mezzo_services_model::Step::default()],
            version: at(5),
        });
        let (client_ip, uri) = (String::from("127.0.0.1"), String::from("/v2/apps"));
        let request = || (client_ip.clone(), uri.clone());
        let reason = String::from("why");
        vec![
            EventKind::StreamAttached { remote_address: client_ip.clone() },
            EventKind::StreamDetached { remote_address: client_ip.clone() },
            EventKind::AppPosted { client_ip: request().0, uri: request().1, app: Arc::new(app("/web")) },
            EventKind::PodCreated { client_ip: request().0, uri: request().1 },
            EventKind::PodUpdated { client_ip: request().0, uri: request().1 },
            EventKind::PodDeleted { client_ip: request().0, uri: request().1 },
            EventKind::SchedulerRegistered { framework_id: "f1".into(), master: "m".into() },
            EventKind::SchedulerReregistered { master: "m".into() },
            EventKind::SchedulerDisconnected,
            EventKind::FrameworkMessage {
                executor_id: "e".into(),
                agent_id: "a".into(),
                message: vec![1, 255],
            },
            EventKind::HealthCheckAdded { app: app_id.clone(), version, check: check() },
            EventKind::HealthCheckRemoved { app: app_id.clone() },
            EventKind::HealthCheckFailed { app: app_id.clone(), instance: instance.clone(), check: check() },
            EventKind::HealthStatusChanged {
                app: app_id.clone(),
                instance: instance.clone(),
                version,
                alive: true,
            },
            EventKind::UnhealthyInstanceKilled {
                app: app_id.clone(),
                task: task.clone(),
                instance: instance.clone(),
                version,
                reason: reason.clone(),
                host: "h".into(),
                agent_id: None,
            },
            EventKind::GroupChanged { group: PathId::root(), version },
            EventKind::GroupChangeFailed { group: PathId::root(), version, reason: reason.clone() },
            EventKind::DeploymentInfo { plan: plan.clone(), step: 1 },
            EventKind::DeploymentStepSucceeded { plan: plan.clone(), step: 1 },
            EventKind::DeploymentStepFailed { plan: plan.clone(), step: 1 },
            EventKind::DeploymentSucceeded { plan: plan.clone() },
            EventKind::DeploymentFailed { plan, reason },
            EventKind::TaskStatus {
                app: app_id.clone(),
                task,
                agent_id: None,
                state: "TASK_STAGING".into(),
                message: String::new(),
                host: "unknown".into(),
                ip_addresses: vec!["::1".into()],
                ports: vec![31_000],
                version,
            },
            EventKind::InstanceChanged {
                instance: instance.clone(),
                run_spec: app_id.clone(),
                condition: Condition::Scheduled,
                goal: Goal::Running,
                agent_id: None,
                host: None,
                version,
            },
            EventKind::InstanceHealthChanged {
                instance: instance.clone(),
                run_spec: app_id.clone(),
                version,
                healthy: None,
            },
            EventKind::UnknownInstanceTerminated {
                instance,
                run_spec: app_id.clone(),
                condition: Condition::Killed,
            },
            EventKind::AppTerminated { app: app_id.clone() },
            EventKind::CanaryChanged {
                report: CanaryReport {
                    run_spec: app_id,
                    version,
                    base: version,
                    base_instances: 3,
                    phase: CanaryPhase::Failed,
                    since: at(1),
                    checked: false,
                    failures: 1,
                    reason: "the one on h failed".into(),
                },
            },
        ]
    }

    fn json_of(kind: EventKind) -> Value {
        let mut w = Writer::new();
        write_event(&mut w, &Event { at: at(7), kind });
        serde_json::from_slice(&w.finish()).unwrap()
    }

    #[test]
    fn every_event_is_in_the_list_and_in_the_table() {
        let kinds = all();
        let names: Vec<&str> = kinds.iter().map(event_name).collect();
        assert_eq!(names, EVENT_NAMES);
        let Ok(table) = std::fs::read_to_string(TABLE) else { return };
        let rows = table.lines().skip(1).filter(|line| !line.starts_with('('));
        let rows: Vec<Vec<&str>> = rows.map(|line| line.split('\t').collect()).collect();
        let told: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
        let sent: BTreeSet<&str> = names.into_iter().chain(NEVER_SENT).filter(|name| *name != OURS).collect();
        assert_eq!(sent, told);
        // The fields of each, as far as the table names them: words before a bracket, a brace or a space.
        for kind in kinds {
            let name = event_name(&kind);
            let json = json_of(kind);
            let Some(row) = rows.iter().find(|row| row[0] == name) else { continue };
            if row[1].starts_with('(') {
                continue;
            }
            let mut depth = 0;
            let outer: String = row[1]
                .chars()
                .filter(|c| {
                    match c {
                        '{' | '(' | '[' => depth += 1,
                        '}' | ')' | ']' => depth -= 1,
                        _ => return depth == 0,
                    }
                    false
                })
                .collect();
            for field in outer.split(',').filter_map(|field| field.split_whitespace().next()) {
                assert!(json.get(field).is_some(), "{name} has no {field}: {json}");
            }
            let count = outer.split(',').filter(|field| !field.trim().is_empty()).count();
            assert_eq!(json.as_object().unwrap().len(), count + 2, "{name}: {json}");
        }
    }

    #[test]
    fn events_whose_form_surprises() {
        let all = || all().into_iter();
        let of = |name: &str| json_of(all().find(|kind| event_name(kind) == name).unwrap());
        assert_eq!(of("framework_message_event")["message"], json!([1, -1]));
        assert_eq!(
            of("failed_health_check_event")["taskId"],
            "web.instance-00000000-0000-0000-0000-000000000001"
        );
        assert_eq!(of("instance_health_changed_event")["healthy"], Value::Null);
        let status = of("status_update_event");
        assert_eq!((&status["slaveId"], &status["host"]), (&json!(""), &json!("unknown")));
        assert_eq!(status["ipAddresses"], json!([{"ipAddress": "::1", "protocol": "IPv6"}]));
        assert_eq!(of("deployment_info")["currentStep"], json!({"actions": []}));
        let canary = json!({
            "version": "2023-11-14T22:13:20.000Z", "phase": "failed", "since": "2023-11-14T22:13:21.000Z",
            "failures": 1, "baseVersion": "2023-11-14T22:13:20.000Z", "reason": "the one on h failed",
        });
        assert_eq!(of("canary_changed_event")["canary"], canary);
        assert_eq!(of("api_post_event")["appDefinition"]["id"], "/web");
        assert_eq!(of("scheduler_disconnected_event")["timestamp"], "2023-11-14T22:13:27.000Z");
    }

    #[test]
    fn the_frame_is_two_lines_and_an_empty_one() {
        let frame = event_frame(&Event { at: at(7), kind: EventKind::AppTerminated { app: path("/web") } });
        let frame = String::from_utf8(frame).unwrap();
        let data =
            r#"{"appId":"/web","eventType":"app_terminated_event","timestamp":"2023-11-14T22:13:27.000Z"}"#;
        assert_eq!(frame, format!("event: app_terminated_event\r\ndata: {data}\r\n\r\n"));
    }
}
