//! Finding the master, and comparing with it what is there.

use mezzo_mesos::v1::{
    self,
    scheduler::call::{self, Type},
};
use mezzo_services_model::{EventKind, PathId};

use crate::{
    Record,
    services::{Moment, Services},
    timers::Timer,
};

impl Services {
    pub(crate) fn on_subscribed(
        &mut self,
        m: &mut Moment<'_>,
        framework: v1::FrameworkId,
        master: String,
        region: Option<String>,
    ) {
        let id = framework.value;
        if self.state.framework.as_ref() != Some(&id) {
            self.state.framework = Some(id.clone());
            self.records.push(Record::Framework(id.clone()));
        }
        let kind = if self.was_connected {
            EventKind::SchedulerReregistered { master }
        } else {
            EventKind::SchedulerRegistered { framework_id: id, master }
        };
        self.publish(m, kind);
        self.connected = true;
        self.was_connected = true;
        self.region = region;
        self.kills.again();
        let role = self.config.role.clone();
        self.queue.begin_again(&role);
        self.told.forget();
        self.timers.set(Timer::Reconcile, m.now + self.config.reconciliation_initial_delay);
        self.timers.ensure(Timer::Expunge, m.now + self.config.expunge_initial_delay);
    }

    /// Rule 104: what we know of, then the question what else there is.
    pub(crate) fn on_reconcile_timer(&mut self, m: &mut Moment<'_>) {
        if !self.connected {
            return;
        }
        self.timers.set(Timer::Reconcile, m.now + self.config.reconciliation_interval);
        let mut tasks = Vec::new();
        for instance in self.state.instances.values().flat_map(|instances| instances.values()) {
            let agent_id = instance.agent.as_ref().map(|agent| v1::AgentId { value: agent.id.clone() });
            for task in instance.tasks.values().filter(|task| !task.condition.is_terminal()) {
                let task_id = v1::TaskId { value: task.id.as_str().into() };
                tasks.push(call::reconcile::Task { task_id, agent_id: agent_id.clone() });
            }
        }
        if !tasks.is_empty() {
            self.call(Type::Reconcile, |call| call.reconcile = Some(call::Reconcile { tasks }));
        }
        self.call(Type::Reconcile, |call| call.reconcile = Some(call::Reconcile::default()));
        self.touch_orphans();
    }

    /// Services that are no more and have left something behind (rule 105).
    pub(crate) fn touch_orphans(&mut self) {
        let left = self.state.instances.keys().chain(self.state.versions.keys());
        let orphans: Vec<PathId> = left
            .filter(|path| self.wanted(path).is_none() && !self.locks.contains_key(path))
            .cloned()
            .collect();
        self.touched.extend(orphans);
    }

    /// Rules 34 and 103.
    pub(crate) fn on_scale_timer(&mut self, m: &mut Moment<'_>) {
        self.timers.set(Timer::Scale, m.now + self.config.scale_interval);
        let all: Vec<(PathId, u32)> = self
            .state
            .root
            .all_run_specs()
            .filter(|spec| !self.locks.contains_key(spec.id()))
            .map(|spec| (spec.id().clone(), spec.instances()))
            .collect();
        for (path, wanted) in all {
            if self.count(&path, |kind| kind.is_wanted()) != wanted {
                self.correct(m, &path);
            }
        }
        self.touch_orphans();
    }
}
