//! A framework's comings and goings: disconnected, back, removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mezzo_ids::{AgentId, ExecutorId, FrameworkId, Role, TaskId};
use mezzo_mesos::v1::{self, TaskState, task_status::Reason};
use mezzo_protocol::link;

use crate::{
    effect::Effect,
    input::StreamId,
    master::{Master, Moment},
    profiles::framework_profile,
    state::{Capabilities, Framework},
    status,
    timers::Timer,
};

/// The time a framework may stay away. Nothing below zero, as Mesos takes it; subscription has refused
/// what does not fit.
pub(crate) fn failover_timeout(info: &v1::FrameworkInfo) -> Duration {
    Duration::try_from_secs_f64(info.failover_timeout().max(0.0)).unwrap_or(Duration::MAX)
}

/// The roles of a framework: `roles`, or without MULTI_ROLE the one `role` (rule 72).
pub(crate) fn roles_of(info: &v1::FrameworkInfo) -> Vec<Role> {
    if Capabilities::of(info).multi_role {
        info.roles.iter().map(|role| Role::from(role.as_str())).collect()
    } else {
        vec![Role::from(info.role())]
    }
}

impl Framework {
    /// A framework as its FrameworkInfo describes it, connected to nothing.
    pub(crate) fn described(info: v1::FrameworkInfo, registered: mezzo_time::Timestamp) -> Self {
        Self {
            roles: roles_of(&info),
            capabilities: Capabilities::of(&info),
            info: Arc::new(info),
            principal: None,
            stream: None,
            active: false,
            recovered: false,
            constraints: None,
            suppressed: Vec::new(),
            registered,
            reregistered: None,
            unregistered: None,
            failover_deadline: None,
            completed_tasks: Default::default(),
            unreachable_tasks: Default::default(),
        }
    }
}

impl Master {
    /// A framework that only an agent knows of: it keeps its tasks until its scheduler comes (rule 65).
    pub(crate) fn recover_framework(
        &mut self,
        moment: &Moment<'_>,
        id: &FrameworkId,
        info: v1::FrameworkInfo,
    ) {
        if self.state.frameworks.contains_key(id) {
            return;
        }
        let framework = Framework { recovered: true, ..Framework::described(info, moment.now) };
        let profile = framework_profile(self, &framework);
        self.allocator.add_framework(id, profile, false);
        self.counters().add_framework(id, &framework.info.name);
        self.state.frameworks.insert(id.clone(), Arc::new(framework));
        self.note_framework(id);
    }

    /// A scheduler's stream broke.
    pub(crate) fn on_stream_closed(&mut self, moment: &mut Moment<'_>, stream: StreamId) {
        let Some(id) = self.streams.remove(&stream) else { return };
        let current = self.state.frameworks.get(&id).and_then(|f| f.stream.as_ref());
        if current.is_some_and(|(current, _)| *current == stream) {
            self.disconnect_framework(moment, &id);
        }
    }

    /// The scheduler is away: no more offers, and a limited time to come back (rules 61, 62, 93).
    pub(crate) fn disconnect_framework(&mut self, moment: &mut Moment<'_>, id: &FrameworkId) {
        let Some(framework) = self.framework_mut(id) else { return };
        let deadline = moment.now + failover_timeout(&framework.info);
        framework.active = false;
        framework.stream = None;
        framework.failover_deadline = Some(deadline);
        self.note_forgotten(id, []);
        self.allocator.deactivate_framework(id);
        self.withdraw_framework_offers(moment, id);
        self.withdraw_framework_inverse_offers(id);
        self.wake_at(deadline, Timer::Failover(id.clone()));
    }

    /// Removes a framework whose scheduler stayed away too long.
    pub(crate) fn on_failover_timeout(&mut self, moment: &mut Moment<'_>, id: &FrameworkId) {
        let deadline = self.state.frameworks.get(id).and_then(|f| f.failover_deadline);
        if deadline.is_some_and(|at| at <= moment.now) {
            self.remove_framework(moment, id);
        }
    }

