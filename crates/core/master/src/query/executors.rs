//! GET_EXECUTORS.

use mezzo_mesos::{
    secrets::hide_in_executor,
    v1::master::{
        Response,
        response::{GetExecutors, Type, get_executors},
    },
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
        agent.executors.values().map(|info| {
            let mut executor_info = (**info).clone();
            hide_in_executor(&mut executor_info);
            let agent_id = agent.info.id.clone().unwrap_or_default();
            get_executors::Executor { executor_info, agent_id }
        })
    }
}
