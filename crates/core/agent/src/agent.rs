//! The owner of the agent's state: dispatches inputs to one handler per event.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use mezzo_ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{ToMaster, to_agent, to_master},
    records::{AgentRecord, agent_record::Record},
};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    config::Config,
    effect::{Answer, Effect},
    input::{CheckId, Input, RequestId, StreamId},
    link::Link,
    operations::OperationStream,
    state::{Container, Executor, Framework, Snapshot, Task},
    timers::{Timer, Timers},
    updates::UpdateStream,
};

/// The agent. See the crate's page.
pub struct Agent {
    /// What reads can see.
    pub(crate) state: Snapshot,
    pub(crate) timers: Timers,
    /// Updates on their way to the scheduler, by task. A stream outlives its executor (rule 220).
    pub(crate) streams: BTreeMap<(FrameworkId, TaskId), UpdateStream>,
    pub(crate) operation_streams: BTreeMap<Uuid, OperationStream>,
    /// Whose check a result is of.
    pub(crate) checks: BTreeMap<CheckId, (FrameworkId, ExecutorId, TaskId)>,
    pub(crate) next_check: u64,
    /// Whose stream it is.
    pub(crate) subscribers: BTreeMap<StreamId, (FrameworkId, ExecutorId)>,
    pub(crate) link: Link,
    /// Offers made under another version are outdated (rule 423).
    pub(crate) resource_version: Uuid,
    /// Folders to be deleted, with the moment their age counts from.
    pub(crate) gc: BTreeMap<Arc<str>, Timestamp>,
    /// Whether the disk is being watched for the folders above.
    pub(crate) disk_watched: bool,
    /// The log is being read back: frameworks end only where it says so.
    pub(crate) replaying: bool,
    /// Set once the agent only waits for its executors to end: exit status and reason.
    pub(crate) leaving: Option<(i32, String)>,
    /// Dispatched while stepping; taken by the driver.
    pub(crate) effects: Vec<Effect>,
}

/// What every handler gets beside the agent itself: the time and a source of randomness.
pub(crate) struct Moment<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn Rng,
}

impl Moment<'_> {
    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        Uuid::from_random(bytes)
    }
}

impl Agent {
    /// An agent without a past. `now` becomes its start time.
    pub fn new(config: Config, now: Timestamp, rng: &mut dyn Rng) -> Self {
        let mut moment = Moment { now, rng };
        let info = Arc::new(config.info.clone());
        let total = Arc::new(config.info.resources.clone());
        let gc_age_max = crate::gc::age_max(&config, 0.0).as_secs_f64();
        let state = Snapshot {
            config: Arc::new(config),
            info,
            id: None,
            started: now,
            master: None,
            registered: false,
            total,
            drain: None,
            frameworks: BTreeMap::new(),
            completed_frameworks: VecDeque::new(),
            operations: BTreeMap::new(),
            containers: BTreeMap::new(),
            counters: Default::default(),
            gc_pending: 0,
            gc_age_max,
        };
        Self {
            state,
            timers: Timers::default(),
            streams: BTreeMap::new(),
            operation_streams: BTreeMap::new(),
            checks: BTreeMap::new(),
            next_check: 1,
            subscribers: BTreeMap::new(),
            link: Link::default(),
            resource_version: moment.uuid(),
            gc: BTreeMap::new(),
            disk_watched: false,
            replaying: false,
            leaving: None,
            effects: Vec::new(),
        }
    }

