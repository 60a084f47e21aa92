//! One container per task, its updates in order and all of them, one end, and a true one.

use mezzo_mesos::v1::{self, TaskState};
use mezzo_protocol::{
    link::{ToMaster, to_master},
    records::{AcknowledgedRecord, AgentRecord, agent_record::Record},
};
use mezzo_sdk::tasks::is_terminal;

use super::{Checks, add, fits, vector};
use crate::{agent::machine::TaskKey, world::World};

type UpdateId = [u8; 16];

/// All launches of one planned task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    attempts: Vec<Attempt>,
}

/// What is true of one launch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) running_on: Option<u32>,
    /// Counted into what is used.
    counted: bool,
    ran: bool,
    /// How its container ended; the inner is `None` when it vanished with its machine.
    pub(crate) exit: Option<Option<i32>>,
    /// Updates that an agent has on its disk, in order.
    stored: Vec<UpdateId>,
    stored_by: Option<u32>,
    /// How many of them the scheduler has.
    heard: usize,
    /// Those whose acknowledgement is on the agent's disk.
    acknowledged: usize,
    /// The end that the scheduler was told by an agent.
    pub(crate) end: Option<(TaskState, UpdateId)>,
    /// Its machine was wiped: what was stored there is lost with an operator's leave.
    wiped: bool,
    /// The end that it was told by anybody.
    pub(crate) told: Option<TaskState>,
}

impl Attempt {
    /// Whether the scheduler still lacks an update.
    pub(crate) fn lacks(&self) -> usize {
        if self.wiped { 0 } else { self.stored.len() - self.heard }
    }
}

impl Checks {
    pub(crate) fn attempt(&mut self, key: TaskKey) -> Option<&mut Attempt> {
        let book = self.books.get_mut(key.framework as usize)?.get_mut(key.plan as usize)?;
        let at = key.attempt as usize;
        if book.attempts.len() <= at {
            book.attempts.resize_with(at + 1, Attempt::default);
        }
        book.attempts.get_mut(at)
    }

    pub(crate) fn attempts_of(&self, key: TaskKey) -> Option<&Attempt> {
        self.books.get(key.framework as usize)?.get(key.plan as usize)?.attempts.get(key.attempt as usize)
    }

    /// Launches that have not come to rest, with what is true of them.
    pub(crate) fn open(&self) -> impl Iterator<Item = (TaskKey, &Attempt)> {
        self.open.iter().filter_map(|key| Some((*key, self.attempts_of(*key)?)))
    }

    /// Something of a launch has changed.
    fn reopen(&mut self, key: TaskKey) {
        if self.attempts_of(key).is_some_and(|attempt| attempt.running_on.is_some() || attempt.lacks() > 0) {
            self.open.insert(key);
        } else {
            self.open.remove(&key);
        }
    }

    /// Records are on an agent's disk. Acknowledgements count when it comes to them in line: what the agent
    /// had decided to send before them is sent although they are on disk with it.
    pub(crate) fn on_records<'a>(
        &mut self,
        agent: usize,
        records: impl IntoIterator<Item = &'a AgentRecord>,
    ) {
        for record in records {
            let Some(Record::Update(update)) = &record.record else { continue };
            let Some(status) = &update.status else { continue };
            let Some(key) = TaskKey::parse(&status.task_id.value) else { continue };
            let Some(attempt) = self.attempt(key) else { continue };
            if let Some(uuid) = status.uuid.as_deref().and_then(|uuid| uuid.try_into().ok()) {
                attempt.stored.push(uuid);
                attempt.stored_by = Some(agent as u32);
                self.reopen(key);
            }
        }
    }

    /// The agent has come to such a record, or will never send anything that came before it.
    pub(crate) fn on_acknowledged(&mut self, record: &AcknowledgedRecord) {
        let Some(id) = &record.task_id else { return };
        let Some(attempt) = TaskKey::parse(&id.value).and_then(|key| self.attempt(key)) else { return };
        if let Some(at) = attempt.stored.iter().position(|uuid| uuid[..] == record.uuid[..]) {
            attempt.acknowledged = attempt.acknowledged.max(at + 1);
        }
    }

    pub(crate) fn wiped(&mut self, agent: usize) {
        for attempt in self.books.iter_mut().flatten().flat_map(|book| &mut book.attempts) {
            if attempt.stored_by == Some(agent as u32) {
                attempt.wiped = true;
            }
        }
        let before: Vec<_> = self.open.iter().copied().collect();
        before.into_iter().for_each(|key| self.reopen(key));
    }

    /// An operator ends a framework: its tasks are not counted any more, although they take a moment to
    /// end.
    pub(crate) fn on_teardown(&mut self, framework: usize) {
        self.torn[framework] = true;
        let mut freed = Vec::new();
        for (plan, book) in self.books[framework].iter_mut().enumerate() {
            for attempt in &mut book.attempts {
                if let Some(agent) = attempt.running_on.filter(|_| std::mem::take(&mut attempt.counted)) {
                    freed.push((plan, agent));
                }
            }
        }
        self.freed_by_teardown = freed;
    }
}

