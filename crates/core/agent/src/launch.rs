//! A launch arrives from the master: what is checked, and who runs it (rules 423 to 431).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{self, ExecutorExited, UpdateFramework, to_master},
    records::{ExecutorKind, ExecutorRecord, FrameworkRecord, TaskRecord, agent_record::Record},
};

use crate::{
    agent::{Agent, Moment, container_proto},
    command, operations, sandbox,
    state::{Container, Executor, Framework, Owner, Phase, Stage, Task},
    timers::Timer,
    updates::substitute,
};

/// A launch that is refused before anything of it exists.
struct Refusal {
    state: v1::TaskState,
    reason: v1::task_status::Reason,
    message: String,
}

impl Refusal {
    /// The launch did not happen for a passing reason.
    fn dropped(reason: v1::task_status::Reason, message: impl Into<String>) -> Self {
        Self { state: v1::TaskState::TaskDropped, reason, message: message.into() }
    }
}

/// The parts of a launch, with what must be there.
struct Launch {
    framework: Arc<v1::FrameworkInfo>,
    framework_id: FrameworkId,
    /// `None` for a command task.
    executor: Option<v1::ExecutorInfo>,
    executor_id: ExecutorId,
    tasks: Vec<v1::TaskInfo>,
    group: bool,
    new_executor: bool,
    version: Vec<u8>,
}

impl Agent {
    pub(crate) fn on_run(&mut self, m: &mut Moment<'_>, run: link::Run) {
        let Some(framework) = run.framework.map(Arc::new) else { return };
        let Some(id) = &framework.id else { return };
        let framework_id = FrameworkId::from(id.value.as_str());
        if run.tasks.is_empty() || self.framework(&framework_id).is_some_and(|f| f.terminating) {
            // The master has removed it and expects no answer.
            return;
        }
        let launch = |executor_id, executor, tasks| Launch {
            framework: framework.clone(),
            framework_id: framework_id.clone(),
            executor,
            executor_id,
            tasks,
            group: run.group,
            new_executor: run.launch_executor,
            version: run.resource_version_uuid.clone(),
        };
        if let Some(executor) = run.executor {
            let id = ExecutorId::from(executor.executor_id.value.as_str());
            return self.admit_and_start(m, launch(id, Some(executor), run.tasks));
        }
        for task in run.tasks {
            let id = ExecutorId::from(task.task_id.value.as_str());
            self.admit_and_start(m, launch(id, None, vec![task]));
        }
    }

    fn admit_and_start(&mut self, m: &mut Moment<'_>, launch: Launch) {
        match self.admit(&launch) {
            Err(refusal) => self.refuse(m, &launch, &refusal),
            Ok(()) => self.start(m, launch),
        }
    }

    /// Everything that can be refused without touching anything.
    fn admit(&self, launch: &Launch) -> Result<(), Refusal> {
        use v1::task_status::Reason;
        if self.state.drain.is_some() || self.leaving.is_some() {
            return Err(Refusal::dropped(Reason::AgentDraining, "Agent is draining"));
        }
        if !launch.version.is_empty() && launch.version != self.resource_version.0 {
            let message = "Task assumes outdated resource state";
            return Err(Refusal::dropped(Reason::InvalidOffers, message));
        }
        let needed = launch
            .tasks
            .iter()
            .flat_map(|t| &t.resources)
            .chain(launch.executor.iter().flat_map(|e| &e.resources));
        if !operations::knows(&self.state.total, needed) {
            let message = "The reserved or persistent resources of the task are not known to the agent";
            return Err(Refusal::dropped(Reason::ResourcesUnknown, message));
        }
        if !self.state.config.limits_enforced && launch.tasks.iter().any(|t| !t.limits.is_empty()) {
            let message = "Task limits need the isolation of cpus and memory by cgroups on the agent";
            return Err(Refusal::dropped(Reason::GcError, message));
        }
        self.admit_executor(launch)?;
        if is_docker(launch) {
            // What Mesos says when no containerizer takes the container (rule 347).
            return Err(Refusal {
                state: v1::TaskState::TaskFailed,
                reason: Reason::ExecutorTerminated,
                message: "Abnormal executor termination: unknown container".into(),
            });
        }
        Ok(())
    }

    fn admit_executor(&self, launch: &Launch) -> Result<(), Refusal> {
        use v1::task_status::Reason;
        let id = &launch.executor_id;
        let Some(executor) = self.executor(&launch.framework_id, id) else {
            if launch.executor.is_some() && !launch.new_executor {
                let message = format!("No executor '{id}' runs although the master expects one");
                return Err(Refusal::dropped(Reason::ExecutorTerminated, message));
            }
            return Ok(());
        };
        if launch.executor.is_none() || executor.kind == ExecutorKind::Command {
            let message = format!("Executor '{id}' already exists and takes no second task");
            return Err(Refusal::dropped(Reason::TaskInvalid, message));
        }
        if matches!(executor.phase, Phase::Terminating | Phase::Terminated) {
            let message = format!("Executor '{id}' is terminating or has terminated");
            return Err(Refusal::dropped(Reason::ExecutorTerminated, message));
        }
        if launch.new_executor {
            let message = format!("The master expects to start executor '{id}', but it runs already");
            return Err(Refusal::dropped(Reason::ExecutorTerminated, message));
        }
        Ok(())
    }

