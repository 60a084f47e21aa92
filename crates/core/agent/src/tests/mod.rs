//! Behaviour of the whole agent, told as what goes in and what comes out.

#![expect(deprecated, reason = "the older calls are part of what is tested")]

mod agents;
mod chaos;
mod checks;
mod command;
mod containers;
mod custom;
mod harness;
mod kill;
mod launch;
mod operations;
mod pods;
mod recovery;
mod sandbox;
mod updates;
