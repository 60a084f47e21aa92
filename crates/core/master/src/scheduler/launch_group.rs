//! LAUNCH_GROUP: all tasks of a pod, or none (rule 177).

use mezzo_mesos::v1::{self, task_status::Reason};

use super::{Acceptance, launch};
use crate::{
    master::{Master, Moment},
    metrics::Counter,
    validate::{self, GroupNeeds},
};

/// Launches the group if all of it is valid.
pub(super) fn on_launch_group(
    master: &mut Master,
    moment: &mut Moment<'_>,
    acceptance: &mut Acceptance,
    operation: v1::offer::Operation,
) {
    master.count(Counter::MessagesLaunchTasks);
    let feedback = operation.id.is_some();
    let Some(mut group) = operation.launch_group else { return };
    validate::prepare_group(&mut group, &acceptance.framework, &acceptance.role);
    let checked = if feedback { Err(launch::no_feedback()) } else { check(master, acceptance, &group) };
    match checked {
        Ok(needs) => launch_all(master, acceptance, *group, needs),
        Err(why) => {
            let tasks = &group.task_group.tasks;
            launch::refuse(master, moment, acceptance, tasks, Reason::TaskGroupInvalid, &why);
        }
    }
}

fn check(
    master: &Master,
    acceptance: &Acceptance,
    group: &v1::offer::operation::LaunchGroup,
) -> Result<GroupNeeds, String> {
    let offered = acceptance.offered_to(master).ok_or("The agent of the offers is gone")?;
    validate::validate_group(group, &offered)
}

fn launch_all(
    master: &mut Master,
    acceptance: &mut Acceptance,
    group: v1::offer::operation::LaunchGroup,
    needs: GroupNeeds,
) {
    let v1::offer::operation::LaunchGroup { executor, task_group } = group;
    let launch_executor = needs.executor.is_some();
    if let Some(resources) = needs.executor {
        acceptance.remaining.subtract(&resources);
        launch::add_executor(master, acceptance, &executor, resources);
    }
    let mut tasks = task_group.tasks;
    for (task, resources) in tasks.iter_mut().zip(needs.tasks) {
        acceptance.remaining.subtract(&resources);
        // Rule 181: every task names the executor that runs it.
        task.executor = Some(Box::new(executor.clone()));
        launch::add_task(master, acceptance, task, resources);
    }
    launch::send_run(master, acceptance, Some(executor), tasks, true, launch_executor);
}
