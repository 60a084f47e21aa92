//! News of tasks: what a scheduler makes of them.

use mezzo_mesos::v1::{self, TaskState};
use mezzo_sdk::tasks::{News, acknowledgement, is_terminal};

use super::{AGAIN_MAX, AGAIN_MIN, Calls, Scheduler, Stage};
use crate::{
    agent::machine::TaskKey,
    queue::Nanos,
    setup::Behaviour,
    world::{duration, nanos},
};

impl Scheduler {
    pub(super) fn on_update(&mut self, now: Nanos, status: &v1::TaskStatus, calls: &mut Calls) {
        let news = self.tasks.heard(status);
        if news == News::Fresh
            && let Some(key) = TaskKey::parse(&status.task_id.value)
            && (key.plan as usize) < self.plans.len()
        {
            self.on_news(now, key, status.state(), calls);
        }
        if self.setup.behaviour != Behaviour::NeverAcknowledges
            && let Some(call) = acknowledgement(status)
        {
            calls.push((Box::new(call), None));
        }
    }

    fn on_news(&mut self, now: Nanos, key: TaskKey, state: TaskState, calls: &mut Calls) {
        let plan = &mut self.plans[key.plan as usize];
        let is_over = is_terminal(state);
        if plan.attempt != key.attempt || matches!(plan.stage, Stage::Done | Stage::Failed | Stage::Waiting) {
            // Something that was given up runs after all.
            if !is_over && !matches!(state, TaskState::TaskUnreachable | TaskState::TaskUnknown) {
                self.kill(now, key, calls);
            }
            return;
        }
        match state {
            TaskState::TaskRunning | TaskState::TaskKilling => {
                plan.stage = Stage::Running;
                if plan.outcome.started.is_none() || plan.outcome.ended.is_some() {
                    plan.outcome.started = Some(duration(now));
                    plan.outcome.ended = None;
                }
                let kill_after = self.setup.tasks[key.plan as usize].kill_after;
                if let Some(after) = kill_after.filter(|_| !plan.doomed) {
                    plan.doomed = true;
                    self.kills.insert((now + nanos(after), key));
                }
            }
            TaskState::TaskUnreachable => plan.stage = Stage::Unreachable,
            _ if is_over || state == TaskState::TaskUnknown => self.on_end(now, key, state),
            _ => {}
        }
    }

    fn on_end(&mut self, now: Nanos, key: TaskKey, state: TaskState) {
        let wanted = &self.setup.tasks[key.plan as usize];
        let plan = &mut self.plans[key.plan as usize];
        let as_planned = match state {
            TaskState::TaskFinished => wanted.exit == 0,
            TaskState::TaskFailed => wanted.exit != 0 && plan.outcome.started.is_some(),
            TaskState::TaskKilled => plan.doomed && wanted.kill_after.is_some(),
            _ => false,
        };
        if as_planned {
            plan.stage = Stage::Done;
            plan.outcome.done = true;
            plan.outcome.ended = Some(duration(now));
        } else if plan.attempt >= wanted.retries {
            plan.stage = Stage::Failed;
            plan.outcome.failed = true;
            plan.outcome.ended = Some(duration(now));
        } else {
            plan.attempt += 1;
            plan.doomed = false;
            plan.outcome.ended = Some(duration(now));
            plan.stage = Stage::Waiting;
            self.retries += 1;
            let pause = (AGAIN_MIN << plan.attempt.min(10)).min(AGAIN_MAX);
            self.again.insert((now + pause, key.plan));
        }
    }

    /// A member of a group goes back to the others of its group that wait.
    pub(super) fn want_again(&mut self, plan: u32) {
        let group = self.setup.tasks[plan as usize].group;
        let beside = (group != 0)
            .then(|| self.waiting.iter().position(|other| self.setup.tasks[*other as usize].group == group));
        match beside.flatten() {
            Some(at) => self.waiting.insert(at, plan),
            None => self.waiting.push_back(plan),
        }
    }
}
