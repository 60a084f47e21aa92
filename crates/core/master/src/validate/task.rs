//! Tasks of a LAUNCH (rules 151 to 167 and 176).

use std::collections::BTreeSet;

use mezzo_ids::{AgentId, ExecutorId, FrameworkId, Role, TaskId};
use mezzo_mesos::v1::{self, executor_info};
use mezzo_resources::{Form, InvalidResource, Resource, Resources, Scalar, Value};

use super::{checks, command::command, container, limits};
use crate::{master::Master, state::Agent};

/// What a task must fit into: the accepted offers with what is left of them.
#[derive(Clone, Copy)]
pub(crate) struct Offered<'a> {
    pub(crate) master: &'a Master,
    pub(crate) framework: &'a FrameworkId,
    pub(crate) agent_id: &'a AgentId,
    pub(crate) agent: &'a Agent,
    pub(crate) remaining: &'a Resources,
}

/// What a valid task takes from the offers.
pub(crate) struct Needs {
    /// Of the task itself.
    pub(crate) task: Resources,
    /// Of its executor, when that has to be started.
    pub(crate) executor: Option<Resources>,
}

/// Fills in what a scheduler may leave out: the role that resources are allocated to, the framework of
/// an executor, the type of an old health check. Resources come out in the post-refinement form.
pub(crate) fn prepare(task: &mut v1::TaskInfo, framework: &FrameworkId, role: &Role) {
    prepare_resources(&mut task.resources, role);
    if let Some(executor) = &mut task.executor {
        prepare_resources(&mut executor.resources, role);
        executor.framework_id.get_or_insert_with(|| v1::FrameworkId { value: framework.as_str().into() });
    }
    if let Some(check) = &mut task.health_check {
        checks::upgrade_health_check(check);
    }
}

/// Resources that cannot be read stay as they are; validation says what is wrong with them.
#[expect(deprecated, reason = "the older forms are made of the fields that the newer one replaces")]
pub(super) fn prepare_resources(resources: &mut [v1::Resource], role: &Role) {
    for resource in resources {
        let older = resource.role.is_some() || resource.reservation.is_some();
        if older && let Ok(read) = Resource::from_proto(resource) {
            *resource = read.to_proto(Form::PostRefinement);
        }
        let allocation = resource.allocation_info.get_or_insert_default();
        allocation.role.get_or_insert_with(|| role.to_string());
    }
}

/// Checks a prepared task of a LAUNCH. The text is the message of its TASK_ERROR.
pub(crate) fn validate_task(task: &v1::TaskInfo, offered: &Offered<'_>) -> Result<Needs, String> {
    let resources = validate_alone(task, offered)?;
    // Rule 176.
    if container::share_cgroups(task.container.as_deref()) == Some(false) {
        return Err("'share_cgroups' may only be false for the tasks of a task group".into());
    }
    let executor = match (&task.command, &task.executor) {
        (Some(_), None) => None,
        (None, Some(executor)) => validate_executor(executor, offered)?,
        // Rule 157.
        _ => {
            return Err(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".into(),
            );
        }
    };
    // Rule 162.
    let sum = match &executor {
        Some(executor) => {
            not_overlapping(&resources, executor)?;
            &(resources.clone() + executor)
        }
        None => &resources,
    };
    if !offered.remaining.contains(sum) {
        return Err(format!(
            "Total resources {sum} required by task and its executor is more than available {}",
            offered.remaining
        ));
    }
    Ok(Needs { task: resources, executor })
}