    fn refuse(&mut self, m: &mut Moment<'_>, launch: &Launch, refusal: &Refusal) {
        let state = substitute(Some(&launch.framework), refusal.state);
        let checkpoint = launch.framework.checkpoint.unwrap_or(false);
        for task in &launch.tasks {
            let id = TaskId::from(task.task_id.value.as_str());
            let message = refusal.message.clone();
            let status = self.agent_status(m, &id, &launch.executor_id, state, refusal.reason, message);
            self.update_stored(m, &launch.framework_id, &launch.executor_id, status, checkpoint);
        }
        // The master counts on the executor from the first launch on, so that one of which nothing came
        // would be sent tasks for ever. One that has ended and only waits for acknowledgements told of its
        // end before the master sent this.
        let executor = self.executor(&launch.framework_id, &launch.executor_id);
        let is_there = executor.is_some_and(|executor| executor.phase != Phase::Terminated);
        if launch.executor.is_some() && launch.new_executor && !is_there {
            self.tell(to_master::Message::ExecutorExited(ExecutorExited {
                framework_id: Some(v1::FrameworkId { value: launch.framework_id.as_str().into() }),
                executor_id: Some(v1::ExecutorId { value: launch.executor_id.as_str().into() }),
                status: -1,
                command_executor: false,
            }));
        }
    }

