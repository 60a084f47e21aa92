//! Task groups: the agent plays Mesos' default executor (rules 309 to 319).

use std::sync::Arc;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::records::ExecutorKind;

use crate::{
    agent::{Agent, Moment},
    effect::Effect,
    sandbox,
    state::{Container, Kill, KillCause, Owner, Phase, Stage, Task, Termination},
};

impl Agent {
    /// A group for a new or a running pod.
    pub(crate) fn launch_group(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        info: v1::ExecutorInfo,
        tasks: Vec<v1::TaskInfo>,
        group: bool,
    ) {
        let id = ExecutorId::from(info.executor_id.value.as_str());
        let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
        let Some(leader) = tasks.first().map(|t| TaskId::from(t.task_id.value.as_str())) else { return };
        let fresh = self.executor(framework, &id).is_none();
        let mut executor = match self.executor(framework, &id) {
            Some(executor) => executor.clone(),
            None => self.add_executor(m, framework, info, ExecutorKind::Default),
        };
        if fresh && owner.checkpoint() {
            self.persist(Self::executor_record(&executor));
        }
        let starting = executor.phase == Phase::Registering;
        for info in tasks {
            let child = ContainerId::from(format!("{}.{}", executor.container, m.uuid()));
            let id = TaskId::from(info.task_id.value.as_str());
            let mut task = Task::staging(Arc::new(info), Some(leader.clone()), child);
            task.queued = starting;
            if owner.checkpoint() {
                self.persist(Self::task_record(&executor, &task));
            }
            if starting {
                executor.queue.push_back(id.clone());
            }
            executor.tasks.insert(id, task);
        }
        if fresh {
            let spec = self.executor_spec(&owner, &executor);
            drop(owner);
            self.insert_executor(executor, spec.user.clone(), spec.resources.clone());
            self.effects.push(Effect::Launch(Box::new(spec)));
        } else {
            drop(owner);
            if let Some(framework) = self.framework_mut(framework) {
                framework.executors.insert(id.clone(), Arc::new(executor));
            }
            self.update_container_resources(framework, &id);
            if !starting && group {
                self.start_children(m, framework, &id, &leader);
            }
        }
        if !group {
            self.refuse_single(framework, &id);
        }
    }

    /// The default executor takes groups only and shuts down when it gets a single task (rule 309).
    fn refuse_single(&mut self, framework: &FrameworkId, executor: &ExecutorId) {
        let verdict = crate::state::Verdict {
            state: v1::TaskState::TaskFailed,
            reason: v1::task_status::Reason::ExecutorTerminated,
            message: "The default executor takes task groups only".into(),
        };
        self.destroy_executor(framework, executor, Some(verdict));
    }

    /// The sandbox of the pod is there: its groups start in the order they came.
    pub(crate) fn on_pod_started(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        pid: u32,
    ) {
        let Some(owner) = self.executor_mut(framework, executor) else { return };
        if owner.phase != Phase::Registering {
            return;
        }
        owner.phase = Phase::Running;
        owner.pid = (pid != 0).then_some(pid);
        let mut leaders: Vec<TaskId> = Vec::new();
        for id in std::mem::take(&mut owner.queue) {
            let Some(task) = owner.tasks.get_mut(&id) else { continue };
            task.queued = false;
            if let Some(leader) = &task.group
                && !leaders.contains(leader)
            {
                leaders.push(leader.clone());
            }
        }
        if leaders.is_empty() {
            // All of it was killed meanwhile (rule 286).
            return self.destroy_executor(framework, executor, None);
        }
        for leader in leaders {
            self.start_children(m, framework, executor, &leader);
        }
    }

