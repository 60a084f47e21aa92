//! What the master counts, by the names of metrics.tsv.
//!
//! Handlers add to [`Counters`]; gauges are computed from a [`Snapshot`] when somebody asks. Names use
//! the word agent; v0's `/metrics/snapshot` and GET_METRICS, which spell it the old way, translate at
//! the edge every name for which [`is_fixed`] holds. Names of frameworks and roles are never touched.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use mezzo_ids::FrameworkId;
use mezzo_mesos::v1;

use crate::{
    query::View,
    state::{Framework, Snapshot},
};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// One number that only grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// All of them, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name after `master/`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Tasks that reached FINISHED.
    TasksFinished = "tasks_finished";
    /// Tasks that reached FAILED.
    TasksFailed = "tasks_failed";
    /// Tasks that reached KILLED.
    TasksKilled = "tasks_killed";
    /// Tasks that reached LOST.
    TasksLost = "tasks_lost";
    /// Tasks refused with ERROR.
    TasksError = "tasks_error";
    /// Tasks that reached DROPPED.
    TasksDropped = "tasks_dropped";
    /// Tasks that reached GONE.
    TasksGone = "tasks_gone";
    /// Tasks that reached GONE_BY_OPERATOR.
    TasksGoneByOperator = "tasks_gone_by_operator";
    /// Kept for its name; a master that does not lead answers no messages.
    DroppedMessages = "dropped_messages";
    /// Reads answered from the work of an equal one.
    HttpCacheHits = "http_cache_hits";
    /// SUBSCRIBE without framework id.
    MessagesRegisterFramework = "messages_register_framework";
    /// SUBSCRIBE with framework id.
    MessagesReregisterFramework = "messages_reregister_framework";
    /// TEARDOWN calls.
    MessagesUnregisterFramework = "messages_unregister_framework";
    /// Kept for its name; only the old driver sends it.
    MessagesDeactivateFramework = "messages_deactivate_framework";
    /// KILL calls.
    MessagesKillTask = "messages_kill_task";
    /// ACKNOWLEDGE calls.
    MessagesStatusUpdateAcknowledgement = "messages_status_update_acknowledgement";
    /// ACKNOWLEDGE_OPERATION_STATUS calls.
    MessagesOperationStatusUpdateAcknowledgement = "messages_operation_status_update_acknowledgement";
    /// REQUEST calls.
    MessagesResourceRequest = "messages_resource_request";
    /// LAUNCH operations with at least one task.
    MessagesLaunchTasks = "messages_launch_tasks";
    /// DECLINE calls, and LAUNCH operations without tasks.
    MessagesDeclineOffers = "messages_decline_offers";
    /// REVIVE calls.
    MessagesReviveOffers = "messages_revive_offers";
    /// SUPPRESS calls.
    MessagesSuppressOffers = "messages_suppress_offers";
    /// RECONCILE_OPERATIONS calls.
    MessagesReconcileOperations = "messages_reconcile_operations";
    /// RECONCILE calls.
    MessagesReconcileTasks = "messages_reconcile_tasks";
    /// MESSAGE calls.
    MessagesFrameworkToExecutor = "messages_framework_to_executor";
    /// Messages of executors.
    MessagesExecutorToFramework = "messages_executor_to_framework";
    /// First registrations asked for.
    MessagesRegisterAgent = "messages_register_agent";
    /// Re-registrations asked for.
    MessagesReregisterAgent = "messages_reregister_agent";
    /// Agents that said they leave.
    MessagesUnregisterAgent = "messages_unregister_agent";
    /// Status updates from agents.
    MessagesStatusUpdate = "messages_status_update";
    /// Operation status updates from agents.
    MessagesOperationStatusUpdate = "messages_operation_status_update";
    /// Ended executors.
    MessagesExitedExecutor = "messages_exited_executor";
    /// Changed totals of agents.
    MessagesUpdateAgent = "messages_update_agent";
    /// Kept for its name; HTTP authenticates each request.
    MessagesAuthenticate = "messages_authenticate";
    /// Scheduler messages forwarded.
    ValidFrameworkToExecutorMessages = "valid_framework_to_executor_messages";
    /// Scheduler messages dropped.
    InvalidFrameworkToExecutorMessages = "invalid_framework_to_executor_messages";
    /// Executor messages forwarded.
    ValidExecutorToFrameworkMessages = "valid_executor_to_framework_messages";
    /// Executor messages dropped.
    InvalidExecutorToFrameworkMessages = "invalid_executor_to_framework_messages";
    /// Status updates accepted.
    ValidStatusUpdates = "valid_status_updates";
    /// Status updates of unknown agents, frameworks or tasks.
    InvalidStatusUpdates = "invalid_status_updates";
    /// Acknowledgements forwarded.
    ValidStatusUpdateAcknowledgements = "valid_status_update_acknowledgements";
    /// Acknowledgements dropped.
    InvalidStatusUpdateAcknowledgements = "invalid_status_update_acknowledgements";
    /// Operation status updates accepted.
    ValidOperationStatusUpdates = "valid_operation_status_updates";
    /// Operation status updates dropped.
    InvalidOperationStatusUpdates = "invalid_operation_status_updates";
    /// Operation acknowledgements forwarded.
    ValidOperationStatusUpdateAcknowledgements = "valid_operation_status_update_acknowledgements";
    /// Operation acknowledgements dropped.
    InvalidOperationStatusUpdateAcknowledgements = "invalid_operation_status_update_acknowledgements";
    /// Agents of the registry that did not come back after a master's start.
    RecoveryAgentRemovals = "recovery_agent_removals";
    /// First registrations.
    AgentRegistrations = "agent_registrations";
    /// Re-registrations.
    AgentReregistrations = "agent_reregistrations";
    /// Removals for whatever reason, unreachable included.
    AgentRemovals = "agent_removals";
    /// Marked unreachable.
    AgentRemovalsUnhealthy = "agent_removals/reason_unhealthy";
    /// Left by themselves.
    AgentRemovalsUnregistered = "agent_removals/reason_unregistered";
    /// Replaced by another agent at the same address.
    AgentRemovalsRegistered = "agent_removals/reason_registered";
    /// Kept for its name.
    AgentShutdownsScheduled = "agent_shutdowns_scheduled";
    /// Kept for its name.
    AgentShutdownsCompleted = "agent_shutdowns_completed";
    /// Kept for its name.
    AgentShutdownsCanceled = "agent_shutdowns_canceled";
    /// About to be marked unreachable.
    AgentUnreachableScheduled = "agent_unreachable_scheduled";
    /// Then marked unreachable.
    AgentUnreachableCompleted = "agent_unreachable_completed";
    /// Answered before the removal rate let the change happen (rule 240).
    AgentUnreachableCanceled = "agent_unreachable_canceled";
}

