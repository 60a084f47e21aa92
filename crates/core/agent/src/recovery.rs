//! A restarted agent: its log is replayed, then each container that is still there or has ended
//! meanwhile is taken over without touching it (rules 412 to 422).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::records::{AgentRecord, ExecutorKind, agent_record::Record};
use mezzo_resources::{Form, Resources};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    agent::{Agent, Moment},
    config::{Config, RecoverMode},
    effect::Effect,
    kill, pulling, reconfigure, sandbox,
    state::{Executor, Owner, Phase, Stage, Task, Termination, Verdict},
    timers::Timer,
    updates::substitute,
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
        agent.replaying = true;
        // What the last recorded total was made from.
        let mut base: Option<v1::AgentInfo> = None;
        for entry in records {
            if let (Some(Record::Resources(_)), Some((info, _))) = (&entry.record, &identity) {
                base = Some(info.clone());
            }
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
        agent.replaying = false;
        if let Some((old, boot)) = identity {
            let rebooted = boot != agent.state.config.boot_id;
            match reconfigure::compare(
                agent.state.config.reconfiguration_policy,
                &old,
                &agent.state.config.info,
            ) {
                Ok(changed) => agent.keep_identity(old, base.as_ref(), changed, rebooted),
                Err(_) if rebooted => return Ok(agent.start_afresh(m, containers)),
                Err(reason) => return Err(RecoveryError::Incompatible(reason.to_string())),
            }
        }
        agent.adopt_all(m, containers);
        agent.complete_empty_frameworks(m);
        if agent.state.config.recover == RecoverMode::Cleanup {
            agent.leave(m, 0, "All executors of the earlier life were shut down".into());
        }
        let effects = std::mem::take(&mut agent.effects);
        Ok(Recovered { agent, effects })
    }

    /// The last step of a framework's end may be missing in the log.
    fn complete_empty_frameworks(&mut self, m: &mut Moment<'_>) {
        let empty = self.state.frameworks.values().filter(|f| f.executors.is_empty());
        let ids: Vec<FrameworkId> = empty.map(|f| f.id.clone()).collect();
        for id in ids {
            self.complete_framework_if_done(m, &id);
        }
    }

    /// The same agent, perhaps with more resources than before.
    fn keep_identity(
        &mut self,
        old: v1::AgentInfo,
        base: Option<&v1::AgentInfo>,
        changed: bool,
        rebooted: bool,
    ) {
        self.link.info_changed = changed;
        if let Some(base) = base {
            let read = |list: &[v1::Resource]| Resources::from_proto(list).unwrap_or_default();
            let mut more = read(&self.state.config.info.resources);
            more.subtract(&read(&base.resources));
            if !more.is_empty() {
                let mut total = read(&self.state.total);
                total += &more;
                self.state.total = Arc::new(total.to_proto(Form::PostRefinement));
            }
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
        self.end_what_outlived_its_parent(&mut found);
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

    /// What runs in a container that has ended meanwhile is told to end (rule 358), and first of all: the folders
    /// it is known by are removed together with those around it.
    fn end_what_outlived_its_parent(&mut self, found: &mut BTreeMap<ContainerId, FoundState>) {
        let executors = self.state.frameworks.values().flat_map(|f| f.executors.values());
        // Their ends are those of tasks.
        let own: BTreeSet<&ContainerId> =
            executors.flat_map(|e| e.tasks.values()).map(|t| &t.container).collect();
        let outlived = |(id, state): (&ContainerId, &FoundState)| {
            let mut around =
                std::iter::successors(id.rsplit_once('.'), |(parent, _)| parent.rsplit_once('.'));
            let has_ended = around.any(|(parent, _)| matches!(found.get(parent), Some(FoundState::Ended(_))));
            (matches!(state, FoundState::Running(_)) && has_ended && !own.contains(id)).then(|| id.clone())
        };
        let outlived: Vec<ContainerId> = found.iter().filter_map(outlived).collect();
        // Children before what is around them.
        for id in outlived.into_iter().rev() {
            found.remove(&id);
            self.effects.push(Effect::Destroy(id));
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
        // Its kill is on disk and no start is: it was killed while it was being started.
        let killed_early = task.run.kill.is_some() && !task.run.announced;
        if killed_early && let Some(known) = self.executor_mut(framework, id) {
            known.verdict = Some(kill::killed_early());
        }
        let Some(state) = state else {
            if !killed_early {
                // Words about its image are no start.
                let waited = pulling::only_pulled(task);
                let state = if waited { v1::TaskState::TaskStaging } else { task.state };
                self.set_loss(framework, id, state);
            }
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
        if killed_early {
            if end.is_none() {
                let task_id = task_id.clone();
                self.end_starting_command(m, framework, id, &task_id);
            }
        } else if task.run.announced {
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
        let mut children: Vec<(TaskId, Option<FoundState>)> = executor
            .tasks
            .iter()
            .filter(|(_, task)| !task.is_terminal())
            .map(|(id, task)| (id.clone(), found.remove(&task.container)))
            .collect();
        // Those that are missing end first, so that the others do not wait for them.
        children.sort_by_key(|(_, state)| state.is_some());
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
                // Its start is told before its container is made, but that it runs only afterwards.
                let verdict = if !announced {
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
            .filter(|e| e.phase == Phase::Registering && e.since <= self.state.started)
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
