//! What the services framework decides: which instances there are to be, where they run, and in which order one set of
//! definitions replaces another.
//!
//! A pure machine: a driver stamps each [`Input`] with the time and performs the returned [`Effect`]s in order. As in the other
//! cores, **durability is order**: nothing behind an [`Effect::Persist`] leaves before its records are durable, so a task is
//! launched behind the record of its instance, and an answer leaves behind the record of what it promises.
//!
//! A change of definitions comes as a whole tree ([`Change`]): who asks reads the tree as it is, changes its copy, and names
//! the version it began with. When that is not the newest any more the answer is [`Answer::Moved`], and who asks does it again.
//!
//! [`Services`] acknowledges statuses itself: the call stands behind the records of what the status has changed, so a driver
//! whose library acknowledges too turns that off. Offers are used or declined in the step that brings them; none is held.
//! [`Services::snapshot`] costs nothing and may be taken after each step.
//! A deployment is a list of steps ([`mezzo_services_model::Plan`]); events number steps from 1, as snapshots do.

mod backoff;
mod canary;
mod change;
pub mod checker;
mod config;
mod deploy;
mod differences;
mod effect;
#[cfg(test)]
mod fixtures;
mod graph;
mod health;
mod input;
mod instances;
mod kill;
pub mod launch;
pub mod matching;
mod outlook;
mod plan;
mod ports;
mod queue;
mod readiness;
mod reconcile;
mod records;
mod recovery;
mod revert;
mod scale;
mod secrets;
mod selection;
mod services;
mod spec;
mod state;
mod timers;
mod told;
mod unreachable;
mod updates;
mod upgrade;
mod versions;

#[cfg(test)]
mod tests;

pub use config::{AcceptedRoles, Config};
pub use effect::{Answer, Effect, Probe, ProbeKind, Refusal};
pub use input::{Change, Input, Kill, ProbeId, ProbeOutcome, Request, RequestId};
pub use outlook::{Known, outlook};
pub use records::{Record, Recovered};
pub use recovery::replay;
pub use services::Services;
pub use state::{Delay, Deployment, Instances, Map, Snapshot};