const COUNTERS: usize = Counter::ALL.len();

/// Everything the master counts. Behind one `Arc`, so a copy is made at most once per snapshot.
#[derive(Clone, Debug)]
pub struct Counters {
    values: [u64; COUNTERS],
    /// By state, source and reason of a terminal or unreachable transition.
    transitions: BTreeMap<(i32, i32, i32), u64>,
    frameworks: BTreeMap<FrameworkId, FrameworkCounters>,
    operations: BTreeMap<(i32, i32), u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            values: [0; COUNTERS],
            transitions: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            operations: BTreeMap::new(),
        }
    }
}

/// What is counted per framework, until it is no longer among the completed ones.
#[derive(Clone, Debug, Default)]
struct FrameworkCounters {
    /// As a part of the names of metrics.
    name: String,
    calls: BTreeMap<i32, u64>,
    events: BTreeMap<i32, u64>,
    operations: BTreeMap<i32, u64>,
    terminal: BTreeMap<i32, u64>,
    offers: [u64; 4],
}

/// What became of offers to a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferFate {
    /// Made.
    Sent,
    /// Used by an ACCEPT.
    Accepted,
    /// Declined.
    Declined,
    /// Taken back.
    Rescinded,
}

impl Counters {
    /// One more.
    pub fn add(&mut self, counter: Counter) {
        self.values[counter as usize] += 1;
    }

