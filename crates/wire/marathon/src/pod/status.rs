//! The status of a pod and its instances (rules 279 and 280).

use mezzo_json::Writer;
use mezzo_services_model::{
    CheckTarget, Condition, Goal, Instance, Pod, PodContainer, PortRef, Resources, Task, TaskFailure,
};
use mezzo_time::Timestamp;

use super::write::{write_pod, write_resources};
use crate::{
    answer::{
        Facts,
        fields::{key, list, texts, time},
        task::write_local_volumes,
        task_state,
    },
    time::time_text,
};

const UNREACHABLE: &str = "pod instance has become unreachable";
const UNHEALTHY: &str = "at least one container is not healthy";

/// How an instance of a pod is, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InstanceState {
    Pending,
    Staging,
    Stable,
    Degraded,
    Terminal,
}

impl InstanceState {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Staging => "STAGING",
            Self::Stable => "STABLE",
            Self::Degraded => "DEGRADED",
            Self::Terminal => "TERMINAL",
        }
    }

    /// With the sentence that goes with it.
    fn of(instance: &Instance, pod: &Pod) -> (Self, Option<&'static str>) {
        match instance.condition {
            Condition::Scheduled | Condition::Provisioned => (Self::Pending, None),
            Condition::Staging | Condition::Starting => (Self::Staging, None),
            Condition::Unreachable | Condition::UnreachableInactive => (Self::Degraded, Some(UNREACHABLE)),
            Condition::Running => {
                let mut tasks = instance.tasks.iter();
                let unhealthy = |(name, task): (&String, &Task)| {
                    container(pod, name)
                        .is_some_and(|container| health(container, task, instance) == Some(false))
                };
                if tasks.any(unhealthy) { (Self::Degraded, Some(UNHEALTHY)) } else { (Self::Stable, None) }
            }
            Condition::Killing
            | Condition::Unknown
            | Condition::Finished
            | Condition::Killed
            | Condition::Failed
            | Condition::Error
            | Condition::Gone
            | Condition::Dropped => (Self::Terminal, None),
        }
    }
}

fn container<'p>(pod: &'p Pod, name: &str) -> Option<&'p PodContainer> {
    pod.containers.iter().find(|container| container.name == name)
}

/// Whether a container is well by its check: false while its check has said nothing, none without a check or before it ran.
fn health(container: &PodContainer, task: &Task, instance: &Instance) -> Option<bool> {
    container.health_check.as_ref()?;
    match task.condition {
        Condition::Scheduled | Condition::Provisioned | Condition::Staging | Condition::Starting => None,
        // A stopped instance that keeps its volumes is not ill.
        ended if ended.is_terminal() && instance.reservation.is_some() => None,
        _ => Some(task.healthy.unwrap_or(false)),
    }
}

/// The name of the endpoint that a container's check asks.
fn checked_endpoint(container: &PodContainer) -> Option<&str> {
    match &container.health_check.as_ref()?.target {
        CheckTarget::Http { port: Some(PortRef::Endpoint(name)), .. }
        | CheckTarget::Tcp { port: Some(PortRef::Endpoint(name)) } => Some(name),
        _ => None,
    }
}

/// The status of a pod: TERMINAL while it is being deleted, that is when all its instances are to go although some are wanted.
pub fn write_pod_status(w: &mut Writer<'_>, pod: &Pod, facts: &Facts<'_>) {
    let instances = facts.instances(&pod.id);
    let state_of = |instance: &Instance| InstanceState::of(instance, facts.pod_of(pod, instance)).0;
    let stable = instances.clone().filter(|instance| state_of(instance) == InstanceState::Stable).count();
    let mut goals = instances.clone().map(|instance| instance.goal).peekable();
    let is_ending =
        pod.instances > 0 && goals.peek().is_some() && goals.all(|goal| goal == Goal::Decommissioned);
    let state = if is_ending {
        "TERMINAL"
    } else if stable >= pod.instances as usize {
        "STABLE"
    } else {
        "DEGRADED"
    };
    let since =
        instances.clone().map(|instance| instance.since).max().map_or(pod.version, |at| at.max(pod.version));
    w.begin_object();
    key!(w, "id");
    w.string(pod.id.as_str());
    key!(w, "spec");
    write_pod(w, pod);
    key!(w, "instances");
    list(w, instances, |w, instance| {
        w.pause();
        write_instance_status(w, facts.pod_of(pod, instance), instance);
    });
    key!(w, "terminationHistory");
    list(w, facts.failure(&pod.id), write_termination);
    key!(w, "status");
    w.string(state);
    write_stamps(w, since);
    w.end_object();
}

/// The three times that the status of anything carries: the API knows only one.
fn write_stamps(w: &mut Writer<'_>, since: Timestamp) {
    key!(w, "statusSince");
    time(w, since);
    key!(w, "lastUpdated");
    time(w, since);
    key!(w, "lastChanged");
    time(w, since);
}

