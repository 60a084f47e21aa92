//! /state, /state-summary, /slaves, /frameworks and /tasks of the master.

use std::cmp::Ordering;

use mezzo_json::Writer;
use mezzo_mesos::v1;

use crate::agent::{AgentView, agent_fields, write_agent, write_agent_full, write_agent_info};
use crate::common::{Build, build_fields, write_flags};
use crate::framework::{FrameworkView, Written, summary_fields, write_framework};
use crate::shapes::{domain_field, double_field, optional_string, string_field, strings};
use crate::task::write_task;

/// What /state says of the master itself and of the cluster.
#[derive(Clone, Copy)]
pub struct MasterState<'a> {
    /// Of this software.
    pub build: Build<'a>,
    /// When the process began, seconds since the epoch.
    pub start_time: f64,
    /// When it was elected; `None` unless it leads.
    pub elected_time: Option<f64>,
    /// Its id.
    pub id: &'a str,
    /// `master@ip:port`.
    pub pid: &'a str,
    /// Its host.
    pub hostname: &'a str,
    /// AGENT_UPDATE and the like.
    pub capabilities: &'a [&'a str],
    /// Agents that are connected.
    pub activated_agents: usize,
    /// Agents that are registered and not connected, or deactivated.
    pub deactivated_agents: usize,
    /// Agents that are unreachable.
    pub unreachable_agents: usize,
    /// Where it is.
    pub domain: Option<&'a v1::DomainInfo>,
    /// Who leads, if that is known.
    pub leader: Option<LeaderView<'a>>,
    /// `--cluster`; this and the next three only when the caller may view flags.
    pub cluster: Option<&'a str>,
    /// `--log_dir`.
    pub log_dir: Option<&'a str>,
    /// `--external_log_file`.
    pub external_log_file: Option<&'a str>,
    /// Flags that have a value, in alphabetical order.
    pub flags: Option<&'a [(&'a str, &'a str)]>,
    /// Registered agents.
    pub agents: &'a [AgentView<'a>],
    /// Writes more of those, each as [`write_agent`] does.
    pub more_agents: Option<Written<'a>>,
    /// Agents of the registry that are not back since the failover.
    pub recovered_agents: &'a [&'a v1::AgentInfo],
    /// Registered frameworks, recovered ones included.
    pub frameworks: &'a [FrameworkView<'a>],
    /// Ended frameworks.
    pub completed_frameworks: &'a [FrameworkView<'a>],
}

/// The leading master.
#[derive(Clone, Copy)]
pub struct LeaderView<'a> {
    /// Its id.
    pub id: &'a str,
    /// `master@ip:port`.
    pub pid: &'a str,
    /// Its port.
    pub port: u16,
    /// Its host.
    pub hostname: &'a str,
    /// Where it is.
    pub domain: Option<&'a v1::DomainInfo>,
}

