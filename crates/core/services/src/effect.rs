//! What the driver is to do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_mesos::v1;
use mezzo_services_model::{DeploymentId, Event, HttpScheme, InstanceId, PathId, Plan};

use crate::{ProbeId, Record, RequestId};

/// Why a request is refused; nothing has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Other deployments touch the same services (rule 20).
    Locked(Vec<DeploymentId>),
    /// Too many deployments run (rule 24).
    TooManyDeployments,
    /// The definitions contradict each other: paths and what is wrong there (rule 243).
    Invalid(BTreeMap<String, Vec<String>>),
    /// No service port is free (rule 213).
    NoServicePort,
    /// Services need a secret that is to be removed.
    SecretUsed(Vec<PathId>),
    /// No more secrets are kept, in words.
    TooManySecrets(String),
    /// No such thing, in the API's words.
    Unknown(String),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The plan was accepted, or with `dry_run` only made.
    Planned(Arc<Plan>),
    /// Done, with nothing to tell.
    Done,
    /// The tree has changed since it was read: read it again.
    Moved,
    /// Refused.
    Refused(Refusal),
}

/// How a probe is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// A GET.
    Http {
        /// How.
        scheme: HttpScheme,
        /// What is asked for.
        path: String,
    },
    /// A connection.
    Tcp,
}

/// A check that the services daemon makes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Comes back with the outcome.
    pub id: ProbeId,
    /// Of whom; none: of nobody in particular.
    pub instance: Option<InstanceId>,
    /// The host or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What.
    pub kind: ProbeKind,
    /// How long it may take.
    pub timeout: Duration,
}

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make these durable together; what follows waits for it.
    Persist(Vec<Record>),
    /// Say this to the master.
    Call(Box<v1::scheduler::Call>),
    /// Answer a client.
    Answer(RequestId, Answer),
    /// Tell subscribers.
    Publish(Event),
    /// Make a probe.
    Probe(Probe),
}