    /// Takes one input and returns what has to be done, in order.
    pub fn step(&mut self, now: Timestamp, rng: &mut dyn Rng, input: Input) -> Vec<Effect> {
        let m = &mut Moment { now, rng };
        match input {
            Input::LinkUp => self.on_link_up(m),
            Input::LinkDown => self.on_link_down(),
            Input::LinkResumed => self.on_link_resumed(m),
            Input::FromMaster(message) => {
                if let Some(message) = message.message {
                    self.on_master_message(m, message);
                }
            }
            Input::ExecutorSubscribe { stream, call, request, claims } => {
                self.on_subscribe(m, stream, *call, request, claims)
            }
            Input::ExecutorCall { request, call, claims } => self.on_executor_call(m, request, *call, claims),
            Input::StreamClosed(stream) => self.on_stream_closed(stream),
            Input::Joined { container, networks } => self.on_joined(&container, networks),
            Input::Pulling { container, pull } => self.on_pulling(m, &container, &pull),
            Input::Started { container, pid } => self.on_started(m, &container, pid),
            Input::LaunchFailed { container, stage, message } => {
                self.on_launch_failed(m, &container, stage, message);
            }
            Input::Exited { container, status, limitation } => {
                self.on_exited(m, &container, crate::state::Termination { status, limitation });
            }
            Input::Checked { check, outcome } => self.on_checked(m, check, outcome),
            Input::Operator { request, call } => self.on_operator(request, *call),
            Input::DiskUsage(share) => self.on_disk_usage(m, share),
            Input::SandboxesFound(folders) => self.on_sandboxes_found(m, folders),
            Input::SandboxDeleted(path) => self.on_sandbox_deleted(&path),
            Input::Leave => self.on_leave(m),
            Input::Timer => {}
        }
        while let Some((at, timer)) = self.timers.take_due(now) {
            self.on_timer(m, at, timer);
        }
        if self.state.drain.is_some() {
            self.end_drain_if_empty();
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Timer`] is next useful.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What is known at this moment, without copying it.
    pub fn state(&self) -> &Snapshot {
        &self.state
    }

    /// What reads are answered from: cheap to take, and never changes afterwards.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    fn on_master_message(&mut self, m: &mut Moment<'_>, message: to_agent::Message) {
        use to_agent::Message as M;
        match message {
            M::Registered(registered) => self.on_registered(m, *registered),
            M::Shutdown(shutdown) => self.on_shutdown(m, shutdown.message),
            M::Run(run) => self.on_run(m, *run),
            M::Kill(kill) => self.on_kill(m, kill),
            M::ShutdownExecutor(call) => self.on_shutdown_executor(m, call),
            M::ShutdownFramework(call) => self.on_shutdown_framework(m, call),
            M::UpdateFramework(update) => self.on_update_framework(update),
            M::Acknowledge(ack) => self.on_acknowledge(m, ack),
            M::AcknowledgeOperation(ack) => self.on_acknowledge_operation(ack),
            M::FrameworkMessage(message) => self.on_framework_message(message),
            M::ApplyOperation(apply) => self.on_apply_operation(m, *apply),
            M::ReconcileTasks(list) => self.on_reconcile_tasks(m, list),
            M::ReconcileOperations(list) => self.on_reconcile_operations(list),
            M::Drain(drain) => self.on_drain(m, drain),
            M::Ping(ping) => self.on_ping(m, ping),
        }
    }

    fn on_timer(&mut self, m: &mut Moment<'_>, at: Timestamp, timer: Timer) {
        match timer {
            Timer::Register => self.register(m),
            Timer::PingTimeout => self.on_ping_timeout(at),
            Timer::RecoveryOver => self.on_recovery_over(m),
            Timer::RetryUpdate(framework, task) => self.on_update_retry(m, at, framework, task),
            Timer::RetryOperation(uuid) => self.on_operation_retry(m, at, uuid),
            Timer::ExecutorRegistration(framework, executor, container) => {
                self.on_registration_timeout(&framework, &executor, &container);
            }
            Timer::ExecutorShutdown(framework, executor, container) => {
                self.on_shutdown_timeout(&framework, &executor, &container);
            }
            Timer::ExecutorHeartbeat(framework, executor, container) => {
                self.on_heartbeat_due(m, framework, executor, container);
            }
            Timer::Escalate(framework, executor, task) => self.on_escalate(m, at, framework, executor, task),
            Timer::TimeUp(framework, executor, task) => self.on_time_up(m, &framework, &executor, &task),
            Timer::MeasureDisk => self.effects.push(Effect::MeasureDisk),
            Timer::Collect(path) => self.on_collect(m, path),
        }
    }

    // What many handlers need.

    pub(crate) fn persist(&mut self, record: Record) {
        self.effects.push(Effect::Persist(Box::new(AgentRecord { record: Some(record) })));
    }

    pub(crate) fn tell(&mut self, message: to_master::Message) {
        self.effects.push(Effect::ToMaster(Box::new(ToMaster { message: Some(message) })));
    }

    pub(crate) fn answer(&mut self, request: RequestId, answer: Answer) {
        self.effects.push(Effect::Answer { request, answer });
    }

    /// The id, or an empty one before the first registration.
    pub(crate) fn id(&self) -> AgentId {
        self.state.id.clone().unwrap_or_else(|| AgentId::from(""))
    }

    pub(crate) fn framework(&self, framework: &FrameworkId) -> Option<&Framework> {
        self.state.frameworks.get(framework).map(|f| &**f)
    }

    pub(crate) fn framework_mut(&mut self, framework: &FrameworkId) -> Option<&mut Framework> {
        self.state.frameworks.get_mut(framework).map(Arc::make_mut)
    }

    pub(crate) fn executor(&self, framework: &FrameworkId, executor: &ExecutorId) -> Option<&Executor> {
        self.framework(framework)?.executors.get(executor).map(|e| &**e)
    }

    pub(crate) fn executor_mut(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&mut Executor> {
        self.framework_mut(framework)?.executors.get_mut(executor).map(Arc::make_mut)
    }

    pub(crate) fn task(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        task: &TaskId,
    ) -> Option<&Task> {
        self.executor(framework, executor)?.tasks.get(task)
    }

    pub(crate) fn task_mut(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        task: &TaskId,
    ) -> Option<&mut Task> {
        self.executor_mut(framework, executor)?.tasks.get_mut(task)
    }

    pub(crate) fn container_mut(&mut self, container: &ContainerId) -> Option<&mut Container> {
        self.state.containers.get_mut(container).map(Arc::make_mut)
    }

    /// Which executor has the task, whatever its state.
    pub(crate) fn executor_of(&self, framework: &FrameworkId, task: &TaskId) -> Option<ExecutorId> {
        let framework = self.framework(framework)?;
        // The executor of a command task has the task's id, so the common case needs no search.
        let same = framework.executors.get(task.as_str()).filter(|e| e.tasks.contains_key(task));
        same.or_else(|| framework.executors.values().find(|e| e.tasks.contains_key(task)))
            .map(|executor| executor.id.clone())
    }
}

/// The nested message of an id whose text is `parent.child`.
pub fn container_proto(id: &ContainerId) -> v1::ContainerId {
    let mut nested: Option<v1::ContainerId> = None;
    for part in id.split('.') {
        nested = Some(v1::ContainerId { value: part.to_owned(), parent: nested.map(Box::new) });
    }
    nested.unwrap_or_default()
}

/// The text of a nested message, outermost first.
pub fn container_text(id: &v1::ContainerId) -> ContainerId {
    let mut parts = vec![id.value.as_str()];
    let mut parent = id.parent.as_deref();
    while let Some(next) = parent {
        parts.push(&next.value);
        parent = next.parent.as_deref();
    }
    parts.reverse();
    ContainerId::from(parts.join("."))
}
