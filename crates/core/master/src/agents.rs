//! Whether agents are there: pings, time-outs, and what happens to the tasks of those that are not.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mezzo_ids::{AgentId, FrameworkId, TaskId, Uuid};
use mezzo_mesos::v1::{self, OperationState, TaskState, task_status::Reason};
use mezzo_protocol::link;
use mezzo_time::Timestamp;

use crate::{
    effect::Effect,
    frameworks::to_agent,
    input::LinkId,
    master::{Master, Moment},
    metrics::Counter,
    registry,
    state::{Drain, Task},
    status,
    timers::Timer,
};

/// Whether one registered agent answers.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Pings in a row without an answer.
    missed: u32,
    /// It is to be marked unreachable as soon as the rate limit allows.
    leaving: bool,
    /// Timers of an earlier life of the agent are not its own.
    next_ping: Timestamp,
    /// When a disconnected agent has to be back.
    pub(crate) back_by: Option<Timestamp>,
    /// Over which it registered last; those with lower numbers were opened before.
    pub(crate) newest_link: LinkId,
}

impl Watch {
    /// Of an agent that has just registered.
    pub(crate) fn new(next_ping: Timestamp, newest_link: LinkId) -> Self {
        Self { missed: 0, leaving: false, next_ping, back_by: None, newest_link }
    }

    /// An answer, or a registration: the count starts over and a removal that waits is off (rule 240).
    pub(crate) fn answered(&mut self) {
        self.missed = 0;
        self.leaving = false;
    }
}

