//! What is told about services: failures, health, readiness, the queue.

use mezzo_time::Timestamp;

use crate::{InstanceId, PathId, RunSpec, TaskId};

/// The last task of a service that failed (rule 189).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    /// The service.
    pub run_spec: PathId,
    /// The task.
    pub task: TaskId,
    /// How it ended, as the kernel names it.
    pub state: String,
    /// In the words of who ended it; cut to 10,000 characters (rule 188).
    pub message: String,
    /// The host it ran on.
    pub host: String,
    /// The agent it ran on.
    pub agent_id: Option<String>,
    /// The version it ran.
    pub version: Timestamp,
    /// When.
    pub at: Timestamp,
}

/// What one health check says of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The instance.
    pub instance: InstanceId,
    /// The first success.
    pub first_success: Option<Timestamp>,
    /// The last success.
    pub last_success: Option<Timestamp>,
    /// The last failure.
    pub last_failure: Option<Timestamp>,
    /// In words.
    pub last_failure_cause: Option<String>,
    /// Failures since the last success.
    pub consecutive_failures: u32,
}

impl Health {
    /// A success later than the last failure (rule 143).
    pub fn is_alive(&self) -> bool {
        self.last_success.is_some_and(|success| self.last_failure.is_none_or(|failure| success > failure))
    }
}

/// What a readiness check says of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The check's name.
    pub name: String,
    /// The task.
    pub task: TaskId,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Its answer; 504 stands for none (rule 150).
    pub last_response: Option<HttpAnswer>,
}

/// An answer to a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its type; may be empty.
    pub content_type: String,
    /// Its body, cut.
    pub body: String,
}

/// Why an offer was not used, in the order in which reasons are looked for (rule 91).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the API's")]
pub enum NoMatch {
    UnfulfilledRole,
    UnfulfilledConstraint,
    NoCorrespondingReservationFound,
    AgentMaintenance,
    InsufficientCpus,
    InsufficientMemory,
    InsufficientDisk,
    InsufficientGpus,
    InsufficientPorts,
    DeclinedScarceResources,
}

impl NoMatch {
    /// All of them in the funnel's order.
    pub const ALL: [Self; 10] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::AgentMaintenance,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
        Self::DeclinedScarceResources,
    ];

    /// The name as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnfulfilledRole => "UnfulfilledRole",
            Self::UnfulfilledConstraint => "UnfulfilledConstraint",
            Self::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Self::AgentMaintenance => "AgentMaintenance",
            Self::InsufficientCpus => "InsufficientCpus",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::InsufficientGpus => "InsufficientGpus",
            Self::InsufficientPorts => "InsufficientPorts",
            Self::DeclinedScarceResources => "DeclinedScarceResources",
        }
    }
}

/// An offer that was looked at for a service and not used, with what it would have taken.
#[derive(Clone, Debug, PartialEq)]
pub struct UnusedOffer {
    /// The offer.
    pub offer: std::sync::Arc<mezzo_mesos::v1::Offer>,
    /// Why, in the funnel's order.
    pub reasons: Vec<NoMatch>,
    /// Wanted and free, in words, one per reason.
    pub details: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// One service's place in the launch queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueItem {
    /// The service.
    pub run_spec: RunSpec,
    /// The role of the waiting instances.
    pub role: String,
    /// How many wait.
    pub count: u32,
    /// Since when the oldest does.
    pub since: Timestamp,
    /// Secrets that its instances wait for.
    pub missing_secrets: Vec<String>,
    /// No launch before that time.
    pub delayed_until: Option<Timestamp>,
    /// Offers looked at.
    pub processed: u32,
    /// Offers not used.
    pub unused: u32,
    /// When one was last not used.
    pub last_unused_at: Option<Timestamp>,
    /// When one was last used.
    pub last_used_at: Option<Timestamp>,
    /// How many offers of this attempt fell to which reason.
    pub rejected: std::collections::BTreeMap<NoMatch, u32>,
    /// The last offer of each agent that was not used.
    pub last_unused: Vec<UnusedOffer>,
}