    fn start(&mut self, m: &mut Moment<'_>, launch: Launch) {
        self.ensure_framework(&launch.framework_id, launch.framework);
        let framework = launch.framework_id;
        match launch.executor {
            None => {
                for task in launch.tasks {
                    self.launch_command(m, &framework, task);
                }
            }
            Some(info) if info.r#type() == v1::executor_info::Type::Default => {
                self.launch_group(m, &framework, info, launch.tasks, launch.group);
            }
            Some(info) => self.launch_custom(m, &framework, info, launch.tasks, launch.group),
        }
    }

    /// Makes the framework known and takes its folder back from garbage collection (rule 401).
    pub(crate) fn ensure_framework(&mut self, id: &FrameworkId, info: Arc<v1::FrameworkInfo>) {
        if self.state.frameworks.contains_key(id) {
            return;
        }
        // A framework that comes back keeps the history of its earlier executors here.
        let earlier = self.state.completed_frameworks.iter().position(|f| f.id == *id);
        let completed_executors = earlier
            .and_then(|at| self.state.completed_frameworks.remove(at))
            .map(|f| f.completed_executors.clone())
            .unwrap_or_default();
        let framework = Framework {
            id: id.clone(),
            info,
            executors: BTreeMap::new(),
            completed_executors,
            terminating: false,
        };
        if framework.checkpoint() {
            self.persist(Record::Framework(FrameworkRecord { info: Some((*framework.info).clone()) }));
        }
        self.state.frameworks.insert(id.clone(), Arc::new(framework));
        let root = sandbox::framework_root(&self.state.config, &self.id(), id);
        self.keep(&root);
    }

    /// Registers an executor whose container is about to be asked for.
    pub(crate) fn add_executor(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        info: v1::ExecutorInfo,
        kind: ExecutorKind,
    ) -> Executor {
        let id = ExecutorId::from(info.executor_id.value.as_str());
        let container = ContainerId::from(m.uuid().to_string());
        let directory = sandbox::run_directory(&self.state.config, &self.id(), framework, &id, &container);
        let executor = Executor {
            id,
            framework: framework.clone(),
            info: Arc::new(info),
            kind,
            container,
            directory,
            phase: Phase::Registering,
            pid: None,
            stream: None,
            since: m.now,
            tasks: BTreeMap::new(),
            queue: VecDeque::new(),
            completed_tasks: VecDeque::new(),
            verdict: None,
            unmade: false,
        };
        self.keep(sandbox::executor_folder(&executor.directory));
        executor
    }

    /// Puts an executor and its container into the state.
    pub(crate) fn insert_executor(
        &mut self,
        executor: Executor,
        user: Option<String>,
        resources: Vec<v1::Resource>,
    ) {
        let container = Container {
            owner: Owner::Executor(executor.framework.clone(), executor.id.clone()),
            sandbox: executor.directory.clone(),
            user,
            stage: Stage::Starting,
            waiters: Vec::new(),
            launchers: Vec::new(),
            session: false,
            networks: Arc::default(),
            resources: Arc::new(resources),
        };
        self.state.containers.insert(executor.container.clone(), Arc::new(container));
        let framework = executor.framework.clone();
        if let Some(framework) = self.framework_mut(&framework) {
            framework.executors.insert(executor.id.clone(), Arc::new(executor));
        }
    }

    pub(crate) fn executor_record(executor: &Executor) -> Record {
        Record::Executor(ExecutorRecord {
            framework_id: Some(v1::FrameworkId { value: executor.framework.as_str().into() }),
            info: Some((*executor.info).clone()),
            container_id: Some(container_proto(&executor.container)),
            kind: executor.kind as i32,
            directory: executor.directory.to_string(),
            started: Some(v1::TimeInfo { nanoseconds: executor.since.as_nanos() }),
        })
    }

    pub(crate) fn task_record(executor: &Executor, task: &Task) -> Record {
        Record::Task(TaskRecord {
            framework_id: Some(v1::FrameworkId { value: executor.framework.as_str().into() }),
            executor_id: Some(v1::ExecutorId { value: executor.id.as_str().into() }),
            info: Some((*task.info).clone()),
            container_id: Some(container_proto(&task.container)),
            group: task.group.as_ref().map(ToString::to_string).unwrap_or_default(),
        })
    }

    fn launch_command(&mut self, m: &mut Moment<'_>, framework: &FrameworkId, info: v1::TaskInfo) {
        let generated = command::executor_info(&self.state.config, framework, &info);
        let mut executor = self.add_executor(m, framework, generated, ExecutorKind::Command);
        let id = TaskId::from(info.task_id.value.as_str());
        let mut task = Task::staging(Arc::new(info), None, executor.container.clone());
        task.run.launched = true;
        let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
        // One record is enough: the executor of a command task is made up from the task.
        if owner.checkpoint() {
            self.persist(Self::task_record(&executor, &task));
        }
        let spec = self.command_spec(&owner, &executor, &task);
        executor.tasks.insert(id, task);
        // Held on to, all of the framework would be copied to put the executor in.
        drop(owner);
        self.insert_executor(executor, spec.user.clone(), spec.resources.clone());
        self.effects.push(crate::effect::Effect::Launch(Box::new(spec)));
    }

    /// A custom executor: a process that subscribes and then gets its tasks.
    fn launch_custom(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        info: v1::ExecutorInfo,
        tasks: Vec<v1::TaskInfo>,
        group: bool,
    ) {
        let id = ExecutorId::from(info.executor_id.value.as_str());
        let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
        let leader = group.then(|| tasks.first().map(|t| TaskId::from(t.task_id.value.as_str()))).flatten();
        let fresh = self.executor(framework, &id).is_none();
        let mut executor = match self.executor(framework, &id) {
            Some(executor) => executor.clone(),
            None => self.add_executor(m, framework, info, ExecutorKind::Custom),
        };
        if fresh && owner.checkpoint() {
            self.persist(Self::executor_record(&executor));
        }
        let mut ready = Vec::new();
        for info in tasks {
            let id = TaskId::from(info.task_id.value.as_str());
            let mut task = Task::staging(Arc::new(info), leader.clone(), executor.container.clone());
            task.queued = executor.phase == Phase::Registering;
            if owner.checkpoint() {
                self.persist(Self::task_record(&executor, &task));
            }
            if task.queued {
                executor.queue.push_back(id.clone());
            } else {
                ready.push(id.clone());
            }
            executor.tasks.insert(id, task);
        }
        if fresh {
            let spec = self.executor_spec(&owner, &executor);
            drop(owner);
            let timer = Timer::ExecutorRegistration(framework.clone(), id, executor.container.clone());
            self.timers.set(m.now + self.state.config.executor_registration_timeout, timer);
            self.insert_executor(executor, spec.user.clone(), spec.resources.clone());
            self.effects.push(crate::effect::Effect::Launch(Box::new(spec)));
            return;
        }
        drop(owner);
        if let Some(framework) = self.framework_mut(framework) {
            framework.executors.insert(id.clone(), Arc::new(executor));
        }
        self.update_container_resources(framework, &id);
        self.deliver(framework, &id, &ready);
    }

    pub(crate) fn on_update_framework(&mut self, update: UpdateFramework) {
        let Some(info) = update.framework else { return };
        let Some(id) = info.id.as_ref().map(|id| FrameworkId::from(id.value.as_str())) else { return };
        let Some(framework) = self.framework_mut(&id) else { return };
        if *framework.info == info {
            return;
        }
        framework.info = Arc::new(info.clone());
        if framework.checkpoint() {
            self.persist(Record::Framework(FrameworkRecord { info: Some(info) }));
        }
    }
}

/// Whether a container needs the Docker daemon, which nothing here speaks to.
fn is_docker(launch: &Launch) -> bool {
    let docker = |c: Option<&v1::ContainerInfo>| {
        c.is_some_and(|c| c.r#type == v1::container_info::Type::Docker as i32)
    };
    docker(launch.executor.as_ref().and_then(|e| e.container.as_deref()))
        || launch.tasks.iter().any(|t| docker(t.container.as_deref()))
}
