//! The life of an executor: its container starts, it subscribes, it gets tasks, it ends
//! (rules 281 to 291).

use std::sync::Arc;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{ExecutorExited, to_master},
    records::{self, ExecutorKind, FrameworkEnded, agent_record::Record},
};
use v1::executor::{Event, event};

use crate::{
    agent::{Agent, Moment, container_proto},
    config::{COMPLETED_FRAMEWORKS_MAX, EXECUTOR_HEARTBEAT},
    effect::{Answer, Effect},
    input::{LaunchStage, StreamId},
    sandbox,
    state::{Owner, Phase, Stage, Termination, Verdict},
    timers::Timer,
    updates::substitute,
};

impl Agent {
    pub(crate) fn on_started(&mut self, m: &mut Moment<'_>, id: &ContainerId, pid: u32) {
        let Some(container) = self.container_mut(id) else { return };
        if container.stage != Stage::Starting {
            return;
        }
        container.stage = Stage::Running(pid);
        let owner = container.owner.clone();
        for request in std::mem::take(&mut container.launchers) {
            self.answer(request, Answer::Ok);
        }
        match owner {
            Owner::Executor(framework, executor) => {
                let Some(known) = self.executor(&framework, &executor).filter(|e| e.container == *id) else {
                    return;
                };
                let kind = known.kind;
                self.show_sandbox(&framework, &executor);
                match kind {
                    ExecutorKind::Command => self.on_command_started(m, &framework, &executor, pid),
                    ExecutorKind::Default => self.on_pod_started(m, &framework, &executor, pid),
                    _ => {
                        if let Some(known) = self.executor_mut(&framework, &executor) {
                            known.pid = Some(pid);
                        }
                    }
                }
            }
            Owner::Task(framework, executor, task) => {
                self.on_child_started(m, &framework, &executor, &task, pid)
            }
            Owner::Nested | Owner::Standalone => {}
        }
    }

    fn show_sandbox(&mut self, framework: &FrameworkId, executor: &ExecutorId) {
        let known = self.state.frameworks.get(framework).and_then(|f| f.executors.get(executor));
        if let Some(executor) = known {
            sandbox::attach(executor, &mut self.effects);
        }
    }

    pub(crate) fn on_launch_failed(
        &mut self,
        m: &mut Moment<'_>,
        id: &ContainerId,
        stage: LaunchStage,
        message: String,
    ) {
        let Some(container) = self.container_mut(id) else { return };
        if container.stage != Stage::Starting {
            return;
        }
        container.stage = Stage::Ended(Termination::default());
        let owner = container.owner.clone();
        let launchers = std::mem::take(&mut container.launchers);
        self.state.counters.container_launch_errors += 1;
        for request in launchers {
            self.answer(request, Answer::BadRequest(message.clone()));
        }
        match owner {
            Owner::Executor(framework, executor) => {
                let known = self.executor(&framework, &executor);
                if known.is_none_or(|e| e.container != *id) {
                    return;
                }
                let verdict = match stage {
                    LaunchStage::Sandbox => Verdict {
                        state: v1::TaskState::TaskDropped,
                        reason: v1::task_status::Reason::ExecutorTerminated,
                        message,
                    },
                    LaunchStage::Container => Verdict {
                        state: v1::TaskState::TaskFailed,
                        reason: v1::task_status::Reason::ContainerLaunchFailed,
                        message,
                    },
                };
                if stage == LaunchStage::Container {
                    self.show_sandbox(&framework, &executor);
                }
                if let Some(known) = self.executor_mut(&framework, &executor) {
                    known.verdict.get_or_insert(verdict);
                    known.unmade = stage == LaunchStage::Sandbox;
                }
                self.on_executor_ended(m, &framework, &executor, &Termination::default());
            }
            Owner::Task(framework, executor, task) => {
                self.on_child_failed(m, &framework, &executor, &task, &message);
                self.forget_container(id);
            }
            Owner::Nested => self.forget_container(id),
            Owner::Standalone => self.on_standalone_ended(m, id),
        }
    }

