//! Answers of the reading calls of the v1 agent API, from a snapshot.

use std::sync::Arc;

use mezzo_mesos::{
    secrets::{hide_in_container, hide_in_executor},
    v1,
};
use mezzo_protocol::records::ExecutorKind;
use v1::agent::{Response, response};

use crate::{
    agent::container_proto,
    command::joined_networks,
    state::{Executor, Framework, Owner, Snapshot, Stage, Task},
};

/// A task as Mesos shows it, without what secrets hold. Command tasks have no executor id.
pub fn task(state: &Snapshot, executor: &Executor, task: &Task) -> v1::Task {
    let info = &*task.info;
    let command = info.command.as_ref();
    let user = command.and_then(|c| c.user.clone()).or_else(|| {
        let custom = info.executor.as_ref().and_then(|e| e.command.as_ref());
        custom.and_then(|c| c.user.clone())
    });
    v1::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: v1::FrameworkId { value: executor.framework.as_str().into() },
        executor_id: (executor.kind != ExecutorKind::Command)
            .then(|| v1::ExecutorId { value: executor.id.as_str().into() }),
        agent_id: v1::AgentId { value: state.id.as_ref().map(ToString::to_string).unwrap_or_default() },
        state: task.state as i32,
        resources: info.resources.clone(),
        statuses: task.statuses.iter().map(|s| (**s).clone()).collect(),
        status_update_state: task.forwarded.as_ref().map(|(state, _)| *state as i32),
        status_update_uuid: task.forwarded.as_ref().map(|(_, uuid)| uuid.to_vec()),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone().map(|mut container| {
            hide_in_container(&mut container);
            container
        }),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        user,
        limits: info.limits.clone(),
    }
}

/// An executor's description with its framework's id, as it may be shown.
pub fn executor_info(executor: &Executor) -> v1::ExecutorInfo {
    let mut info = own_executor_info(executor);
    hide_in_executor(&mut info);
    info
}

/// An executor's description with its framework's id, for the executor itself.
pub(crate) fn own_executor_info(executor: &Executor) -> v1::ExecutorInfo {
    let mut info = (*executor.info).clone();
    info.framework_id.get_or_insert_with(|| v1::FrameworkId { value: executor.framework.as_str().into() });
    info
}

/// All frameworks, the completed ones last.
fn all(state: &Snapshot) -> impl Iterator<Item = &Arc<Framework>> {
    state.frameworks.values().chain(&state.completed_frameworks)
}

/// GET_TASKS.
pub fn tasks(state: &Snapshot) -> response::GetTasks {
    let mut answer = response::GetTasks::default();
    let live = all(state).flat_map(|f| f.executors.values());
    for executor in live {
        for known in executor.tasks.values() {
            let shown = task(state, executor, known);
            if known.queued {
                answer.queued_tasks.push(shown);
            } else if known.is_terminal() {
                answer.terminated_tasks.push(shown);
            } else {
                answer.launched_tasks.push(shown);
            }
        }
        answer.completed_tasks.extend(executor.completed_tasks.iter().map(|t| task(state, executor, t)));
    }
    for executor in all(state).flat_map(|f| &f.completed_executors) {
        answer.completed_tasks.extend(executor.completed_tasks.iter().map(|t| task(state, executor, t)));
    }
    answer
}

/// GET_EXECUTORS.
pub fn executors(state: &Snapshot) -> response::GetExecutors {
    let shown = |executor: &Arc<Executor>| response::get_executors::Executor {
        executor_info: executor_info(executor),
    };
    response::GetExecutors {
        executors: state.frameworks.values().flat_map(|f| f.executors.values()).map(shown).collect(),
        completed_executors: all(state).flat_map(|f| &f.completed_executors).map(shown).collect(),
    }
}

/// GET_FRAMEWORKS.
pub fn frameworks(state: &Snapshot) -> response::GetFrameworks {
    let shown =
        |f: &Arc<Framework>| response::get_frameworks::Framework { framework_info: (*f.info).clone() };
    response::GetFrameworks {
        frameworks: state.frameworks.values().map(shown).collect(),
        completed_frameworks: state.completed_frameworks.iter().map(shown).collect(),
    }
}

