//! Reading the log back, record by record. What each record did when it was written is done again, so
//! the result is the state at the end of the earlier life.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::records::{ExecutorKind, ExecutorRecord, TaskRecord, UpdateRecord, agent_record::Record};
use mezzo_time::Timestamp;

use crate::{
    agent::{Agent, Moment, container_text},
    command, sandbox,
    state::{Container, Drain, Executor, Framework, Kill, Owner, Phase, Stage, Task},
    updates::{UpdateStream, record, status_is_terminal},
};

impl Agent {
    pub(crate) fn replay(&mut self, m: &mut Moment<'_>, entry: Record) {
        match entry {
            Record::Identity(_) => {}
            Record::Framework(record) => {
                let Some(info) = record.info else { return };
                let Some(id) = info.id.as_ref().map(|id| FrameworkId::from(id.value.as_str())) else {
                    return;
                };
                match self.framework_mut(&id) {
                    Some(framework) => framework.info = Arc::new(info),
                    None => self.ensure_framework(&id, Arc::new(info)),
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

    pub(crate) fn insert_container(&mut self, id: ContainerId, owner: Owner, sandbox: Arc<str>) {
        let container = Container {
            owner,
            sandbox,
            user: None,
            stage: Stage::Starting,
            waiters: Vec::new(),
            launchers: Vec::new(),
            session: false,
            networks: Arc::default(),
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
            unmade: false,
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
}
