//! What an agent decides: which containers run, what is reported, and what is kept.
//!
//! [`Agent`] is a pure machine. A driver stamps each [`Input`] with the time, calls [`Agent::step`],
//! and performs the returned [`Effect`]s in order; when [`Agent::next_deadline`] has passed it steps
//! with [`Input::Timer`]. No socket, file, clock, process or encoding is known here.
//!
//! **Durability is order.** Effects are performed in the order they are returned, over all steps, and
//! nothing behind an [`Effect::Persist`] leaves before its record is durable. A container is started
//! behind the record of its launch, and an update is sent behind the record that holds it.

mod effect;
mod input;

pub use effect::{Answer, CheckKind, CheckSpec, ContainerSpec, Effect, Limits};
pub use input::{CheckId, CheckOutcome, Input, Limitation, RequestId, StreamId};
