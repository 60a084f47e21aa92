//! Which agents the constraints of frameworks keep from them.

use mezzo_allocator::{AgentProfile, ConstraintLimits, OfferConstraints};
use mezzo_ids::{AgentId, Role};

use super::View;
use crate::{profiles::agent_profile, state::Framework};

/// Agents as constraints look at them: made once for all frameworks.
#[derive(Debug)]
pub struct ConstrainedAgents(Vec<(AgentId, AgentProfile)>);

impl View<'_> {
    /// Every agent.
    pub fn constrained_agents(&self) -> ConstrainedAgents {
        let agents = self.snapshot.agents.iter();
        ConstrainedAgents(agents.map(|(id, agent)| (id.clone(), agent_profile(agent))).collect())
    }
}

impl ConstrainedAgents {
    /// Per role of the framework the agents that its constraints exclude, by the same comparison that
    /// offers are made with (rule 120). A role without constraints has none. Computed from a snapshot,
    /// because frameworks times agents are too many for the thread that decides.
    pub fn excluded_from(
        &self,
        framework: &Framework,
        limits: ConstraintLimits,
    ) -> Vec<(Role, Vec<AgentId>)> {
        let constraints = framework.constraints.as_deref().and_then(|constraints| {
            let roles = framework.roles.iter().cloned().collect();
            // They compiled when the framework subscribed.
            OfferConstraints::compile(constraints, &roles, limits).ok()
        });
        let excluded = |role: &Role| {
            let Some(constraints) = &constraints else { return Vec::new() };
            let agents = self.0.iter().filter(|(_, agent)| constraints.exclude(role, agent));
            agents.map(|(id, _)| id.clone()).collect()
        };
        framework.roles.iter().map(|role| (role.clone(), excluded(role))).collect()
    }
}
