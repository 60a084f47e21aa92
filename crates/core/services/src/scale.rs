//! As many instances as are wanted, no more and no less.

use std::collections::BTreeSet;

use mezzo_services_model::{Condition, Goal, Instance, InstanceId, PathId, Plan};

use crate::services::{Moment, Services};

/// What a scale action waits for.
pub(crate) struct Scale {
    to: u32,
    /// Upwards, instances have to be well before it is done (rule 36).
    up: bool,
    /// Those that ran before the deployment began and are not well: it did not make them, and does not wait for them.
    waived: BTreeSet<InstanceId>,
}

impl Services {
    pub(crate) fn begin_scale(
        &mut self,
        m: &mut Moment<'_>,
        path: &PathId,
        plan: &Plan,
        to: u32,
        up: bool,
    ) -> Scale {
        let mut waived = BTreeSet::new();
        if up && let Some(spec) = self.wanted(path) {
            let before =
                |instance: &Instance| instance.active_since.is_some_and(|since| since < plan.version);
            let all: Vec<_> = self.instances(path).cloned().collect();
            for instance in all {
                if instance.condition == Condition::Running {
                    self.start_readiness(m, &instance);
                }
                let well = instance.condition == Condition::Running
                    && (!crate::spec::has_health_checks(&spec) || instance.healthy == Some(true))
                    && (!crate::spec::has_readiness_checks(&spec) || self.ready.contains(&instance.id));
                if before(&instance) && !well {
                    waived.insert(instance.id.clone());
                }
            }
        }
        Scale { to, up, waived }
    }

    pub(crate) fn drive_scale(&mut self, m: &mut Moment<'_>, path: &PathId, scale: &Scale) -> bool {
        let Some(spec) = self.wanted(path) else { return true };
        let there = self.count(path, |kind| kind.is_wanted());
        if there > scale.to {
            self.end_surplus(m, path, there - scale.to, |_| true);
        } else {
            self.add_instances(m, &spec, scale.to - there);
        }
        if self.count(path, |kind| !kind.stays && kind.is_in_the_way()) > 0 {
            return false;
        }
        if !scale.up {
            return true;
        }
        let done = self.count(path, |kind| kind.is_done(&spec));
        if done >= scale.to {
            return true;
        }
        if done as usize + scale.waived.len() < scale.to as usize {
            return false;
        }
        let still = scale.waived.iter().filter_map(|id| self.instance(id)).filter(|instance| {
            instance.goal == Goal::Running
                && instance.condition.is_active()
                && !(instance.condition == Condition::Running
                    && (!crate::spec::has_health_checks(&spec) || instance.healthy == Some(true)))
        });
        done as usize + still.count() >= scale.to as usize
    }

    /// Ends instances that are too many; resident ones keep what they have (rule 39).
    pub(crate) fn end_surplus(
        &mut self,
        m: &mut Moment<'_>,
        path: &PathId,
        count: u32,
        of: impl Fn(&Instance) -> bool,
    ) {
        let resident = self.wanted(path).is_some_and(|spec| spec.is_resident());
        let goal = if resident { Goal::Stopped } else { Goal::Decommissioned };
        for id in self.select(path, count as usize, of) {
            self.end(m, &id, goal);
        }
    }

    /// A service that no deployment works on: missing instances are added at once; those too many wait for the next look at
    /// all numbers, so that an upgrade that was cut short is left as it is (rule 44).
    pub(crate) fn correct_missing(&mut self, m: &mut Moment<'_>, path: &PathId) {
        let Some(spec) = self.wanted(path) else { return self.correct_orphans(m, path) };
        let there = self.count(path, |kind| kind.is_wanted());
        let missing = spec.instances().saturating_sub(there);
        let filling = self.filling(spec);
        self.add_instances(m, &filling, missing);
    }

    /// Instances of a service that is no more (rule 105).
    pub(crate) fn correct_orphans(&mut self, m: &mut Moment<'_>, path: &PathId) {
        let all: Vec<InstanceId> = self.instances(path).map(|instance| instance.id.clone()).collect();
        for id in all {
            self.end(m, &id, Goal::Decommissioned);
        }
        if self.count(path, |kind| kind.is_in_the_way()) == 0 {
            self.end_service(path);
        }
    }

    /// Rule 103: missing and surplus ones; of these first what is not of the wanted definition.
    pub(crate) fn correct(&mut self, m: &mut Moment<'_>, path: &PathId) {
        let Some(spec) = self.wanted(path) else { return self.correct_orphans(m, path) };
        let there = self.count(path, |kind| kind.is_wanted());
        if there > spec.instances() {
            // What an upgrade that was cut short has left.
            let current = spec.version_info().last_config_change_at;
            let surplus = there - spec.instances();
            let outdated = self.count(path, |kind| !kind.is_current(&spec) && kind.is_wanted()).min(surplus);
            self.end_surplus(m, path, outdated, |one| one.version < current);
            self.end_surplus(m, path, surplus - outdated, |_| true);
        } else {
            let missing = spec.instances() - there;
            let filling = self.filling(spec);
            self.add_instances(m, &filling, missing);
        }
    }
}
