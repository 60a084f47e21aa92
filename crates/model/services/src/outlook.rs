//! What a plan would do to instances, and where new ones would go.

use std::collections::BTreeMap;

use crate::PathId;

/// An agent on which an instance finds no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlace {
    /// Its host name.
    pub host: String,
    /// What is wanted and free there, and what would do.
    pub why: String,
}

/// What a plan would do to the instances of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The service.
    pub run_spec: PathId,
    /// How many instances are to be started.
    pub starts: u32,
    /// How many end.
    pub stops: u32,
    /// Of those to be started, how many would go to which host.
    pub places: BTreeMap<String, u32>,
    /// Of those to be started, how many would wait.
    pub waiting: u32,
    /// What the first that waits lacks, by agent.
    pub lacks: Vec<NoPlace>,
    /// Secrets that it needs and that do not exist: its instances wait for them.
    pub missing_secrets: Vec<String>,
    /// Single changes of the definition that would give all of them a place, the smallest of each kind.
    pub changes: Vec<String>,
}
