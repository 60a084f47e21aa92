//! Operations on resources: reserve, unreserve, create, destroy, grow, shrink, and disks of providers.
//!
//! [`plan`] validates one operation and says what it takes and gives; [`accepted`] does that for the
//! offers of an ACCEPT, `operator::resources` for operators. Speculative operations change resources at
//! once, because an agent cannot refuse them but for a lost race; the others hold what they take until
//! the agent has reported ([`status`]).

mod accepted;
mod book;
mod disk;
mod plan;
mod reservation;
mod status;
mod volume;

#[cfg(test)]
mod tests;

pub(crate) use accepted::on_accepted_operation;
pub(crate) use book::book;
pub(crate) use plan::{Plan, Requester, plan};
pub(crate) use status::{on_agent_returned, on_status};
