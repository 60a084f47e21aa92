//! The older endpoints: state, flags, statistics, containers and what every process shows.

use std::collections::BTreeMap;

use mezzo_agent::{Executor, Framework, Snapshot, query};
use mezzo_http::{Body, Request, Response, StatusCode};
use mezzo_ids::Role;
use mezzo_mesos::{
    secrets::hide_in_task,
    v1::{self, agent::response::GetContainers},
};
use mezzo_mesos_v0::{
    AgentState, AgentStateExecutor, AgentStateFramework, Build, ContainerView, SystemStats, Writer, names,
};
use mezzo_resources::Resources;

use super::{Api, containers as measured, metrics::System, negotiate::bad_request};

/// 200 with JSON made by `write`, as a jsonp call when one is asked for (rule 16).
pub(super) fn json(request: &Request, write: impl FnOnce(&mut Writer<'_>)) -> Response {
    let mut writer = Writer::appending(Vec::with_capacity(4096));
    write(&mut writer);
    Response::json(writer.finish()).jsonp(request.parameter("jsonp"))
}

/// Builds are reproducible, so they do not know when they were made.
const BUILD_DATE: &str = "1970-01-01 00:00:00 UTC";

/// What was built, when, by whom; the same as the master says.
pub(super) fn build() -> Build<'static> {
    Build { version: names::API_VERSION, date: BUILD_DATE, time: 0.0, user: "mezzo", ..Build::default() }
}

pub(super) fn version(request: &Request) -> Response {
    json(request, |writer| mezzo_mesos_v0::version(writer, &build()))
}

pub(super) fn flags(api: &Api, request: &Request) -> Response {
    json(request, |writer| mezzo_mesos_v0::flags(writer, &pairs(&api.flags)))
}

fn pairs(flags: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub(super) fn containerizer_debug(request: &Request) -> Response {
    Response::json(&b"{\"pending\":[]}"[..]).jsonp(request.parameter("jsonp"))
}

pub(super) fn system_stats(request: &Request) -> Response {
    let system = System::measure();
    let stats = SystemStats {
        load: Some(system.load),
        cpus: Some(system.cpus as u64),
        mem_total: Some(system.mem_total as u64),
        mem_free: Some(system.mem_free as u64),
    };
    json(request, |writer| mezzo_mesos_v0::system_stats(writer, &stats))
}

/// /logging/toggle (rule 24).
pub(super) fn logging_toggle(api: &Api, request: &Request) -> Response {
    match (request.parameter("level"), request.parameter("duration")) {
        (None, None) => Response::text(StatusCode::OK, format!("{}\n", (api.verbosity.get)())),
        (Some(_), None) => bad_request("Expecting 'duration=value' in query.\n"),
        (None, Some(_)) => bad_request("Expecting 'level=value' in query.\n"),
        (Some(level), Some(duration)) => {
            let Ok(number) = level.parse::<i64>() else {
                return bad_request(format!("Failed to convert '{level}' to number.\n"));
            };
            let Ok(level) = u32::try_from(number) else {
                return bad_request(format!("Invalid level '{number}'.\n"));
            };
            match mezzo_time::parse_duration(duration) {
                Err(error) => bad_request(format!("{error}.\n")),
                Ok(duration) => {
                    (api.verbosity.set)(level, duration);
                    Response::new(StatusCode::OK, Body::Empty)
                }
            }
        }
    }
}

pub(super) async fn statistics(api: &Api, request: &Request) -> Response {
    containers_by(api, request, mezzo_mesos_v0::monitor_statistics, &|_, _, _| true).await
}

pub(super) async fn containers(api: &Api, request: &Request) -> Response {
    let parameter = |name| request.parameter(name).map(str::to_owned);
    let (container, framework, executor) =
        (parameter("container_id"), parameter("framework_id"), parameter("executor_id"));
    if container.is_some() && (framework.is_some() || executor.is_some()) {
        return bad_request("'container_id' cannot be combined with 'framework_id' or 'executor_id'");
    }
    if executor.is_some() && framework.is_none() {
        return bad_request("'executor_id' needs a 'framework_id'");
    }
    let matches = |wanted: &Option<String>, have: &str| wanted.as_deref().is_none_or(|wanted| wanted == have);
    containers_by(api, request, mezzo_mesos_v0::containers, &|id, of_framework, of_executor| {
        matches(&container, id) && matches(&framework, of_framework) && matches(&executor, of_executor)
    })
    .await
}

async fn containers_by(
    api: &Api,
    request: &Request,
    write: fn(&mut Writer<'_>, &[ContainerView<'_>]),
    wanted: &(dyn Fn(&str, &str, &str) -> bool + Sync),
) -> Response {
    let state = match api.snapshot().await {
        Ok(state) => state,
        Err(response) => return response,
    };
    let answer: GetContainers = measured::of_executors(api, &state);
    let executors: BTreeMap<(&str, &str), v1::ExecutorInfo> = state
        .frameworks
        .values()
        .flat_map(|framework| framework.executors.values())
        .map(|executor| ((executor.framework.as_str(), executor.id.as_str()), query::executor_info(executor)))
        .collect();
    let views: Vec<ContainerView<'_>> = answer
        .containers
        .iter()
        .filter_map(|container| {
            let framework = container.framework_id.as_ref()?.value.as_str();
            let executor = container.executor_id.as_ref()?.value.as_str();
            let id = container.container_id.value.as_str();
            wanted(id, framework, executor).then_some(ContainerView {
                container: id,
                executor: executors.get(&(framework, executor))?,
                statistics: container.resource_statistics.as_ref(),
                status: container.container_status.as_ref(),
            })
        })
        .collect();
    json(request, |writer| write(writer, &views))
}