    /// The value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// A task came to a terminal state, or to UNREACHABLE: counted by state, by framework, and with
    /// source and reason when the status has a reason.
    pub fn transition(&mut self, framework: &FrameworkId, status: &v1::TaskStatus) {
        use v1::TaskState;
        let counter = match status.state() {
            TaskState::TaskFinished => Some(Counter::TasksFinished),
            TaskState::TaskFailed => Some(Counter::TasksFailed),
            TaskState::TaskKilled => Some(Counter::TasksKilled),
            TaskState::TaskLost => Some(Counter::TasksLost),
            TaskState::TaskError => Some(Counter::TasksError),
            TaskState::TaskDropped => Some(Counter::TasksDropped),
            TaskState::TaskGone => Some(Counter::TasksGone),
            TaskState::TaskGoneByOperator => Some(Counter::TasksGoneByOperator),
            _ => None,
        };
        if let Some(counter) = counter {
            self.add(counter);
            if let Some(counters) = self.frameworks.get_mut(framework) {
                *counters.terminal.entry(status.state).or_default() += 1;
            }
        }
        if let (Some(source), Some(reason)) = (status.source, status.reason) {
            *self.transitions.entry((status.state, source, reason)).or_default() += 1;
        }
    }

    /// Counts for this framework from now on. Its metrics keep the name it has here, also when it is
    /// renamed, as in Mesos.
    pub fn add_framework(&mut self, framework: &FrameworkId, name: &str) {
        let counters = self.frameworks.entry(framework.clone()).or_default();
        if counters.name.is_empty() {
            counters.name = percent_encoded(name);
        }
    }

    /// Forgets what was counted for the framework.
    pub fn remove_framework(&mut self, framework: &FrameworkId) {
        self.frameworks.remove(framework);
    }

    /// A call of a registered framework.
    pub fn call(&mut self, framework: &FrameworkId, kind: v1::scheduler::call::Type) {
        if let Some(counters) = self.frameworks.get_mut(framework) {
            *counters.calls.entry(kind.into()).or_default() += 1;
        }
    }

    /// An event sent to a registered framework.
    pub fn event(&mut self, framework: &FrameworkId, kind: v1::scheduler::event::Type) {
        if let Some(counters) = self.frameworks.get_mut(framework) {
            *counters.events.entry(kind.into()).or_default() += 1;
        }
    }

    /// An operation of an ACCEPT.
    pub fn operation(&mut self, framework: &FrameworkId, kind: v1::offer::operation::Type) {
        if let Some(counters) = self.frameworks.get_mut(framework) {
            *counters.operations.entry(kind.into()).or_default() += 1;
        }
    }

    /// Offers of a framework.
    pub fn offers(&mut self, framework: &FrameworkId, fate: OfferFate, count: usize) {
        if let Some(counters) = self.frameworks.get_mut(framework) {
            counters.offers[fate as usize] += count as u64;
        }
    }

    /// An operation on resources came to its end, or was refused.
    pub(crate) fn operation_ended(&mut self, kind: v1::offer::operation::Type, state: v1::OperationState) {
        *self.operations.entry((kind.into(), state.into())).or_default() += 1;
    }
}

