//! Calls of executors and messages for them (rules 211, 212, 219, 283 to 291).

use mezzo_ids::{ExecutorId, FrameworkId, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::link::{ExecutorMessage, FrameworkMessage, to_master};
use v1::executor::{Call, Event, call, event};

use crate::{
    agent::{Agent, Moment, container_proto},
    config::{EXECUTOR_HEARTBEAT, UNKNOWN_TASKS_MAX, UPDATES_PENDING_MAX},
    effect::{Answer, Effect},
    input::{ExecutorClaims, RequestId, StreamId},
    query,
    state::{Framework, Phase, Task},
    timers::Timer,
    updates::substitute,
};

/// What is wrong with the shape of a call, in the words of the original.
fn fault(call: &Call) -> Option<String> {
    use call::Type;
    let missing = |field: &str| Some(format!("Expecting '{field}' to be present"));
    match call.r#type {
        None => missing("type"),
        Some(kind) => match Type::try_from(kind) {
            Ok(Type::Subscribe) if call.subscribe.is_none() => missing("subscribe"),
            Ok(Type::Message) if call.message.is_none() => missing("message"),
            Ok(Type::Update) => match &call.update {
                None => missing("update"),
                Some(update) => update_fault(call, &update.status),
            },
            _ => None,
        },
    }
}

fn update_fault(call: &Call, status: &v1::TaskStatus) -> Option<String> {
    let executor = &call.executor_id.value;
    let framework = &call.framework_id.value;
    let Some(uuid) = &status.uuid else { return Some("Expecting 'uuid' to be present".into()) };
    if Uuid::from_slice(uuid).is_none() {
        return Some("Not a valid UUID".into());
    }
    if let Some(other) = status.executor_id.as_ref().filter(|id| id.value != *executor) {
        return Some(format!(
            "ExecutorID in Call: {executor} does not match ExecutorID in TaskStatus: {}",
            other.value
        ));
    }
    if status.source != Some(v1::task_status::Source::Executor as i32) {
        return Some(format!(
            "Received Call from executor {executor} of framework {framework} with invalid source, \
             expecting 'SOURCE_EXECUTOR'"
        ));
    }
    if status.state == v1::TaskState::TaskStaging as i32 {
        return Some(format!(
            "Received TASK_STAGING from executor {executor} of framework {framework} which is not allowed"
        ));
    }
    None
}