    /// Tasks of one group that are not over yet.
    fn group(&self, framework: &FrameworkId, executor: &ExecutorId, leader: &TaskId) -> Vec<TaskId> {
        let Some(owner) = self.executor(framework, executor) else { return Vec::new() };
        owner
            .tasks
            .iter()
            .filter(|(_, task)| task.group.as_ref() == Some(leader) && !task.is_terminal())
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn start_children(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        leader: &TaskId,
    ) {
        for id in self.group(framework, executor, leader) {
            self.report_played(m, framework, executor, &id, v1::TaskState::TaskStarting);
            let Some(owner) = self.state.frameworks.get(framework).cloned() else { return };
            let Some(pod) = owner.executors.get(executor).cloned() else { return };
            let Some(task) = pod.tasks.get(&id) else { continue };
            let Some((_, child)) = task.container.rsplit_once('.') else { continue };
            let directory = sandbox::child_directory(&pod.directory, child);
            let spec = self.child_spec(&owner, &pod, task, &directory);
            let container = Container {
                owner: Owner::Task(framework.clone(), executor.clone(), id.clone()),
                sandbox: directory,
                user: spec.user.clone(),
                stage: Stage::Starting,
                waiters: Vec::new(),
                launchers: Vec::new(),
                session: false,
                networks: Arc::default(),
                resources: Arc::new(spec.resources.clone()),
            };
            self.state.containers.insert(task.container.clone(), Arc::new(container));
            self.effects.push(Effect::Launch(Box::new(spec)));
            // Held on to, both would be copied to note that the task was launched.
            drop((pod, owner));
            if let Some(task) = self.task_mut(framework, executor, &id) {
                task.run.launched = true;
            }
        }
    }

    /// RUNNING is reported once all children of the group run (rule 310).
    pub(crate) fn on_child_started(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        pid: u32,
    ) {
        let Some(owner) = self.executor_mut(framework, executor) else { return };
        let Some(task) = owner.tasks.get_mut(id) else { return };
        if task.is_terminal() {
            return;
        }
        task.run.pid = Some(pid);
        let (leader, container, killed) =
            (task.group.clone(), task.container.clone(), task.run.kill.is_some());
        if let Some(sandbox) = self.state.containers.get(&container).map(|c| c.sandbox.clone())
            && let Some(owner) = self.state.frameworks.get(framework).and_then(|f| f.executors.get(executor))
        {
            sandbox::attach_task(owner, id, &sandbox, &mut self.effects);
        }
        if killed {
            self.effects.push(Effect::Destroy(container));
        }
        let Some(leader) = leader else { return };
        let group = self.group(framework, executor, &leader);
        let run = |id: &TaskId| self.task(framework, executor, id).map(|t| &t.run);
        if group.iter().all(|id| run(id).is_some_and(|r| r.pid.is_some())) {
            let unannounced: Vec<TaskId> = group
                .into_iter()
                .filter(|id| run(id).is_some_and(|r| !r.announced && r.kill.is_none()))
                .collect();
            for id in &unannounced {
                self.announce(m, framework, executor, id);
            }
            for id in unannounced {
                self.tell_early_end(m, framework, executor, &id);
            }
        }
    }

    /// Tells an end that has waited for the rest of the group; whether there was one.
    fn tell_early_end(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
    ) -> bool {
        let Some(task) = self.task_mut(framework, executor, id) else { return false };
        let container = task.container.clone();
        let Some(end) = task.run.early_end.take() else { return false };
        self.end_child(m, framework, executor, id, &end);
        self.effects.push(Effect::Remove { container: container.clone(), sandbox: None });
        self.forget_orphan(&container);
        true
    }

    /// Whether the end is told. Otherwise it waits for the rest of the group, and is only known from the
    /// container, which has to stay until then.
    pub(crate) fn on_child_exited(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        end: Termination,
    ) -> bool {
        let Some(task) = self.task(framework, executor, id) else { return true };
        let waits = !task.run.announced && task.run.kill.is_none() && !task.is_terminal();
        let siblings = task.group.clone().map(|leader| self.group(framework, executor, &leader));
        let starting = siblings
            .unwrap_or_default()
            .iter()
            .any(|sibling| self.task(framework, executor, sibling).is_some_and(|t| t.run.pid.is_none()));
        if waits && starting {
            // Its RUNNING has not been reported; keep the order.
            if let Some(task) = self.task_mut(framework, executor, id) {
                task.run.early_end = Some(end);
            }
            return false;
        }
        self.end_child(m, framework, executor, id, &end);
        true
    }

    fn end_child(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        end: &Termination,
    ) {
        let leader = self.task(framework, executor, id).and_then(|t| t.group.clone());
        self.report_end(m, framework, executor, id, end);
        self.after_child(m, framework, executor, leader.as_ref(), id);
    }

    pub(crate) fn on_child_failed(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        message: &str,
    ) {
        let Some(owner) = self.executor(framework, executor) else { return };
        let Some(task) = owner.tasks.get(id) else { return };
        let leader = task.group.clone();
        let killed = task.run.kill.is_some();
        let state = if killed { v1::TaskState::TaskKilled } else { v1::TaskState::TaskFailed };
        let mut status = self.played_status(m, owner, task, state);
        if !killed {
            status.reason = Some(v1::task_status::Reason::ContainerLaunchFailed as i32);
            status.message = Some(message.to_owned());
        }
        self.update(m, framework, executor, status);
        self.after_child(m, framework, executor, leader.as_ref(), id);
    }

    /// A child is over: its group may have to die with it (rule 312), and its pod may be done (313).
    fn after_child(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        leader: Option<&TaskId>,
        id: &TaskId,
    ) {
        let Some(owner) = self.executor(framework, executor) else { return };
        let state = owner.tasks.get(id).map(|t| t.state).or_else(|| {
            owner.completed_tasks.iter().rev().find(|t| t.info.task_id.value == **id).map(|t| t.state)
        });
        let infectious = !matches!(state, Some(v1::TaskState::TaskFinished) | None);
        // Where the whole executor is being destroyed nobody has to be asked to end any more.
        let goes_on = owner.phase == Phase::Running;
        if infectious && let Some(leader) = leader {
            for sibling in self.group(framework, executor, leader) {
                if !self.tell_early_end(m, framework, executor, &sibling) && goes_on {
                    self.kill_played(m, framework, executor, &sibling, None, KillCause::Request);
                }
            }
        }
        let Some(owner) = self.executor(framework, executor) else { return };
        if owner.tasks.values().all(Task::is_terminal) && owner.phase == Phase::Running {
            self.destroy_executor(framework, executor, None);
        } else if owner.phase == Phase::Running {
            self.update_container_resources(framework, executor);
        }
    }

    /// Marks a kill of a child whose start is under way; it is carried out when the start is over.
    pub(crate) fn kill_starting_child(
        &mut self,
        m: &Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        cause: KillCause,
    ) {
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        task.run.kill = Some(Kill { since: m.now, deadline: m.now, cause });
    }
}