/// An executor's parts that a view borrows.
struct OwnedExecutor {
    info: v1::ExecutorInfo,
    container: String,
    directory: String,
    resources: Resources,
    tasks: Vec<v1::Task>,
    queued: Vec<v1::TaskInfo>,
    completed: Vec<v1::Task>,
}

impl OwnedExecutor {
    fn new(state: &Snapshot, executor: &Executor) -> Self {
        let mut resources = read(&executor.info.resources);
        let (mut tasks, mut queued, mut completed) = (Vec::new(), Vec::new(), Vec::new());
        completed.extend(executor.completed_tasks.iter().map(|task| query::task(state, executor, task)));
        for task in executor.tasks.values() {
            if task.is_terminal() {
                completed.push(query::task(state, executor, task));
                continue;
            }
            resources += &read(&task.info.resources);
            if task.queued {
                let mut info = (*task.info).clone();
                hide_in_task(&mut info);
                queued.push(info);
            } else {
                tasks.push(query::task(state, executor, task));
            }
        }
        Self {
            info: query::executor_info(executor),
            container: executor.container.to_string(),
            directory: executor.directory.to_string(),
            resources,
            tasks,
            queued,
            completed,
        }
    }
}

/// Resources that the core keeps are valid; what is not counts as nothing.
fn read(resources: &[v1::Resource]) -> Resources {
    Resources::from_proto(resources).unwrap_or_default()
}

/// A framework's executors that run, and those that have ended.
struct OwnedFramework<'a> {
    info: &'a v1::FrameworkInfo,
    executors: Vec<OwnedExecutor>,
    completed: Vec<OwnedExecutor>,
}

impl<'a> OwnedFramework<'a> {
    fn new(state: &'a Snapshot, framework: &'a Framework) -> Self {
        Self {
            info: &framework.info,
            executors: framework.executors.values().map(|e| OwnedExecutor::new(state, e)).collect(),
            completed: framework.completed_executors.iter().map(|e| OwnedExecutor::new(state, e)).collect(),
        }
    }
}

