//! /state, /containers and /monitor/statistics of an agent.

use mezzo_json::{ToJson, Writer, to_vec};
use mezzo_mesos::v1;
use mezzo_resources::Resources;

use crate::agent::{ReservedView, agent_capabilities, write_full, write_reserved, write_reserved_full};
use crate::alphabetical::alphabetical;
use crate::common::{Build, build_fields, write_flags};
use crate::framework::roles_field;
use crate::resources::{allocation_role, write_attributes, write_proto_resources, write_resources};
use crate::shapes::{
    bool_field, domain_field, double_field, executor_type, labels_field, optional_string, string_field,
    strings, write_command,
};
use crate::task::write_task;

/// What /state of an agent says.
#[derive(Clone, Copy)]
pub struct AgentState<'a> {
    /// Of this software.
    pub build: Build<'a>,
    /// When the process began, seconds since the epoch.
    pub start_time: f64,
    /// As registered; its id may be absent.
    pub info: &'a v1::AgentInfo,
    /// `slave(1)@ip:port`.
    pub pid: &'a str,
    /// As announced.
    pub capabilities: &'a [v1::agent_info::Capability],
    /// While it drains.
    pub drain: Option<&'a v1::DrainConfig>,
    /// When the drain began, whole seconds since the epoch.
    pub drain_started: Option<i64>,
    /// Everything it has.
    pub total: &'a Resources,
    /// Of `total`, per role.
    pub reserved: ReservedView<'a>,
    /// Of `total`, for everyone.
    pub unreserved: &'a Resources,
    /// Of `reserved`, in use.
    pub reserved_allocated: ReservedView<'a>,
    /// Of `unreserved`, in use.
    pub unreserved_allocated: &'a Resources,
    /// Resource providers with their totals; empty when the caller may not see them.
    pub resource_providers: &'a [(&'a v1::ResourceProviderInfo, &'a Resources)],
    /// The host name of the master, by reverse lookup.
    pub master_hostname: Option<&'a str>,
    /// `--log_dir`; this and the next two only when the caller may view flags.
    pub log_dir: Option<&'a str>,
    /// `--external_log_file`.
    pub external_log_file: Option<&'a str>,
    /// Flags that have a value, in alphabetical order.
    pub flags: Option<&'a [(&'a str, &'a str)]>,
    /// Frameworks with a running executor.
    pub frameworks: &'a [AgentStateFramework<'a>],
    /// Frameworks without one.
    pub completed_frameworks: &'a [AgentStateFramework<'a>],
}

/// A framework on an agent.
#[derive(Clone, Copy)]
pub struct AgentStateFramework<'a> {
    /// With its id.
    pub info: &'a v1::FrameworkInfo,
    /// Its live executors.
    pub executors: &'a [AgentStateExecutor<'a>],
    /// Its ended executors.
    pub completed_executors: &'a [AgentStateExecutor<'a>],
}

/// An executor on an agent; a command task shows one too.
#[derive(Clone, Copy)]
pub struct AgentStateExecutor<'a> {
    /// With its resources.
    pub info: &'a v1::ExecutorInfo,
    /// Container id.
    pub container: &'a str,
    /// Sandbox on the host.
    pub directory: &'a str,
    /// Its own resources and those of its tasks.
    pub resources: &'a Resources,
    /// Launched tasks.
    pub tasks: &'a [&'a v1::Task],
    /// Tasks that wait for it.
    pub queued_tasks: &'a [QueuedTask<'a>],
    /// Ended tasks.
    pub completed_tasks: &'a [&'a v1::Task],
}

/// A task that waits for its executor.
pub type QueuedTask<'a> = &'a v1::TaskInfo;

