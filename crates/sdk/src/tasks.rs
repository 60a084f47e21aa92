//! The part of a scheduler that only decides: which launched tasks have not ended yet, which of them must
//! be asked for again, and what is acknowledged. No clock, no network: a simulation runs the same code.

use std::{collections::BTreeMap, time::Duration};

use mezzo_mesos::v1::{
    self, TaskState,
    scheduler::{Call, call},
};

/// How soon tasks that have not been heard of are asked for again; doubles up to the next.
pub const RECONCILE_MIN: Duration = Duration::from_secs(5);
/// The longest pause between two questions.
pub const RECONCILE_MAX: Duration = Duration::from_secs(60);

/// Tasks of this framework that are not known to have ended.
#[derive(Debug, Default)]
pub struct Tasks {
    live: BTreeMap<String, Task>,
}

#[derive(Debug)]
struct Task {
    agent: v1::AgentId,
    /// The update delivered last, so that a repeated one is only acknowledged.
    uuid: Option<Vec<u8>>,
    /// Not heard of since the last subscription, or known to be somewhere out of reach.
    asked: bool,
}

/// What a status update asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// To be given to the scheduler.
    Fresh,
    /// The scheduler has had it; its acknowledgement was lost.
    Repeated,
}

impl Tasks {
    /// Remembers the tasks of launch operations.
    pub fn launched(&mut self, operations: &[v1::offer::Operation]) {
        for task in launched_by(operations) {
            let known = Task { agent: task.agent_id.clone(), uuid: None, asked: false };
            self.live.insert(task.task_id.value.clone(), known);
        }
    }

    /// The answer to the launch of these tasks was lost: nobody knows whether it was taken, so they are
    /// asked for, unless they have been heard of.
    pub fn unsure(&mut self, ids: impl IntoIterator<Item = impl AsRef<str>>) {
        for id in ids {
            if let Some(known) = self.live.get_mut(id.as_ref()).filter(|known| known.uuid.is_none()) {
                known.asked = true;
            }
        }
    }

    /// Remembers a task of an earlier life of this scheduler, to be asked for.
    pub fn adopt(&mut self, id: v1::TaskId, agent: v1::AgentId) {
        self.live.insert(id.value, Task { agent, uuid: None, asked: true });
    }

    /// Takes an update into account.
    pub fn heard(&mut self, status: &v1::TaskStatus) -> News {
        let id = &status.task_id.value;
        let repeated = match self.live.get_mut(id) {
            Some(task) => {
                // Nobody will tell by himself what becomes of these when their master forgets them.
                task.asked = matches!(status.state(), TaskState::TaskUnreachable | TaskState::TaskUnknown);
                let repeated = status.uuid.is_some() && task.uuid == status.uuid;
                task.uuid = status.uuid.clone().or(task.uuid.take());
                repeated
            }
            None => false,
        };
        if is_terminal(status.state()) {
            self.live.remove(id);
        } else if let Some(agent) = status.agent_id.clone().filter(|_| !self.live.contains_key(id)) {
            self.live.insert(id.clone(), Task { agent, uuid: status.uuid.clone(), asked: false });
        }
        if repeated { News::Repeated } else { News::Fresh }
    }

    /// Whether a task of this id is not known to have ended.
    pub fn is_live(&self, id: &str) -> bool {
        self.live.contains_key(id)
    }

    /// All live tasks have to be heard of again.
    pub fn ask_all(&mut self) {
        self.live.values_mut().for_each(|task| task.asked = true);
    }

    /// The call that asks for tasks not heard of since; `None` when there is none.
    pub fn reconcile(&self) -> Option<Call> {
        let tasks: Vec<call::reconcile::Task> = self
            .live
            .iter()
            .filter(|(_, task)| task.asked)
            .map(|(id, task)| call::reconcile::Task {
                task_id: v1::TaskId { value: id.clone() },
                agent_id: Some(task.agent.clone()),
            })
            .collect();
        (!tasks.is_empty()).then(|| reconcile(tasks))
    }
}

/// The ids of the tasks of launch operations.
pub fn launched_ids(operations: &[v1::offer::Operation]) -> Vec<String> {
    launched_by(operations).map(|task| task.task_id.value.clone()).collect()
}

