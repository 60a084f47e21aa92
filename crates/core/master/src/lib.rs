//! What the master decides: who is admitted, who is offered what, what is launched, and what is told
//! to whom.
//!
//! [`Master`] is a pure machine. A driver stamps each [`Input`] with the time, calls
//! [`Master::step`], and performs the returned [`Effect`]s in order; when [`Master::next_deadline`]
//! has passed it steps with [`Input::Timer`]. No socket, file, clock, thread or encoding is known here.
//!
//! **Durability is order.** Effects are performed in the order they are returned, over all steps, and
//! nothing behind an [`Effect::Persist`] leaves before its record is durable. So the core changes its
//! state at once and stays simple, while a crash at any instant can take back nothing that was told.
//!
//! Reads never touch this thread: [`Master::snapshot`] shares the state's parts (`Arc`), and `query`
//! computes answers from it elsewhere.
//!
//! A task's life through this crate: `offers` makes an offer of what the allocator gave,
//! `scheduler::accept` turns it into tasks, `agent::status_update` brings the news,
//! `scheduler::acknowledge` ends it.

mod agent;
mod agents;
mod alike;
mod capability;
mod effect;
mod events;
pub mod facts;
mod frameworks;
mod input;
mod inverse_offers;
mod master;
pub mod metrics;
mod offers;
mod operations;
mod operator;
mod profiles;
pub mod query;
pub mod registry;
mod scheduler;
pub mod state;
mod status;
mod tasks;
mod timers;
pub mod validate;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use effect::{Answer, Effect};
pub use input::{Input, LinkId, OperatorCall, RequestId, StreamId};
pub use master::{Config, Master};
