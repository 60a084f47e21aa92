//! A task in the master's books: added, updated, its resources given back, removed.

use std::sync::Arc;

use mezzo_ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::{
    secrets::hide_in_container,
    v1::{self, TaskState, task_status::Reason},
};
use mezzo_resources::Resources;

use crate::{
    master::{Master, Moment},
    state::{Framework, Task},
    status,
};

/// Statuses kept per task, oldest dropped first. A task passes through a handful of states; only an
/// executor that goes back and forth between two has more.
const STATUSES_MAX: usize = 100;

/// A task of this description that is not heard of yet.
pub(crate) fn staging(info: &v1::TaskInfo, framework: &FrameworkId) -> v1::Task {
    let executor = info.executor.as_ref();
    let command = executor.map_or(info.command.as_ref(), |executor| executor.command.as_ref());
    v1::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: v1::FrameworkId { value: framework.as_str().into() },
        executor_id: executor.map(|executor| executor.executor_id.clone()),
        agent_id: info.agent_id.clone(),
        state: TaskState::TaskStaging.into(),
        resources: info.resources.clone(),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        // Whoever looks at tasks is not shown what secrets hold.
        container: info.container.clone().map(|mut container| {
            hide_in_container(&mut container);
            container
        }),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        user: command.and_then(|command| command.user.clone()),
        limits: info.limits.clone(),
        ..Default::default()
    }
}

impl Master {
    /// A task that is not completed or unreachable.
    pub(crate) fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Arc<Task>> {
        let agent = self.task_agents.get(framework)?.get(task)?;
        self.task_on(agent, framework, task)
    }

    /// As [`Master::task`], for one that is on this agent if anywhere.
    pub(crate) fn task_on(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        task: &TaskId,
    ) -> Option<&Arc<Task>> {
        self.state.agents.get(agent)?.tasks.get(&(framework.clone(), task.clone()))
    }

    /// Takes a task into the books. Its resources must be counted as used by the framework already,
    /// as far as the allocator is concerned.
    pub(crate) fn add_task(&mut self, agent: &AgentId, framework: &FrameworkId, task: TaskId, entry: Task) {
        self.task_agents.entry(framework.clone()).or_default().insert(task.clone(), agent.clone());
        let Some(agent) = self.agent_mut(agent) else { return };
        if !entry.recovered {
            agent.hold(framework, &entry.resources);
        }
        agent.tasks_mut().insert((framework.clone(), task), Arc::new(entry));
    }

    /// Applies a status to a task. Operators hear of a change of state and of checks (rule 221); a state
    /// that was terminal stays. A terminal or unreachable task gives its resources back.
    pub(crate) fn update_task(
        &mut self,
        moment: &Moment<'_>,
        framework: &FrameworkId,
        id: &TaskId,
        update: v1::TaskStatus,
        latest: Option<TaskState>,
    ) {
        let agent = self.task_agents.get(framework).and_then(|tasks| tasks.get(id)).cloned();
        if let Some(agent) = agent {
            self.update_task_on(moment, &agent, framework, id, update, latest);
        }
    }

    /// As [`Master::update_task`], for a task that is known to be on this agent.
    pub(crate) fn update_task_on(
        &mut self,
        moment: &Moment<'_>,
        agent_id: &AgentId,
        framework: &FrameworkId,
        id: &TaskId,
        update: v1::TaskStatus,
        latest: Option<TaskState>,
    ) {
        let watched = self.watched;
        let Some(agent) = self.state.agents.get_mut(agent_id).map(Arc::make_mut) else { return };
        let Some(task) = agent.tasks_mut().get_mut(&(framework.clone(), id.clone())) else { return };
        let task = Arc::make_mut(task);
        let state = latest.unwrap_or(update.state());
        let old = task.info.state();
        let mut tell = matches!(
            update.reason.and_then(|r| Reason::try_from(r).ok()),
            Some(Reason::TaskCheckStatusUpdated | Reason::TaskHealthCheckStatusUpdated)
        );
        if !status::is_terminal(old) {
            tell |= update.state() != old;
            task.info.state = state.into();
        }
        if let Some(uuid) = &update.uuid {
            task.info.status_update_state = Some(update.state);
            task.info.status_update_uuid = Some(uuid.clone());
        }
        let state = task.info.state();
        let over = status::is_terminal(state) || state == TaskState::TaskUnreachable;
        if over {
            task.kill = None;
        }
        if over && !status::is_terminal(old) {
            Arc::make_mut(&mut self.state.counters).transition(framework, &update);
        }
        let freed = (over && !task.recovered).then(|| task.resources.clone());
        task.recovered |= over;
        let told = (tell && watched).then(|| update.clone());
        // Rule 218: equal states in a row are one entry; rule 217: data is not kept.
        if task.info.statuses.last().is_some_and(|last| last.state == update.state) {
            task.info.statuses.pop();
        }
        // Tasks are many and have few statuses, so there is no room for more than they have.
        task.info.statuses.reserve_exact(1);
        task.info.statuses.push(v1::TaskStatus { data: None, ..update });
        if task.info.statuses.len() > STATUSES_MAX {
            task.info.statuses.remove(0);
        }
        if let Some(resources) = freed {
            self.give_back(moment, framework, agent_id, &resources);
        }
        if let Some(status) = told {
            self.publish_task_updated(framework, state, status);
        }
    }

