//! Task groups (rules 177 to 184).

use mezzo_ids::{FrameworkId, Role};
use mezzo_mesos::v1::{self, container_info, executor_info, health_check};
use mezzo_resources::{Resources, Scalar};

use super::{
    container::share_cgroups,
    task::{
        Offered, executor_minimum, not_overlapping, prepare, prepare_resources, validate_alone,
        validate_any_executor,
    },
};

/// What a valid group takes from the offers.
pub(crate) struct GroupNeeds {
    /// Of each task, in order.
    pub(crate) tasks: Vec<Resources>,
    /// Of the executor, when that has to be started.
    pub(crate) executor: Option<Resources>,
}

/// Fills in what a scheduler may leave out. Unlike for LAUNCH the executor must name its framework
/// itself (rule 178).
pub(crate) fn prepare_group(
    group: &mut v1::offer::operation::LaunchGroup,
    framework: &FrameworkId,
    role: &Role,
) {
    prepare_resources(&mut group.executor.resources, role);
    for task in &mut group.task_group.tasks {
        let named = task.executor.is_some();
        prepare(task, framework, role);
        if !named {
            task.executor = None;
        }
    }
}

/// Checks a prepared group. The text is the message of the TASK_ERROR of all its tasks.
pub(crate) fn validate_group(
    group: &v1::offer::operation::LaunchGroup,
    offered: &Offered<'_>,
) -> Result<GroupNeeds, String> {
    let executor = &group.executor;
    let executor_needs = validate_executor(executor, offered)?;
    let mut sum = executor_needs.clone().unwrap_or_default();
    let mut tasks = Vec::with_capacity(group.task_group.tasks.len());
    if group.task_group.tasks.is_empty() {
        return Err("Task group cannot be empty".into());
    }
    for task in &group.task_group.tasks {
        let resources = validate_member(task, executor, offered)
            .map_err(|why| format!("Task '{}' is invalid: {why}", task.task_id.value))?;
        let twice = group.task_group.tasks.iter().filter(|other| other.task_id == task.task_id).count();
        if twice > 1 {
            return Err(format!("Task group has duplicate task ID: {}", task.task_id.value));
        }
        not_overlapping(&resources, &sum)?;
        sum += &resources;
        tasks.push(resources);
    }
    same_sharing(group)?;
    if !offered.remaining.contains(&sum) {
        return Err(format!(
            "Total resources {sum} required by task group and its executor are more than available {}",
            offered.remaining
        ));
    }
    Ok(GroupNeeds { tasks, executor: executor_needs })
}

/// Rules 178 to 180.
fn validate_executor(
    executor: &v1::ExecutorInfo,
    offered: &Offered<'_>,
) -> Result<Option<Resources>, String> {
    super::id(&executor.executor_id.value)?;
    match executor.r#type.map(|_| executor.r#type()) {
        None => return Err("'ExecutorInfo.type' must be set".into()),
        Some(executor_info::Type::Default) => {
            if executor.command.is_some() {
                return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".into());
            }
            if let Some(container) = &executor.container {
                if container.r#type() != container_info::Type::Mesos {
                    return Err("'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor".into());
                }
                if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
                    return Err(
                        "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor".into(),
                    );
                }
            }
        }
        Some(executor_info::Type::Custom) => {
            if executor.command.is_none() {
                return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into());
            }
        }
        Some(executor_info::Type::Unknown) => return Err("Unknown executor type".into()),
    }
    if executor.framework_id.is_none() {
        return Err("'ExecutorInfo.framework_id' must be set".into());
    }
    let needs = validate_any_executor(executor, offered)?;
    let resources = Resources::from_proto(&executor.resources).map_err(|why| why.to_string())?;
    let name = &executor.executor_id.value;
    executor_minimum(name, &resources)?;
    if resources.scalar("disk") == Scalar::ZERO {
        return Err(format!("Executor '{name}' uses no disk"));
    }
    Ok(needs)
}

/// Rules 181 to 183.
fn validate_member(
    task: &v1::TaskInfo,
    executor: &v1::ExecutorInfo,
    offered: &Offered<'_>,
) -> Result<Resources, String> {
    let resources = validate_alone(task, offered)?;
    if task.executor.as_ref().is_some_and(|own| **own != *executor) {
        return Err("The `ExecutorInfo` of the task is not that of the task group".into());
    }
    if let Some(container) = &task.container {
        if container.r#type() == container_info::Type::Docker {
            return Err("Docker ContainerInfo is not supported on the task".into());
        }
        let probed = task.health_check.as_ref().is_some_and(|check| {
            matches!(check.r#type(), health_check::Type::Http | health_check::Type::Tcp)
        });
        if probed && !container.network_infos.is_empty() {
            return Err("NetworkInfos must not be set on a task with HTTP or TCP health checks".into());
        }
    }
    if !task.limits.is_empty() && share_cgroups(task.container.as_deref()) != Some(false) {
        return Err("Resource limits need 'share_cgroups' to be false for the tasks of a task group".into());
    }
    Ok(resources)
}

/// Rule 184: a nested container has its own cgroup or not, as all of its siblings.
fn same_sharing(group: &v1::offer::operation::LaunchGroup) -> Result<(), String> {
    let mut shared =
        group.task_group.tasks.iter().map(|task| share_cgroups(task.container.as_deref()).unwrap_or(true));
    let first = shared.next();
    if shared.any(|share| Some(share) != first) {
        return Err("All tasks of a task group must have the same 'share_cgroups'".into());
    }
    Ok(())
}
