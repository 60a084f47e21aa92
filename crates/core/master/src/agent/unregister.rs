//! An agent leaves for good.

use mezzo_ids::AgentId;

use crate::{
    agents::Departure,
    master::{Master, Moment},
    metrics::Counter,
};

/// Removes the agent; its tasks are lost (rule 252).
pub(super) fn on_unregister(master: &mut Master, moment: &mut Moment<'_>, agent: &AgentId) {
    master.count(Counter::MessagesUnregisterAgent);
    master.count(Counter::AgentRemovalsUnregistered);
    master.take_agent_out(moment, agent, Departure::Removed("agent unregistered"));
}
