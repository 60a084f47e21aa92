//! GET_AGENTS.

use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetAgents, Type, get_agents},
    },
};
use mezzo_resources::{Form, Resources};

use super::{View, response};
use crate::{events::agent_view, state::Agent};

impl<'a> View<'a> {
    /// Registered agents, and those of the registry that are not back yet.
    pub fn get_agents(&self) -> Response {
        Response { get_agents: Some(self.agents_list()), ..response(Type::GetAgents) }
    }

    pub(super) fn agents_list(&self) -> GetAgents {
        GetAgents {
            agents: self.agents().collect(),
            recovered_agents: self.recovered_agents().cloned().collect(),
        }
    }

    pub(super) fn agents(self) -> impl Iterator<Item = get_agents::Agent> + 'a {
        self.snapshot.agents.values().map(move |agent| self.agent(agent))
    }

    /// A registered agent with what is used and offered of it.
    pub fn agent(self, agent: &Agent) -> get_agents::Agent {
        full(agent, self.agent_url_path)
    }

    pub(super) fn recovered_agents(self) -> impl Iterator<Item = &'a v1::AgentInfo> {
        self.snapshot.recovered_agents.values().map(AsRef::as_ref)
    }
}

fn full(agent: &Agent, url_path: &str) -> get_agents::Agent {
    let mut used = Resources::empty();
    for resources in agent.used.values() {
        used += &**resources;
    }
    let mut message = agent_view(agent, url_path);
    message.allocated_resources = used.to_proto(Form::Endpoint);
    message.offered_resources = agent.offered.to_proto(Form::Endpoint);
    // Mesos estimates the start of a drain in whole seconds.
    message.estimated_drain_start_time = agent.drain_started.map(|at| {
        let seconds = at.as_nanos().div_euclid(1_000_000_000);
        v1::TimeInfo { nanoseconds: seconds * 1_000_000_000 }
    });
    message
}