    /// Removes a framework for good: its tasks are killed, its executors shut down (rule 64).
    pub(crate) fn remove_framework(&mut self, moment: &mut Moment<'_>, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.get(id) else { return };
        if let Some((stream, _)) = framework.stream {
            self.streams.remove(&stream);
            self.effects.push(Effect::CloseStream(stream));
        }
        if let Some(framework) = self.framework_mut(id) {
            framework.active = false;
            framework.stream = None;
        }
        self.note_forgotten(id, []);
        self.allocator.deactivate_framework(id);
        self.withdraw_framework_offers(moment, id);
        self.withdraw_framework_inverse_offers(id);
        self.end_framework_tasks(moment, id);
        let executors: Vec<(AgentId, ExecutorId)> = self
            .state
            .agents
            .iter()
            .flat_map(|(agent, entry)| entry.executors.keys().map(move |key| (agent, key)))
            .filter(|(_, (owner, _))| owner == id)
            .map(|(agent, (_, executor))| (agent.clone(), executor.clone()))
            .collect();
        for (agent, executor) in executors {
            self.remove_executor(moment, id, &agent, &executor);
        }
        self.allocator.remove_framework(id);
        self.note_framework(id);
        let Some(framework) = self.state.frameworks.remove(id) else { return };
        let mut framework = Arc::unwrap_or_clone(framework);
        framework.unregistered = Some(moment.now);
        framework.failover_deadline = None;
        self.publish_framework_removed(&framework.info);
        self.state.completed_frameworks.push_back(Arc::new(framework));
        while self.state.completed_frameworks.len() > self.config.completed_frameworks_max {
            let gone = self.state.completed_frameworks.pop_front();
            if let Some(id) = gone.as_ref().and_then(|framework| framework.info.id.as_ref()) {
                self.counters().remove_framework(&FrameworkId::from(id.value.as_str()));
            }
        }
    }

    /// Every task of a removed framework is KILLED, unreachable ones included, and every agent that may
    /// run something of it is told.
    fn end_framework_tasks(&mut self, moment: &Moment<'_>, id: &FrameworkId) {
        let framework_id = v1::FrameworkId { value: id.as_str().into() };
        let message = format!("Framework {id} removed");
        // Also those whose tasks have ended: the scheduler that would acknowledge it is gone.
        let with_tasks: BTreeSet<&AgentId> =
            self.task_agents.get(id).into_iter().flat_map(BTreeMap::values).collect();
        for (agent_id, agent) in &self.state.agents {
            let runs = with_tasks.contains(agent_id)
                || agent.used.contains_key(id)
                || agent.executors.keys().any(|(f, _)| f == id);
            if runs && let Some(link) = agent.link {
                let shutdown = link::ShutdownFramework { framework_id: Some(framework_id.clone()) };
                self.effects.push(to_agent(link, link::to_agent::Message::ShutdownFramework(shutdown)));
            }
        }
        let tasks: Vec<TaskId> =
            self.task_agents.get(id).map_or_else(Vec::new, |tasks| tasks.keys().cloned().collect());
        for task in tasks {
            let Some(entry) = self.task(id, &task) else { continue };
            if !status::is_terminal(entry.info.state()) {
                let killed = status::of_task(
                    moment.now,
                    &entry.info,
                    TaskState::TaskKilled,
                    Reason::FrameworkRemoved,
                    message.clone(),
                );
                self.update_task(moment, id, &task, killed.clone(), None);
            }
            self.remove_task(moment, id, &task);
        }
        let completed_max = self.config.completed_tasks_max;
        let Some(framework) = self.framework_mut(id) else { return };
        for mut task in std::mem::take(&mut framework.unreachable_tasks) {
            let entry = Arc::make_mut(&mut task);
            let killed = status::of_task(
                moment.now,
                &entry.info,
                TaskState::TaskKilled,
                Reason::FrameworkRemoved,
                message.clone(),
            );
            entry.info.state = killed.state;
            entry.info.statuses.push(killed);
            framework.keep_task(task, completed_max, 0);
        }
    }

    /// Tells every agent that runs something of a framework that its FrameworkInfo changed (rule 67).
    pub(crate) fn send_framework_to_agents(&mut self, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.get(id) else { return };
        for agent in self.state.agents.values() {
            if agent.used.contains_key(id)
                && let Some(link) = agent.link
            {
                let update = link::UpdateFramework { framework: Some((*framework.info).clone()) };
                self.effects.push(to_agent(link, link::to_agent::Message::UpdateFramework(update)));
            }
        }
    }

    /// Tells one agent to end everything of a framework (rule 248).
    pub(crate) fn shut_framework_down(&mut self, link: crate::LinkId, id: &FrameworkId) {
        let framework_id = Some(v1::FrameworkId { value: id.as_str().into() });
        let shutdown = link::ShutdownFramework { framework_id };
        self.effects.push(to_agent(link, link::to_agent::Message::ShutdownFramework(shutdown)));
    }
}

/// The effect that sends a message to an agent.
pub(crate) fn to_agent(link: crate::LinkId, message: link::to_agent::Message) -> Effect {
    Effect::ToAgent { link, message: Box::new(link::ToAgent { message: Some(message) }) }
}
