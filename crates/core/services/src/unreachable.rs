//! Instances whose agent cannot be reached: replaced after some time, forgotten after some more.

use std::time::Duration;

use mezzo_services_model::{Condition, Goal, Instance, InstanceId, UnreachableStrategy};
use mezzo_time::Timestamp;

use crate::{
    services::{Moment, Services},
    timers::Timer,
};

/// Since when (rule 172).
fn unreachable_since(instance: &Instance) -> Timestamp {
    let told = instance.tasks.values().filter_map(|task| task.status.as_ref()?.unreachable_time.as_ref());
    told.map(|time| Timestamp::from_nanos(time.nanoseconds)).min().unwrap_or(instance.since)
}

impl Services {
    fn strategy(&self, instance: &Instance) -> Option<(Duration, Duration)> {
        match self.definition(&instance.run_spec, instance.version)?.unreachable_strategy() {
            UnreachableStrategy::Disabled => None,
            UnreachableStrategy::Enabled { inactive_after, expunge_after } => {
                Some((inactive_after, expunge_after))
            }
        }
    }

    /// Rules 170, 171 and 177.
    pub(crate) fn on_unreachable(&mut self, m: &mut Moment<'_>, mut instance: Instance) {
        self.kills.forget(&instance.id);
        // What is to go and cannot be reached is waited for by nobody.
        let id = instance.id.clone();
        match self.strategy(&instance) {
            None => self.put(m, instance),
            Some((inactive_after, _)) => {
                let at = unreachable_since(&instance) + inactive_after;
                if at > m.now {
                    self.timers.set(Timer::Inactive(id), at);
                    self.put(m, instance);
                } else {
                    make_inactive(&mut instance, m.now);
                    self.put(m, instance);
                    self.on_inactive(m, &id);
                }
            }
        }
    }

    /// Time is up without another word of the master: the wait is kept to the second, where rule 173 would wait for the
    /// next reconciliation.
    pub(crate) fn on_inactive_due(&mut self, m: &mut Moment<'_>, id: &InstanceId) {
        let Some(instance) = self.instance(id).filter(|known| known.condition == Condition::Unreachable)
        else {
            return;
        };
        let mut instance = (**instance).clone();
        make_inactive(&mut instance, m.now);
        self.put(m, instance);
        self.on_inactive(m, id);
    }

    fn on_inactive(&mut self, m: &mut Moment<'_>, id: &InstanceId) {
        let Some(instance) = self.instance(id).cloned() else { return };
        if let Some((inactive_after, expunge_after)) = self.strategy(&instance)
            && (inactive_after, expunge_after) == (Duration::ZERO, Duration::ZERO)
        {
            self.expunge_unreachable(&instance);
        } else if self.is_replacing(&instance.run_spec) && self.is_of_the_past(&instance) {
            self.end(m, id, Goal::Decommissioned);
        }
    }

    /// Whether it has a definition that its service has no more.
    pub(crate) fn is_of_the_past(&self, instance: &Instance) -> bool {
        let current = self.wanted(&instance.run_spec).map(|spec| spec.version_info().last_config_change_at);
        current.is_some_and(|current| instance.version < current)
    }

    fn expunge_unreachable(&mut self, instance: &Instance) {
        // What keeps a volume is waited for, whatever it takes (rule 169).
        if instance.reservation.is_none() {
            self.expunge(&instance.id);
        }
    }

    /// Rule 174.
    pub(crate) fn on_expunge_timer(&mut self, m: &mut Moment<'_>) {
        let all: Vec<InstanceId> = self.unreachable.iter().cloned().collect();
        for id in all {
            let Some(instance) = self.instance(&id).cloned() else { continue };
            let Some((_, expunge_after)) = self.strategy(&instance) else { continue };
            let due = unreachable_since(&instance) + expunge_after;
            if instance.condition == Condition::UnreachableInactive && due <= m.now {
                self.expunge_unreachable(&instance);
            }
        }
        self.timers.set(Timer::Expunge, m.now + self.config.expunge_interval);
    }
}

fn make_inactive(instance: &mut Instance, now: Timestamp) {
    instance.condition = Condition::UnreachableInactive;
    instance.since = now;
    for task in instance.tasks.values_mut().filter(|task| task.condition == Condition::Unreachable) {
        task.condition = Condition::UnreachableInactive;
    }
}