fn launched_by(operations: &[v1::offer::Operation]) -> impl Iterator<Item = &v1::TaskInfo> {
    operations.iter().flat_map(|operation| {
        let single = operation.launch.iter().flat_map(|launch| &launch.task_infos);
        single.chain(operation.launch_group.iter().flat_map(|launch| &launch.task_group.tasks))
    })
}

/// The ACKNOWLEDGE call for a status, to be made once it has been handled; `None` for one that nobody
/// waits for, such as the answer to a question.
pub fn acknowledgement(status: &v1::TaskStatus) -> Option<Call> {
    let (Some(uuid), Some(agent)) = (&status.uuid, &status.agent_id) else { return None };
    Some(Call {
        r#type: Some(call::Type::Acknowledge as i32),
        acknowledge: Some(call::Acknowledge {
            agent_id: agent.clone(),
            task_id: status.task_id.clone(),
            uuid: uuid.clone(),
        }),
        ..Call::default()
    })
}

/// A RECONCILE call; without tasks it asks for all the master knows.
pub fn reconcile(tasks: Vec<call::reconcile::Task>) -> Call {
    Call {
        r#type: Some(call::Type::Reconcile as i32),
        reconcile: Some(call::Reconcile { tasks }),
        ..Call::default()
    }
}

/// Whether nothing comes after this state.
pub fn is_terminal(state: TaskState) -> bool {
    match state {
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        | TaskState::TaskUnknown => false,
        TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(id: &str) -> v1::offer::Operation {
        let task = v1::TaskInfo {
            task_id: v1::TaskId { value: id.into() },
            agent_id: v1::AgentId { value: "a1".into() },
            ..Default::default()
        };
        v1::offer::Operation {
            launch: Some(v1::offer::operation::Launch { task_infos: vec![task] }),
            ..Default::default()
        }
    }

    fn status(id: &str, state: TaskState, uuid: u8) -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: v1::TaskId { value: id.into() },
            state: state as i32,
            uuid: Some(vec![uuid; 16]),
            ..Default::default()
        }
    }

    fn asked(tasks: &Tasks) -> Vec<String> {
        let call = tasks.reconcile().and_then(|call| call.reconcile);
        call.into_iter().flat_map(|r| r.tasks).map(|t| t.task_id.value).collect()
    }

    #[test]
    fn tasks_are_asked_for_until_they_are_heard_of() {
        let mut tasks = Tasks::default();
        tasks.launched(&[launch("t1"), launch("t2"), launch("t3")]);
        assert!(asked(&tasks).is_empty());
        tasks.heard(&status("t3", TaskState::TaskFinished, 1));
        tasks.ask_all();
        assert_eq!(asked(&tasks), ["t1", "t2"]);
        tasks.heard(&status("t1", TaskState::TaskRunning, 2));
        assert_eq!(asked(&tasks), ["t2"]);
    }

    #[test]
    fn tasks_whose_launch_was_not_answered_are_asked_for() {
        let mut tasks = Tasks::default();
        let operations = [launch("t1"), launch("t2")];
        tasks.launched(&operations);
        tasks.heard(&status("t1", TaskState::TaskRunning, 1));
        tasks.unsure(launched_ids(&operations));
        assert_eq!(asked(&tasks), ["t2"]);
        tasks.adopt(v1::TaskId { value: "t0".into() }, v1::AgentId { value: "a1".into() });
        assert_eq!(asked(&tasks), ["t0", "t2"]);
    }

    #[test]
    fn what_is_unreachable_is_asked_for_until_it_is_not() {
        let mut tasks = Tasks::default();
        tasks.launched(&[launch("t1")]);
        tasks.heard(&status("t1", TaskState::TaskUnreachable, 1));
        assert_eq!(asked(&tasks), ["t1"]);
        tasks.heard(&status("t1", TaskState::TaskRunning, 2));
        assert!(asked(&tasks).is_empty());
    }

    #[test]
    fn a_repeated_delivery_is_recognised() {
        let mut tasks = Tasks::default();
        tasks.launched(&[launch("t1")]);
        assert_eq!(tasks.heard(&status("t1", TaskState::TaskRunning, 1)), News::Fresh);
        assert_eq!(tasks.heard(&status("t1", TaskState::TaskRunning, 1)), News::Repeated);
        assert_eq!(tasks.heard(&status("t1", TaskState::TaskFailed, 2)), News::Fresh);
    }
}
