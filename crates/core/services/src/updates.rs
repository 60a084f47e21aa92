//! What the master says of tasks.

use mezzo_mesos::v1::{
    self, TaskState,
    scheduler::call::{self, Type},
    task_status::Reason,
};
use mezzo_services_model::{Condition, EventKind, Goal, Instance, RunSpec, Task, TaskFailure, TaskId};
use mezzo_time::Timestamp;

use crate::{
    Record,
    instances::waiting,
    services::{Moment, Services},
};

/// How much of a message is kept, in characters (rule 188).
const MESSAGE_CHARS: usize = 10_000;

/// What a status means; the reason decides for a lost task (rule 179).
pub(crate) fn condition_of(state: TaskState, reason: Option<Reason>) -> Condition {
    match state {
        TaskState::TaskStaging => Condition::Staging,
        TaskState::TaskStarting => Condition::Starting,
        TaskState::TaskRunning => Condition::Running,
        TaskState::TaskKilling => Condition::Killing,
        TaskState::TaskFinished => Condition::Finished,
        TaskState::TaskFailed => Condition::Failed,
        TaskState::TaskKilled => Condition::Killed,
        TaskState::TaskError => Condition::Error,
        TaskState::TaskDropped => Condition::Dropped,
        TaskState::TaskUnreachable => Condition::Unreachable,
        TaskState::TaskGone | TaskState::TaskGoneByOperator => Condition::Gone,
        TaskState::TaskUnknown => Condition::Unknown,
        TaskState::TaskLost => match reason {
            Some(Reason::Reconciliation | Reason::AgentDisconnected | Reason::AgentRemoved) => {
                Condition::Unreachable
            }
            Some(Reason::TaskUnknown) => Condition::Unknown,
            _ => Condition::Gone,
        },
    }
}

/// How an instance is: the worst of its tasks (rule 181).
pub(crate) fn worst<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Condition {
    const ORDER: [Condition; 13] = [
        Condition::Error,
        Condition::Failed,
        Condition::Gone,
        Condition::Dropped,
        Condition::Unreachable,
        Condition::Killing,
        Condition::Starting,
        Condition::Staging,
        Condition::Unknown,
        Condition::Provisioned,
        Condition::Running,
        Condition::Finished,
        Condition::Killed,
    ];
    let rank =
        |condition: Condition| ORDER.iter().position(|known| *known == condition).unwrap_or(ORDER.len());
    tasks.into_iter().map(|task| task.condition).min_by_key(|c| rank(*c)).unwrap_or(Condition::Unknown)
}

