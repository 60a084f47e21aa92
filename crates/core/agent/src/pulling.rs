//! What schedulers hear while a task waits for its image: TASK_STARTING with how far it has come.
//!
//! Mesos says nothing until the container runs. These updates are stored, sent and acknowledged as all others are,
//! and change nothing; so there are few of them.

use std::time::Duration;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::records::ExecutorKind;
use v1::TaskState;

use crate::{
    agent::{Agent, Moment},
    input::Pull,
    state::{Owner, Phase, PullTold, Stage, Task},
};

/// How long a task waits for an image before that is told; most wait for less.
const PULL_TOLD_FIRST: Duration = Duration::from_secs(2);
/// The wait before each further word is twice that before the last one, up to this: a pull of an hour, the longest
/// there is, is told of some sixty times, and a thousand tasks that wait for one image make a dozen updates a
/// second.
const PULL_TOLD_EVERY_MAX: Duration = Duration::from_secs(60);

impl Agent {
    /// An image that a container waits for has come further.
    pub(crate) fn on_pulling(&mut self, m: &mut Moment<'_>, id: &ContainerId, pull: &Pull) {
        let Some(container) = self.state.containers.get(id) else { return };
        if container.stage != Stage::Starting {
            return;
        }
        match container.owner.clone() {
            Owner::Task(framework, executor, task) => {
                self.tell_of_pull(m, &framework, &executor, &task, pull);
            }
            Owner::Executor(framework, executor) => {
                // The one task of a command. Those of a custom executor wait for it, whatever it waits for.
                let known = self.executor(&framework, &executor);
                let known =
                    known.filter(|known| known.kind == ExecutorKind::Command && known.container == *id);
                if let Some(task) = known.and_then(|known| known.tasks.keys().next().cloned()) {
                    self.tell_of_pull(m, &framework, &executor, &task, pull);
                }
            }
            Owner::Nested | Owner::Standalone => {}
        }
    }

    fn tell_of_pull(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        pull: &Pull,
    ) {
        // One word at a time: who is slow to acknowledge is told the newest, not all.
        let waits = self
            .streams
            .get(&(framework.clone(), id.clone()))
            .is_some_and(|stream| !stream.pending.is_empty());
        let Some(owner) = self.executor_mut(framework, executor) else { return };
        let is_ending = matches!(owner.phase, Phase::Terminating | Phase::Terminated);
        let Some(task) = owner.tasks.get_mut(id) else { return };
        let is_early = matches!(task.state, TaskState::TaskStaging | TaskState::TaskStarting);
        if is_ending || !is_early || task.run.kill.is_some() {
            return;
        }
        let told = task.run.pull.get_or_insert(PullTold { at: m.now, wait: PULL_TOLD_FIRST });
        if waits || m.now.since(told.at) < told.wait {
            return;
        }
        *told = PullTold { at: m.now, wait: (told.wait * 2).min(PULL_TOLD_EVERY_MAX) };
        self.report_pull(m, framework, executor, id, pull);
    }

    fn report_pull(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        pull: &Pull,
    ) {
        let Some(owner) = self.executor(framework, executor) else { return };
        let Some(task) = owner.tasks.get(id) else { return };
        let mut status = self.played_status(m, owner, task, TaskState::TaskStarting);
        status.message = Some(words(pull));
        self.update(m, framework, executor, status);
    }
}

/// How far an image is, in a sentence.
fn words(pull: &Pull) -> String {
    let Pull { image, bytes, bytes_total, layers, layers_total } = pull;
    let megabytes = |bytes: &u64| *bytes as f64 / 1e6;
    if *layers_total == 0 {
        format!("Pulling image '{image}': asking the registry")
    } else if bytes < bytes_total {
        format!("Pulling image '{image}': {:.1} of {:.1} MB", megabytes(bytes), megabytes(bytes_total))
    } else {
        format!(
            "Pulling image '{image}': {:.1} MB are here, {layers} of {layers_total} layers unpacked",
            megabytes(bytes)
        )
    }
}

/// Whether a task was heard of by nothing but words about its image.
pub(crate) fn only_pulled(task: &Task) -> bool {
    let has_pid = |status: &v1::TaskStatus| {
        status.container_status.as_ref().is_some_and(|container| container.executor_pid.is_some())
    };
    task.state == TaskState::TaskStarting
        && task.statuses.iter().all(|status| status.message.is_some() && !has_pid(status))
}
