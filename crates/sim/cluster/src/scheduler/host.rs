//! Moves a scheduler's calls and events over the network.

use mezzo_mesos::v1;
use mezzo_sdk::tasks::Tasks;

use super::{Calls, Note, Stage};
use crate::{
    event::{Event, Side},
    queue::Nanos,
    random::Draw,
    world::{MILLI, SECOND, World},
};

/// The first wait after a lost connection; doubles with every failure.
const BACKOFF_MIN: Nanos = 50 * MILLI;
/// The longest.
const BACKOFF_MAX: Nanos = 10 * SECOND;

impl World<'_> {
    pub(crate) fn scheduler_arm(&mut self, scheduler: usize) {
        let state = &mut self.schedulers[scheduler];
        let Some(due) = state.next_deadline() else { return };
        let at = due.max(self.now);
        if state.wake.is_none_or(|wake| at < wake) {
            state.wake = Some(at);
            self.queue.push(at, Event::SchedulerWake(scheduler as u32));
        }
    }

    pub(crate) fn on_scheduler_wake(&mut self, scheduler: usize) {
        let now = self.now;
        let state = &mut self.schedulers[scheduler];
        if state.wake != Some(now) {
            return;
        }
        state.wake = None;
        if state.next_deadline().is_none_or(|due| due > now) {
            return self.scheduler_arm(scheduler);
        }
        let mut calls = Calls::new();
        let before = state.submitted();
        let gives_up = state.on_time(now, &mut calls);
        let after = state.submitted();
        self.log_wanted(scheduler, before..after);
        self.scheduler_calls(scheduler, calls);
        let state = &self.schedulers[scheduler];
        if gives_up {
            self.log(|| format!("scheduler {scheduler} gives its stream up"));
            self.scheduler_leaves(scheduler);
        } else if state.stream.is_none() && state.retry_at.is_some_and(|at| at <= now) {
            self.scheduler_subscribes(scheduler);
        }
        self.scheduler_arm(scheduler);
    }

    fn scheduler_subscribes(&mut self, scheduler: usize) {
        let now = self.now;
        let stream = self.mint();
        let at = self.net.on_stream(now, scheduler, Side::Master);
        let state = &mut self.schedulers[scheduler];
        state.retry_at = None;
        state.stream = Some(stream);
        state.is_subscribed = false;
        state.heard_at = now;
        state.subscribe_arrives = at;
        let call = Box::new(state.subscribe_call());
        let scheduler = scheduler as u32;
        self.queue.push(at, Event::Subscribe { scheduler, stream, call, waits_at: None });
    }

    /// The stream is over at this end; another is tried later.
    pub(crate) fn scheduler_leaves(&mut self, scheduler: usize) {
        let Some(stream) = self.schedulers[scheduler].stream else { return };
        let at = self.net.on_stream(self.now, scheduler, Side::Master);
        let at = at.max(self.schedulers[scheduler].subscribe_arrives + 1);
        self.queue.push(at, Event::StreamClosedAtMaster { stream });
        self.scheduler_disconnected(scheduler);
    }

    fn scheduler_disconnected(&mut self, scheduler: usize) {
        let state = &mut self.schedulers[scheduler];
        state.stream = None;
        state.is_subscribed = false;
        let full = (BACKOFF_MIN << state.failures.min(16)).min(BACKOFF_MAX);
        state.failures += 1;
        let wait = full / 2 + state.rng.below(full.unsigned_abs() / 2) as Nanos;
        state.retry_at = Some(self.now + wait);
        self.scheduler_arm(scheduler);
        self.services_disconnected(scheduler);
    }

    pub(crate) fn on_stream_closed_at_scheduler(&mut self, scheduler: usize) {
        self.log(|| format!("scheduler {scheduler} stream ends"));
        self.scheduler_disconnected(scheduler);
    }

    pub(crate) fn on_stream_event(&mut self, scheduler: usize, event: &v1::scheduler::Event) {
        let now = self.now;
        self.checks_on_event(scheduler, event);
        let mut calls = Calls::new();
        let state = &mut self.schedulers[scheduler];
        state.on_event(now, event, &mut calls);
        if !calls.is_empty() {
            self.scheduler_calls(scheduler, calls);
        }
        self.scheduler_arm(scheduler);
        self.services_hear(scheduler, event);
    }

    pub(crate) fn on_answered(&mut self, scheduler: usize, refused: bool, note: Note) {
        let mut calls = Calls::new();
        self.log(|| {
            format!("scheduler {scheduler} {}: {note:?}", if refused { "refused" } else { "unanswered" })
        });
        if let Note::Services(call) = note {
            return self.services_call_failed(*call, refused);
        }
        let state = &mut self.schedulers[scheduler];
        // Without a subscription everything starts over with the next.
        let repeats = state.is_subscribed && !refused;
        state.on_unanswered(note, &mut calls);
        if repeats {
            self.scheduler_calls(scheduler, calls);
        }
        self.scheduler_arm(scheduler);
    }

    pub(crate) fn scheduler_calls(&mut self, scheduler: usize, calls: Calls) {
        for (mut call, note) in calls {
            let state = &self.schedulers[scheduler];
            let Some(stream) = state.stream else { return };
            call.framework_id.clone_from(&state.framework_id);
            match self.net.call(self.now, scheduler) {
                Some(at) => {
                    let answer_lost = self.net.loses_answer(at, scheduler);
                    let scheduler = scheduler as u32;
                    self.queue.push(at, Event::Call { scheduler, stream, call, note, answer_lost });
                }
                None => self.answer_lost(scheduler as u32, note),
            }
        }
    }

    /// The process is gone; what it keeps in its store is not.
    pub(crate) fn scheduler_crash(&mut self, scheduler: usize, down: Nanos) {
        self.log(|| format!("scheduler {scheduler} dies"));
        self.scheduler_leaves(scheduler);
        let state = &mut self.schedulers[scheduler];
        state.life += 1;
        state.is_up = false;
        state.retry_at = None;
        state.paused_until = 0;
        state.kills.clear();
        state.tasks = Tasks::default();
        state.was_subscribed = false;
        self.services_crash(scheduler);
        let state = &self.schedulers[scheduler];
        let (scheduler, life) = (scheduler as u32, state.life);
        self.queue.push(self.now + down, Event::SchedulerStart { scheduler, life });
    }

    pub(crate) fn scheduler_start(&mut self, scheduler: usize) {
        self.log(|| format!("scheduler {scheduler} starts"));
        let now = self.now;
        let state = &mut self.schedulers[scheduler];
        state.is_up = true;
        state.failures = 0;
        state.retry_at = Some(now);
        for index in 0..state.plans.len() {
            let key = state.key(index as u32);
            let plan = &mut state.plans[index];
            if !matches!(plan.stage, Stage::Launched | Stage::Running | Stage::Unreachable) {
                continue;
            }
            if plan.doomed {
                state.kills.insert((now, key));
            }
            if let Some(agent) = plan.agent.clone() {
                state.tasks.adopt(v1::TaskId { value: key.text() }, agent);
            }
        }
        if self.schedulers[scheduler].serves {
            // It was only told so; its store says which framework it is, and it asks again.
            self.schedulers[scheduler].is_over = false;
            self.services_start(scheduler);
        }
        self.scheduler_arm(scheduler);
    }
}
