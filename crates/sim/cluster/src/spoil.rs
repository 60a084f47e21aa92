//! Plants mistakes: changes what goes in and out of the master's core and of agents.

use mezzo_master::{Effect, Input};
use mezzo_protocol::link::ToMaster;

use crate::{plant::Plant, setup::RoleSetup, world::World};

impl World<'_> {
    /// What an agent says, on its way out.
    pub(crate) fn mutate_to_master(&mut self, agent: usize, message: Box<ToMaster>) -> Option<Box<ToMaster>> {
        self.check_sent(agent, &message);
        Some(message)
    }

    pub(crate) fn mutate_weight(&self, role: &RoleSetup) -> f64 {
        if self.setup.plant == Some(Plant::WrongShare) { 1.0 / role.weight } else { role.weight }
    }

    pub(crate) fn mutate_input(&mut self, input: Input) -> Input {
        input
    }

    pub(crate) fn mutate_effects(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        effects
    }
}
