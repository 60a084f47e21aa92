//! What an agent decides: which containers run, what is reported, and what is kept.
//!
//! [`Agent`] is a pure machine. A driver stamps each [`Input`] with the time, calls [`Agent::step`],
//! and performs the returned [`Effect`]s in order; when [`Agent::next_deadline`] has passed it steps
//! with [`Input::Timer`]. No socket, file, clock, process or encoding is known here.
//!
//! **Durability is order.** Effects are performed in the order they are returned, over all steps, and
//! nothing behind an [`Effect::Persist`] leaves before its record is durable. A container is started
//! behind the record of its launch, and an update is sent behind the record that holds it.

#![expect(deprecated, reason = "schedulers and tools still use the older fields and calls")]

mod agent;
mod calls;
mod checks;
mod command;
mod config;
mod containers;
mod drain;
mod effect;
mod environment;
mod executors;
mod gc;
mod input;
mod kill;
mod launch;
mod link;
mod metrics;
mod operations;
mod pods;
mod pulling;
pub mod query;
mod reconfigure;
mod records;
mod recovery;
mod replay;
mod resources;
mod sandbox;
mod shutdown;
mod spec;
mod state;
mod text;
mod timers;
mod updates;

#[cfg(test)]
mod tests;

pub use agent::{Agent, container_proto, container_text};
pub use config::{Config, LegacyNames, ReconfigurationPolicy, RecoverMode, capabilities};
pub use effect::{Answer, CheckKind, CheckSpec, ContainerSpec, Effect, Limits};
pub use input::{
    CheckId, CheckOutcome, ExecutorClaims, Input, LaunchStage, Limitation, Pull, RequestId, StreamId,
};
pub use metrics::{Counters, monitored, other_metrics, process_metrics};
pub use recovery::{FoundContainer, FoundState, Recovered, RecoveryError};
pub use state::{
    Check, Container, Drain, Executor, Framework, Health, Kill, KillCause, Owner, Phase, PullTold, Run,
    Snapshot, Stage, Task, Termination, Verdict, is_terminal,
};
