//! Draining: all tasks are killed, none are taken (rules 261 to 263, 268).

use std::time::Duration;

use mezzo_ids::{ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::{link, records::agent_record::Record};

use crate::{
    agent::{Agent, Moment},
    config::KILL_GRACE_DEFAULT,
    resources,
    state::Drain,
};

impl Agent {
    pub(crate) fn on_drain(&mut self, m: &mut Moment<'_>, drain: link::Drain) {
        let Some(config) = drain.config else { return self.end_drain() };
        self.persist(Record::Drain(config));
        self.state.drain = Some(Drain { config, since: m.now });
        self.kill_for_drain(m);
    }

    /// Kills everything, each with the smaller of the two grace periods (rule 261).
    pub(crate) fn kill_for_drain(&mut self, m: &mut Moment<'_>) {
        let Some(most) = self.state.drain.as_ref().map(|d| d.config.max_grace_period) else { return };
        let most = most.map(|grace| resources::duration(&grace));
        let mut victims: Vec<(FrameworkId, ExecutorId, TaskId, Duration)> = Vec::new();
        for executor in self.state.frameworks.values().flat_map(|f| f.executors.values()) {
            for (id, task) in executor.tasks.iter().filter(|(_, t)| !t.is_terminal()) {
                let own = task.info.kill_policy.and_then(|p| p.grace_period);
                let own = own.map_or(KILL_GRACE_DEFAULT, |grace| resources::duration(&grace));
                let grace = most.map_or(own, |most| most.min(own));
                victims.push((executor.framework.clone(), executor.id.clone(), id.clone(), grace));
            }
        }
        for (framework, executor, task, grace) in victims {
            let nanoseconds = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
            let policy = v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds }) };
            self.kill_task(m, &framework, &executor, &task, Some(policy));
        }
        self.end_drain_if_empty();
    }

    /// A drained agent forgets the drain once nothing is left; the master keeps it deactivated.
    pub(crate) fn end_drain_if_empty(&mut self) {
        let busy = self.state.frameworks.values().any(|f| !f.executors.is_empty());
        if !busy && self.streams.is_empty() && self.state.operations.is_empty() {
            self.end_drain();
        }
    }

    /// Takes tasks again, also when the master calls for it before all is acknowledged here (rule 267): it may
    /// have told of those ends by itself, while the agent was away, and nobody acknowledges them.
    fn end_drain(&mut self) {
        if self.state.drain.take().is_some() {
            self.persist(Record::DrainEnded(mezzo_protocol::records::DrainEnded {}));
        }
    }

    /// Updates of kills get the drain's reason, and its state when the agent is to be gone (rule 263).
    pub(crate) fn reword_while_draining(&self, framework: &FrameworkId, status: &mut v1::TaskStatus) {
        let Some(drain) = &self.state.drain else { return };
        let killed = status.state == v1::TaskState::TaskKilled as i32;
        if !killed && status.state != v1::TaskState::TaskKilling as i32 {
            return;
        }
        status.reason = Some(v1::task_status::Reason::AgentDraining as i32);
        let aware = self.framework(framework).is_some_and(crate::state::Framework::partition_aware);
        if killed && aware && drain.config.mark_gone.unwrap_or(false) {
            status.state = v1::TaskState::TaskGoneByOperator as i32;
        }
    }
}
