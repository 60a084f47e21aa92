//! A restarted agent: its log is replayed, then each container that is still there or has ended
//! meanwhile is taken over without touching it (rules 412 to 422).

use std::{collections::BTreeMap, sync::Arc};

use mezzo_ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::records::{
    AgentRecord, ExecutorKind, ExecutorRecord, TaskRecord, UpdateRecord, agent_record::Record,
};
use mezzo_resources::{Form, Resources};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    agent::{Agent, Moment, container_text},
    command,
    config::{Config, RecoverMode},
    effect::Effect,
    reconfigure, sandbox,
    state::{Container, Drain, Executor, Framework, Kill, Owner, Phase, Stage, Task, Termination, Verdict},
    timers::Timer,
    updates::{UpdateStream, record, status_is_terminal, substitute},
};

/// A container of the agent's earlier life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundContainer {
    /// Children as `parent.child`.
    pub id: ContainerId,
    /// What became of it.
    pub state: FoundState,
}

/// What became of a container while the agent was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// It runs; this is its first process.
    Running(u32),
    /// It has ended; the wait status if its supervisor could write it down.
    Ended(Option<i32>),
}

/// A recovered agent and what it has to do first.
pub struct Recovered {
    /// Ready to be stepped.
    pub agent: Agent,
    /// To be performed before those of any step.
    pub effects: Vec<Effect>,
}

/// The agent must not start as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Rule 417.
    #[error(
        "The agent was started with a description that does not fit its earlier one: {0}. Restore the \
         earlier settings, use --reconfiguration_policy=additive if things were only added, or move the \
         work directory away to start as a new agent"
    )]
    Incompatible(String),
}

