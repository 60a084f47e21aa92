//! What happens by itself when its time has come.

use mezzo_ids::{AgentId, FrameworkId, OfferId};
use mezzo_time::Timestamp;

use crate::{
    agents,
    master::{Master, Moment},
};

/// Why the master wakes up. An entry says only when to look; the handler decides on the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Ping an agent, and count the ping before (rule 239).
    Ping(AgentId),
    /// A disconnected agent has not come back (rule 244).
    Reregister(AgentId),
    /// A disconnected framework has not come back (rule 62).
    Failover(FrameworkId),
    /// An offer is not answered (rule 95).
    Offer(OfferId),
    /// The rate limit lets the next agent go (rule 241).
    Removal,
    /// Agents of the registry have not come back (rule 253).
    Recovery,
    /// Prune the registry's lists (rule 255).
    RegistryGc,
}

impl Master {
    /// Asks to be woken for `timer`.
    pub(crate) fn wake_at(&mut self, at: Timestamp, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// What runs from the start of a master's life.
    pub(crate) fn start_timers(&mut self, now: Timestamp) {
        self.wake_at(now + self.config.registry_gc_interval, Timer::RegistryGc);
        if !self.state.recovered_agents.is_empty() {
            let deadline = now + self.config.agent_reregister_timeout;
            self.recovery_deadline = Some(deadline);
            self.wake_at(deadline, Timer::Recovery);
        }
    }

    /// Handles every timer that has passed.
    pub(crate) fn fire_timers(&mut self, moment: &mut Moment<'_>) {
        while let Some((at, _)) = self.timers.first()
            && *at <= moment.now
            && let Some((_, timer)) = self.timers.pop_first()
        {
            match timer {
                Timer::Ping(agent) => agents::ping(self, moment, &agent),
                Timer::Reregister(agent) => agents::on_reregister_timeout(self, moment, &agent),
                Timer::Failover(framework) => self.on_failover_timeout(moment, &framework),
                Timer::Offer(offer) => self.on_offer_timeout(moment, &offer),
                Timer::Removal => agents::remove_next(self, moment),
                Timer::Recovery => agents::on_recovery_timeout(self, moment),
                Timer::RegistryGc => agents::prune_registry(self, moment),
            }
        }
    }
}