/// GET_AGENT. The drain's estimated start is the moment it arrived.
pub fn agent(state: &Snapshot) -> response::GetAgent {
    let drain = state.drain.as_ref();
    response::GetAgent {
        agent_info: Some((*state.info).clone()),
        drain_config: drain.map(|d| d.config),
        estimated_drain_start_time: drain.map(|d| v1::TimeInfo { nanoseconds: d.since.as_nanos() }),
    }
}

/// GET_OPERATIONS.
pub fn operations(state: &Snapshot) -> response::GetOperations {
    response::GetOperations { operations: state.operations.values().map(|o| (**o).clone()).collect() }
}

/// GET_CONTAINERS without statistics, which the driver adds for the id in `container_status`. The id
/// of a child is shown without its parents, as the original shows it.
pub fn containers(state: &Snapshot, nested: bool, standalone: bool) -> response::GetContainers {
    let mut answer = response::GetContainers::default();
    for (id, container) in &state.containers {
        let pid = match container.stage {
            Stage::Starting => None,
            Stage::Running(pid) => (pid != 0).then_some(pid),
            Stage::Ended(_) => continue,
        };
        let executor = match &container.owner {
            Owner::Executor(framework, executor) => {
                let known = state.frameworks.get(framework).and_then(|f| f.executors.get(executor));
                if known.is_none() {
                    continue;
                }
                known
            }
            Owner::Task(..) | Owner::Nested if nested => None,
            Owner::Standalone if standalone => None,
            _ => continue,
        };
        let full = container_proto(id);
        answer.containers.push(response::get_containers::Container {
            framework_id: executor.map(|e| v1::FrameworkId { value: e.framework.as_str().into() }),
            executor_id: executor.map(|e| v1::ExecutorId { value: e.id.as_str().into() }),
            executor_name: executor.map(|e| e.info.name.clone().unwrap_or_default()),
            container_id: v1::ContainerId { value: full.value.clone(), parent: None },
            container_status: Some(v1::ContainerStatus {
                container_id: Some(full),
                executor_pid: pid,
                network_infos: joined_networks(&state.containers, id).unwrap_or_default().to_vec(),
                ..Default::default()
            }),
            resource_statistics: None,
        });
    }
    answer
}

/// The answer to a reading call that needs nothing but the snapshot; `None` for all other calls.
pub fn answer(state: &Snapshot, call: &v1::agent::Call) -> Option<Response> {
    use response::Type as T;
    use v1::agent::call::Type;
    let typed = |kind: T| Response { r#type: Some(kind as i32), ..Default::default() };
    Some(match call.r#type() {
        Type::GetHealth => {
            Response { get_health: Some(response::GetHealth { healthy: true }), ..typed(T::GetHealth) }
        }
        Type::GetState => Response {
            get_state: Some(response::GetState {
                get_tasks: Some(tasks(state)),
                get_executors: Some(executors(state)),
                get_frameworks: Some(frameworks(state)),
            }),
            ..typed(T::GetState)
        },
        Type::GetTasks => Response { get_tasks: Some(tasks(state)), ..typed(T::GetTasks) },
        Type::GetExecutors => Response { get_executors: Some(executors(state)), ..typed(T::GetExecutors) },
        Type::GetFrameworks => {
            Response { get_frameworks: Some(frameworks(state)), ..typed(T::GetFrameworks) }
        }
        Type::GetAgent => Response { get_agent: Some(agent(state)), ..typed(T::GetAgent) },
        Type::GetOperations => {
            Response { get_operations: Some(operations(state)), ..typed(T::GetOperations) }
        }
        Type::GetResourceProviders => Response {
            get_resource_providers: Some(response::GetResourceProviders::default()),
            ..typed(T::GetResourceProviders)
        },
        Type::GetContainers => {
            let asked = call.get_containers.unwrap_or_default();
            let nested = asked.show_nested.unwrap_or(false);
            let standalone = asked.show_standalone.unwrap_or(false);
            let shown = containers(state, nested, standalone);
            // Without a container the answer is its type alone, as recorded.
            let get_containers = (!shown.containers.is_empty()).then_some(shown);
            Response { get_containers, ..typed(T::GetContainers) }
        }
        _ => return None,
    })
}
