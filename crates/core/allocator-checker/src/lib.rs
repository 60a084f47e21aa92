//! Judges what an allocator gives, and shares no code with one.
//!
//! A [`Cluster`] is told the same events as an allocator, as plain facts: who is there, what they have,
//! hold, want and refused. [`Cluster::judge`] looks at the offers of one pass, [`Cluster::overlooked`] at
//! what is left after it. Everything is computed from scratch each time, in the simplest way: judging costs
//! what all hold, and is done beside the allocator in production; looking for what was overlooked costs agents
//! times frameworks, and is meant for tests and simulations.
//!
//! Judged are: nothing twice and no agent exceeded; reservations, capabilities, regions, constraints,
//! minimums and refusals respected; limits kept; guarantees kept while capacity is free; fairness to
//! within one offer, where quota sets no guarantee on what was offered and no limit for who is behind.
//! Rule numbers are those of the behaviour table.

mod cluster;
mod eligible;
mod fair;
mod judge;
mod overlooked;
mod refusals;
mod sums;

pub use cluster::{Agent, Capabilities, Cluster, Framework, Offer, Quota, Refusal, Settings};
pub use judge::{Judgement, Violation};
pub use refusals::Refusals;

#[cfg(test)]
mod tests;
