//! A whole cluster in virtual time: the real cores of master and agents, and the sdk's decisions, over a
//! simulated network, disk, clock and machines.
//!
//! A [`Setup`] says what there is and what goes wrong; [`run`] plays it and gives an [`Outcome`]. Nothing
//! here knows the real time or draws from anything but the setup's seed, so the same setup gives the same
//! run, byte by byte. Checkers look on from outside, and the first thing that must never happen ends the
//! run as a [`Violation`]. [`Case`]s are small clusters drawn from a seed; a failing one is made smaller by
//! [`minimise()`] and kept in `regressions/`.
//!
//! What is played: links as frames of the real protocol, event streams and calls of schedulers, records
//! behind group commits, containers with supervisors that outlive their agent, clocks that jump. What is
//! not: HTTP and JSON, real processes, executors of frameworks' own, several masters.
//!
//! A task's life through this crate: `scheduler::offers` launches it, `master::streams` and `network` carry
//! the call, `master` steps the core, `agent::machine` runs its container, `scheduler::updates` hears of it,
//! and `checks::tasks` compares.

mod agent;
mod case;
mod checks;
mod clock;
mod event;
mod fault;
mod faults;
mod line;
mod load;
mod master;
mod minimise;
mod network;
mod operator;
mod outcome;
mod plant;
mod queue;
mod random;
mod scheduler;
mod services;
mod setup;
mod spoil;
mod why;
mod world;

#[cfg(test)]
mod tests;

pub use case::Case;
pub use fault::{Direction, Fault, FaultKind, Victim};
pub use load::Load;
pub use minimise::{minimise, minimise_services};
pub use outcome::{Blind, LastLines, Observer, Outcome, Sample, ServicesOutcome, TaskOutcome, Violation};
pub use plant::Plant;
pub use services::{
    case::ServicesCase,
    setup::{AppSetup, Order, OrderKind, Placement, Quality, ServicesSetup},
};
pub use setup::{
    Amounts, Behaviour, FrameworkSetup, Latency, MasterSetup, NetworkSetup, NodeGroup, RoleSetup, Setup,
    TaskPlan,
};
pub use world::{World, run, run_watched};
