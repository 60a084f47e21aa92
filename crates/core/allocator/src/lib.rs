//! Decides which framework is offered which resources of which agent.
//!
//! Pure: events come in as method calls with the time, [`Allocator::allocate`] returns what is to be
//! offered, and [`Allocator::next_deadline`] says when calling it again can bring something. Work
//! follows events: an agent is looked at when something about it changed, all free agents when a
//! framework began to want more; a full pass each interval happens only where quota or shared
//! volumes make it useful (rule 84 asks for one every interval; the result is the same).
//!
//! It knows amounts and roles, not offers or tasks: what it gave is held by a framework until
//! [`Allocator::recover`]. Authorization, offer ids and everything on the wire are the master's.
//! The rules are areas offers, offer constraints, allocation and quota of the behaviour table.

mod accounting;
mod agent;
mod allocate;
mod allocator;
mod amounts;
mod bundle;
mod classes;
mod config;
mod constraints;
mod explain;
mod filters;
mod framework;
mod inverse;
mod kinds;
mod offerable;
mod offers;
mod order;
mod pattern;
mod quota;
mod rare;
mod roles;
mod slots;
mod sorted;
mod visits;

pub use agent::{AgentCapabilities, AgentProfile};
pub use allocator::{Allocator, NotAvailable};
pub use config::{AgentPreference, Config, Sorter};
pub use constraints::{ConstraintLimits, OfferConstraints};
pub use explain::{Inquiry, Reason, RoleSummary, Withheld, WithheldSum};
pub use filters::Filter;
pub use framework::{FrameworkCapabilities, FrameworkProfile};
pub use inverse::InverseAllocation;
pub use offers::{Allocation, Allocations};
pub use quota::Quota;

#[cfg(test)]
mod tests;