/// GET /master/state.
pub fn master_state(w: &mut Writer<'_>, state: &MasterState<'_>) {
    w.begin_object();
    build_fields(w, &state.build);
    double_field(w, b"\"start_time\":", state.start_time);
    if let Some(time) = state.elected_time {
        double_field(w, b"\"elected_time\":", time);
    }
    string_field(w, b"\"id\":", state.id);
    string_field(w, b"\"pid\":", state.pid);
    string_field(w, b"\"hostname\":", state.hostname);
    w.raw_key(b"\"capabilities\":");
    strings(w, state.capabilities.iter().copied());
    double_field(w, b"\"activated_slaves\":", state.activated_agents as f64);
    double_field(w, b"\"deactivated_slaves\":", state.deactivated_agents as f64);
    double_field(w, b"\"unreachable_slaves\":", state.unreachable_agents as f64);
    if let Some(domain) = state.domain {
        w.raw_key(b"\"domain\":");
        w.value(domain);
    }
    if let Some(leader) = &state.leader {
        string_field(w, b"\"leader\":", leader.pid);
        w.raw_key(b"\"leader_info\":");
        write_leader(w, leader);
    }
    optional_string(w, b"\"cluster\":", state.cluster);
    optional_string(w, b"\"log_dir\":", state.log_dir);
    optional_string(w, b"\"external_log_file\":", state.external_log_file);
    if let Some(flags) = state.flags {
        w.raw_key(b"\"flags\":");
        write_flags(w, flags);
    }
    w.raw_key(b"\"slaves\":");
    w.begin_array();
    for agent in state.agents {
        write_agent(w, agent);
        w.pause();
    }
    if let Some(write) = state.more_agents {
        write(w);
    }
    w.end_array();
    w.raw_key(b"\"recovered_slaves\":");
    list(w, state.recovered_agents, |w, info| write_agent_info(w, info));
    w.raw_key(b"\"frameworks\":");
    list(w, state.frameworks, write_framework);
    w.raw_key(b"\"completed_frameworks\":");
    list(w, state.completed_frameworks, write_framework);
    w.raw_key(b"\"orphan_tasks\":");
    w.raw(b"[]");
    w.raw_key(b"\"unregistered_frameworks\":");
    w.raw(b"[]");
    w.end_object();
}

fn write_leader(w: &mut Writer<'_>, leader: &LeaderView<'_>) {
    w.begin_object();
    string_field(w, b"\"id\":", leader.id);
    string_field(w, b"\"pid\":", leader.pid);
    w.raw_key(b"\"port\":");
    w.unsigned(u64::from(leader.port));
    string_field(w, b"\"hostname\":", leader.hostname);
    domain_field(w, &leader.domain.cloned());
    w.end_object();
}

fn list<T>(w: &mut Writer<'_>, items: &[T], mut write: impl FnMut(&mut Writer<'_>, &T)) {
    w.begin_array();
    for item in items {
        write(w, item);
        w.pause();
    }
    w.end_array();
}

/// How many tasks are in each of the ten states /state-summary counts; completed and unreachable tasks
/// count too, states like DROPPED or GONE have no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts([u64; 10]);

const COUNTED: [(v1::TaskState, &[u8]); 10] = [
    (v1::TaskState::TaskStaging, b"\"TASK_STAGING\":"),
    (v1::TaskState::TaskStarting, b"\"TASK_STARTING\":"),
    (v1::TaskState::TaskRunning, b"\"TASK_RUNNING\":"),
    (v1::TaskState::TaskKilling, b"\"TASK_KILLING\":"),
    (v1::TaskState::TaskFinished, b"\"TASK_FINISHED\":"),
    (v1::TaskState::TaskKilled, b"\"TASK_KILLED\":"),
    (v1::TaskState::TaskFailed, b"\"TASK_FAILED\":"),
    (v1::TaskState::TaskLost, b"\"TASK_LOST\":"),
    (v1::TaskState::TaskError, b"\"TASK_ERROR\":"),
    (v1::TaskState::TaskUnreachable, b"\"TASK_UNREACHABLE\":"),
];

impl TaskCounts {
    /// Counts one task in this state.
    pub fn add(&mut self, state: i32) {
        if let Some(index) = COUNTED.iter().position(|(counted, _)| *counted as i32 == state) {
            self.0[index] += 1;
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        for ((_, key), count) in COUNTED.iter().zip(self.0) {
            w.raw_key(key);
            w.unsigned(count);
        }
    }
}

/// What /state-summary says.
#[derive(Clone, Copy)]
pub struct StateSummary<'a> {
    /// The master's host.
    pub hostname: &'a str,
    /// `--cluster`.
    pub cluster: Option<&'a str>,
    /// Agents with their tasks and the frameworks that have tasks on them.
    pub agents: &'a [(AgentView<'a>, TaskCounts, Vec<&'a str>)],
    /// Frameworks with their tasks and the agents these are on.
    pub frameworks: &'a [(FrameworkView<'a>, TaskCounts, Vec<&'a str>)],
}