    pub(crate) fn on_exited(&mut self, m: &mut Moment<'_>, id: &ContainerId, end: Termination) {
        let Some(container) = self.container_mut(id) else {
            // An orphan of an earlier life that was destroyed.
            self.effects.push(Effect::Remove { container: id.clone(), sandbox: None });
            return;
        };
        if matches!(container.stage, Stage::Ended(_)) {
            return;
        }
        container.stage = Stage::Ended(end.clone());
        let owner = container.owner.clone();
        self.answer_waiters(id);
        match owner {
            Owner::Executor(framework, executor) => {
                let known = self.executor(&framework, &executor).filter(|e| e.container == *id);
                let Some(known) = known else { return self.forget_container(id) };
                if known.kind == ExecutorKind::Command {
                    let task = known.tasks.first_key_value().map(|(id, _)| id.clone());
                    if let Some(task) = task.filter(|_| known.verdict.is_none()) {
                        self.report_end(m, &framework, &executor, &task, &end);
                    }
                }
                self.on_executor_ended(m, &framework, &executor, &end);
            }
            Owner::Task(framework, executor, task) => {
                // Before what they are known by is removed with their parent's (rule 358).
                self.end_children(id);
                // Its end has to be on disk before the container is removed: without either, an agent
                // that restarts would take it for lost.
                if self.on_child_exited(m, &framework, &executor, &task, end) {
                    self.effects.push(Effect::Remove { container: id.clone(), sandbox: None });
                }
                self.forget_orphan(id);
            }
            // Kept for those who wait, until it is removed or its root ends (rule 357).
            Owner::Nested => {
                self.end_children(id);
                if self.forget_orphan(id) {
                    self.effects.push(Effect::Remove { container: id.clone(), sandbox: None });
                }
            }
            Owner::Standalone => {
                self.end_children(id);
                self.on_standalone_ended(m, id);
            }
        }
    }

    /// Takes a container out of the books, with children that have ended.
    pub(crate) fn forget_container(&mut self, id: &ContainerId) {
        self.state.containers.remove(id);
    }

    /// The container of an executor is gone: the rest of its tasks end with it (rule 287).
    pub(crate) fn on_executor_ended(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        end: &Termination,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else { return };
        if executor.phase == Phase::Terminated {
            return;
        }
        executor.phase = Phase::Terminated;
        executor.queue.clear();
        let stream = executor.stream.take();
        let (kind, container) = (executor.kind, executor.container.clone());
        let verdict = verdict(executor.verdict.take(), end, kind);
        let open: Vec<TaskId> =
            executor.tasks.iter().filter(|(_, t)| !t.is_terminal()).map(|(id, _)| id.clone()).collect();
        if let Some(stream) = stream {
            self.subscribers.remove(&stream);
            self.effects.push(Effect::CloseStream(stream));
        }
        self.state.counters.executors_terminated += 1;
        for task in open {
            let info = self.framework(framework).map(|f| f.info.clone());
            let state = substitute(info.as_deref(), verdict.state);
            let message = verdict.message.clone();
            let mut status = self.agent_status(m, &task, id, state, verdict.reason, message);
            if let Some(limit) = end.limitation.as_ref().filter(|l| !l.resources.is_empty()) {
                let resources = limit.resources.clone();
                status.limitation = Some(v1::TaskResourceLimitation { resources });
            }
            self.update(m, framework, id, status);
        }
        let (checkpoint, terminating) =
            self.framework(framework).map_or((false, true), |f| (f.checkpoint(), f.terminating));
        // The terminal update of a command task says as much; a framework that is being removed has none.
        if checkpoint && (kind != ExecutorKind::Command || terminating) {
            self.persist(Record::ExecutorEnded(records::ExecutorEnded {
                framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
                executor_id: Some(v1::ExecutorId { value: id.as_str().into() }),
                container_id: Some(container_proto(&container)),
            }));
        }
        self.end_children(&container);
        self.effects.push(Effect::Remove { container: container.clone(), sandbox: None });
        self.forget_container(&container);
        if kind != ExecutorKind::Command && !terminating {
            // The pod of a task group is not a process; Mesos' executor leaves with 0 (rule 313).
            let status = if kind == ExecutorKind::Default { 0 } else { end.status.unwrap_or(-1) };
            self.tell(to_master::Message::ExecutorExited(ExecutorExited {
                framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
                executor_id: Some(v1::ExecutorId { value: id.as_str().into() }),
                status,
                command_executor: false,
            }));
        }
        self.complete_executor_if_done(m, framework, id);
    }