/// Names and values of everything the master's core knows about itself, by name.
///
/// The process adds what only it knows: uptime, load, queues, the store, stream subscribers.
pub fn values(snapshot: &Snapshot) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    let counters = &snapshot.counters;
    for counter in Counter::ALL {
        values.insert(format!("master/{}", counter.name()), counters.get(*counter) as f64);
    }
    for ((state, source, reason), count) in &counters.transitions {
        values.insert(transition_name(*state, *source, *reason), *count as f64);
    }
    agents(snapshot, &mut values);
    tasks(snapshot, &mut values);
    resources(snapshot, &mut values);
    operations(snapshot, &mut values);
    frameworks(snapshot, &mut values);
    roles(snapshot, &mut values);
    values
}

/// Whether a name is made of fixed words only, so that its word agent is the master's own; names with
/// parts that users chose (frameworks, roles) are not to be translated.
pub fn is_fixed(name: &str) -> bool {
    name.starts_with("master/") && !name.starts_with("master/frameworks/")
}

/// The name OpenMetrics exposes: `mezzo_` and the name with everything but letters and digits as `_`.
/// `None` for names with parts that users chose; those are not worth a metric family each.
pub fn open_metrics_name(name: &str) -> Option<String> {
    if !is_fixed(name) {
        return None;
    }
    let body: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    Some(format!("mezzo_{body}"))
}

/// Whether a name of [`values`] only grows; everything else is a gauge.
pub fn is_counter(name: &str) -> bool {
    name.strip_prefix("master/").is_some_and(|rest| {
        rest.starts_with("task_") || Counter::ALL.iter().any(|counter| counter.name() == rest)
    })
}