/// GET /slave(1)/state.
pub fn agent_state(w: &mut Writer<'_>, state: &AgentState<'_>) {
    let info = state.info;
    w.begin_object();
    build_fields(w, &state.build);
    double_field(w, b"\"start_time\":", state.start_time);
    string_field(w, b"\"id\":", info.id.as_ref().map_or("", |id| &id.value));
    string_field(w, b"\"pid\":", state.pid);
    string_field(w, b"\"hostname\":", &info.hostname);
    w.raw_key(b"\"capabilities\":");
    strings(w, agent_capabilities(state.capabilities));
    domain_field(w, &info.domain);
    if let Some(drain) = state.drain {
        w.raw_key(b"\"drain_config\":");
        w.value(drain);
        if let Some(time) = state.drain_started {
            w.raw_key(b"\"estimated_drain_start_time_seconds\":");
            w.integer(time);
        }
    }
    w.raw_key(b"\"resources\":");
    write_resources(w, state.total);
    w.raw_key(b"\"reserved_resources\":");
    write_reserved(w, state.reserved);
    w.raw_key(b"\"unreserved_resources\":");
    write_resources(w, state.unreserved);
    w.raw_key(b"\"reserved_resources_full\":");
    write_reserved_full(w, state.reserved);
    w.raw_key(b"\"unreserved_resources_full\":");
    write_full(w, state.unreserved);
    w.raw_key(b"\"reserved_resources_allocated\":");
    write_reserved(w, state.reserved_allocated);
    w.raw_key(b"\"unreserved_resources_allocated\":");
    write_resources(w, state.unreserved_allocated);
    w.raw_key(b"\"resource_providers\":");
    w.begin_array();
    for (provider, total) in state.resource_providers {
        w.begin_object();
        w.raw_key(b"\"resource_provider_info\":");
        w.value(*provider);
        if !total.is_empty() {
            w.raw_key(b"\"total_resources\":");
            write_full(w, total);
        }
        w.end_object();
    }
    w.end_array();
    w.raw_key(b"\"attributes\":");
    write_attributes(w, &info.attributes);
    optional_string(w, b"\"master_hostname\":", state.master_hostname);
    optional_string(w, b"\"log_dir\":", state.log_dir);
    optional_string(w, b"\"external_log_file\":", state.external_log_file);
    if let Some(flags) = state.flags {
        w.raw_key(b"\"flags\":");
        write_flags(w, flags);
    }
    w.raw_key(b"\"frameworks\":");
    write_frameworks(w, state.frameworks);
    w.raw_key(b"\"completed_frameworks\":");
    write_frameworks(w, state.completed_frameworks);
    w.end_object();
}

fn write_frameworks(w: &mut Writer<'_>, frameworks: &[AgentStateFramework<'_>]) {
    w.begin_array();
    for framework in frameworks {
        let info = framework.info;
        w.begin_object();
        string_field(w, b"\"id\":", info.id.as_ref().map_or("", |id| &id.value));
        string_field(w, b"\"name\":", &info.name);
        string_field(w, b"\"user\":", &info.user);
        double_field(w, b"\"failover_timeout\":", info.failover_timeout.unwrap_or(0.0));
        bool_field(w, b"\"checkpoint\":", info.checkpoint.unwrap_or(false));
        string_field(w, b"\"hostname\":", info.hostname.as_deref().unwrap_or_default());
        optional_string(w, b"\"principal\":", info.principal.as_deref());
        roles_field(w, info);
        for (key, executors) in [
            (&b"\"executors\":"[..], framework.executors),
            (b"\"completed_executors\":", framework.completed_executors),
        ] {
            w.raw_key(key);
            w.begin_array();
            for executor in executors {
                write_executor(w, executor);
                w.pause();
            }
            w.end_array();
        }
        w.end_object();
    }
    w.end_array();
}