/// What every task must be, of a group or not, in the order of rule 151.
pub(super) fn validate_alone(task: &v1::TaskInfo, offered: &Offered<'_>) -> Result<Resources, String> {
    super::id(&task.task_id.value)?;
    unique(&task.task_id, offered)?;
    // Rule 153.
    if task.agent_id.value != offered.agent_id.as_str() {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.agent_id.value, offered.agent_id
        ));
    }
    // Rule 154.
    let grace = task.kill_policy.and_then(|policy| policy.grace_period);
    if grace.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".into());
    }
    if task.max_completion_time.is_some_and(|time| time.nanoseconds < 0) {
        return Err("Task's `max_completion_time` must be non-negative".into());
    }
    if let Some(check) = &task.check {
        checks::check(check).map_err(|why| format!("Task uses invalid check: {why}"))?;
    }
    if let Some(check) = &task.health_check {
        checks::health_check(check).map_err(|why| format!("Task uses invalid health check: {why}"))?;
    }
    // Rule 155.
    if task.resources.is_empty() {
        return Err("Task uses no resources".into());
    }
    let resources = validate_resources(&task.resources)?;
    if let Some(run) = &task.command {
        command(run).map_err(|why| format!("Task's `CommandInfo` is invalid: {why}"))?;
    }
    if let Some(inside) = &task.container {
        container::container(inside).map_err(|why| format!("Task's `ContainerInfo` is invalid: {why}"))?;
    }
    let capable = || offered.agent.is_capable(v1::agent_info::capability::Type::TaskResourceLimits);
    if !task.limits.is_empty() {
        limits::limits(task, &resources, capable())?;
    }
    Ok(resources)
}

/// Rule 152.
fn unique(id: &v1::TaskId, offered: &Offered<'_>) -> Result<(), String> {
    let framework = offered.framework;
    if offered.master.task_agents.get(framework).is_some_and(|tasks| tasks.contains_key(id.value.as_str())) {
        return Err(format!("Task has duplicate ID: {}", id.value));
    }
    let unreachable = offered.master.state.frameworks.get(framework).map(|f| &f.unreachable_tasks);
    if unreachable.is_some_and(|tasks| tasks.iter().any(|task| task.info.task_id == *id)) {
        return Err(format!("Task reuses the ID of an unreachable task: {}", id.value));
    }
    Ok(())
}

/// Resources of a task or executor: readable, of one role, whole gpus, nothing both revocable and not
/// (rules 155 and 156).
pub(super) fn validate_resources(messages: &[v1::Resource]) -> Result<Resources, String> {
    let resources = Resources::from_proto(messages).map_err(|why| unreadable(messages, &why))?;
    let mut role: Option<&Role> = None;
    let mut revocable = BTreeSet::new();
    let mut firm = BTreeSet::new();
    for resource in &resources {
        let Some(allocated) = resource.allocation_role() else {
            return Err("The resources are not allocated to a role".into());
        };
        if role.is_some_and(|role| role != allocated) {
            return Err(format!(
                "The resources have multiple allocation roles ('{allocated}' and '{}') \
                 but only one allocation role is allowed",
                role.map_or("", |role| role.as_str())
            ));
        }
        role = Some(allocated);
        if &**resource.name() == "gpus"
            && resource.as_scalar().is_some_and(|amount| amount.as_f64().fract() != 0.0)
        {
            return Err("The 'gpus' resource must be an unsigned integer".into());
        }
        if resource.is_revocable() { &mut revocable } else { &mut firm }.insert(resource.name().clone());
    }
    if let Some(name) = revocable.intersection(&firm).next() {
        return Err(format!("Cannot use both revocable and non-revocable '{name}' at the same time"));
    }
    Ok(resources)
}

/// What is wrong with resources, said of them as the scheduler wrote them: without the allocation that
/// was filled in.
fn unreadable(messages: &[v1::Resource], why: &InvalidResource) -> String {
    let mut messages = messages.to_vec();
    for message in &mut messages {
        message.allocation_info = None;
    }
    Resources::from_proto(&messages).err().as_ref().unwrap_or(why).to_string()
}

/// Rule 163: ports and the like that task and executor both name.
pub(super) fn not_overlapping(task: &Resources, executor: &Resources) -> Result<(), String> {
    for ours in task {
        for theirs in executor {
            let overlap = ours.name() == theirs.name()
                && match (ours.value(), theirs.value()) {
                    (Value::Ranges(a), Value::Ranges(b)) => {
                        a.iter().any(|(begin, end)| b.iter().any(|(from, to)| begin <= to && from <= end))
                    }
                    (Value::Set(a), Value::Set(b)) => {
                        a.iter().any(|item| b.iter().any(|other| other == item))
                    }
                    _ => false,
                };
            if overlap {
                return Err(format!("Task and its executor use overlapping '{}'", ours.name()));
            }
        }
    }
    Ok(())
}

