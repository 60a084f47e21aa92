//! What the machine is told.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_mesos::v1;
use mezzo_services_model::{DeploymentId, Group, HttpAnswer, InstanceId, PathId, SealedSecret, SecretName};
use mezzo_time::Timestamp;

/// A request of a client that waits for its [`crate::Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A probe that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// An answer by HTTP.
    Answered(HttpAnswer),
    /// A connection.
    Connected,
    /// Nothing of the kind, in words.
    Failed(String),
}

/// A new tree of definitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The version of the tree that `target` was made from.
    pub base: Timestamp,
    /// All definitions as they are to be. What changed has a version of its own making: the machine gives it another.
    pub target: Arc<Group>,
    /// The group that events name.
    pub group: PathId,
    /// Replace all instances of these although their definitions stay (restart).
    pub restart: BTreeSet<PathId>,
    /// Kill these first when the number of instances goes down (kill and scale).
    pub kill: BTreeSet<InstanceId>,
    /// Cancel deployments that are in the way.
    pub force: bool,
    /// Say the plan and change nothing.
    pub dry_run: bool,
    /// Who asks, where that is known: it is remembered with the versions that the change makes.
    pub principal: Option<String>,
}

/// What ends without a change of definitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// Which.
    pub instances: BTreeSet<InstanceId>,
    /// Give up their volumes and make new instances in their place (rule 184).
    pub wipe: bool,
}

/// What a client wants changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Other definitions.
    Change(Box<Change>),
    /// The end of instances.
    Kill(Kill),
    /// A deployment back to where it began (rule 40), or with `force` only its end (rule 44).
    CancelDeployment {
        /// Which.
        id: DeploymentId,
        /// End it and leave everything as it is.
        force: bool,
    },
    /// A secret, which takes the place of one of the same name. Instances that run keep what they were started with.
    SetSecret(SealedSecret),
    /// No such secret any more.
    RemoveSecret {
        /// Which.
        name: SecretName,
        /// Although services need it: those of their instances that come later wait.
        force: bool,
    },
    /// No more delay for a service (rule 86).
    ResetDelay {
        /// Which.
        run_spec: PathId,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The deadline has passed.
    Timer,
    /// A client asks.
    Request(RequestId, Request),
    /// The master knows us by this id.
    Subscribed {
        /// The framework's id.
        framework: v1::FrameworkId,
        /// The master's host name.
        master: String,
        /// Its region, for offers of others (rule 122).
        region: Option<String>,
    },
    /// The master is away; offers are void.
    Disconnected,
    /// Resources that may be used.
    Offers(Vec<Arc<v1::Offer>>),
    /// An offer that is gone.
    Rescinded(v1::OfferId),
    /// News of a task.
    Update(Box<v1::TaskStatus>),
    /// A word of a custom executor.
    Message {
        /// Who.
        executor: v1::ExecutorId,
        /// Where.
        agent: v1::AgentId,
        /// What.
        data: Vec<u8>,
    },
    /// A call that was asked for did not get through; an accept then has launched nothing (rule 100).
    CallFailed(Box<v1::scheduler::Call>),
    /// Nobody knows whether a call that was asked for got through: what an accept has launched is heard of, or missed after a
    /// while.
    CallLost(Box<v1::scheduler::Call>),
    /// What a probe found.
    Probed(ProbeId, ProbeOutcome),
}