fn write_executor(w: &mut Writer<'_>, executor: &AgentStateExecutor<'_>) {
    let info = executor.info;
    w.begin_object();
    string_field(w, b"\"id\":", &info.executor_id.value);
    string_field(w, b"\"name\":", info.name.as_deref().unwrap_or_default());
    string_field(w, b"\"source\":", source(info));
    string_field(w, b"\"container\":", executor.container);
    string_field(w, b"\"directory\":", executor.directory);
    w.raw_key(b"\"resources\":");
    write_resources(w, executor.resources);
    optional_string(w, b"\"role\":", allocation_role(&info.resources));
    labels_field(w, &info.labels);
    optional_string(w, b"\"type\":", executor_type(info));
    w.raw_key(b"\"tasks\":");
    write_tasks(w, executor.tasks);
    w.raw_key(b"\"queued_tasks\":");
    w.begin_array();
    for task in executor.queued_tasks {
        write_queued(w, task);
        w.pause();
    }
    w.end_array();
    w.raw_key(b"\"completed_tasks\":");
    write_tasks(w, executor.completed_tasks);
    w.end_object();
}

#[expect(deprecated, reason = "shown although deprecated")]
fn source(info: &v1::ExecutorInfo) -> &str {
    info.source.as_deref().unwrap_or_default()
}

fn write_tasks(w: &mut Writer<'_>, tasks: &[&v1::Task]) {
    w.begin_array();
    for task in tasks {
        write_task(w, task);
        w.pause();
    }
    w.end_array();
}

fn write_queued(w: &mut Writer<'_>, task: &v1::TaskInfo) {
    w.begin_object();
    string_field(w, b"\"id\":", &task.task_id.value);
    string_field(w, b"\"name\":", &task.name);
    string_field(w, b"\"slave_id\":", &task.agent_id.value);
    w.raw_key(b"\"resources\":");
    write_proto_resources(w, &task.resources);
    string_field(w, b"\"role\":", allocation_role(&task.resources).unwrap_or("*"));
    if task.command.is_some() {
        w.raw_key(b"\"command\":");
        write_command(w, task.command.as_ref());
    }
    if let Some(executor) = &task.executor {
        string_field(w, b"\"executor_id\":", &executor.executor_id.value);
    }
    if let Some(discovery) = &task.discovery {
        w.raw_key(b"\"discovery\":");
        w.value(discovery);
    }
    w.end_object();
}

/// The container of an executor, with what was measured.
#[derive(Clone, Copy)]
pub struct ContainerView<'a> {
    /// Container id.
    pub container: &'a str,
    /// With its framework id.
    pub executor: &'a v1::ExecutorInfo,
    /// Left out when it could not be collected.
    pub statistics: Option<&'a v1::ResourceStatistics>,
    /// Left out when it is not known.
    pub status: Option<&'a v1::ContainerStatus>,
}

impl ContainerView<'_> {
    fn owner_fields(&self, w: &mut Writer<'_>) {
        let info = self.executor;
        string_field(w, b"\"executor_id\":", &info.executor_id.value);
        string_field(w, b"\"executor_name\":", info.name.as_deref().unwrap_or_default());
        string_field(w, b"\"framework_id\":", info.framework_id.as_ref().map_or("", |id| &id.value));
        string_field(w, b"\"source\":", source(info));
    }
}

fn sorted<T: ToJson>(w: &mut Writer<'_>, key: &'static [u8], value: Option<&T>) {
    if let Some(value) = value {
        w.raw_key(key);
        w.raw(&alphabetical(&to_vec(value)));
    }
}

/// GET /slave(1)/containers.
pub fn containers(w: &mut Writer<'_>, containers: &[ContainerView<'_>]) {
    w.begin_array();
    for container in containers {
        w.begin_object();
        string_field(w, b"\"container_id\":", container.container);
        container.owner_fields(w);
        sorted(w, b"\"statistics\":", container.statistics);
        sorted(w, b"\"status\":", container.status);
        w.end_object();
        w.pause();
    }
    w.end_array();
}

/// GET /slave(1)/monitor/statistics: executors that have statistics.
pub fn monitor_statistics(w: &mut Writer<'_>, containers: &[ContainerView<'_>]) {
    w.begin_array();
    for container in containers.iter().filter(|c| c.statistics.is_some()) {
        w.begin_object();
        container.owner_fields(w);
        sorted(w, b"\"statistics\":", container.statistics);
        w.end_object();
        w.pause();
    }
    w.end_array();
}