impl Agent {
    /// Whether the call may go on; answers it when not.
    fn accept(&mut self, request: RequestId, call: &Call, claims: Option<&ExecutorClaims>) -> bool {
        if let Some(fault) = fault(call) {
            let text = format!("Failed to validate Executor::Call: {fault}");
            self.answer(request, Answer::BadRequest(text));
            return false;
        }
        if call.r#type() == call::Type::Unknown {
            self.answer(request, Answer::NotImplemented(String::new()));
            return false;
        }
        if call.r#type() == call::Type::Heartbeat {
            // Answered without any look at who sends it (rule 290).
            self.answer(request, Answer::Accepted);
            return false;
        }
        let framework = FrameworkId::from(call.framework_id.value.as_str());
        let executor = ExecutorId::from(call.executor_id.value.as_str());
        if self.framework(&framework).is_none() {
            self.answer(request, Answer::BadRequest("Framework cannot be found".into()));
            return false;
        }
        let Some(known) = self.executor(&framework, &executor) else {
            self.answer(request, Answer::BadRequest("Executor cannot be found".into()));
            return false;
        };
        // Rule 452: also an earlier run of the same executor is somebody else.
        let is_known = |claims: &ExecutorClaims| {
            claims.framework == framework
                && claims.executor == executor
                && claims.container == known.container
        };
        if !claims.is_none_or(is_known) {
            let text = "The claims of the token do not match the framework, executor and container";
            self.answer(request, Answer::Forbidden(text.into()));
            return false;
        }
        true
    }

    pub(crate) fn on_subscribe(
        &mut self,
        m: &mut Moment<'_>,
        stream: StreamId,
        call: Call,
        request: RequestId,
        claims: Option<ExecutorClaims>,
    ) {
        if !self.accept(request, &call, claims.as_ref()) {
            return;
        }
        let framework = FrameworkId::from(call.framework_id.value.as_str());
        let id = ExecutorId::from(call.executor_id.value.as_str());
        let Some(executor) = self.executor(&framework, &id) else { return };
        if matches!(executor.phase, Phase::Terminated) {
            return self.answer(request, Answer::BadRequest("Executor cannot be found".into()));
        }
        let container = executor.container.clone();
        let ending =
            executor.phase == Phase::Terminating || self.framework(&framework).is_some_and(|f| f.terminating);
        self.answer(request, Answer::Ok);
        if let Some(old) = executor_stream(self, &framework, &id) {
            // One connection per executor: the old one ends (rule 285).
            self.subscribers.remove(&old);
            self.effects.push(Effect::CloseStream(old));
        }
        self.subscribers.insert(stream, (framework.clone(), id.clone()));
        if let Some(executor) = self.executor_mut(&framework, &id) {
            executor.stream = Some(stream);
            if executor.phase == Phase::Registering {
                executor.phase = Phase::Running;
            }
        }
        self.timers.set(
            m.now + EXECUTOR_HEARTBEAT,
            Timer::ExecutorHeartbeat(framework.clone(), id.clone(), container),
        );
        let call::Subscribe { unacknowledged_tasks, unacknowledged_updates } =
            call.subscribe.unwrap_or_default();
        for update in unacknowledged_updates {
            self.take_update(m, &framework, &id, update.status);
        }
        self.drop_unknown_staging(m, &framework, &id, &unacknowledged_tasks);
        let Some(executor) = self.executor(&framework, &id) else { return };
        let idle = executor.tasks.values().all(Task::is_terminal);
        if ending || idle {
            // Nothing is left for it to do (rule 286).
            let shutdown = Event { r#type: Some(event::Type::Shutdown as i32), ..Default::default() };
            self.event(stream, shutdown);
            if !ending {
                self.begin_shutdown(m, &framework, &id);
            }
            return;
        }
        let Some(owner) = self.framework(&framework) else { return };
        let subscribed = event::Subscribed {
            executor_info: query::own_executor_info(executor),
            framework_info: (*owner.info).clone(),
            agent_info: (*self.state.info).clone(),
            container_id: Some(container_proto(&executor.container)),
        };
        self.event(
            stream,
            Event {
                r#type: Some(event::Type::Subscribed as i32),
                subscribed: Some(subscribed),
                ..Default::default()
            },
        );
        let Some(executor) = self.executor_mut(&framework, &id) else { return };
        let queue: Vec<TaskId> = executor.queue.drain(..).collect();
        for task in &queue {
            if let Some(task) = executor.tasks.get_mut(task) {
                task.queued = false;
            }
        }
        self.deliver(&framework, &id, &queue);
        self.on_executor_back(m);
        if self.state.drain.is_some() {
            // A kill could not reach it while it was away.
            self.kill_for_drain(m);
        }
    }

    /// Tasks that were handed over before the agent restarted but never arrived (rule 284).
    fn drop_unknown_staging(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        known: &[v1::TaskInfo],
    ) {
        let Some(executor) = self.executor(framework, id) else { return };
        let lost: Vec<TaskId> = executor
            .tasks
            .iter()
            .filter(|(_, task)| task.state == v1::TaskState::TaskStaging && !task.queued)
            .filter(|(id, _)| !known.iter().any(|k| k.task_id.value == ***id))
            .map(|(id, _)| id.clone())
            .collect();
        let info = self.framework(framework).map(|f| f.info.clone());
        for task in lost {
            let state = substitute(info.as_deref(), v1::TaskState::TaskDropped);
            let reason = v1::task_status::Reason::AgentRestarted;
            let message = "Task was never delivered to its executor before the agent restarted";
            let status = self.agent_status(m, &task, id, state, reason, message);
            self.update(m, framework, id, status);
        }
    }

    pub(crate) fn on_executor_call(
        &mut self,
        m: &mut Moment<'_>,
        request: RequestId,
        call: Call,
        claims: Option<ExecutorClaims>,
    ) {
        if !self.accept(request, &call, claims.as_ref()) {
            return;
        }
        let framework = FrameworkId::from(call.framework_id.value.as_str());
        let id = ExecutorId::from(call.executor_id.value.as_str());
        if executor_stream(self, &framework, &id).is_none() {
            return self.answer(request, Answer::Forbidden("Executor is not subscribed".into()));
        }
        match call.r#type() {
            call::Type::Update => {
                if let Some(update) = call.update {
                    self.take_update(m, &framework, &id, update.status);
                }
            }
            call::Type::Message => {
                self.state.counters.valid_framework_messages += 1;
                self.tell(to_master::Message::ExecutorMessage(ExecutorMessage {
                    framework_id: Some(call.framework_id),
                    executor_id: Some(call.executor_id),
                    data: call.message.map(|m| m.data).unwrap_or_default(),
                }));
            }
            _ => {}
        }
        self.answer(request, Answer::Accepted);
    }

    /// Stores an executor's update and then acknowledges it to the executor (rules 211, 212, 216).
    fn take_update(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        mut status: v1::TaskStatus,
    ) {
        let task = TaskId::from(status.task_id.value.as_str());
        let uuid = status.uuid.clone().unwrap_or_default();
        let Some(executor) = self.executor(framework, id) else { return };
        let Some(stream) = executor.stream else { return };
        let acknowledged = Event {
            r#type: Some(event::Type::Acknowledged as i32),
            acknowledged: Some(event::Acknowledged { task_id: status.task_id.clone(), uuid: uuid.clone() }),
            ..Default::default()
        };
        let invented = !executor.tasks.contains_key(&task);
        let pending = self.streams.get(&(framework.clone(), task));
        if pending.is_some_and(|s| s.knows(&uuid)) {
            return self.event(stream, acknowledged);
        }
        if pending.is_some_and(|s| s.pending.len() >= UPDATES_PENDING_MAX) {
            // Nobody acknowledges and the executor goes on and on: not taking it is all that is left,
            // and an executor library repeats what was not acknowledged.
            self.state.counters.invalid_status_updates += 1;
            return;
        }
        if invented && pending.is_none() && self.unknown_tasks(framework, id) >= UNKNOWN_TASKS_MAX {
            self.state.counters.invalid_status_updates += 1;
            return;
        }
        status.source = Some(v1::task_status::Source::Executor as i32);
        status.agent_id = Some(v1::AgentId { value: self.id().as_str().into() });
        status.executor_id = Some(v1::ExecutorId { value: id.as_str().into() });
        status.timestamp.get_or_insert(m.now.as_secs_f64());
        let networks = self.network_infos(&executor.container);
        let container = status.container_status.get_or_insert_default();
        container.container_id.get_or_insert_with(|| container_proto(&executor.container));
        container.executor_pid = container.executor_pid.or(executor.pid);
        if container.network_infos.is_empty() {
            container.network_infos = networks;
        }
        let terminal = crate::updates::status_is_terminal(&status);
        self.update(m, framework, id, status);
        self.event(stream, acknowledged);
        if terminal {
            self.update_container_resources(framework, id);
        }
    }

    /// Streams of an executor for tasks it does not have.
    fn unknown_tasks(&self, framework: &FrameworkId, id: &ExecutorId) -> usize {
        let Some(executor) = self.executor(framework, id) else { return 0 };
        let own = self.streams.iter().filter(|((f, _), s)| f == framework && s.executor == *id);
        own.filter(|((_, task), _)| !executor.tasks.contains_key(task)).count()
    }

    pub(crate) fn on_framework_message(&mut self, message: FrameworkMessage) {
        let (Some(framework), Some(executor)) = (message.framework_id, message.executor_id) else { return };
        let framework = FrameworkId::from(framework.value);
        let executor = ExecutorId::from(executor.value);
        let running = self.executor(&framework, &executor).filter(|e| e.phase == Phase::Running);
        let Some(stream) = running.and_then(|e| e.stream) else {
            self.state.counters.invalid_framework_messages += 1;
            return;
        };
        self.state.counters.valid_framework_messages += 1;
        let event = Event {
            r#type: Some(event::Type::Message as i32),
            message: Some(event::Message { data: message.data }),
            ..Default::default()
        };
        self.event(stream, event);
    }

    /// Whether executors and tasks of this framework survive the agent.
    pub(crate) fn is_checkpointed(&self, framework: &FrameworkId) -> bool {
        self.framework(framework).is_some_and(Framework::checkpoint)
    }
}

fn executor_stream(agent: &Agent, framework: &FrameworkId, executor: &ExecutorId) -> Option<StreamId> {
    agent.executor(framework, executor)?.stream
}
