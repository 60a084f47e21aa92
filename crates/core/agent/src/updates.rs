//! Status updates: one ordered stream per task, stored before it is sent, repeated until acknowledged
//! (rules 206 to 214).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use mezzo_ids::{ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{Acknowledge, ReconcileTasks, StatusUpdate, to_master},
    records::{AcknowledgedRecord, UpdateRecord, agent_record::Record},
};
use mezzo_time::Timestamp;

use crate::{
    agent::{Agent, Moment},
    config::{COMPLETED_TASKS_MAX, STATUSES_MAX, UPDATE_RETRY_MAX, UPDATE_RETRY_MIN, UPDATE_UUIDS_MAX},
    state::{Framework, Task, is_terminal},
    timers::Timer,
};

/// The updates of one task that the scheduler has not acknowledged.
#[derive(Debug)]
pub(crate) struct UpdateStream {
    pub(crate) executor: ExecutorId,
    /// The first one is on its way, the others wait for it (rule 207).
    pub(crate) pending: VecDeque<Arc<v1::TaskStatus>>,
    /// Of the last updates taken, to recognise an executor that repeats itself (rule 212).
    uuids: VecDeque<Vec<u8>>,
    /// Whether updates are stored (rule 210).
    pub(crate) checkpoint: bool,
    /// When the first one is sent again, and the wait before that; `None` while it was never sent.
    retry: Option<(Timestamp, Duration)>,
}

impl UpdateStream {
    pub(crate) fn new(executor: ExecutorId, checkpoint: bool) -> Self {
        Self { executor, pending: VecDeque::new(), uuids: VecDeque::new(), checkpoint, retry: None }
    }

    pub(crate) fn push(&mut self, status: Arc<v1::TaskStatus>) {
        if self.uuids.len() == UPDATE_UUIDS_MAX {
            self.uuids.pop_front();
        }
        self.uuids.push_back(status.uuid.clone().unwrap_or_default());
        self.pending.push_back(status);
    }

    pub(crate) fn knows(&self, uuid: &[u8]) -> bool {
        self.uuids.iter().any(|known| known == uuid)
    }
}