impl Services {
    pub(crate) fn on_update(&mut self, m: &mut Moment<'_>, mut status: v1::TaskStatus) {
        let (Ok(state), Ok(task)) = (TaskState::try_from(status.state), TaskId::parse(&status.task_id.value))
        else {
            // No task of ours has such an id; nobody else will acknowledge it.
            return self.acknowledge(&status);
        };
        let reason = status.reason.and_then(|reason| Reason::try_from(reason).ok());
        if let Some(message) = &mut status.message
            && let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS)
        {
            message.truncate(end);
        }
        let condition = condition_of(state, reason);
        match self.find(&task) {
            Some((instance, name)) => self.on_known(m, &instance, &name, &status, state, condition),
            None => self.on_unknown(m, &task, &status, condition),
        }
        self.acknowledge(&status);
    }

    /// Behind the records of what the status has changed (rule 187).
    fn acknowledge(&mut self, status: &v1::TaskStatus) {
        let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) else { return };
        if uuid.is_empty() {
            return;
        }
        let task_id = status.task_id.clone();
        self.call(Type::Acknowledge, |call| {
            call.acknowledge = Some(call::Acknowledge { agent_id, task_id, uuid });
        });
    }

    /// Rules 175 and 187.
    fn on_unknown(
        &mut self,
        m: &mut Moment<'_>,
        task: &TaskId,
        status: &v1::TaskStatus,
        condition: Condition,
    ) {
        let over =
            condition.is_terminal() || matches!(condition, Condition::Unreachable | Condition::Unknown);
        if !over {
            return self.send_kill_of(task.as_str(), status.agent_id.clone());
        }
        // An old task of an instance that has been launched again is no unknown instance.
        let instance = task.instance();
        if self.instance(&instance).is_none()
            && let Ok(run_spec) = instance.run_spec()
        {
            self.publish(m, EventKind::UnknownInstanceTerminated { instance, run_spec, condition });
        }
    }

    fn on_known(
        &mut self,
        m: &mut Moment<'_>,
        old: &Instance,
        name: &str,
        status: &v1::TaskStatus,
        state: TaskState,
        mut condition: Condition,
    ) {
        let Some(task) = old.tasks.get(name) else { return };
        if task.condition.is_terminal() {
            // Rule 180.
            return;
        }
        if condition == Condition::Unknown && task.condition == Condition::UnreachableInactive {
            condition = Condition::UnreachableInactive;
        }
        let spec = self.definition(&old.run_spec, old.version);
        let mut task = task.clone();
        let before = task.status.as_ref().map(|status| (status.state, status.healthy));
        let is_news = before != Some((status.state, status.healthy)) || task.condition != condition;
        task.condition = condition;
        if condition == Condition::Running && task.started_at.is_none() {
            task.started_at = Some(m.now);
        }
        task.healthy = status.healthy.or(task.healthy).filter(|_| condition == Condition::Running);
        task.status = Some(Box::new(status.clone()));
        let task_id = task.id.clone();
        let mut new = old.clone();
        new.tasks.insert(name.to_owned(), task);
        new.condition = worst(new.tasks.values());
        // A pod whose containers have partly ended well is as its running ones are; it is over when all are.
        let over = new.tasks.values().all(|task| task.condition.is_terminal());
        if new.condition.is_terminal() && !over {
            let alive = new.tasks.values().filter(|task| !task.condition.is_terminal());
            new.condition = worst(alive);
        }
        if new.condition != old.condition {
            new.since = m.now;
        }
        match new.condition {
            Condition::Running => new.active_since = new.active_since.or(Some(m.now)),
            condition if condition.is_terminal() => new.active_since = None,
            _ => {}
        }
        if is_news {
            self.tell_status(m, &new, &task_id, status, state);
        }
        self.note_agents_health(m, &mut new, spec.as_ref(), status);
        self.note_delay(m, &new, condition, status);
        if matches!(condition, Condition::Failed | Condition::Error | Condition::Dropped | Condition::Gone) {
            let failure =
                failure_of(&new, &task_id, state, status.message.clone().unwrap_or_default(), m.now);
            self.note_failure(failure);
        }
        if condition == Condition::Running && old.condition != Condition::Running {
            self.queue.give_token_back(self.config.launch_tokens);
        }
        if over {
            return self.on_over(m, new, state);
        }
        if condition == Condition::Unreachable {
            return self.on_unreachable(m, new);
        }
        let terminal_goal = new.goal != Goal::Running;
        // It was given up, and so replaced: nobody counts on it, and a later scale would take it for one of the wanted
        // definition. What keeps a volume was not replaced (rule 169).
        let is_stale = old.condition == Condition::UnreachableInactive
            && new.reservation.is_none()
            && self.is_of_the_past(&new);
        let (id, running) = (new.id.clone(), new.condition);
        self.put(m, new);
        if is_stale && !terminal_goal && running != Condition::UnreachableInactive {
            return self.end(m, &id, Goal::Decommissioned);
        }
        if terminal_goal && running != Condition::Killing && !self.kills.is_asked(&id) {
            // It has come back although it is to go.
            self.kill(m, &id);
        }
    }

    /// All tasks of an instance have ended.
    fn on_over(&mut self, m: &mut Moment<'_>, mut instance: Instance, state: TaskState) {
        self.kills.forget(&instance.id);
        if state == TaskState::TaskGoneByOperator {
            // The agent is gone for good, and with it what was kept there (rule 164).
            instance.reservation = None;
        }
        let id = instance.id.clone();
        self.put(m, instance.clone());
        self.after_end(m, &id, &instance);
    }

    /// What becomes of an instance that has ended: it is forgotten, kept stopped, replaced, or launched again.
    pub(crate) fn after_end(
        &mut self,
        m: &mut Moment<'_>,
        id: &mezzo_services_model::InstanceId,
        instance: &Instance,
    ) {
        match instance.goal {
            // Rule 182.
            Goal::Decommissioned if instance.reservation.is_none() => self.expunge(id),
            Goal::Stopped if instance.reservation.is_none() => self.expunge(id),
            // Its reservation is given up when an offer shows it, or kept for the next launch.
            Goal::Decommissioned | Goal::Stopped => {}
            Goal::Running => match self.wanted(&instance.run_spec) {
                None => self.end(m, id, Goal::Decommissioned),
                Some(spec) if self.is_kept_by_trial(instance, &spec) => self.put(m, waiting(instance, m.now)),
                // Rule 63; and an old definition is launched again only while its service waits for its turn to change.
                Some(spec)
                    if instance.version < spec.version_info().last_config_change_at
                        && instance.reservation.is_none()
                        && (self.is_replacing(&instance.run_spec)
                            || !self.locks.contains_key(&instance.run_spec)) =>
                {
                    self.end(m, id, Goal::Decommissioned);
                }
                Some(_) => self.put(m, waiting(instance, m.now)),
            },
        }
    }

    fn tell_status(
        &mut self,
        m: &mut Moment<'_>,
        instance: &Instance,
        task: &TaskId,
        status: &v1::TaskStatus,
        state: TaskState,
    ) {
        let known = instance.tasks.values().find(|known| known.id == *task);
        let networks = status.container_status.iter().flat_map(|container| &container.network_infos);
        let addresses = networks.flat_map(|network| &network.ip_addresses);
        let kind = EventKind::TaskStatus {
            app: instance.run_spec.clone(),
            task: task.clone(),
            agent_id: instance.agent.as_ref().map(|agent| agent.id.clone()),
            state: state.as_str_name().into(),
            message: status.message.clone().unwrap_or_default(),
            host: instance.agent.as_ref().map_or_else(|| "unknown".into(), |agent| agent.host.clone()),
            ip_addresses: addresses.filter_map(|address| address.ip_address.clone()).collect(),
            ports: known.map(|task| task.host_ports.clone()).unwrap_or_default(),
            version: instance.version,
        };
        self.publish(m, kind);
    }

    /// Rules 80, 81, 83 and 85.
    fn note_delay(
        &mut self,
        m: &mut Moment<'_>,
        instance: &Instance,
        condition: Condition,
        status: &v1::TaskStatus,
    ) {
        let path = &instance.run_spec;
        let drained = status.reason == Some(Reason::AgentDraining.into());
        let by_drain = drained
            && (status.state == i32::from(TaskState::TaskKilled)
                || status.state == i32::from(TaskState::TaskGoneByOperator));
        match condition {
            _ if by_drain => self.reset_delay(m, path),
            Condition::Dropped
            | Condition::Error
            | Condition::Failed
            | Condition::Gone
            | Condition::Finished => self.add_delay(m, path),
            Condition::Provisioned | Condition::Staging | Condition::Starting | Condition::Running => {
                self.advance_delay(m, path);
            }
            _ => {}
        }
    }

    /// Rule 189.
    pub(crate) fn note_failure(&mut self, failure: TaskFailure) {
        self.records.push(Record::Failure(Box::new(failure.clone())));
        self.state.failures.insert_mut(failure.run_spec.clone(), failure.into());
    }

    /// The health that the agent's checks tell (rule 126).
    fn note_agents_health(
        &mut self,
        m: &mut Moment<'_>,
        instance: &mut Instance,
        spec: Option<&RunSpec>,
        status: &v1::TaskStatus,
    ) {
        let Some(spec) = spec else { return };
        if instance.condition.is_terminal() {
            instance.healthy = None;
            return;
        }
        match spec {
            RunSpec::App(app) => {
                if instance.condition == Condition::Running
                    && let Some(healthy) = status.healthy
                    && let Some(index) =
                        app.health_checks.iter().position(|check| check.protocol.is_by_agent())
                {
                    self.note_health(m, instance, app, index, healthy, "reported by the agent");
                }
                instance.healthy = self.health_of(&instance.id, app).or(instance.healthy);
            }
            RunSpec::Pod(pod) => {
                let checked = pod.containers.iter().filter(|container| container.health_check.is_some());
                let words: Vec<Option<bool>> = checked
                    .map(|container| instance.tasks.get(&container.name).and_then(|task| task.healthy))
                    .collect();
                let healthy = if words.contains(&Some(false)) {
                    Some(false)
                } else if words.is_empty() || words.contains(&None) {
                    None
                } else {
                    Some(true)
                };
                instance.healthy = healthy;
            }
        }
    }
}

/// What is kept of a failure.
pub(crate) fn failure_of(
    instance: &Instance,
    task: &TaskId,
    state: TaskState,
    message: String,
    at: Timestamp,
) -> TaskFailure {
    TaskFailure {
        run_spec: instance.run_spec.clone(),
        task: task.clone(),
        state: state.as_str_name().into(),
        message,
        host: instance.agent.as_ref().map(|agent| agent.host.clone()).unwrap_or_default(),
        agent_id: instance.agent.as_ref().map(|agent| agent.id.clone()),
        version: instance.version,
        at,
    }
}
