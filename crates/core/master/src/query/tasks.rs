//! GET_TASKS.

use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetTasks, Type},
    },
};

use super::{View, response};
use crate::state::Framework;

impl<'a> View<'a> {
    /// Tasks of registered agents, unreachable ones, and completed ones that are kept (rule 66).
    pub fn get_tasks(&self) -> Response {
        Response { get_tasks: Some(self.tasks_list()), ..response(Type::GetTasks) }
    }

    pub(super) fn tasks_list(&self) -> GetTasks {
        GetTasks {
            tasks: self.tasks().cloned().collect(),
            unreachable_tasks: self.unreachable_tasks().cloned().collect(),
            completed_tasks: self.completed_tasks().cloned().collect(),
            ..Default::default()
        }
    }

    pub(super) fn tasks(self) -> impl Iterator<Item = &'a v1::Task> {
        self.snapshot.agents.values().flat_map(|agent| agent.tasks.values().map(|task| &task.info))
    }

    pub(super) fn unreachable_tasks(self) -> impl Iterator<Item = &'a v1::Task> {
        self.all_frameworks().flat_map(|framework| framework.unreachable_tasks.iter().map(|task| &task.info))
    }

    pub(super) fn completed_tasks(self) -> impl Iterator<Item = &'a v1::Task> {
        self.all_frameworks().flat_map(|framework| framework.completed_tasks.iter().map(|task| &task.info))
    }

    fn all_frameworks(self) -> impl Iterator<Item = &'a Framework> {
        let completed = self.snapshot.completed_frameworks.iter();
        self.snapshot.frameworks.values().chain(completed).map(AsRef::as_ref)
    }
}
