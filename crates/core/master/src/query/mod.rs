//! Answers to the reading calls, computed from a [`Snapshot`] off the master's thread.
//!
//! Every call has a form that returns the [`Response`] whole. The big ones (state, tasks, agents,
//! frameworks, executors) also come piece by piece: [`layout`] says which lists such an answer has and
//! [`View::items`] walks a list without copying what the snapshot holds, so that a driver encodes an
//! answer of any size with memory for one item. Mesos prints these lists even when they are empty,
//! which is the other reason why a driver needs to know them.

mod agents;
mod constraints;
mod executors;
mod frameworks;
mod maintenance;
mod operations;
mod process;
mod quota;
pub(crate) mod roles;
mod state;
mod tasks;
mod weights;

use mezzo_mesos::v1::master::{Response, response::Type};

use crate::state::Snapshot;

pub use constraints::ConstrainedAgents;
pub use process::{get_health, get_master, get_metrics, get_version};
pub use state::{Group, Item, Items, List, layout};

/// A snapshot and how to speak about its agents.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is looked at.
    pub snapshot: &'a Snapshot,
    /// See [`crate::Config::agent_url_path`]; without its slash it names the agent's process.
    pub agent_url_path: &'a str,
}

/// An answer with nothing but its type.
fn response(r#type: Type) -> Response {
    Response { r#type: Some(r#type.into()), ..Default::default() }
}

#[cfg(test)]
mod tests;