/// What a framework that does not know the finer states is told instead.
pub(crate) fn substitute(framework: Option<&v1::FrameworkInfo>, state: v1::TaskState) -> v1::TaskState {
    use v1::TaskState as S;
    let aware = v1::framework_info::capability::Type::PartitionAware as i32;
    let finer = matches!(state, S::TaskDropped | S::TaskGone | S::TaskGoneByOperator | S::TaskUnreachable);
    if finer && !framework.is_some_and(|f| f.capabilities.iter().any(|c| c.r#type == Some(aware))) {
        return S::TaskLost;
    }
    state
}

impl Agent {
    /// A status the agent makes in its own name, with an uuid and the time.
    pub(crate) fn agent_status(
        &self,
        m: &mut Moment<'_>,
        task: &TaskId,
        executor: &ExecutorId,
        state: v1::TaskState,
        reason: v1::task_status::Reason,
        message: impl Into<String>,
    ) -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: v1::TaskId { value: task.as_str().into() },
            state: state as i32,
            message: Some(message.into()),
            source: Some(v1::task_status::Source::Agent as i32),
            reason: Some(reason as i32),
            agent_id: Some(v1::AgentId { value: self.id().as_str().into() }),
            executor_id: Some(v1::ExecutorId { value: executor.as_str().into() }),
            timestamp: Some(m.now.as_secs_f64()),
            uuid: Some(m.uuid().to_vec()),
            ..Default::default()
        }
    }

    /// Takes an update of a framework that is on this agent.
    pub(crate) fn update(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        status: v1::TaskStatus,
    ) {
        let Some(checkpoint) = self.framework(framework).map(Framework::checkpoint) else { return };
        self.update_stored(m, framework, executor, status, checkpoint);
    }

    /// Takes an update, also of a framework that has nothing else here.
    pub(crate) fn update_stored(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        mut status: v1::TaskStatus,
        checkpoint: bool,
    ) {
        self.reword_while_draining(framework, &mut status);
        let status = Arc::new(status);
        let task = TaskId::from(status.task_id.value.as_str());
        let silent = self.framework(framework).is_some_and(|f| f.terminating);
        let mut counted = None;
        if let Some(known) = self.task_mut(framework, executor, &task)
            && !known.is_terminal()
        {
            record(known, &status);
            counted = Some(known.state);
        }
        if let Some(state) = counted.filter(|s| is_terminal(*s)) {
            self.state.counters.count_end(state);
            self.stop_checks(framework, executor, &task);
        }
        if silent {
            // The master has forgotten this framework; nobody will acknowledge.
            if status_is_terminal(&status) {
                self.complete_task(m, framework, executor, &task);
            }
            return;
        }
        self.state.counters.valid_status_updates += 1;
        if checkpoint {
            self.persist(Record::Update(UpdateRecord {
                framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
                executor_id: Some(v1::ExecutorId { value: executor.as_str().into() }),
                status: Some((*status).clone()),
            }));
        }
        let key = (framework.clone(), task);
        let stream = self
            .streams
            .entry(key.clone())
            .or_insert_with(|| UpdateStream::new(executor.clone(), checkpoint));
        stream.push(status);
        if stream.pending.len() == 1 {
            self.send_update(m, &key, UPDATE_RETRY_MIN);
        }
    }

    /// Sends the first pending update of a stream, unless there is no master (rule 209).
    fn send_update(&mut self, m: &Moment<'_>, key: &(FrameworkId, TaskId), wait: Duration) {
        if !self.state.registered {
            return;
        }
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Some(status) = stream.pending.front().cloned() else { return };
        let newest = stream.pending.back().map_or(status.state, |s| s.state);
        let executor = stream.executor.clone();
        let at = m.now + wait;
        let timer = || Timer::RetryUpdate(key.0.clone(), key.1.clone());
        if let Some((old, _)) = stream.retry.replace((at, wait)) {
            self.timers.clear(old, timer());
        }
        self.timers.set(at, timer());
        let mut latest = newest;
        if let Some(task) = self.task_mut(&key.0, &executor, &key.1) {
            latest = task.state as i32;
            let state = v1::TaskState::try_from(status.state).unwrap_or(task.state);
            task.forwarded = Some((state, status.uuid.as_deref().unwrap_or_default().into()));
        }
        self.tell(to_master::Message::StatusUpdate(StatusUpdate {
            framework_id: Some(v1::FrameworkId { value: key.0.as_str().into() }),
            executor_id: Some(v1::ExecutorId { value: executor.as_str().into() }),
            status: Some((*status).clone()),
            latest_state: latest,
        }));
    }

    pub(crate) fn on_update_retry(
        &mut self,
        m: &mut Moment<'_>,
        at: Timestamp,
        framework: FrameworkId,
        task: TaskId,
    ) {
        let key = (framework, task);
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let Some((due, wait)) = stream.retry.filter(|(due, _)| *due == at) else { return };
        debug_assert_eq!(due, at);
        stream.retry = None;
        self.send_update(m, &key, (wait * 2).min(UPDATE_RETRY_MAX));
    }

    /// A master is there: everything that waits for an acknowledgement goes out again.
    pub(crate) fn resend_all(&mut self, m: &mut Moment<'_>) {
        let keys: Vec<_> = self.streams.keys().cloned().collect();
        for key in keys {
            self.send_update(m, &key, UPDATE_RETRY_MIN);
        }
    }

    pub(crate) fn on_acknowledge(&mut self, m: &mut Moment<'_>, ack: Acknowledge) {
        let (Some(framework), Some(task)) = (ack.framework_id, ack.task_id) else { return };
        let key = (FrameworkId::from(framework.value), TaskId::from(task.value));
        let Some(stream) = self.streams.get_mut(&key) else { return };
        // Only the pending one can be acknowledged (rule 214).
        let pending = stream.pending.front().filter(|s| s.uuid.as_deref() == Some(&ack.uuid[..]));
        let Some(terminal) = pending.map(|s| status_is_terminal(s)) else { return };
        stream.pending.pop_front();
        if let Some((at, _)) = stream.retry.take() {
            self.timers.clear(at, Timer::RetryUpdate(key.0.clone(), key.1.clone()));
        }
        let (checkpoint, executor) = (stream.checkpoint, stream.executor.clone());
        if !terminal {
            // The next update need not wait until the acknowledgement is on disk: forgetting it only
            // means to send an update twice.
            self.send_update(m, &key, UPDATE_RETRY_MIN);
        }
        if checkpoint {
            self.persist(Record::Acknowledged(AcknowledgedRecord {
                framework_id: Some(v1::FrameworkId { value: key.0.as_str().into() }),
                task_id: Some(v1::TaskId { value: key.1.as_str().into() }),
                uuid: ack.uuid,
            }));
        }
        if terminal {
            self.streams.remove(&key);
            self.complete_task(m, &key.0, &executor, &key.1);
            if !self.replaying {
                // It may have waited for this alone, for an update of a task that was never here.
                self.complete_framework_if_done(m, &key.0);
            }
        }
    }

    /// Tasks that were never here, or not for long enough to be remembered, but whose end the scheduler
    /// has not acknowledged: without them a fresh master would call them unknown while their end is on
    /// its way.
    pub(crate) fn ended_elsewhere(&self) -> impl Iterator<Item = v1::Task> {
        let orphans = self.streams.iter().filter(|((framework, task), stream)| {
            let owner = self.executor(framework, &stream.executor);
            !owner.is_some_and(|executor| executor.tasks.contains_key(task))
        });
        orphans.filter_map(|((framework, task), stream)| {
            let (first, last) = (stream.pending.front()?, stream.pending.back()?);
            Some(v1::Task {
                name: task.to_string(),
                task_id: v1::TaskId { value: task.as_str().into() },
                framework_id: v1::FrameworkId { value: framework.as_str().into() },
                agent_id: v1::AgentId { value: self.id().as_str().into() },
                state: last.state,
                statuses: vec![(**last).clone()],
                status_update_state: Some(first.state),
                status_update_uuid: first.uuid.clone(),
                ..Default::default()
            })
        })
    }

    /// Moves a terminal task whose updates are through to the history of its executor.
    pub(crate) fn complete_task(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        task: &TaskId,
    ) {
        let Some(owner) = self.executor_mut(framework, executor) else { return };
        let Some(done) = owner.tasks.remove(task) else { return };
        owner.queue.retain(|queued| queued != task);
        if owner.completed_tasks.len() >= COMPLETED_TASKS_MAX {
            owner.completed_tasks.pop_front();
        }
        owner.completed_tasks.push_back(Arc::new(done));
        self.complete_executor_if_done(m, framework, executor);
    }

    /// Tasks that the master has here and this agent lacks (rule 237). Their frameworks stay until the
    /// ends of the tasks are acknowledged, also those that have nothing else here.
    pub(crate) fn on_reconcile_tasks(&mut self, m: &mut Moment<'_>, list: ReconcileTasks) {
        let mut described: BTreeMap<FrameworkId, v1::FrameworkInfo> = list
            .frameworks
            .into_iter()
            .filter_map(|info| Some((FrameworkId::from(info.id.as_ref()?.value.as_str()), info)))
            .collect();
        for lacking in list.tasks {
            let (Some(framework), Some(task)) = (lacking.framework_id, lacking.task_id) else { continue };
            let framework = FrameworkId::from(framework.value);
            let task = TaskId::from(task.value);
            if self.executor_of(&framework, &task).is_some()
                || self.streams.contains_key(&(framework.clone(), task.clone()))
            {
                continue;
            }
            let executor = lacking.executor_id.map_or_else(|| ExecutorId::from(&*task), |e| e.value.into());
            let state =
                if lacking.partition_aware { v1::TaskState::TaskDropped } else { v1::TaskState::TaskLost };
            let reason = v1::task_status::Reason::Reconciliation;
            let status = self.agent_status(
                m,
                &task,
                &executor,
                state,
                reason,
                "Reconciliation: task unknown to the agent",
            );
            if let Some(info) = described.remove(&framework) {
                self.ensure_framework(&framework, Arc::new(info));
            }
            let checkpoint = self.framework(&framework).is_some_and(Framework::checkpoint);
            self.update_stored(m, &framework, &executor, status, checkpoint);
        }
    }
}

/// Puts a status into the history of its task.
pub(crate) fn record(task: &mut Task, status: &Arc<v1::TaskStatus>) {
    let Ok(state) = v1::TaskState::try_from(status.state) else { return };
    let kept = if status.data.is_some() {
        let mut bare = (**status).clone();
        bare.data = None;
        Arc::new(bare)
    } else {
        status.clone()
    };
    match task.statuses.last_mut() {
        Some(last) if last.state == status.state => *last = kept,
        _ => {
            if task.statuses.len() >= STATUSES_MAX {
                task.statuses.remove(0);
            }
            task.statuses.push(kept);
        }
    }
    task.state = state;
    task.queued = false;
}

pub(crate) fn status_is_terminal(status: &v1::TaskStatus) -> bool {
    v1::TaskState::try_from(status.state).is_ok_and(is_terminal)
}