    /// Containers below this one, deepest last.
    fn children(&self, root: &ContainerId) -> Vec<ContainerId> {
        let prefix = [root, "."].concat();
        self.state
            .containers
            .range(ContainerId::from(prefix.as_str())..)
            .take_while(|(id, _)| id.starts_with(&prefix))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Children of an ended container end with it (rule 358).
    fn end_children(&mut self, root: &ContainerId) {
        for id in self.children(root).into_iter().rev() {
            if self.is_alive(&id) {
                self.effects.push(Effect::Destroy(id));
            } else {
                self.forget_container(&id);
            }
        }
    }

    fn is_alive(&self, id: &ContainerId) -> bool {
        self.state.containers.get(id).is_some_and(|c| !matches!(c.stage, Stage::Ended(_)))
    }

    /// A child that outlived its root is remembered for nobody.
    pub(crate) fn forget_orphan(&mut self, id: &ContainerId) -> bool {
        let root = id.split('.').next().unwrap_or_default();
        let orphan = !self.state.containers.contains_key(root);
        if orphan {
            self.forget_container(id);
        }
        orphan
    }

    /// An executor without tasks and container becomes history, and so may its framework.
    pub(crate) fn complete_executor_if_done(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
    ) {
        let kept = self.state.config.completed_executors_max;
        let replaying = self.replaying;
        let Some(owner) = self.framework_mut(framework) else { return };
        if !owner.executors.get(id).is_some_and(|e| e.phase == Phase::Terminated && e.tasks.is_empty()) {
            return;
        }
        let Some(executor) = owner.executors.remove(id) else { return };
        let directory = executor.directory.clone();
        if kept > 0 && !executor.unmade {
            if owner.completed_executors.len() >= kept {
                owner.completed_executors.pop_front();
            }
            owner.completed_executors.push_back(executor);
        }
        let folder: Arc<str> = sandbox::executor_folder(&directory).into();
        self.collect_later(m, directory);
        self.collect_later(m, folder);
        if !replaying {
            self.complete_framework_if_done(m, framework);
        }
    }

    /// A framework without executors whose scheduler has heard everything becomes history.
    pub(crate) fn complete_framework_if_done(&mut self, m: &mut Moment<'_>, id: &FrameworkId) {
        let mut streams = self.streams.range((id.clone(), TaskId::from(""))..);
        let waited_for = streams.next().is_some_and(|((framework, _), _)| framework == id);
        if !waited_for && self.framework(id).is_some_and(|f| f.executors.is_empty()) {
            self.complete_framework(m, id);
        }
    }

    /// A framework without executors leaves; it comes back with its next task.
    pub(crate) fn complete_framework(&mut self, m: &mut Moment<'_>, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.remove(id) else { return };
        if framework.checkpoint() {
            let framework_id = Some(v1::FrameworkId { value: id.as_str().into() });
            self.persist(Record::FrameworkEnded(FrameworkEnded { framework_id }));
        }
        if self.state.completed_frameworks.len() >= COMPLETED_FRAMEWORKS_MAX {
            self.state.completed_frameworks.pop_front();
        }
        self.state.completed_frameworks.push_back(framework);
        let root = sandbox::framework_root(&self.state.config, &self.id(), id);
        self.collect_later(m, root.into());
        self.exit_when_empty();
    }

    /// An executor did not subscribe in time (rule 282).
    pub(crate) fn on_registration_timeout(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        container: &ContainerId,
    ) {
        let executor = self.executor(framework, id);
        if !executor.is_some_and(|e| e.container == *container && e.phase == Phase::Registering) {
            return;
        }
        let timeout = mezzo_time::format_duration(self.state.config.executor_registration_timeout);
        let verdict = Verdict {
            state: v1::TaskState::TaskFailed,
            reason: v1::task_status::Reason::ExecutorRegistrationTimeout,
            message: format!("Executor did not register within {timeout}"),
        };
        self.destroy_executor(framework, id, Some(verdict));
    }

    /// Ends an executor's container; tasks that are left get the verdict.
    pub(crate) fn destroy_executor(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        verdict: Option<Verdict>,
    ) {
        let Some(executor) = self.executor_mut(framework, id) else { return };
        if executor.phase == Phase::Terminated {
            return;
        }
        executor.phase = Phase::Terminating;
        if executor.verdict.is_none() {
            executor.verdict = verdict;
        }
        let container = executor.container.clone();
        self.destroy_with_children(container);
    }

    /// Ends a container, its children first (rule 358).
    pub(crate) fn destroy_with_children(&mut self, container: ContainerId) {
        for child in self.children(&container).into_iter().rev() {
            if self.is_alive(&child) {
                self.effects.push(Effect::Destroy(child));
            }
        }
        self.effects.push(Effect::Destroy(container));
    }

    pub(crate) fn event(&mut self, stream: StreamId, event: Event) {
        self.effects.push(Effect::Event { stream, event: Arc::new(event) });
    }

    /// Hands tasks to an executor that has subscribed: groups as groups, the rest one by one (rule 283).
    pub(crate) fn deliver(&mut self, framework: &FrameworkId, id: &ExecutorId, tasks: &[TaskId]) {
        let Some(executor) = self.executor(framework, id) else { return };
        let Some(stream) = executor.stream else { return };
        let mut events: Vec<Event> = Vec::new();
        let mut group: Option<(&TaskId, Vec<v1::TaskInfo>)> = None;
        let flush = |group: &mut Option<(&TaskId, Vec<v1::TaskInfo>)>, events: &mut Vec<Event>| {
            if let Some((_, tasks)) = group.take() {
                events.push(Event {
                    r#type: Some(event::Type::LaunchGroup as i32),
                    launch_group: Some(event::LaunchGroup { task_group: v1::TaskGroupInfo { tasks } }),
                    ..Default::default()
                });
            }
        };
        for task in tasks.iter().filter_map(|id| executor.tasks.get(id)) {
            let info = (*task.info).clone();
            match (&task.group, &mut group) {
                (Some(leader), Some((current, infos))) if *current == leader => infos.push(info),
                (Some(leader), _) => {
                    flush(&mut group, &mut events);
                    group = Some((leader, vec![info]));
                }
                (None, _) => {
                    flush(&mut group, &mut events);
                    events.push(Event {
                        r#type: Some(event::Type::Launch as i32),
                        launch: Some(event::Launch { task: info }),
                        ..Default::default()
                    });
                }
            }
        }
        flush(&mut group, &mut events);
        for event in events {
            self.event(stream, event);
        }
    }

    pub(crate) fn on_heartbeat_due(
        &mut self,
        m: &Moment<'_>,
        framework: FrameworkId,
        id: ExecutorId,
        container: ContainerId,
    ) {
        let executor = self.executor(&framework, &id).filter(|e| e.container == container);
        let Some(stream) = executor.and_then(|e| e.stream) else { return };
        self.event(stream, Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() });
        self.timers.set(m.now + EXECUTOR_HEARTBEAT, Timer::ExecutorHeartbeat(framework, id, container));
    }

    pub(crate) fn on_stream_closed(&mut self, stream: StreamId) {
        let Some((framework, executor)) = self.subscribers.remove(&stream) else { return };
        if let Some(executor) = self.executor_mut(&framework, &executor)
            && executor.stream == Some(stream)
        {
            executor.stream = None;
        }
    }
}

/// What the tasks are told that an executor left behind.
fn verdict(own: Option<Verdict>, end: &Termination, kind: ExecutorKind) -> Verdict {
    use v1::task_status::Reason;
    if let Some(limit) = &end.limitation {
        return Verdict {
            state: v1::TaskState::TaskFailed,
            reason: limit.reason,
            message: limit.message.clone(),
        };
    }
    own.unwrap_or_else(|| Verdict {
        state: v1::TaskState::TaskFailed,
        reason: Reason::ExecutorTerminated,
        message: match end.status {
            Some(status) if kind == ExecutorKind::Custom => {
                format!("Executor {}", crate::text::wait_status(status))
            }
            Some(_) => "Executor terminated".into(),
            None => "Abnormal executor termination: unknown container".into(),
        },
    })
}