/// The whole of [`values`] that has an OpenMetrics name, as its text format, without the closing `# EOF`.
pub fn open_metrics(values: &BTreeMap<String, f64>) -> String {
    let mut text = String::new();
    for (name, value) in values {
        let Some(family) = open_metrics_name(name) else { continue };
        let (kind, suffix) = if is_counter(name) { ("counter", "_total") } else { ("gauge", "") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# TYPE {family} {kind}\n{family}{suffix} {value}");
    }
    text
}

fn transition_name(state: i32, source: i32, reason: i32) -> String {
    let state = v1::TaskState::try_from(state).map_or("task_unknown", |state| state.as_str_name());
    let source = v1::task_status::Source::try_from(source).map_or("unknown", |source| source.as_str_name());
    let reason = v1::task_status::Reason::try_from(reason).map_or("unknown", |reason| reason.as_str_name());
    format!("master/{state}/{source}/{reason}").to_lowercase()
}

fn agents(snapshot: &Snapshot, values: &mut BTreeMap<String, f64>) {
    let count = |wanted: &dyn Fn(&crate::state::Agent) -> bool| {
        snapshot.agents.values().filter(|agent| wanted(agent)).count() as f64
    };
    let mut gauge = |name: &str, value: f64| values.insert(format!("master/{name}"), value);
    gauge("elected", 1.0);
    gauge("agents_connected", count(&|agent| agent.connected));
    gauge("agents_disconnected", count(&|agent| !agent.connected));
    gauge("agents_active", count(&|agent| agent.active));
    gauge("agents_inactive", count(&|agent| !agent.active));
    gauge("agents_unreachable", snapshot.unreachable_agents.len() as f64);
    let offers: usize = snapshot.agents.values().map(|agent| agent.offers.len()).sum();
    gauge("outstanding_offers", offers as f64);
    let frameworks = snapshot.frameworks.values();
    let connected = frameworks.clone().filter(|framework| framework.stream.is_some()).count();
    let active = frameworks.clone().filter(|framework| framework.active).count();
    gauge("frameworks_connected", connected as f64);
    gauge("frameworks_disconnected", (snapshot.frameworks.len() - connected) as f64);
    gauge("frameworks_active", active as f64);
    gauge("frameworks_inactive", (snapshot.frameworks.len() - active) as f64);
}

fn tasks(snapshot: &Snapshot, values: &mut BTreeMap<String, f64>) {
    use v1::TaskState;
    let mut counts = BTreeMap::<i32, usize>::new();
    for agent in snapshot.agents.values() {
        for task in agent.tasks.values() {
            *counts.entry(task.info.state).or_default() += 1;
        }
    }
    let unreachable: usize =
        snapshot.frameworks.values().map(|framework| framework.unreachable_tasks.len()).sum();
    for (name, state) in [
        ("tasks_staging", TaskState::TaskStaging),
        ("tasks_starting", TaskState::TaskStarting),
        ("tasks_running", TaskState::TaskRunning),
        ("tasks_killing", TaskState::TaskKilling),
    ] {
        let count = counts.get(&state.into()).copied().unwrap_or_default();
        values.insert(format!("master/{name}"), count as f64);
    }
    values.insert("master/tasks_unreachable".into(), unreachable as f64);
}

/// Names that have gauges of their own.
const NAMES: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

/// Adds up the amounts of [`NAMES`]: what stays, then what is revocable.
fn add_up(sums: &mut [[f64; 2]; 4], resources: &mezzo_resources::Resources) {
    for resource in resources {
        let index = NAMES.iter().position(|name| *name == resource.name().as_str());
        if let (Some(index), Some(amount)) = (index, resource.as_scalar()) {
            sums[index][usize::from(resource.is_revocable())] += amount.as_f64();
        }
    }
}

fn resources(snapshot: &Snapshot, values: &mut BTreeMap<String, f64>) {
    let (mut total, mut used, mut offered) = ([[0.0; 2]; 4], [[0.0; 2]; 4], [[0.0; 2]; 4]);
    for agent in snapshot.agents.values() {
        add_up(&mut total, &agent.total);
        add_up(&mut offered, &agent.offered);
        for resources in agent.used.values() {
            add_up(&mut used, resources);
        }
    }
    for (index, name) in NAMES.into_iter().enumerate() {
        for (kind, middle) in ["", "revocable_"].into_iter().enumerate() {
            let (total, used) = (total[index][kind], used[index][kind]);
            let percent = if total == 0.0 { 0.0 } else { used / total };
            values.insert(format!("master/{name}_{middle}total"), total);
            values.insert(format!("master/{name}_{middle}used"), used);
            values.insert(format!("master/{name}_{middle}percent"), percent);
        }
        if name != "gpus" {
            let prefix = format!("allocator/mesos/resources/{name}");
            let sum = |amounts: &[[f64; 2]; 4]| amounts[index].iter().sum::<f64>();
            values.insert(format!("{prefix}/total"), sum(&total));
            values.insert(format!("{prefix}/offered_or_allocated"), sum(&used) + sum(&offered));
        }
    }
}

const OPERATIONS: [v1::offer::operation::Type; 8] = {
    use v1::offer::operation::Type;
    [
        Type::Reserve,
        Type::Unreserve,
        Type::Create,
        Type::Destroy,
        Type::GrowVolume,
        Type::ShrinkVolume,
        Type::CreateDisk,
        Type::DestroyDisk,
    ]
};

const OPERATION_STATES: [v1::OperationState; 8] = {
    use v1::OperationState;
    [
        OperationState::OperationPending,
        OperationState::OperationRecovering,
        OperationState::OperationUnreachable,
        OperationState::OperationFinished,
        OperationState::OperationFailed,
        OperationState::OperationError,
        OperationState::OperationDropped,
        OperationState::OperationGoneByOperator,
    ]
};

fn operations(snapshot: &Snapshot, values: &mut BTreeMap<String, f64>) {
    let mut counts: BTreeMap<(i32, i32), u64> = snapshot.counters.operations.clone();
    for agent in snapshot.agents.values() {
        for operation in agent.operations.values().filter(|operation| !operation.recovered) {
            let kind = operation.info.info.r#type().into();
            *counts.entry((kind, operation.info.latest_status.state)).or_default() += 1;
        }
    }
    let mut all = 0.0;
    for state in OPERATION_STATES {
        let word = state.as_str_name().trim_start_matches("OPERATION_").to_lowercase();
        let mut of_state = 0.0;
        for kind in OPERATIONS {
            let count = counts.get(&(kind.into(), state.into())).copied().unwrap_or_default() as f64;
            of_state += count;
            values.insert(format!("master/operations/{}/{word}", kind.as_str_name().to_lowercase()), count);
        }
        values.insert(format!("master/operations/{word}"), of_state);
        all += of_state;
    }
    for kind in OPERATIONS {
        let total: u64 =
            counts.iter().filter(|((of, _), _)| *of == i32::from(kind)).map(|(_, count)| *count).sum();
        values.insert(format!("master/operations/{}/total", kind.as_str_name().to_lowercase()), total as f64);
    }
    values.insert("master/operations/total".into(), all);
}

fn frameworks(snapshot: &Snapshot, values: &mut BTreeMap<String, f64>) {
    use v1::scheduler::{call, event};
    // One pass over the tasks, because frameworks times agents would be too many.
    let mut active = BTreeMap::<&FrameworkId, BTreeMap<i32, usize>>::new();
    for agent in snapshot.agents.values() {
        for ((framework, _), task) in agent.tasks.iter() {
            *active.entry(framework).or_default().entry(task.info.state).or_default() += 1;
        }
    }
    for (id, counters) in &snapshot.counters.frameworks {
        let is_it = |framework: &&Arc<Framework>| {
            framework.info.id.as_ref().is_some_and(|known| known.value == id.as_str())
        };
        let completed = || snapshot.completed_frameworks.iter().find(is_it);
        let Some(framework) = snapshot.frameworks.get(id).or_else(completed) else { continue };
        let prefix = format!("master/frameworks/{}/{id}", counters.name);
        let mut gauge = |name: String, value: f64| values.insert(format!("{prefix}/{name}"), value);
        let mut group = |group: &str, counts: &BTreeMap<i32, u64>, names: Vec<(i32, &str)>| {
            gauge(group.into(), counts.values().sum::<u64>() as f64);
            for (number, name) in names {
                let count = counts.get(&number).copied().unwrap_or_default();
                gauge(format!("{group}/{}", name.to_lowercase()), count as f64);
            }
        };
        // 0 is UNKNOWN; enums have no gaps above it that would count as values.
        let calls = (1..32).filter_map(|n| Some((n, call::Type::try_from(n).ok()?.as_str_name())));
        group("calls", &counters.calls, calls.collect());
        let events = (1..32).filter_map(|n| Some((n, event::Type::try_from(n).ok()?.as_str_name())));
        group("events", &counters.events, events.collect());
        use v1::offer::operation::Type;
        let kinds = OPERATIONS.into_iter().chain([Type::Launch, Type::LaunchGroup]);
        group(
            "operations",
            &counters.operations,
            kinds.map(|kind| (kind.into(), kind.as_str_name())).collect(),
        );
        for (name, count) in ["sent", "accepted", "declined", "rescinded"].into_iter().zip(counters.offers) {
            gauge(format!("offers/{name}"), count as f64);
        }
        gauge("subscribed".into(), if framework.stream.is_some() { 1.0 } else { 0.0 });
        for role in &framework.roles {
            let suppressed = framework.suppressed.contains(role);
            gauge(format!("roles/{role}/suppressed"), if suppressed { 1.0 } else { 0.0 });
        }
        use v1::TaskState as T;
        for state in [
            T::TaskFinished,
            T::TaskFailed,
            T::TaskKilled,
            T::TaskLost,
            T::TaskError,
            T::TaskDropped,
            T::TaskGone,
        ]
        .into_iter()
        .chain([T::TaskGoneByOperator])
        {
            let count = counters.terminal.get(&state.into()).copied().unwrap_or_default();
            gauge(format!("tasks/terminal/{}", state.as_str_name().to_lowercase()), count as f64);
        }
        let mut active = active.remove(id).unwrap_or_default();
        active.insert(T::TaskUnreachable.into(), framework.unreachable_tasks.len());
        for state in [
            T::TaskStaging,
            T::TaskStarting,
            T::TaskRunning,
            T::TaskKilling,
            T::TaskUnreachable,
            T::TaskUnknown,
        ] {
            let count = active.get(&state.into()).copied().unwrap_or_default();
            gauge(format!("tasks/active/{}", state.as_str_name().to_lowercase()), count as f64);
        }
    }
}

fn roles(snapshot: &Snapshot, values: &mut BTreeMap<String, f64>) {
    values.insert("allocator/mesos/allocation_runs".into(), snapshot.allocation_runs as f64);
    let view = View { snapshot, agent_url_path: "" };
    for (role, counted) in view.roles().iter().zip(snapshot.roles.iter()) {
        let name = &role.role;
        for (resource, amount) in role.consumed.iter() {
            // Only numbers have quota.
            if !counted.consumed.get(resource).is_zero() {
                let prefix = format!("allocator/mesos/quota/roles/{name}/resources");
                values.insert(format!("{prefix}/{resource}/consumed"), amount.as_f64());
            }
        }
        if !role.frameworks.is_empty() {
            values.insert(format!("allocator/mesos/roles/{name}/shares/dominant"), role.share);
            values.insert(format!("allocator/mesos/offer_filters/roles/{name}/active"), role.filters as f64);
        }
    }
    for (role, quota) in &snapshot.quotas {
        let prefix = format!("allocator/mesos/quota/roles/{role}/resources");
        for (name, amount) in quota.guarantee.iter() {
            values.insert(format!("{prefix}/{name}/guarantee"), amount.as_f64());
        }
        for (name, amount) in quota.limit.iter() {
            values.insert(format!("{prefix}/{name}/limit"), amount.as_f64());
        }
    }
}

/// A framework's name as one part of a metric's name.
fn percent_encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_translate_only_where_they_are_the_masters() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counter::ALL.len());
        assert!(is_fixed("master/agents_active"));
        assert!(!is_fixed("master/frameworks/my%20agent/1/calls"));
        assert!(!is_fixed("allocator/mesos/quota/roles/agent/resources/cpus/consumed"));
    }

    #[test]
    fn transitions_are_counted_by_state_source_and_reason() {
        let mut snapshot = Snapshot::default();
        let status = v1::TaskStatus {
            state: v1::TaskState::TaskLost.into(),
            source: Some(v1::task_status::Source::Agent.into()),
            reason: Some(v1::task_status::Reason::ExecutorTerminated.into()),
            ..Default::default()
        };
        std::sync::Arc::make_mut(&mut snapshot.counters).transition(&FrameworkId::from("F"), &status);
        let values = values(&snapshot);
        assert_eq!(values["master/tasks_lost"], 1.0);
        assert_eq!(values["master/task_lost/source_agent/reason_executor_terminated"], 1.0);
        assert_eq!(values["master/cpus_percent"], 0.0);
        assert_eq!(values["master/operations/create_disk/gone_by_operator"], 0.0);
    }

    #[test]
    fn open_metrics_types_follow_the_kind() {
        let values = values(&Snapshot::default());
        let text = open_metrics(&values);
        assert!(text.contains("# TYPE mezzo_master_tasks_lost counter\nmezzo_master_tasks_lost_total 0\n"));
        assert!(text.contains("# TYPE mezzo_master_agents_active gauge\nmezzo_master_agents_active 0\n"));
        assert_eq!(open_metrics_name("master/frameworks/a/b/calls"), None);
    }

    #[test]
    fn framework_names_are_percent_encoded() {
        assert_eq!(percent_encoded("a b/c%"), "a%20b%2Fc%25");
    }
}
