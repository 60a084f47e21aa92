//! LAUNCH: every task for itself becomes a task of the agent or an error of its own.

use std::sync::Arc;

use mezzo_ids::ExecutorId;
use mezzo_mesos::v1::{self, TaskState, task_status::Reason};
use mezzo_protocol::link;

use super::Acceptance;
use crate::{
    frameworks::to_agent,
    master::{Master, Moment},
    metrics::Counter,
    state::Task,
    status, tasks,
    validate::{self, Needs, Offered},
};

/// Command tasks that go to the agent in one message: enough to share what is said once for all of them,
/// few enough that the agent begins with the first while the rest is on its way.
const RUN_TASKS_MAX: usize = 64;

/// Launches the tasks that are valid.
pub(super) fn on_launch(
    master: &mut Master,
    moment: &mut Moment<'_>,
    acceptance: &mut Acceptance,
    operation: v1::offer::Operation,
) {
    master.count(Counter::MessagesLaunchTasks);
    let feedback = operation.id.is_some();
    // Command tasks that leave together.
    let mut run = Vec::new();
    for mut task in operation.launch.unwrap_or_default().task_infos {
        validate::prepare(&mut task, &acceptance.framework, &acceptance.role);
        let checked = if feedback { Err(no_feedback()) } else { check(master, acceptance, &task) };
        match checked {
            Ok(needs) if task.executor.is_none() => {
                acceptance.remaining.subtract(&needs.task);
                add_task(master, acceptance, &task, needs.task);
                run.push(task);
                if run.len() == RUN_TASKS_MAX {
                    send_run(master, acceptance, None, std::mem::take(&mut run), false, true);
                }
            }
            Ok(needs) => launch_on_executor(master, acceptance, task, needs),
            Err(why) => {
                refuse(master, moment, acceptance, std::slice::from_ref(&task), Reason::TaskInvalid, &why);
            }
        }
    }
    if !run.is_empty() {
        send_run(master, acceptance, None, run, false, true);
    }
}

/// Rule 169.
pub(super) fn no_feedback() -> String {
    "The 'id' field of an operation is not supported for LAUNCH and LAUNCH_GROUP".into()
}

fn check(master: &Master, acceptance: &Acceptance, task: &v1::TaskInfo) -> Result<Needs, String> {
    let offered = acceptance.offered_to(master).ok_or("The agent of the offers is gone")?;
    validate::validate_task(task, &offered)
}

impl Acceptance {
    /// What tasks are validated against.
    pub(super) fn offered_to<'a>(&'a self, master: &'a Master) -> Option<Offered<'a>> {
        Some(Offered {
            master,
            framework: &self.framework,
            agent_id: &self.agent,
            agent: master.state.agents.get(&self.agent)?,
            remaining: &self.remaining,
        })
    }
}

/// Tells the framework that these tasks were refused: nothing of them was ever known (rule 167).
pub(super) fn refuse(
    master: &mut Master,
    moment: &Moment<'_>,
    acceptance: &Acceptance,
    tasks: &[v1::TaskInfo],
    reason: Reason,
    why: &str,
) {
    for task in tasks {
        let (id, agent) = (&task.task_id, Some(task.agent_id.clone()));
        let update = status::made_by_master(moment.now, id, agent, TaskState::TaskError, reason, why);
        master.count_transition(&acceptance.framework, &update);
        master.send_update(&acceptance.framework, update);
    }
}

/// Books a task and, if need be, its executor, then tells the agent.
fn launch_on_executor(master: &mut Master, acceptance: &mut Acceptance, task: v1::TaskInfo, needs: Needs) {
    acceptance.remaining.subtract(&needs.task);
    let executor = task.executor.as_deref().cloned();
    let launch_executor = needs.executor.is_some();
    if let (Some(executor), Some(resources)) = (&executor, needs.executor) {
        acceptance.remaining.subtract(&resources);
        add_executor(master, acceptance, executor, resources);
    }
    add_task(master, acceptance, &task, needs.task);
    send_run(master, acceptance, executor, vec![task], false, launch_executor);
}

/// Books an executor that will be started with its first task.
pub(super) fn add_executor(
    master: &mut Master,
    acceptance: &Acceptance,
    executor: &v1::ExecutorInfo,
    resources: mezzo_resources::Resources,
) {
    let Some(agent) = master.agent_mut(&acceptance.agent) else { return };
    let id = ExecutorId::from(executor.executor_id.value.as_str());
    agent.executors.insert((acceptance.framework.clone(), id), Arc::new(executor.clone()));
    agent.hold(&acceptance.framework, &Arc::new(resources));
}

/// Books a task that the agent is about to hear of, and tells operators.
pub(super) fn add_task(
    master: &mut Master,
    acceptance: &Acceptance,
    task: &v1::TaskInfo,
    resources: mezzo_resources::Resources,
) {
    let info = tasks::staging(task, &acceptance.framework);
    master.publish_task_added(&info);
    let resources = master.alike.share(resources);
    let entry = Task { info, resources, recovered: false, kill: None };
    master.add_task(&acceptance.agent, &acceptance.framework, validate::task_id(task), entry);
}

/// Sends tasks to the agent of the offers.
pub(super) fn send_run(
    master: &mut Master,
    acceptance: &Acceptance,
    executor: Option<v1::ExecutorInfo>,
    tasks: Vec<v1::TaskInfo>,
    group: bool,
    launch_executor: bool,
) {
    let Some(agent) = master.state.agents.get(&acceptance.agent) else { return };
    let Some(framework) = master.state.frameworks.get(&acceptance.framework) else { return };
    let Some(link) = agent.link else { return };
    let run = link::Run {
        framework: Some((*framework.info).clone()),
        executor,
        tasks,
        group,
        resource_version_uuid: agent.resource_version.to_vec(),
        launch_executor,
    };
    master.effects.push(to_agent(link, link::to_agent::Message::Run(Box::new(run))));
}