/// Agents that wait for the removal rate limit (rule 241).
#[derive(Debug, Default)]
pub(crate) struct Removals {
    waiting: VecDeque<(AgentId, &'static str)>,
    free_at: Timestamp,
}

/// Why an agent is taken out of the state.
pub(crate) enum Departure {
    /// It does not answer; it may come back.
    Unreachable(&'static str),
    /// It left, or something took its place.
    Removed(&'static str),
    /// An operator says that it will never come back.
    Gone,
}

/// Counts the ping before as missed and sends the next (rule 239). The answer resets the count.
pub(crate) fn ping(master: &mut Master, moment: &mut Moment<'_>, id: &AgentId) {
    let (Some(agent), Some(watch)) = (master.state.agents.get(id), master.watches.get_mut(id)) else {
        return;
    };
    if watch.next_ping > moment.now {
        return;
    }
    let next_ping = moment.now + master.config.agent_ping_timeout;
    watch.next_ping = next_ping;
    let lost = watch.missed >= master.config.agent_ping_timeouts_max && !watch.leaving;
    watch.missed = watch.missed.saturating_add(1);
    let (link, connected) = (agent.link, agent.connected);
    // A ping that waits for a broken connection would tell the agent nothing when it arrives.
    if let Some(link) = link.filter(|_| connected) {
        let ping = link::Ping { connected };
        master.effects.push(to_agent(link, link::to_agent::Message::Ping(ping)));
    }
    master.wake_at(next_ping, Timer::Ping(id.clone()));
    if lost {
        leave(master, moment, id, "health check timed out");
    }
}

/// A disconnected agent has not come back in time (rule 244).
pub(crate) fn on_reregister_timeout(master: &mut Master, moment: &mut Moment<'_>, id: &AgentId) {
    let back_by = master.watches.get(id).and_then(|watch| watch.back_by);
    if back_by.is_some_and(|at| at <= moment.now) {
        leave(master, moment, id, "agent did not re-register in time");
    }
}

/// Marks an agent unreachable, now or when the rate limit allows (rule 241).
fn leave(master: &mut Master, moment: &mut Moment<'_>, id: &AgentId, why: &'static str) {
    if let Some(watch) = master.watches.get_mut(id) {
        watch.leaving = true;
    }
    master.count(Counter::AgentUnreachableScheduled);
    master.removals.waiting.push_back((id.clone(), why));
    remove_next(master, moment);
}

/// Lets agents that wait for it become unreachable, as many as the rate limit allows.
pub(crate) fn remove_next(master: &mut Master, moment: &mut Moment<'_>) {
    let spacing = match master.config.agent_removal_rate_limit {
        Some((count, per)) => per / count.max(1),
        None => Duration::ZERO,
    };
    while let Some((id, _)) = master.removals.waiting.front() {
        if master.watches.get(id).is_none_or(|watch| !watch.leaving) {
            master.removals.waiting.pop_front();
            master.count(Counter::AgentUnreachableCanceled);
            continue;
        }
        if master.removals.free_at > moment.now {
            master.wake_at(master.removals.free_at, Timer::Removal);
            return;
        }
        let Some((id, why)) = master.removals.waiting.pop_front() else { return };
        master.removals.free_at = moment.now + spacing;
        master.count(Counter::AgentUnreachableCompleted);
        master.take_agent_out(moment, &id, Departure::Unreachable(why));
    }
}

/// Agents of the registry that have not come back become unreachable, unless there are so many that
/// something else must be wrong (rule 253).
pub(crate) fn on_recovery_timeout(master: &mut Master, moment: &mut Moment<'_>) {
    master.recovery_deadline = None;
    let missing = master.state.recovered_agents.len();
    let known = missing + master.state.agents.len();
    if known > 0 && missing as f64 / known as f64 > master.config.recovery_agent_removal_limit {
        let limit = master.config.recovery_agent_removal_limit * 100.0;
        master.effects.push(Effect::Exit(format!(
            "after a restart of the master {missing} of {known} agents have not come back, which is more \
             than --recovery_agent_removal_limit={limit}% allows to mark unreachable"
        )));
        return;
    }
    for id in std::mem::take(&mut master.state.recovered_agents).into_keys() {
        master.count(Counter::RecoveryAgentRemovals);
        let drain = master.state.drains.get(&id).cloned().unwrap_or_default();
        master.record_unreachable(moment, &id, &drain);
        master.broadcast_failure(&id);
    }
}

/// Forgets unreachable and gone agents that are too old or too many (rule 255).
pub(crate) fn prune_registry(master: &mut Master, moment: &mut Moment<'_>) {
    let (age, count) = (master.config.registry_agent_age_max, master.config.registry_agent_count_max);
    let mut forgotten = Vec::new();
    for list in [&master.state.unreachable_agents, &master.state.gone_agents] {
        let mut by_age: Vec<(Timestamp, &AgentId)> = list.iter().map(|(id, at)| (*at, id)).collect();
        by_age.sort();
        let excess = by_age.len().saturating_sub(count);
        forgotten.extend(
            by_age
                .into_iter()
                .enumerate()
                .filter(|(index, (at, _))| *index < excess || moment.now.since(*at) > age)
                .map(|(_, (_, id))| id.clone()),
        );
    }
    for id in forgotten {
        master.state.unreachable_agents.remove(&id);
        master.state.gone_agents.remove(&id);
        master.state.drains.remove(&id);
        master.persist(registry::forgotten(&id));
    }
    master.wake_at(moment.now + master.config.registry_gc_interval, Timer::RegistryGc);
}

impl Master {
    /// The session with an agent is over; it has to register again (rules 242 to 244).
    pub(crate) fn disconnect_agent(&mut self, moment: &mut Moment<'_>, id: &AgentId) {
        self.suspend_agent(moment, id);
        let back_by = moment.now + self.config.agent_reregister_timeout;
        let Some(agent) = self.agent_mut(id) else { return };
        if let Some(link) = agent.link.take() {
            self.links.remove(&link);
        }
        if let Some(watch) = self.watches.get_mut(id) {
            watch.back_by = Some(back_by);
        }
        self.wake_at(back_by, Timer::Reregister(id.clone()));
        self.lose_unprotected_tasks(moment, id);
    }

    /// The connection to an agent is down, but nothing is lost yet: no offers until it is back.
    pub(crate) fn suspend_agent(&mut self, moment: &mut Moment<'_>, id: &AgentId) {
        self.rescind_agent_offers(moment, id);
        self.remove_inverse_offers(id, true);
        let Some(agent) = self.agent_mut(id) else { return };
        agent.connected = false;
        agent.active = false;
        self.allocator.deactivate_agent(id);
    }

    /// The connection to an agent is up.
    pub(crate) fn resume_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agent_mut(id) else { return };
        agent.connected = true;
        agent.active = !agent.deactivated;
        if agent.active {
            self.allocator.activate_agent(id);
        }
        if let Some(watch) = self.watches.get_mut(id) {
            watch.answered();
            watch.back_by = None;
        }
    }

    /// Tasks and executors of frameworks that do not checkpoint end with the connection (rule 243).
    fn lose_unprotected_tasks(&mut self, moment: &Moment<'_>, id: &AgentId) {
        let Some(agent) = self.state.agents.get(id) else { return };
        let unprotected = |framework: &FrameworkId| {
            self.state.frameworks.get(framework).is_some_and(|f| !f.info.checkpoint())
        };
        let tasks: Vec<_> = agent.tasks.keys().filter(|(f, _)| unprotected(f)).cloned().collect();
        let executors: Vec<_> = agent.executors.keys().filter(|(f, _)| unprotected(f)).cloned().collect();
        for (framework, task) in tasks {
            let Some(entry) = self.task(&framework, &task) else { continue };
            if status::is_terminal(entry.info.state()) {
                self.remove_task(moment, &framework, &task);
                continue;
            }
            let update = status::of_task(
                moment.now,
                &entry.info,
                TaskState::TaskLost,
                Reason::AgentDisconnected,
                "Agent disconnected",
            );
            self.end_task(moment, &framework, &task, update);
        }
        for (framework, executor) in executors {
            self.remove_executor(moment, &framework, id, &executor);
        }
    }

    /// Takes a registered agent out: the registry first, then its offers, tasks and operations.
    pub(crate) fn take_agent_out(&mut self, moment: &mut Moment<'_>, id: &AgentId, departure: Departure) {
        let Some(agent) = self.state.agents.get(id) else { return };
        let hostname = agent.info.hostname.clone();
        let drain = Drain { info: agent.drain, deactivated: agent.deactivated, started: agent.drain_started };
        self.count(Counter::AgentRemovals);
        if matches!(departure, Departure::Unreachable(_)) {
            self.count(Counter::AgentRemovalsUnhealthy);
        }
        match &departure {
            Departure::Unreachable(_) => self.record_unreachable(moment, id, &drain),
            Departure::Removed(_) => self.persist(registry::forgotten(id)),
            Departure::Gone => self.record_gone(moment, id),
        }
        self.rescind_agent_offers(moment, id);
        self.remove_inverse_offers(id, true);
        self.end_agent_tasks(moment, id, &hostname, &departure);
        self.end_agent_operations(id, &departure);
        self.note_agent(id);
        self.note_agent_forgotten(id);
        self.allocator.remove_agent(id);
        self.watches.remove(id);
        if let Some(agent) = self.state.agents.remove(id) {
            self.addresses.remove(&(agent.ip.clone(), agent.port));
            if let Some(link) = agent.link {
                if matches!(departure, Departure::Gone) {
                    let shutdown = link::Shutdown { message: "Agent has been marked gone".into() };
                    self.effects.push(to_agent(link, link::to_agent::Message::Shutdown(shutdown)));
                }
                self.links.remove(&link);
                self.effects.push(Effect::CloseLink(link));
            }
        }
        self.broadcast_failure(id);
        // Rule 246: operators hear of removals only.
        if matches!(departure, Departure::Removed(_)) {
            self.publish_agent_removed(id);
        }
    }

    /// Marks an agent gone wherever it is known (rule 259). False when it is not known at all.
    pub(crate) fn mark_agent_gone(&mut self, moment: &mut Moment<'_>, id: &AgentId) -> bool {
        if self.state.gone_agents.contains_key(id) {
            return true;
        }
        if self.state.agents.contains_key(id) {
            self.take_agent_out(moment, id, Departure::Gone);
            return true;
        }
        let known =
            self.state.recovered_agents.contains_key(id) || self.state.unreachable_agents.contains_key(id);
        if !known {
            return false;
        }
        self.record_gone(moment, id);
        self.end_unreachable_tasks(moment, id);
        self.broadcast_failure(id);
        true
    }

    /// Forgets an agent of the registry that has not come back and never will.
    pub(crate) fn forget_recovered(&mut self, id: &AgentId) {
        self.count(Counter::AgentRemovals);
        self.persist(registry::forgotten(id));
        self.state.recovered_agents.remove(id);
        self.state.drains.remove(id);
        self.broadcast_failure(id);
    }

    fn record_unreachable(&mut self, moment: &Moment<'_>, id: &AgentId, drain: &Drain) {
        self.persist(registry::unreachable(id, moment.now, Some(drain)));
        self.state.unreachable_agents.insert(id.clone(), moment.now);
        if drain.deactivated || drain.info.is_some() {
            self.state.drains.insert(id.clone(), drain.clone());
        }
    }

    fn record_gone(&mut self, moment: &Moment<'_>, id: &AgentId) {
        self.persist(registry::gone(id, moment.now));
        self.state.unreachable_agents.remove(id);
        self.state.recovered_agents.remove(id);
        self.state.drains.remove(id);
        self.state.gone_agents.insert(id.clone(), moment.now);
    }

    /// Books an end of an operation.
    pub(crate) fn remove_operation(&mut self, agent: &AgentId, uuid: &Uuid) {
        self.operation_agents.remove(uuid);
        if let Some(agent) = self.agent_mut(agent) {
            agent.operations.remove(uuid);
        }
    }

    /// Every framework hears that an agent is lost (rule 245).
    fn broadcast_failure(&mut self, id: &AgentId) {
        let connected: Vec<FrameworkId> = self
            .state
            .frameworks
            .iter()
            .filter(|(_, framework)| framework.stream.is_some())
            .map(|(framework, _)| framework.clone())
            .collect();
        for framework in connected {
            self.send_failure(&framework, id, None);
        }
    }

    fn end_agent_tasks(&mut self, moment: &Moment<'_>, id: &AgentId, hostname: &str, departure: &Departure) {
        let Some(agent) = self.state.agents.get(id) else { return };
        let tasks: Vec<(FrameworkId, TaskId)> = agent.tasks.keys().cloned().collect();
        let executors: Vec<_> = agent.executors.keys().cloned().collect();
        for (framework, task) in tasks {
            let Some(entry) = self.task(&framework, &task).cloned() else { continue };
            let partition_aware = self.is_partition_aware(&framework);
            let mut update = departure_status(moment, &entry, hostname, partition_aware, departure);
            if status::is_terminal(entry.info.state()) {
                self.remove_task(moment, &framework, &task);
                // The end itself may be on its way from the agent, which will not bring it any more unless
                // it comes back; what is known of the task stays true (F055).
                if !matches!(departure, Departure::Unreachable(_)) {
                    update.state = entry.info.state;
                    self.send_update(&framework, update);
                }
                continue;
            }
            self.end_task(moment, &framework, &task, update);
        }
        for (framework, executor) in executors {
            self.remove_executor(moment, &framework, id, &executor);
        }
    }

    /// Tasks that were unreachable with an agent that is gone.
    fn end_unreachable_tasks(&mut self, moment: &Moment<'_>, id: &AgentId) {
        let frameworks: Vec<FrameworkId> = self.state.frameworks.keys().cloned().collect();
        let completed_max = self.config.completed_tasks_max;
        for id_of in frameworks {
            let mut updates = Vec::new();
            let Some(framework) = self.framework_mut(&id_of) else { continue };
            let aware = framework.capabilities.partition_aware;
            let (lost, kept) = std::mem::take(&mut framework.unreachable_tasks)
                .into_iter()
                .partition(|task| task.info.agent_id.value == id.as_str());
            let _: &VecDeque<Arc<Task>> = &lost;
            framework.unreachable_tasks = kept;
            for mut task in lost {
                let update = departure_status(moment, &task, "", aware, &Departure::Gone);
                let entry = Arc::make_mut(&mut task);
                entry.info.state = update.state;
                entry.info.statuses.push(update.clone());
                framework.keep_task(task, completed_max, 0);
                updates.push(update);
            }
            for update in updates {
                self.send_update(&id_of, update);
            }
        }
    }

    fn end_agent_operations(&mut self, id: &AgentId, departure: &Departure) {
        let Some(agent) = self.agent_mut(id) else { return };
        let operations = std::mem::take(&mut agent.operations);
        let state = match departure {
            Departure::Unreachable(_) => OperationState::OperationUnreachable,
            Departure::Gone => OperationState::OperationGoneByOperator,
            Departure::Removed(_) => OperationState::OperationDropped,
        };
        for (uuid, operation) in operations {
            self.operation_agents.remove(&uuid);
            let (Some(framework), Some(operation_id)) =
                (&operation.info.framework_id, &operation.info.info.id)
            else {
                continue;
            };
            let status = v1::OperationStatus {
                operation_id: Some(operation_id.clone()),
                state: state.into(),
                message: Some("Agent is not there any more".into()),
                agent_id: Some(status::agent_id(id)),
                ..Default::default()
            };
            self.send_operation_status(&FrameworkId::from(framework.value.as_str()), status);
        }
    }
}

/// What a framework is told of a task whose agent leaves (rules 245, 252, 259).
fn departure_status(
    moment: &Moment<'_>,
    task: &Task,
    hostname: &str,
    partition_aware: bool,
    departure: &Departure,
) -> v1::TaskStatus {
    let (state, reason, message) = match departure {
        Departure::Unreachable(why) => (
            status::state_for(partition_aware, TaskState::TaskUnreachable),
            Reason::AgentRemoved,
            format!("Agent {hostname} is unreachable: {why}"),
        ),
        Departure::Removed(why) => {
            (TaskState::TaskLost, Reason::AgentRemoved, format!("Agent {hostname} removed: {why}"))
        }
        Departure::Gone if partition_aware => (
            TaskState::TaskGoneByOperator,
            Reason::AgentRemovedByOperator,
            "Agent has been marked gone".to_owned(),
        ),
        Departure::Gone => {
            (TaskState::TaskLost, Reason::AgentRemoved, "Agent has been marked gone".to_owned())
        }
    };
    let mut update = status::of_task(moment.now, &task.info, state, reason, message);
    if matches!(departure, Departure::Unreachable(_)) {
        update.unreachable_time = Some(status::time_info(moment.now));
    }
    update
}

/// A draining agent on which nothing is left is drained (rule 264); one to be marked gone then is gone
/// (rule 263).
pub(crate) fn check_drained(master: &mut Master, moment: &mut Moment<'_>, id: &AgentId) {
    let Some(agent) = master.state.agents.get(id) else { return };
    let Some(drain) = agent.drain.as_ref().filter(|drain| drain.state() == v1::DrainState::Draining) else {
        return;
    };
    if !agent.tasks.is_empty() || !agent.operations.is_empty() {
        return;
    }
    let gone = drain.config.mark_gone();
    let Some(agent) = master.agent_mut(id) else { return };
    if let Some(drain) = &mut agent.drain {
        drain.state = v1::DrainState::Drained.into();
    }
    let record = registry::admitted(agent);
    master.persist(record);
    if gone {
        master.mark_agent_gone(moment, id);
    }
}
