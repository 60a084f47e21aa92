//! What the agent knows, as reads see it.
//!
//! Parts that change seldom are shared, so [`crate::Agent::snapshot`] costs a few counters and a
//! change under an outstanding snapshot copies only the executor that changes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use mezzo_ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::records::ExecutorKind;
use mezzo_time::Timestamp;

use crate::{
    config::Config,
    input::{CheckId, RequestId, StreamId},
    metrics::Counters,
};

/// The whole state that reads are answered from.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// As given at start.
    pub config: Arc<Config>,
    /// With the id, once there is one. `resources` are the configured ones.
    pub info: Arc<v1::AgentInfo>,
    /// Given by the first master.
    pub id: Option<AgentId>,
    /// When this process began.
    pub started: Timestamp,
    /// The master of the current registration.
    pub master: Option<Arc<v1::MasterInfo>>,
    /// Whether that master has accepted this agent and is there.
    pub registered: bool,
    /// Configured resources with reservations and volumes applied, post-refinement form.
    pub total: Arc<Vec<v1::Resource>>,
    /// Present while draining.
    pub drain: Option<Drain>,
    /// With at least one executor.
    pub frameworks: BTreeMap<FrameworkId, Arc<Framework>>,
    /// Oldest first.
    pub completed_frameworks: VecDeque<Arc<Framework>>,
    /// Not yet acknowledged.
    pub operations: BTreeMap<Uuid, Arc<v1::Operation>>,
    /// All containers that run or whose end is still of interest.
    pub containers: BTreeMap<ContainerId, Arc<Container>>,
    /// For metrics.
    pub counters: Counters,
    /// Paths that wait for garbage collection.
    pub gc_pending: usize,
    /// Their age at deletion, after the last measurement of the disk, in seconds.
    pub gc_age_max: f64,
}

/// A drain in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// From the master.
    pub config: v1::DrainConfig,
    /// When it arrived.
    pub since: Timestamp,
}

/// A framework with executors here, or one that had.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Same as in `info`.
    pub id: FrameworkId,
    /// The newest the master sent.
    pub info: Arc<v1::FrameworkInfo>,
    /// By id.
    pub executors: BTreeMap<ExecutorId, Arc<Executor>>,
    /// Oldest first.
    pub completed_executors: VecDeque<Arc<Executor>>,
    /// It is being shut down; nothing is launched for it any more.
    pub terminating: bool,
}

impl Framework {
    /// Whether executors and tasks survive the agent (rule 410).
    pub fn checkpoint(&self) -> bool {
        self.info.checkpoint.unwrap_or(false)
    }

    /// Whether it announced this capability.
    pub fn has_capability(&self, capability: v1::framework_info::capability::Type) -> bool {
        self.info.capabilities.iter().any(|c| c.r#type == Some(capability as i32))
    }

    /// Whether it knows the finer task states (DROPPED, GONE ...).
    pub fn partition_aware(&self) -> bool {
        self.has_capability(v1::framework_info::capability::Type::PartitionAware)
    }
}

/// How far an executor has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its container is being started, or it has not subscribed yet.
    Registering,
    /// It takes tasks.
    Running,
    /// It was told to end.
    Terminating,
    /// Its container has ended; it stays until its updates are acknowledged.
    Terminated,
}

/// An executor: a process of a framework, or the agent itself for command tasks and task groups.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Same as in `info`.
    pub id: ExecutorId,
    /// Whose it is.
    pub framework: FrameworkId,
    /// For command tasks: what Mesos would have made up.
    pub info: Arc<v1::ExecutorInfo>,
    /// Who plays it.
    pub kind: ExecutorKind,
    /// Its container.
    pub container: ContainerId,
    /// Its sandbox on the host.
    pub directory: Arc<str>,
    /// How far it has come.
    pub phase: Phase,
    /// Of its first process, once it runs.
    pub pid: Option<u32>,
    /// Its event stream, while one is open.
    pub stream: Option<StreamId>,
    /// When its launch was decided.
    pub since: Timestamp,
    /// Not terminal, or terminal and not acknowledged.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Ids of tasks that wait for the executor to subscribe, in order of arrival.
    pub queue: VecDeque<TaskId>,
    /// Terminal and acknowledged; oldest first.
    pub completed_tasks: VecDeque<Arc<Task>>,
    /// Why the agent itself ended it, for tasks that die with it.
    pub verdict: Option<Verdict>,
    /// Its sandbox could not be made: for Mesos there never was such an executor, so it leaves no history.
    pub unmade: bool,
}

/// The state and reason tasks get when their executor is ended by the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Before the substitution for frameworks that are not partition aware.
    pub state: v1::TaskState,
    /// For their last status.
    pub reason: v1::task_status::Reason,
    /// For their last status.
    pub message: String,
}