/// GET /master/state-summary.
pub fn state_summary(w: &mut Writer<'_>, summary: &StateSummary<'_>) {
    w.begin_object();
    string_field(w, b"\"hostname\":", summary.hostname);
    optional_string(w, b"\"cluster\":", summary.cluster);
    w.raw_key(b"\"slaves\":");
    list(w, summary.agents, |w, (agent, counts, frameworks)| {
        w.begin_object();
        agent_fields(w, agent);
        counts.write(w);
        w.raw_key(b"\"framework_ids\":");
        strings(w, frameworks.iter().copied());
        w.end_object();
    });
    w.raw_key(b"\"frameworks\":");
    list(w, summary.frameworks, |w, (framework, counts, agents)| {
        w.begin_object();
        summary_fields(w, framework);
        counts.write(w);
        w.raw_key(b"\"slave_ids\":");
        strings(w, agents.iter().copied());
        w.end_object();
    });
    w.end_object();
}

/// GET /master/slaves.
pub fn slaves(w: &mut Writer<'_>, agents: &[AgentView<'_>], recovered: &[&v1::AgentInfo]) {
    w.begin_object();
    w.raw_key(b"\"slaves\":");
    list(w, agents, write_agent_full);
    w.raw_key(b"\"recovered_slaves\":");
    list(w, recovered, |w, info| write_agent_info(w, info));
    w.end_object();
}

/// GET /master/frameworks.
pub fn frameworks(w: &mut Writer<'_>, registered: &[FrameworkView<'_>], completed: &[FrameworkView<'_>]) {
    w.begin_object();
    w.raw_key(b"\"frameworks\":");
    list(w, registered, write_framework);
    w.raw_key(b"\"completed_frameworks\":");
    list(w, completed, write_framework);
    w.raw_key(b"\"unregistered_frameworks\":");
    w.raw(b"[]");
    w.end_object();
}

/// The query of /master/tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQuery<'q> {
    /// Only of this framework.
    pub framework_id: Option<&'q str>,
    /// Only this task.
    pub task_id: Option<&'q str>,
    /// At most so many.
    pub limit: usize,
    /// Without the first ones.
    pub offset: usize,
    /// Oldest first.
    pub ascending: bool,
}

impl<'q> TaskQuery<'q> {
    /// Unreadable numbers count as absent; any order but `asc` is descending.
    pub fn new(parameter: impl Fn(&str) -> Option<&'q str>) -> Self {
        TaskQuery {
            framework_id: parameter("framework_id"),
            task_id: parameter("task_id"),
            limit: parameter("limit").and_then(|text| text.parse().ok()).unwrap_or(100),
            offset: parameter("offset").and_then(|text| text.parse().ok()).unwrap_or(0),
            ascending: parameter("order") == Some("asc"),
        }
    }
}

/// The tasks that the query asks for, of those given: filtered, in the order of their first status
/// (those without one last, or first when ascending), and cut.
pub fn order_tasks<'t>(tasks: &mut Vec<&'t v1::Task>, query: &TaskQuery<'_>) {
    tasks.retain(|task| {
        query.framework_id.is_none_or(|id| task.framework_id.value == id)
            && query.task_id.is_none_or(|id| task.task_id.value == id)
    });
    let time = |task: &v1::Task| task.statuses.first().and_then(|s| s.timestamp).unwrap_or(f64::NEG_INFINITY);
    let ascending = |a: &&'t v1::Task, b: &&'t v1::Task| -> Ordering { time(a).total_cmp(&time(b)) };
    tasks.sort_by(|a, b| if query.ascending { ascending(a, b) } else { ascending(b, a) });
    tasks.drain(..query.offset.min(tasks.len()));
    tasks.truncate(query.limit);
}

/// GET /master/tasks, with tasks as [`order_tasks`] leaves them.
pub fn tasks(w: &mut Writer<'_>, tasks: &[&v1::Task]) {
    w.begin_object();
    w.raw_key(b"\"tasks\":");
    list(w, tasks, |w, task| write_task(w, task));
    w.end_object();
}