impl Agent {
    /// Continues the life of the agent that wrote these records, in order.
    pub fn recover(
        config: Config,
        records: impl IntoIterator<Item = AgentRecord>,
        containers: Vec<FoundContainer>,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> Result<Recovered, RecoveryError> {
        let mut agent = Self::new(config, now, &mut *rng);
        let m = &mut Moment { now, rng };
        let mut identity: Option<(v1::AgentInfo, String)> = None;
        for entry in records {
            match entry.record {
                Some(Record::Identity(record)) => {
                    let Some(info) = record.info else { continue };
                    agent.state.id = info.id.as_ref().map(|id| AgentId::from(id.value.as_str()));
                    identity = Some((info, record.boot_id));
                }
                Some(record) => agent.replay(m, record),
                None => {}
            }
        }
        // What replaying would have done was done in the earlier life.
        agent.effects.clear();
        if let Some((old, boot)) = identity {
            let rebooted = boot != agent.state.config.boot_id;
            match reconfigure::compare(
                agent.state.config.reconfiguration_policy,
                &old,
                &agent.state.config.info,
            ) {
                Ok(changed) => agent.keep_identity(old, changed, rebooted),
                Err(_) if rebooted => return Ok(agent.start_afresh(m, containers)),
                Err(reason) => return Err(RecoveryError::Incompatible(reason.to_string())),
            }
        }
        agent.adopt_all(m, containers);
        if agent.state.config.recover == RecoverMode::Cleanup {
            agent.leave(m, 0, "All executors of the earlier life were shut down".into());
        }
        let effects = std::mem::take(&mut agent.effects);
        Ok(Recovered { agent, effects })
    }

    /// The same agent, perhaps with more resources than before.
    fn keep_identity(&mut self, old: v1::AgentInfo, changed: bool, rebooted: bool) {
        self.link.info_changed = changed;
        if changed {
            let read = |list: &[v1::Resource]| Resources::from_proto(list).unwrap_or_default();
            let mut more = read(&self.state.config.info.resources);
            more.subtract(&read(&old.resources));
            let mut total = read(&self.state.total);
            total += &more;
            self.state.total = Arc::new(total.to_proto(Form::PostRefinement));
        }
        let mut info = self.state.config.info.clone();
        info.id = old.id;
        self.state.info = Arc::new(info);
        if rebooted && !changed {
            self.persist(Record::Identity(mezzo_protocol::records::AgentIdentity {
                info: Some((*self.state.info).clone()),
                boot_id: self.state.config.boot_id.clone(),
            }));
        }
    }

    /// After a reboot an agent with another description is another agent (rule 417).
    fn start_afresh(mut self, m: &mut Moment<'_>, containers: Vec<FoundContainer>) -> Recovered {
        let root = format!("{}/{}", self.state.config.sandbox_root, self.id());
        let config = (*self.state.config).clone();
        let mut agent = Self::new(config, m.now, &mut *m.rng);
        agent.collect_later(m, root.into());
        for found in containers {
            agent.discard(&found);
        }
        self.effects.clear();
        let effects = std::mem::take(&mut agent.effects);
        Recovered { agent, effects }
    }

    fn replay(&mut self, m: &mut Moment<'_>, entry: Record) {
        match entry {
            Record::Identity(_) => {}
            Record::Framework(record) => {
                let Some(info) = record.info else { return };
                let Some(id) = info.id.as_ref().map(|id| FrameworkId::from(id.value.as_str())) else {
                    return;
                };
                match self.framework_mut(&id) {
                    Some(framework) => framework.info = Arc::new(info),
                    None => self.ensure_framework(&id, info),
                }
            }
            Record::FrameworkEnded(record) => {
                let Some(id) = record.framework_id else { return };
                let id = FrameworkId::from(id.value);
                // Whatever the log still has of it ended with it.
                let executors: Vec<ExecutorId> =
                    self.framework(&id).map(|f| f.executors.keys().cloned().collect()).unwrap_or_default();
                for executor in executors {
                    self.replay_executor_ended(m, &id, &executor, true);
                }
                if self.framework(&id).is_some() {
                    self.complete_framework(m, &id);
                }
                self.streams.retain(|(framework, _), _| *framework != id);
            }
            Record::Executor(record) => self.replay_executor(record),
            Record::Task(record) => self.replay_task(m, record),
            Record::Update(record) => self.replay_update(m, record),
            Record::Acknowledged(record) => {
                let (Some(framework), Some(task)) = (record.framework_id, record.task_id) else { return };
                let ack = mezzo_protocol::link::Acknowledge {
                    framework_id: Some(framework),
                    task_id: Some(task),
                    uuid: record.uuid,
                };
                self.on_acknowledge(m, ack);
            }
            Record::ExecutorEnded(record) => {
                let (Some(framework), Some(executor)) = (record.framework_id, record.executor_id) else {
                    return;
                };
                let framework = FrameworkId::from(framework.value);
                self.replay_executor_ended(m, &framework, &ExecutorId::from(executor.value), false);
            }
            Record::Resources(record) => self.state.total = Arc::new(record.resources),
            Record::Operation(record) => {
                let Some(operation) = record.operation else { return };
                if let Some(uuid) = Uuid::from_slice(&operation.uuid.value) {
                    self.state.operations.insert(uuid, Arc::new(operation));
                }
            }
            Record::OperationAcknowledged(record) => {
                if let Some(uuid) = Uuid::from_slice(&record.operation_uuid) {
                    self.state.operations.remove(&uuid);
                }
            }
            Record::Drain(config) => self.state.drain = Some(Drain { config, since: m.now }),
            Record::DrainEnded(_) => self.state.drain = None,
            Record::Standalone(record) => {
                let Some(id) = record.container_id.as_ref().map(container_text) else { return };
                self.insert_container(id, Owner::Standalone, record.directory.into());
            }
            Record::StandaloneRemoved(record) => {
                if let Some(id) = record.container_id.as_ref().map(container_text) {
                    self.forget_container(&id);
                }
            }
            Record::SandboxDeleted(record) => self.replay_deleted(&record.directory),
            Record::Kill(record) => {
                let (Some(framework), Some(executor), Some(task)) =
                    (record.framework_id, record.executor_id, record.task_id)
                else {
                    return;
                };
                let at = |time: Option<v1::TimeInfo>| {
                    time.map_or(m.now, |time| Timestamp::from_nanos(time.nanoseconds))
                };
                let kill = Kill {
                    since: at(record.since),
                    deadline: at(record.deadline),
                    cause: crate::kill::cause(record.cause),
                };
                let (framework, executor) =
                    (FrameworkId::from(framework.value), ExecutorId::from(executor.value));
                if let Some(task) = self.task_mut(&framework, &executor, &TaskId::from(task.value)) {
                    task.run.kill = Some(kill);
                }
            }
        }
    }

    fn insert_container(&mut self, id: ContainerId, owner: Owner, sandbox: Arc<str>) {
        let container = Container {
            owner,
            sandbox,
            user: None,
            stage: Stage::Starting,
            waiters: Vec::new(),
            launchers: Vec::new(),
            resources: Arc::default(),
        };
        self.state.containers.insert(id, Arc::new(container));
    }

    fn replay_executor(&mut self, record: ExecutorRecord) {
        let kind = record.kind();
        let (Some(framework), Some(info), Some(container)) =
            (record.framework_id, record.info, record.container_id)
        else {
            return;
        };
        let framework = FrameworkId::from(framework.value);
        let id = ExecutorId::from(info.executor_id.value.as_str());
        let since = record.started.map_or(Timestamp::ZERO, |t| Timestamp::from_nanos(t.nanoseconds));
        let executor = Executor {
            id,
            framework,
            info: Arc::new(info),
            kind,
            container: container_text(&container),
            directory: record.directory.into(),
            phase: Phase::Registering,
            pid: None,
            stream: None,
            since,
            tasks: BTreeMap::new(),
            queue: Default::default(),
            completed_tasks: Default::default(),
            verdict: None,
        };
        self.keep(sandbox::executor_folder(&executor.directory));
        self.insert_executor(executor, None, Vec::new());
    }

    fn replay_task(&mut self, m: &mut Moment<'_>, record: TaskRecord) {
        let (Some(framework), Some(executor), Some(info), Some(container)) =
            (record.framework_id, record.executor_id, record.info, record.container_id)
        else {
            return;
        };
        let framework = FrameworkId::from(framework.value);
        let executor = ExecutorId::from(executor.value);
        let container = container_text(&container);
        let id = TaskId::from(info.task_id.value.as_str());
        if self.framework(&framework).is_none() {
            return;
        }
        if self.executor(&framework, &executor).is_none() {
            // The executor of a command task is made up again from the task.
            let generated = command::executor_info(&self.state.config, &framework, &info);
            let mut made = self.add_executor(m, &framework, generated, ExecutorKind::Command);
            made.directory =
                sandbox::run_directory(&self.state.config, &self.id(), &framework, &executor, &container);
            made.container = container.clone();
            self.insert_executor(made, None, Vec::new());
        }
        let group = (!record.group.is_empty()).then(|| TaskId::from(record.group));
        let mut task = Task::staging(Arc::new(info), group, container);
        task.run.launched = true;
        if let Some(owner) = self.executor_mut(&framework, &executor) {
            owner.tasks.insert(id, task);
        }
    }

    fn replay_update(&mut self, m: &mut Moment<'_>, entry: UpdateRecord) {
        let (Some(framework), Some(executor), Some(status)) =
            (entry.framework_id, entry.executor_id, entry.status)
        else {
            return;
        };
        let framework = FrameworkId::from(framework.value);
        let executor = ExecutorId::from(executor.value);
        let task = TaskId::from(status.task_id.value.as_str());
        let status = Arc::new(status);
        if let Some(known) = self.task_mut(&framework, &executor, &task)
            && !known.is_terminal()
        {
            record(known, &status);
            known.run.announced |= known.state == v1::TaskState::TaskRunning;
            let state = v1::TaskState::try_from(status.state).unwrap_or(known.state);
            known.forwarded = Some((state, status.uuid.as_deref().unwrap_or_default().into()));
        }
        let stream = self
            .streams
            .entry((framework.clone(), task))
            .or_insert_with(|| UpdateStream::new(executor.clone(), true));
        stream.push(status.clone());
        let command = self.executor(&framework, &executor).is_some_and(|e| e.kind == ExecutorKind::Command);
        if command && status_is_terminal(&status) {
            // A command task's executor ends with it, and no record of its own says so.
            self.replay_executor_ended(m, &framework, &executor, false);
        }
    }

    /// The end of an executor; `whole` when nobody waits for the updates of its tasks any more.
    fn replay_executor_ended(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        whole: bool,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else { return };
        executor.phase = Phase::Terminated;
        let container = executor.container.clone();
        let tasks: Vec<TaskId> = executor.tasks.keys().cloned().collect();
        self.forget_container(&container);
        if whole {
            for task in tasks {
                self.complete_task(m, framework, id, &task);
            }
        }
        self.complete_executor_if_done(m, framework, id);
    }

    fn replay_deleted(&mut self, directory: &str) {
        self.keep(directory);
        let gone = |e: &Arc<Executor>| {
            e.directory.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for framework in self.state.frameworks.values_mut().chain(&mut self.state.completed_frameworks) {
            if framework.completed_executors.iter().any(gone) {
                Arc::make_mut(framework).completed_executors.retain(|e| !gone(e));
            }
        }
        let root = |f: &Framework| directory.ends_with(&format!("/frameworks/{}", f.id));
        self.state.completed_frameworks.retain(|f| !root(f));
    }

    /// A container that nothing knows.
    fn discard(&mut self, found: &FoundContainer) {
        self.effects.push(match found.state {
            FoundState::Running(_) => Effect::Destroy(found.id.clone()),
            FoundState::Ended(_) => Effect::Remove { container: found.id.clone(), sandbox: None },
        });
    }

    fn adopt_all(&mut self, m: &mut Moment<'_>, containers: Vec<FoundContainer>) {
        let mut found: BTreeMap<ContainerId, FoundState> = BTreeMap::new();
        for container in containers {
            found.insert(container.id, container.state);
        }
        let executors: Vec<(FrameworkId, ExecutorId)> = self
            .state
            .frameworks
            .values()
            .flat_map(|f| f.executors.values())
            .filter(|e| e.phase != Phase::Terminated)
            .map(|e| (e.framework.clone(), e.id.clone()))
            .collect();
        for (framework, id) in executors {
            let Some(executor) = self.executor(&framework, &id) else { continue };
            let (kind, container) = (executor.kind, executor.container.clone());
            let state = found.remove(&container);
            match kind {
                ExecutorKind::Command => self.adopt_command(m, &framework, &id, state),
                ExecutorKind::Default => self.adopt_pod(m, &framework, &id, state, &mut found),
                _ => self.adopt_custom(m, &framework, &id, state),
            }
        }
        self.adopt_rest(m, found);
        if self.state.drain.is_some() {
            self.kill_for_drain(m);
        }
        let waiting = self.missing_executors().next().is_some();
        if waiting {
            self.link.held = true;
            self.timers.set(m.now + self.state.config.executor_reregistration_timeout, Timer::RecoveryOver);
        }
    }

    /// A container that is in the books starts its second life as it was.
    fn revive(&mut self, id: &ContainerId, pid: u32, user: Option<String>) {
        if let Some(container) = self.container_mut(id) {
            container.stage = Stage::Running(pid);
            container.user = user;
        }
    }

    fn adopt_command(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        state: Option<FoundState>,
    ) {
        let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
        let Some(executor) = owner.executors.get(id) else { return };
        let Some((task_id, task)) = executor.tasks.first_key_value() else {
            return self.on_executor_ended(m, framework, id, &Termination::default());
        };
        let container = executor.container.clone();
        let Some(state) = state else {
            self.set_loss(framework, id, task.state);
            return self.on_executor_ended(m, framework, id, &Termination::default());
        };
        let spec = self.command_spec(&owner, executor, task);
        if let Some(known) = self.container_mut(&container) {
            known.resources = Arc::new(spec.resources.clone());
        }
        sandbox::attach(executor, &mut self.effects);
        let (pid, end) = match state {
            FoundState::Running(pid) => (pid, None),
            FoundState::Ended(status) => (0, Some(Termination { status, limitation: None })),
        };
        self.revive(&container, pid, spec.user);
        if task.run.announced {
            if let Some(owner) = self.executor_mut(framework, id) {
                owner.phase = Phase::Running;
                owner.pid = (pid != 0).then_some(pid);
            }
            let task_id = task_id.clone();
            self.resume_task(m, framework, id, &task_id, pid, end.is_none());
        } else {
            self.on_command_started(m, framework, id, pid);
        }
        if let Some(end) = end {
            self.on_exited(m, &container, end);
        }
    }

    /// Puts the timers and checks of a running task back.
    fn resume_task(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        pid: u32,
        alive: bool,
    ) {
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        let told = task.statuses.iter().rev().find_map(|s| s.container_status.as_ref()?.executor_pid);
        task.run.pid = if pid == 0 { told } else { Some(pid) };
        if !alive || task.is_terminal() {
            return;
        }
        let limit = task.info.max_completion_time;
        let running = v1::TaskState::TaskRunning as i32;
        let since = task.statuses.iter().find(|s| s.state == running).and_then(|s| s.timestamp);
        match task.run.kill.clone() {
            Some(kill) => {
                let at = kill.deadline.max(m.now);
                if let Some(kill) = &mut task.run.kill {
                    kill.deadline = at;
                }
                self.timers.set(at, Timer::Escalate(framework.clone(), executor.clone(), id.clone()));
            }
            None => self.start_checks(m, framework, executor, id),
        }
        if let Some(limit) = limit {
            let since = since.map_or(m.now, Timestamp::from_secs_f64);
            let timer = Timer::TimeUp(framework.clone(), executor.clone(), id.clone());
            self.timers.set(since + crate::resources::duration(&limit), timer);
        }
    }

    /// What tasks are told whose container vanished: dropped when nobody ever heard of their start
    /// (rule 419), else failed (rule 418).
    fn set_loss(&mut self, framework: &FrameworkId, id: &ExecutorId, state: v1::TaskState) {
        if state != v1::TaskState::TaskStaging {
            return;
        }
        if let Some(executor) = self.executor_mut(framework, id) {
            executor.verdict = Some(never_started());
        }
    }

    fn adopt_pod(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        state: Option<FoundState>,
        found: &mut BTreeMap<ContainerId, FoundState>,
    ) {
        let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
        let Some(executor) = owner.executors.get(id) else { return };
        let children: Vec<(TaskId, Option<FoundState>)> = executor
            .tasks
            .iter()
            .filter(|(_, task)| !task.is_terminal())
            .map(|(id, task)| (id.clone(), found.remove(&task.container)))
            .collect();
        let started =
            matches!(state, Some(FoundState::Running(_))) || children.iter().any(|(_, s)| s.is_some());
        let spec = self.executor_spec(&owner, executor);
        self.revive(&executor.container, 0, spec.user.clone());
        sandbox::attach(executor, &mut self.effects);
        if let Some(executor) = self.executor_mut(framework, id) {
            executor.phase = Phase::Running;
        }
        for (task, state) in &children {
            let Some(known) = executor.tasks.get(task) else { continue };
            let Some((_, child)) = known.container.rsplit_once('.') else { continue };
            let directory = sandbox::child_directory(&executor.directory, child);
            let place = Owner::Task(framework.clone(), id.clone(), task.clone());
            if state.is_some() {
                self.insert_container(known.container.clone(), place, directory);
                self.revive(&known.container, 0, spec.user.clone());
            }
        }
        for (task, state) in &children {
            self.adopt_child(m, framework, id, task, *state, started);
        }
        let Some(executor) = self.executor(framework, id) else { return };
        if executor.tasks.values().all(Task::is_terminal) && executor.phase == Phase::Running {
            self.destroy_executor(framework, id, None);
        }
    }

    fn adopt_child(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        state: Option<FoundState>,
        _started: bool,
    ) {
        let Some(task) = self.task(framework, executor, id) else { return };
        let container = task.container.clone();
        let announced = task.run.announced;
        let (pid, end) = match state {
            None => {
                let verdict = if task.state == v1::TaskState::TaskStaging {
                    never_started()
                } else {
                    Verdict {
                        state: v1::TaskState::TaskFailed,
                        reason: v1::task_status::Reason::ExecutorTerminated,
                        message: "The container vanished while the agent was away".into(),
                    }
                };
                let info = self.framework(framework).map(|f| f.info.clone());
                let state = substitute(info.as_deref(), verdict.state);
                let status = self.agent_status(m, id, executor, state, verdict.reason, verdict.message);
                return self.update(m, framework, executor, status);
            }
            Some(FoundState::Running(pid)) => (pid, None),
            Some(FoundState::Ended(status)) => (0, Some(Termination { status, limitation: None })),
        };
        if let Some(known) = self.container_mut(&container) {
            known.stage = Stage::Running(pid);
        }
        if announced {
            self.resume_task(m, framework, executor, id, pid, end.is_none());
        } else {
            if self.task(framework, executor, id).is_some_and(|t| t.state == v1::TaskState::TaskStaging) {
                self.report_played(m, framework, executor, id, v1::TaskState::TaskStarting);
            }
            self.on_child_started(m, framework, executor, id, pid);
        }
        if let Some(end) = end {
            self.on_exited(m, &container, end);
        }
    }

    fn adopt_custom(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        state: Option<FoundState>,
    ) {
        let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
        let Some(executor) = owner.executors.get(id) else { return };
        let container = executor.container.clone();
        let spec = self.executor_spec(&owner, executor);
        self.revive(&container, 0, spec.user.clone());
        match state {
            Some(FoundState::Running(pid)) => {
                sandbox::attach(executor, &mut self.effects);
                self.revive(&container, pid, spec.user);
                if let Some(executor) = self.executor_mut(framework, id) {
                    executor.pid = Some(pid);
                }
            }
            Some(FoundState::Ended(status)) => {
                sandbox::attach(executor, &mut self.effects);
                self.on_exited(m, &container, Termination { status, limitation: None });
            }
            None => {
                let unheard = executor.tasks.values().all(|t| t.state == v1::TaskState::TaskStaging);
                if unheard {
                    self.set_loss(framework, id, v1::TaskState::TaskStaging);
                }
                self.on_executor_ended(m, framework, id, &Termination::default());
            }
        }
    }

    /// Standalone containers, children made through the API, and what nobody knows (rule 360).
    fn adopt_rest(&mut self, m: &mut Moment<'_>, found: BTreeMap<ContainerId, FoundState>) {
        let standalone: Vec<ContainerId> = self
            .state
            .containers
            .iter()
            .filter(|(_, c)| c.owner == Owner::Standalone)
            .map(|(id, _)| id.clone())
            .collect();
        for id in standalone {
            match found.get(&id) {
                Some(FoundState::Running(pid)) => self.revive(&id, *pid, None),
                _ => self.on_standalone_ended(m, &id),
            }
        }
        // Parents come before their children in the order of ids.
        for (id, state) in found {
            if self.state.containers.contains_key(&id) {
                continue;
            }
            let parent = id.rsplit_once('.').and_then(|(parent, child)| {
                let known = self.state.containers.get(parent)?;
                Some((sandbox::child_directory(&known.sandbox, child), known.user.clone()))
            });
            match parent {
                Some((directory, user)) => {
                    self.insert_container(id.clone(), Owner::Nested, directory);
                    match state {
                        FoundState::Running(pid) => self.revive(&id, pid, user),
                        FoundState::Ended(status) => {
                            if let Some(container) = self.container_mut(&id) {
                                container.stage = Stage::Ended(Termination { status, limitation: None });
                            }
                        }
                    }
                }
                None => self.discard(&FoundContainer { id, state }),
            }
        }
    }

    /// Executors of the earlier life that run and have not subscribed again.
    fn missing_executors(&self) -> impl Iterator<Item = &Executor> {
        self.state
            .frameworks
            .values()
            .flat_map(|f| f.executors.values())
            .map(|e| &**e)
            .filter(|e| e.kind == ExecutorKind::Custom && e.stream.is_none())
            .filter(|e| e.phase == Phase::Registering && e.since < self.state.started)
    }

    /// An executor came back; with the last one the agent need not wait any longer.
    pub(crate) fn on_executor_back(&mut self, m: &mut Moment<'_>) {
        if self.link.held && self.missing_executors().next().is_none() {
            self.release_registration(m);
        }
    }

    pub(crate) fn on_recovery_over(&mut self, m: &mut Moment<'_>) {
        let late: Vec<(FrameworkId, ExecutorId)> =
            self.missing_executors().map(|e| (e.framework.clone(), e.id.clone())).collect();
        let timeout = mezzo_time::format_duration(self.state.config.executor_reregistration_timeout);
        for (framework, executor) in late {
            let verdict = Verdict {
                state: v1::TaskState::TaskGone,
                reason: v1::task_status::Reason::ExecutorReregistrationTimeout,
                message: format!("Executor did not reregister within {timeout}"),
            };
            self.destroy_executor(&framework, &executor, Some(verdict));
        }
        self.release_registration(m);
    }
}

/// For tasks that were on their way when the agent ended.
fn never_started() -> Verdict {
    Verdict {
        state: v1::TaskState::TaskDropped,
        reason: v1::task_status::Reason::AgentRestarted,
        message: "The task had not been started when the agent restarted".into(),
    }
}