impl World<'_> {
    /// A container of a task begins to run.
    pub(crate) fn task_runs(&mut self, agent: usize, key: TaskKey) {
        self.count_use(agent);
        let needs = vector(&self.setup.frameworks[key.framework as usize].tasks[key.plan as usize].needs);
        let counted = !self.checks.torn[key.framework as usize];
        let Some(attempt) = self.checks.attempt(key) else { return };
        let (before, ran) = (attempt.running_on, attempt.ran);
        attempt.running_on = Some(agent as u32);
        attempt.ran = true;
        attempt.counted = counted;
        self.checks.reopen(key);
        if let Some(other) = before {
            let what = format!("{} runs on agent {other} and on agent {agent}", key.text());
            self.violate("a task runs once", what);
        } else if ran {
            self.violate("a task runs once", format!("{} runs again on agent {agent}", key.text()));
        }
        if !counted {
            return;
        }
        add(&mut self.checks.used[agent], &needs, 1);
        let role = self.setup.frameworks[key.framework as usize].roles.first().cloned().unwrap_or_default();
        add(self.checks.role_used.entry(role).or_default(), &needs, 1);
        self.checks.running += 1;
        let (used, total) = (self.checks.used[agent], self.checks.totals[agent]);
        if !fits(&used, &total) {
            let what = format!("agent {agent} with {}: {used:?} of {total:?}", key.text());
            self.violate("agents are not overbooked", what);
        }
    }

    /// It ended, or vanished with its machine.
    pub(crate) fn task_ends(&mut self, agent: usize, key: TaskKey, status: Option<i32>) {
        self.count_use(agent);
        let planned = self.schedulers[key.framework as usize].plans[key.plan as usize].doomed;
        let plan = &self.setup.frameworks[key.framework as usize].tasks[key.plan as usize];
        let (needs, by_itself) = (vector(&plan.needs), i32::from(plan.exit) << 8);
        let Some(attempt) = self.checks.attempt(key) else { return };
        attempt.running_on = None;
        attempt.exit = Some(status);
        let counted = std::mem::take(&mut attempt.counted);
        self.checks.reopen(key);
        if status != Some(by_itself) && !planned {
            self.checks.evictions += 1;
        }
        if counted {
            self.uncount(agent, key.framework, &needs);
        }
    }

    fn uncount(&mut self, agent: usize, framework: u32, needs: &super::Vector) {
        add(&mut self.checks.used[agent], needs, -1);
        let role = self.setup.frameworks[framework as usize].roles.first().cloned().unwrap_or_default();
        add(self.checks.role_used.entry(role).or_default(), needs, -1);
        self.checks.running = self.checks.running.saturating_sub(1);
    }

    /// After a teardown.
    pub(crate) fn uncount_torn(&mut self, framework: usize) {
        for (plan, agent) in std::mem::take(&mut self.checks.freed_by_teardown) {
            self.count_use(agent as usize);
            let needs = vector(&self.setup.frameworks[framework].tasks[plan].needs);
            self.uncount(agent as usize, framework as u32, &needs);
        }
    }

    /// Adds what is used until now to what was used over time.
    pub(crate) fn count_use(&mut self, agent: usize) {
        let (sums, since) = &mut self.checks.used_over_time[agent];
        let seconds = (self.now - *since) as f64 / 1e9;
        *since = self.now;
        for (sum, used) in sums.iter_mut().zip(&self.checks.used[agent]) {
            *sum += *used as f64 / 1000.0 * seconds;
        }
    }

    /// An agent says something to its master.
    pub(crate) fn check_sent(&mut self, agent: usize, message: &ToMaster) {
        let Some(to_master::Message::StatusUpdate(update)) = &message.message else { return };
        let Some(status) = &update.status else { return };
        let Some(key) = TaskKey::parse(&status.task_id.value) else { return };
        let uuid = status.uuid.as_deref().unwrap_or_default();
        let Some(attempt) = self.checks.attempt(key) else { return };
        let at = attempt.stored.iter().position(|known| known[..] == *uuid);
        let acknowledged = attempt.acknowledged;
        match at {
            None => {
                let what = format!("agent {agent}: {} {}", key.text(), status.state().as_str_name());
                self.violate("updates are stored before they are sent", what);
            }
            Some(at) if at < acknowledged => {
                let what = format!("agent {agent}: {} {}", key.text(), status.state().as_str_name());
                self.violate("what was acknowledged is not sent again", what);
            }
            Some(_) => {}
        }
    }

    /// A scheduler hears of a task.
    pub(crate) fn check_heard(&mut self, status: &v1::TaskStatus) {
        let Some(key) = TaskKey::parse(&status.task_id.value) else { return };
        let state = status.state();
        let is_over = is_terminal(state);
        let uuid: Option<UpdateId> = status.uuid.as_deref().and_then(|uuid| uuid.try_into().ok());
        let Some(attempt) = self.checks.attempt(key) else { return };
        if is_over {
            attempt.told = Some(state);
        }
        let Some(uuid) = uuid else { return };
        let at = attempt.stored.iter().position(|known| *known == uuid);
        let heard = attempt.heard;
        // Only of what is wrong: making texts of all news would cost more than judging them.
        let told = || format!("{} {}", key.text(), state.as_str_name());
        match at {
            None => return self.violate("updates are stored before they are told", told()),
            Some(at) if at > heard => {
                let what = format!("{} is the {}. of its task, but {heard} came before", told(), at + 1);
                return self.violate("updates come in order, and none is left out", what);
            }
            Some(at) => attempt.heard = heard.max(at + 1),
        }
        self.checks.reopen(key);
        let Some(attempt) = self.checks.attempt(key).filter(|_| is_over) else { return };
        let (running, exit) = (attempt.running_on, attempt.exit);
        match attempt.end {
            Some((before, by)) if by != uuid => {
                let what = format!("{} after {}", told(), before.as_str_name());
                return self.violate("a task ends once", what);
            }
            _ => attempt.end = Some((state, uuid)),
        }
        if let Some(agent) = running {
            return self.violate("what has ended does not run", format!("{}, runs on agent {agent}", told()));
        }
        if state == TaskState::TaskFinished && exit != Some(Some(0)) {
            self.violate("ends are true", format!("{}, but its container ended with {exit:?}", told()));
        }
    }
}
