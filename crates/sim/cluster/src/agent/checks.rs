//! Checks that an agent makes of the instances on its machine.

use std::time::Duration;

use mezzo_agent::{CheckId, CheckOutcome, CheckSpec, Input};
use mezzo_ids::ContainerId;

use crate::{
    event::Event,
    plant::Plant,
    world::{World, nanos},
};

impl World<'_> {
    pub(super) fn agent_check_starts(
        &mut self,
        agent: usize,
        check: CheckId,
        container: ContainerId,
        spec: &CheckSpec,
    ) {
        self.agents[agent].checks.insert(check, (container, spec.interval));
        self.agent_check_later(agent, check, spec.delay);
    }

    fn agent_check_later(&mut self, agent: usize, check: CheckId, after: Duration) {
        let life = self.agents[agent].life;
        self.queue.push(self.now + nanos(after), Event::AgentCheck { agent: agent as u32, life, check });
    }

    /// A check runs, and finds what there is.
    pub(crate) fn on_agent_check(&mut self, agent: usize, check: CheckId) {
        let host = &self.agents[agent];
        let Some((container, interval)) = host.checks.get(&check).cloned() else { return };
        let serving = host.machine.containers.get(&container).and_then(|one| one.serving.as_ref());
        let well_at = serving.map(|serving| self.checks.services.well_at(&serving.task));
        let is_well = well_at.flatten().is_some_and(|at| at <= self.now);
        let code = i32::from(!is_well && self.setup.plant != Some(Plant::BlindChecks));
        self.agent_step(agent, Input::Checked { check, outcome: CheckOutcome::Exit(code) });
        self.agent_check_later(agent, check, interval);
    }
}