pub(super) async fn state(api: &Api, request: &Request) -> Response {
    let state = match api.snapshot().await {
        Ok(state) => state,
        Err(response) => return response,
    };
    let live: Vec<OwnedFramework<'_>> =
        state.frameworks.values().map(|framework| OwnedFramework::new(&state, framework)).collect();
    let ended: Vec<OwnedFramework<'_>> =
        state.completed_frameworks.iter().map(|framework| OwnedFramework::new(&state, framework)).collect();
    let total = read(&state.total);
    let used = live
        .iter()
        .flat_map(|framework| &framework.executors)
        .fold(Resources::default(), |sum, executor| sum + executor.resources.unallocated());
    let (reserved, used_reserved) = (total.reservations(), used.reservations());
    let flags = pairs(&api.flags);
    json(request, |writer| {
        with_views(&live, |frameworks| {
            with_views(&ended, |completed_frameworks| {
                let view = AgentState {
                    build: build(),
                    start_time: state.started.as_secs_f64(),
                    info: &state.info,
                    pid: &state.config.legacy.agent_pid,
                    capabilities: &mezzo_agent::capabilities(),
                    drain: state.drain.as_ref().map(|drain| &drain.config),
                    drain_started: state.drain.as_ref().map(|drain| drain.since.as_nanos() / 1_000_000_000),
                    total: &total,
                    reserved: &by_role(&reserved),
                    unreserved: &total.unreserved(),
                    reserved_allocated: &by_role(&used_reserved),
                    unreserved_allocated: &used.unreserved(),
                    resource_providers: &[],
                    master_hostname: state.master.as_ref().and_then(|master| master.hostname.as_deref()),
                    log_dir: api.flags.get("log_dir").map(String::as_str),
                    external_log_file: api.flags.get("external_log_file").map(String::as_str),
                    flags: Some(&flags),
                    frameworks,
                    completed_frameworks,
                };
                mezzo_mesos_v0::agent_state(writer, &view);
            });
        });
    })
}

fn by_role(resources: &BTreeMap<Role, Resources>) -> Vec<(&str, &Resources)> {
    resources.iter().map(|(role, resources)| (role.as_str(), resources)).collect()
}

/// Calls `show` with borrowed views, which nest three levels deep.
fn with_views(frameworks: &[OwnedFramework<'_>], show: impl FnOnce(&[AgentStateFramework<'_>])) {
    let all: Vec<_> = frameworks.iter().map(|f| (lists_of(&f.executors), lists_of(&f.completed))).collect();
    let executors: Vec<_> = frameworks
        .iter()
        .zip(&all)
        .map(|(framework, (live, ended))| {
            (views_of(&framework.executors, live), views_of(&framework.completed, ended))
        })
        .collect();
    let views: Vec<AgentStateFramework<'_>> = frameworks
        .iter()
        .zip(&executors)
        .map(|(framework, (live, ended))| AgentStateFramework {
            info: framework.info,
            executors: live,
            completed_executors: ended,
        })
        .collect();
    show(&views);
}

/// References to the tasks of one executor: running, ended, waiting.
struct TaskLists<'a> {
    tasks: Vec<&'a v1::Task>,
    completed: Vec<&'a v1::Task>,
    queued: Vec<&'a v1::TaskInfo>,
}

fn lists_of(executors: &[OwnedExecutor]) -> Vec<TaskLists<'_>> {
    executors
        .iter()
        .map(|executor| TaskLists {
            tasks: executor.tasks.iter().collect(),
            completed: executor.completed.iter().collect(),
            queued: executor.queued.iter().collect(),
        })
        .collect()
}

fn views_of<'a>(executors: &'a [OwnedExecutor], lists: &'a [TaskLists<'a>]) -> Vec<AgentStateExecutor<'a>> {
    executors
        .iter()
        .zip(lists)
        .map(|(executor, lists)| AgentStateExecutor {
            info: &executor.info,
            container: &executor.container,
            directory: &executor.directory,
            resources: &executor.resources,
            tasks: &lists.tasks,
            queued_tasks: &lists.queued,
            completed_tasks: &lists.completed,
        })
        .collect()
}
