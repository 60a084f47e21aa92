//! The end of instances: few at a time, and again until they have ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mezzo_mesos::v1::{
    self,
    scheduler::call::{self, Type},
};
use mezzo_services_model::{Condition, Goal, Instance, InstanceId};
use mezzo_time::Timestamp;

use crate::{
    Answer, Kill, RequestId,
    instances::waiting,
    services::{Moment, Services},
    timers::Timer,
};

/// Kills that wait for their turn, and those on their way (rule 76).
#[derive(Debug, Default)]
pub(crate) struct Kills {
    queue: VecDeque<InstanceId>,
    queued: BTreeSet<InstanceId>,
    /// When each was last asked for.
    sent: BTreeMap<InstanceId, Timestamp>,
}

impl Kills {
    fn ask(&mut self, id: &InstanceId) {
        if !self.sent.contains_key(id) && self.queued.insert(id.clone()) {
            self.queue.push_back(id.clone());
        }
    }

    pub(crate) fn is_asked(&self, id: &InstanceId) -> bool {
        self.sent.contains_key(id) || self.queued.contains(id)
    }

    /// It has ended. What is left of it in the queue is passed over.
    pub(crate) fn forget(&mut self, id: &InstanceId) {
        self.queued.remove(id);
        self.sent.remove(id);
    }

    /// After a connection was lost: what was on its way is asked for again.
    pub(crate) fn again(&mut self) {
        for id in std::mem::take(&mut self.sent).into_keys() {
            self.ask(&id);
        }
    }
}

/// Whether a kill would reach nobody.
fn is_out_of_reach(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Unknown
            | Condition::Unreachable
            | Condition::UnreachableInactive
            | Condition::Dropped
            | Condition::Gone
    )
}

impl Services {
    /// Ends an instance for good, or, resident, until it is wanted again.
    pub(crate) fn end(&mut self, m: &mut Moment<'_>, id: &InstanceId, goal: Goal) {
        let Some(instance) = self.instance(id).cloned() else { return };
        // What keeps nothing has nothing to be stopped with.
        let goal = if instance.reservation.is_none() { Goal::Decommissioned } else { goal };
        if instance.goal == Goal::Decommissioned || instance.goal == goal {
            return;
        }
        let ended = instance.condition == Condition::Scheduled || instance.condition.is_terminal();
        if ended && goal == Goal::Decommissioned && instance.reservation.is_none() {
            self.expunge(id);
            return;
        }
        self.put(m, Instance { goal, ..(*instance).clone() });
        if !ended {
            self.kill(m, id);
        }
    }

    /// Kills the tasks of an instance; what it is to become is its goal's affair.
    pub(crate) fn kill(&mut self, m: &mut Moment<'_>, id: &InstanceId) {
        let Some(instance) = self.instance(id).cloned() else { return };
        if is_out_of_reach(instance.condition) {
            // Rule 78.
            if instance.goal == Goal::Running && instance.reservation.is_none() {
                self.put(m, Instance { goal: Goal::Decommissioned, ..(*instance).clone() });
            }
            return;
        }
        if instance.condition != Condition::Scheduled && !instance.condition.is_terminal() {
            self.kills.ask(id);
        }
    }

    /// Sends as many as may be on their way.
    pub(crate) fn send_kills(&mut self, m: &mut Moment<'_>) {
        while self.connected && self.kills.sent.len() < self.config.kills_in_flight {
            let Some(id) = self.kills.queue.pop_front() else { break };
            if self.kills.queued.remove(&id) {
                self.kills.sent.insert(id.clone(), m.now);
                self.send_kill(&id);
            }
        }
        if !self.kills.sent.is_empty() {
            self.timers.ensure(Timer::Kills, m.now + self.config.kill_retry);
        }
    }

    fn send_kill(&mut self, id: &InstanceId) {
        let Some(instance) = self.instance(id).cloned() else { return };
        let agent_id = instance.agent.as_ref().map(|agent| v1::AgentId { value: agent.id.clone() });
        for task in instance.tasks.values().filter(|task| !task.condition.is_terminal()) {
            self.send_kill_of(task.id.as_str(), agent_id.clone());
        }
    }

    /// Rule 195: how long it may take stands in the task and is not repeated here.
    pub(crate) fn send_kill_of(&mut self, task: &str, agent_id: Option<v1::AgentId>) {
        let task_id = v1::TaskId { value: task.into() };
        self.call(Type::Kill, |call| {
            call.kill = Some(call::Kill { task_id, agent_id, kill_policy: None });
        });
    }

    pub(crate) fn on_kills_timer(&mut self, m: &mut Moment<'_>) {
        if self.connected {
            let before = m.now - self.config.kill_retry;
            let late: Vec<InstanceId> = self
                .kills
                .sent
                .iter()
                .filter(|(_, sent)| **sent <= before)
                .map(|(id, _)| id.clone())
                .collect();
            for id in late {
                self.kills.sent.insert(id.clone(), m.now);
                self.send_kill(&id);
            }
        }
        if !self.kills.sent.is_empty() {
            self.timers.ensure(Timer::Kills, m.now + self.config.kill_retry);
        }
    }

    /// Rules 183, 184 and 193: of what is not there nothing is said; who asks has looked at the snapshot.
    pub(crate) fn on_kill_request(&mut self, m: &mut Moment<'_>, request: RequestId, kill: &Kill) {
        for id in &kill.instances {
            let Some(instance) = self.instance(id).cloned() else { continue };
            if kill.wipe {
                self.end(m, id, Goal::Decommissioned);
            } else if instance.condition.is_terminal() {
                self.put(m, waiting(&instance, m.now));
            } else {
                self.kill(m, id);
            }
        }
        self.answer(request, Answer::Done);
    }
}