    /// Resources of a task or executor are free again.
    pub(crate) fn give_back(
        &mut self,
        moment: &Moment<'_>,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
    ) {
        if let Some(entry) = self.agent_mut(agent) {
            entry.release(framework, resources);
        }
        self.allocator.recover(moment.now, framework, agent, resources, None);
    }

    /// Takes a task off the books of the living and keeps it with the framework's completed or
    /// unreachable ones (rule 66).
    pub(crate) fn remove_task(&mut self, moment: &Moment<'_>, framework: &FrameworkId, id: &TaskId) {
        let Some(tasks) = self.task_agents.get_mut(framework) else { return };
        let Some(agent_id) = tasks.remove(id) else { return };
        if tasks.is_empty() {
            self.task_agents.remove(framework);
        }
        let Some(agent) = self.agent_mut(&agent_id) else { return };
        let Some(task) = agent.tasks_mut().remove(&(framework.clone(), id.clone())) else { return };
        if !task.recovered {
            let resources = task.resources.clone();
            self.give_back(moment, framework, &agent_id, &resources);
        }
        let (completed_max, unreachable_max) =
            (self.config.completed_tasks_max, self.config.unreachable_tasks_max);
        if let Some(framework) = self.framework_mut(framework) {
            framework.keep_task(task, completed_max, unreachable_max);
        }
    }

    /// Ends a task by the master's own decision: told to the framework, then removed.
    pub(crate) fn end_task(
        &mut self,
        moment: &Moment<'_>,
        framework: &FrameworkId,
        id: &TaskId,
        update: v1::TaskStatus,
    ) {
        self.update_task(moment, framework, id, update.clone(), None);
        self.remove_task(moment, framework, id);
        self.send_update(framework, update);
    }

    /// An executor is gone: its resources are free.
    pub(crate) fn remove_executor(
        &mut self,
        moment: &Moment<'_>,
        framework: &FrameworkId,
        agent: &AgentId,
        executor: &ExecutorId,
    ) -> bool {
        let Some(entry) = self.agent_mut(agent) else { return false };
        let Some(info) = entry.executors.remove(&(framework.clone(), executor.clone())) else { return false };
        if let Ok(resources) = Resources::from_proto(&info.resources) {
            self.give_back(moment, framework, agent, &resources);
        }
        true
    }

    /// Whether a framework knows what PARTITION_AWARE ones know.
    pub(crate) fn is_partition_aware(&self, framework: &FrameworkId) -> bool {
        self.state.frameworks.get(framework).is_some_and(|f| f.capabilities.partition_aware)
    }
}

impl Framework {
    /// Keeps an ended or unreachable task, within bounds, oldest dropped first.
    pub(crate) fn keep_task(&mut self, task: Arc<Task>, completed_max: usize, unreachable_max: usize) {
        // A task lost with its agent can come back whatever the framework was told (LOST or UNREACHABLE).
        let unreachable = task.info.statuses.last().is_some_and(|last| last.unreachable_time.is_some());
        let (list, max) = if unreachable {
            (&mut self.unreachable_tasks, unreachable_max)
        } else {
            (&mut self.completed_tasks, completed_max)
        };
        list.push_back(task);
        while list.len() > max {
            list.pop_front();
        }
    }
}
