//! Everything that can wake the agent.

use std::sync::Arc;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId};
use mezzo_mesos::v1;
use mezzo_protocol::link::ToAgent;
use mezzo_time::Timestamp;

/// One SUBSCRIBE connection of an executor; minted by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One request that waits for a [`crate::Answer`]; minted by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One running check, minted by the core; results carry it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u64);

/// What happened. Calls have been decoded; nothing else about them has been checked.
#[derive(Debug)]
pub enum Input {
    /// A fresh link session to a master is up. The core registers after its back-off (rule 421).
    LinkUp,
    /// The connection broke; the session may be resumed.
    LinkDown,
    /// The session goes on; nothing was lost.
    LinkResumed,
    /// The master said something.
    FromMaster(Box<ToAgent>),
    /// An executor opened its event stream.
    ExecutorSubscribe {
        /// Events go here until [`Input::StreamClosed`] or [`crate::Effect::CloseStream`].
        stream: StreamId,
        /// Of type SUBSCRIBE. Answered by [`crate::Effect::Answer`]: `Ok` opens the stream.
        call: Box<v1::executor::Call>,
        /// To be answered.
        request: RequestId,
        /// Who asks; `None` where executors need not say it.
        claims: Option<ExecutorClaims>,
    },
    /// Any other executor call. Answered by [`crate::Effect::Answer`].
    ExecutorCall {
        /// To be answered.
        request: RequestId,
        /// Who asks; `None` where executors need not say it.
        claims: Option<ExecutorClaims>,
        /// Not of type SUBSCRIBE.
        call: Box<v1::executor::Call>,
    },
    /// An executor's event stream broke.
    StreamClosed(StreamId),
    /// A container has joined networks of its own; told before it is started, and again after a restart of
    /// the agent.
    Joined {
        /// Which.
        container: ContainerId,
        /// With the addresses it was given.
        networks: Vec<v1::NetworkInfo>,
    },
    /// An image that a container needs has come further; told at most every second or so.
    Pulling {
        /// Which.
        container: ContainerId,
        /// How far.
        pull: Box<Pull>,
    },
    /// A container runs.
    Started {
        /// Which.
        container: ContainerId,
        /// Process id of its first process, on the host.
        pid: u32,
    },
    /// A container could not be started; nothing of it is left running.
    LaunchFailed {
        /// Which.
        container: ContainerId,
        /// How far it came.
        stage: LaunchStage,
        /// Why: the whole message of the status.
        message: String,
    },
    /// A container ended, on its own or by request.
    Exited {
        /// Which.
        container: ContainerId,
        /// The wait status as waitpid gives it; `None` when nobody can know it any more.
        status: Option<i32>,
        /// A limit it ran into.
        limitation: Option<Limitation>,
    },
    /// A check ran once.
    Checked {
        /// Which.
        check: CheckId,
        /// How it went.
        outcome: CheckOutcome,
    },
    /// An operator or executor asks for something about containers. Answered by
    /// [`crate::Effect::Answer`], for waits when the container has ended.
    Operator {
        /// To be answered.
        request: RequestId,
        /// LAUNCH_, WAIT_, KILL_, REMOVE_ (NESTED_)CONTAINER, LAUNCH_NESTED_CONTAINER_SESSION.
        call: Box<v1::agent::Call>,
    },
    /// Share of the work directory's disk that is used, 0 to 1; asked for by [`crate::Effect::MeasureDisk`].
    DiskUsage(f64),
    /// Folders of runs (`.../executors/<id>/runs/<container>`) and of earlier agent ids that lie on the
    /// disk after a start, with the time they were last changed. Those that nothing here uses are
    /// collected as if they had ended then (rule 400).
    SandboxesFound(Vec<(Arc<str>, Timestamp)>),
    /// A sandbox was deleted, or had vanished.
    SandboxDeleted(Arc<str>),
    /// The agent shall leave for good: unregister, end executors, exit.
    Leave,
    /// [`crate::Agent::next_deadline`] has passed. Early or late is harmless.
    Timer,
}

/// Who an executor's token says it is (rule 451). That the token is genuine has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorClaims {
    /// Whose executor.
    pub framework: FrameworkId,
    /// Which.
    pub executor: ExecutorId,
    /// This run of it.
    pub container: ContainerId,
}

/// How far an image is that a container waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// As it was asked for.
    pub image: String,
    /// Packed bytes that are here.
    pub bytes: u64,
    /// Of these.
    pub bytes_total: u64,
    /// Layers that are unpacked.
    pub layers: usize,
    /// Of these; 0 until the registry has said it.
    pub layers_total: usize,
}

/// What a launch failed at; it decides how its tasks are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchStage {
    /// The sandbox could not be made or given to its user.
    Sandbox,
    /// Anything after that.
    Container,
}

/// A limit that ended a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Limitation {
    /// For the status message.
    pub message: String,
    /// REASON_CONTAINER_LIMITATION_MEMORY and its like.
    pub reason: v1::task_status::Reason,
    /// What was exceeded, with the peak use.
    pub resources: Vec<v1::Resource>,
}

/// How one run of a check went.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckOutcome {
    /// COMMAND: it ended with this exit code (128 + n for signal n).
    Exit(i32),
    /// HTTP: this status came back.
    Status(u32),
    /// TCP: whether the connection was made.
    Connected(bool),
    /// It took longer than its timeout.
    TimedOut,
    /// It could not run, or (HTTP) got no answer; why.
    Failed(String),
}