/// A task on this agent.
#[derive(Clone, Debug)]
pub struct Task {
    /// As launched.
    pub info: Arc<v1::TaskInfo>,
    /// Tasks launched together share the first one's id.
    pub group: Option<TaskId>,
    /// Its own container: a child for tasks in a group, else the executor's.
    pub container: ContainerId,
    /// Waits in the agent for its executor.
    pub queued: bool,
    /// The newest known.
    pub state: v1::TaskState,
    /// Oldest first; equal states in a row replace each other (rule 218).
    pub statuses: Vec<Arc<v1::TaskStatus>>,
    /// State and uuid of the update that was last sent to the master.
    pub forwarded: Option<(v1::TaskState, Arc<[u8]>)>,
    /// Present when the agent plays the executor.
    pub run: Run,
}

impl Task {
    /// A task before its first update.
    pub fn staging(info: Arc<v1::TaskInfo>, group: Option<TaskId>, container: ContainerId) -> Self {
        Self {
            info,
            group,
            container,
            queued: false,
            state: v1::TaskState::TaskStaging,
            statuses: Vec::new(),
            forwarded: None,
            run: Run::default(),
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_terminal(&self) -> bool {
        is_terminal(self.state)
    }
}

/// Whether a task in this state is over.
pub fn is_terminal(state: v1::TaskState) -> bool {
    use v1::TaskState as S;
    matches!(
        state,
        S::TaskFinished
            | S::TaskFailed
            | S::TaskKilled
            | S::TaskLost
            | S::TaskError
            | S::TaskDropped
            | S::TaskGone
            | S::TaskGoneByOperator
    )
}

/// What the agent remembers of a task whose executor it plays itself.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Its container was asked for.
    pub launched: bool,
    /// When its scheduler was told last of the image that it waits for.
    pub pull: Option<PullTold>,
    /// Of its first process.
    pub pid: Option<u32>,
    /// TASK_RUNNING was reported.
    pub announced: bool,
    /// An end that came before the rest of the group had started.
    pub early_end: Option<Termination>,
    /// A kill in progress.
    pub kill: Option<Kill>,
    /// Its health check.
    pub health: Option<Health>,
    /// Its check.
    pub check: Option<Check>,
}

/// The last word to a scheduler about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullTold {
    /// When, or when the pull was heard of first.
    pub at: Timestamp,
    /// How long after that the next one is due.
    pub wait: Duration,
}

/// A kill in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// When SIGTERM was sent.
    pub since: Timestamp,
    /// When SIGKILL follows, or is repeated.
    pub deadline: Timestamp,
    /// Why.
    pub cause: KillCause,
}

/// Why a task is killed, which decides how its end is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillCause {
    /// Asked for by the scheduler, an operator, or the end of its group.
    Request,
    /// Its health check failed too often (rule 306).
    Unhealthy,
    /// max_completion_time passed (rule 305).
    TimeUp,
}

/// A running health check.
#[derive(Clone, Debug)]
pub struct Health {
    /// Its handle.
    pub check: CheckId,
    /// Failures before this moment do not count until the first success (rule 340).
    pub grace_until: Timestamp,
    /// In a row.
    pub failures: u32,
    /// This many end the task.
    pub failures_max: u32,
    /// Whether it ever was healthy.
    pub succeeded: bool,
}

/// A running check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its handle.
    pub check: CheckId,
    /// As last reported.
    pub last: v1::CheckStatusInfo,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Termination {
    /// As waitpid gives it; `None` when nobody knows.
    pub status: Option<i32>,
    /// A limit it ran into.
    pub limitation: Option<crate::input::Limitation>,
}

/// A container of whatever kind.
#[derive(Clone, Debug)]
pub struct Container {
    /// What it is for.
    pub owner: Owner,
    /// On the host.
    pub sandbox: Arc<str>,
    /// It runs as this user.
    pub user: Option<String>,
    /// How far it has come.
    pub stage: Stage,
    /// Requests to be answered when it has ended, and whether they used the older form of the call.
    pub waiters: Vec<(RequestId, bool)>,
    /// Requests to be answered when it has started.
    pub launchers: Vec<RequestId>,
    /// It lives as long as one client's connection (DEBUG class), which may be joined by others.
    pub session: bool,
    /// Its requests, for the sums of limits and for reads.
    pub resources: Arc<Vec<v1::Resource>>,
    /// The networks it has joined; none when it shares those of the container around it, or the host's.
    pub networks: Arc<Vec<v1::NetworkInfo>>,
}

/// What a container is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The container of an executor; also that of a command task.
    Executor(FrameworkId, ExecutorId),
    /// A task of a task group.
    Task(FrameworkId, ExecutorId, TaskId),
    /// A child made through the API, below a container of some framework or standalone one.
    Nested,
    /// Made by an operator.
    Standalone,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Asked for.
    Starting,
    /// With the pid of its first process.
    Running(u32),
    /// It has ended, and is remembered for those who wait.
    Ended(Termination),
}