fn write_instance_status(w: &mut Writer<'_>, pod: &Pod, instance: &Instance) {
    let (state, message) = InstanceState::of(instance, pod);
    w.begin_object();
    key!(w, "id");
    w.string(instance.id.as_str());
    key!(w, "status");
    w.string(state.name());
    write_stamps(w, instance.since);
    if let Some(agent) = &instance.agent {
        key!(w, "agentHostname");
        w.string(&agent.host);
        key!(w, "agentId");
        w.string(&agent.id);
        if let Some(region) = &agent.region {
            key!(w, "agentRegion");
            w.string(region);
        }
        if let Some(zone) = &agent.zone {
            key!(w, "agentZone");
            w.string(zone);
        }
    }
    key!(w, "role");
    w.string(&instance.role);
    if let Some(message) = message {
        key!(w, "message");
        w.string(message);
    }
    key!(w, "resources");
    write_resources(w, used(pod, instance));
    key!(w, "networks");
    write_networks(w, instance);
    key!(w, "containers");
    list(w, &instance.tasks, |w, (name, task)| write_container_status(w, name, task, pod, instance));
    key!(w, "localVolumes");
    write_local_volumes(w, instance.reservation.as_ref());
    key!(w, "specReference");
    w.string(&format!("/v2/pods{}::versions/{}", pod.id, time_text(instance.version)));
    w.end_object();
}

/// Whether a task holds its container's resources.
fn holds(task: &Task, instance: &Instance) -> bool {
    instance.reservation.is_some()
        || matches!(
            task.condition,
            Condition::Staging
                | Condition::Starting
                | Condition::Running
                | Condition::Unreachable
                | Condition::Killing
        )
}

/// What the containers that hold something hold, and the executor.
fn used(pod: &Pod, instance: &Instance) -> Resources {
    let executor = pod.executor_resources;
    let start = Resources { cpus: executor.cpus, mem: executor.mem, disk: executor.disk, gpus: 0 };
    let held = instance.tasks.iter().filter(|(_, task)| holds(task, instance));
    held.filter_map(|(name, _)| container(pod, name))
        .fold(start, |sum, container| sum.plus(container.resources))
}

/// The networks by name with the distinct addresses on each.
fn write_networks(w: &mut Writer<'_>, instance: &Instance) {
    let mut networks: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    for status in instance.tasks.values().filter_map(|task| task.status.as_ref()) {
        for network in status.container_status.iter().flat_map(|container| &container.network_infos) {
            let name = network.name.as_deref();
            let place = networks.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
                networks.push((name, Vec::new()));
                networks.len() - 1
            });
            for address in network.ip_addresses.iter().filter_map(|address| address.ip_address.as_deref()) {
                if !networks[place].1.contains(&address) {
                    networks[place].1.push(address);
                }
            }
        }
    }
    list(w, networks, |w, (name, addresses)| {
        w.begin_object();
        if let Some(name) = name {
            key!(w, "name");
            w.string(name);
        }
        key!(w, "addresses");
        texts(w, addresses);
        w.end_object();
    });
}

fn write_container_status(w: &mut Writer<'_>, name: &str, task: &Task, pod: &Pod, instance: &Instance) {
    let since = task.started_at.unwrap_or(task.staged_at);
    let spec = container(pod, name);
    w.begin_object();
    key!(w, "name");
    w.string(name);
    key!(w, "status");
    w.string(task_state(task.condition));
    write_stamps(w, since);
    key!(w, "containerId");
    w.string(task.id.as_str());
    key!(w, "endpoints");
    w.begin_array();
    if let Some(spec) = spec.filter(|_| task.condition.is_active()) {
        write_endpoints(w, spec, task);
    }
    w.end_array();
    key!(w, "conditions");
    w.begin_array();
    if let Some(healthy) = spec.and_then(|spec| health(spec, task, instance)) {
        w.begin_object();
        key!(w, "name");
        w.string("healthy");
        key!(w, "value");
        w.string(if healthy { "true" } else { "false" });
        key!(w, "reason");
        w.string(match task.healthy {
            Some(_) => "health-reported-by-mesos",
            None => "health-unreported-by-mesos",
        });
        key!(w, "lastUpdated");
        time(w, since);
        key!(w, "lastChanged");
        time(w, since);
        w.end_object();
    }
    w.end_array();
    if let Some(spec) = spec.filter(|_| holds(task, instance)) {
        key!(w, "resources");
        write_resources(w, spec.resources);
    }
    w.end_object();
}

/// The endpoints with a port on the agent, each with the port it got, then the others.
fn write_endpoints(w: &mut Writer<'_>, spec: &PodContainer, task: &Task) {
    let checked = checked_endpoint(spec);
    let mut ports = task.host_ports.iter();
    for endpoint in &spec.endpoints {
        w.begin_object();
        key!(w, "name");
        w.string(&endpoint.name);
        if endpoint.host_port.is_some()
            && let Some(port) = ports.next()
        {
            key!(w, "allocatedHostPort");
            w.unsigned((*port).into());
        }
        if checked == Some(&endpoint.name)
            && let Some(healthy) = task.healthy
        {
            key!(w, "healthy");
            w.boolean(healthy);
        }
        w.end_object();
    }
}

/// The last failure as an entry of the history of ends.
fn write_termination(w: &mut Writer<'_>, failure: &TaskFailure) {
    w.begin_object();
    key!(w, "instanceID");
    w.string(failure.task.instance().as_str());
    key!(w, "startedAt");
    time(w, failure.version);
    key!(w, "terminatedAt");
    time(w, failure.at);
    key!(w, "message");
    w.string(&failure.message);
    key!(w, "containers");
    w.begin_array();
    w.begin_object();
    key!(w, "containerId");
    w.string(failure.task.as_str());
    key!(w, "lastKnownState");
    w.string(&failure.state);
    w.end_object();
    w.end_array();
    w.end_object();
}
