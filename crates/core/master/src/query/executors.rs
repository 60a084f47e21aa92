//! GET_EXECUTORS.

use mezzo_mesos::v1::master::{
    Response,
    response::{GetExecutors, Type, get_executors},
};

use super::{View, response};
use crate::state::Agent;

impl<'a> View<'a> {
    /// Executors of frameworks on registered agents; command executors are not among them.
    pub fn get_executors(&self) -> Response {
        Response { get_executors: Some(self.executors_list()), ..response(Type::GetExecutors) }
    }

    pub(super) fn executors_list(&self) -> GetExecutors {
        GetExecutors { executors: self.executors().collect(), ..Default::default() }
    }

    pub(super) fn executors(self) -> impl Iterator<Item = get_executors::Executor> + 'a {
        self.snapshot.agents.values().flat_map(move |agent| self.executors_of(agent))
    }

    /// Those of one registered agent.
    pub fn executors_of(self, agent: &'a Agent) -> impl Iterator<Item = get_executors::Executor> + 'a {
        agent.executors.values().map(|info| get_executors::Executor {
            executor_info: (**info).clone(),
            agent_id: agent.info.id.clone().unwrap_or_default(),
        })
    }
}