/// The executor of a LAUNCH (rules 158 to 161). Answers what it needs when it has to be started.
fn validate_executor(
    executor: &v1::ExecutorInfo,
    offered: &Offered<'_>,
) -> Result<Option<Resources>, String> {
    super::id(&executor.executor_id.value)?;
    match executor.r#type {
        None => {}
        Some(_) if executor.r#type() == executor_info::Type::Custom => {}
        Some(_) => return Err("'ExecutorInfo.type' must be 'CUSTOM'".into()),
    }
    if executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into());
    }
    validate_any_executor(executor, offered)
}

/// What executors of a LAUNCH and of a LAUNCH_GROUP have in common.
pub(super) fn validate_any_executor(
    executor: &v1::ExecutorInfo,
    offered: &Offered<'_>,
) -> Result<Option<Resources>, String> {
    let framework = executor.framework_id.as_ref().map_or("", |id| id.value.as_str());
    if framework != offered.framework.as_str() {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {framework} vs Expected: {})",
            offered.framework
        ));
    }
    // Rule 161.
    if executor.shutdown_grace_period.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".into());
    }
    if let Some(run) = &executor.command {
        command(run).map_err(|why| format!("Executor's `CommandInfo` is invalid: {why}"))?;
    }
    if let Some(inside) = &executor.container {
        container::container(inside)
            .map_err(|why| format!("Executor's `ContainerInfo` is invalid: {why}"))?;
        // Rule 176.
        if container::share_cgroups(Some(inside)) == Some(true) {
            return Err("Executors must not set 'share_cgroups' to true".into());
        }
    }
    let resources = validate_resources(&executor.resources)?;
    // Rule 160.
    let id = (offered.framework.clone(), ExecutorId::from(executor.executor_id.value.as_str()));
    match offered.agent.executors.get(&id) {
        None => Ok(Some(resources)),
        Some(running) if is_same_executor(running, executor) => Ok(None),
        Some(_) => Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{}'",
            executor.executor_id.value
        )),
    }
}

/// Equal but for the order in which resources are listed.
fn is_same_executor(one: &v1::ExecutorInfo, other: &v1::ExecutorInfo) -> bool {
    let amounts = |info: &v1::ExecutorInfo| Resources::from_proto(&info.resources).ok();
    let rest = |info: &v1::ExecutorInfo| {
        let r#type = Some(info.r#type.unwrap_or(executor_info::Type::Custom.into()));
        v1::ExecutorInfo { resources: Vec::new(), r#type, ..info.clone() }
    };
    one == other || (rest(one) == rest(other) && amounts(one) == amounts(other))
}

/// The least that an executor should have (rules 164 and 180).
pub(super) fn executor_minimum(executor: &str, resources: &Resources) -> Result<(), String> {
    let (cpus, mem) = (resources.scalar("cpus"), resources.scalar("mem"));
    let shown = |amount: Scalar, unit: &str| match amount {
        Scalar::ZERO => "None".to_owned(),
        amount => format!("{amount}{unit}"),
    };
    if cpus.as_f64() < 0.01 {
        let used = shown(cpus, "");
        return Err(format!(
            "Executor '{executor}' uses less CPUs ({used}) than the minimum required (0.01)"
        ));
    }
    if mem.as_f64() < 32.0 {
        let used = shown(mem, "MB");
        return Err(format!(
            "Executor '{executor}' uses less memory ({used}) than the minimum required (32MB)"
        ));
    }
    Ok(())
}

/// The task id of a message as our own.
pub(crate) fn task_id(task: &v1::TaskInfo) -> TaskId {
    TaskId::from(task.task_id.value.as_str())
}
