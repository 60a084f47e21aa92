//! New instances for old ones, within the bounds of the upgrade strategy.

use std::collections::VecDeque;

use mezzo_services_model::{Condition, Goal, Instance, InstanceId, PathId, RunSpec};

use crate::services::{Moment, Services};

/// How far the replacing of the instances of a service is.
#[derive(Debug)]
pub(crate) struct Replace {
    /// Old ones in the order in which they go: unhealthy ones first (rule 59).
    pub(crate) old: VecDeque<InstanceId>,
    /// How many may be ended: those above the minimum at the start (rule 52), and one for each new one that is well (rule 58).
    credit: u32,
    ended: u32,
    /// The most new ones that were well at one time.
    high: u32,
}

/// How few instances must serve, and how many may be there (rule 51).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Bounds {
    pub(crate) fn of(spec: &RunSpec, active: u32) -> Self {
        let count = f64::from(spec.instances());
        let strategy = spec.upgrade_strategy();
        let min = (count * strategy.minimum_health_capacity).ceil() as u32;
        let max = (count * (1.0 + strategy.maximum_over_capacity)).floor() as u32;
        match (min == max && active >= max, spec.is_resident()) {
            (false, _) => Self { min, max },
            // Nothing could ever be changed: one more (rule 54), or, where data cannot be in two places, one less (rule 55).
            (true, false) => Self { min, max: max + 1 },
            (true, true) => Self { min: min.saturating_sub(1), max },
        }
    }
}

impl Services {
    pub(crate) fn bounds(&self, path: &PathId, spec: &RunSpec) -> Bounds {
        Bounds::of(spec, self.count(path, |kind| kind.is_in_the_way()))
    }

    pub(crate) fn begin_replace(&mut self, m: &mut Moment<'_>, spec: &RunSpec) -> Replace {
        let path = spec.id();
        self.reset_delay(m, path);
        self.begin_trial(m, spec);
        let current = spec.version_info().last_config_change_at;
        let all: Vec<_> = self.instances(path).cloned().collect();
        for instance in &all {
            if instance.version >= current {
                if instance.condition == Condition::Running {
                    self.start_readiness(m, instance);
                }
            } else if matches!(instance.condition, Condition::Scheduled | Condition::UnreachableInactive)
                && instance.goal == Goal::Running
                && !self.is_kept_by_trial(instance, spec)
            {
                // Nothing of it serves: it goes at once.
                self.end(m, &instance.id, old_goal(spec));
            }
        }
        let old = self.old_ones(spec);
        let bounds = self.bounds(path, spec);
        let healthy = self.count(path, |kind| kind.is_considered_healthy(spec));
        let there = self.count(path, |kind| kind.is_wanted());
        Replace {
            old,
            credit: healthy.saturating_sub(bounds.min).max(there.saturating_sub(spec.instances())),
            ended: 0,
            high: self.count(path, |kind| kind.is_current(spec) && kind.is_done(spec)),
        }
    }

    fn old_ones(&self, spec: &RunSpec) -> VecDeque<InstanceId> {
        let current = spec.version_info().last_config_change_at;
        let mut old: Vec<_> = self
            .instances(spec.id())
            .filter(|instance| instance.goal == Goal::Running && instance.version < current)
            .map(|instance| {
                let rank = match (instance.condition == Condition::Running, instance.healthy) {
                    (false, _) => 0,
                    (true, Some(false)) => 1,
                    (true, None) => 2,
                    (true, Some(true)) => 3,
                };
                (rank, instance.id.clone())
            })
            .collect();
        old.sort();
        old.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn drive_replace(&mut self, m: &mut Moment<'_>, path: &PathId, replace: &mut Replace) -> bool {
        let Some(spec) = self.wanted(path) else { return true };
        if !self.drive_trial(m, &spec, replace) {
            return false;
        }
        let wanted = spec.instances();
        let bounds = self.bounds(path, &spec);
        let new_done = self.count(path, |kind| kind.is_current(&spec) && kind.is_done(&spec));
        replace.credit += new_done.saturating_sub(replace.high);
        replace.high = replace.high.max(new_done);
        if replace.old.is_empty() && self.count(path, |kind| !kind.is_current(&spec) && kind.stays) > 0 {
            // One has come back that was given up.
            replace.old = self.old_ones(&spec);
        }
        let mut serving = new_done + self.count(path, |kind| !kind.is_current(&spec) && kind.serves(&spec));
        while replace.ended < replace.credit || new_done >= wanted {
            let Some(id) = replace.old.pop_front() else { break };
            let Some(instance) = self.instance(&id).filter(|instance| instance.goal == Goal::Running) else {
                continue;
            };
            let is_serving = serves(instance, &spec);
            if (is_serving || self.unheard.contains(&id)) && serving <= bounds.min && new_done < wanted {
                replace.old.push_front(id);
                break;
            }
            serving -= u32::from(is_serving);
            replace.ended += 1;
            self.end(m, &id, old_goal(&spec));
        }
        self.start_new_ones(m, &spec, replace, bounds);
        new_done >= wanted && self.count(path, |kind| !kind.is_current(&spec) && kind.is_in_the_way()) == 0
    }

    /// As many as there is room for (rule 53).
    fn start_new_ones(&mut self, m: &mut Moment<'_>, spec: &RunSpec, replace: &mut Replace, bounds: Bounds) {
        let path = spec.id();
        let new = self.count(path, |kind| kind.is_current(spec) && kind.is_wanted());
        if new > spec.instances() {
            // Those that serve stay: the others may not come to serve.
            let current = spec.version_info().last_config_change_at;
            let surplus = new - spec.instances();
            let idle =
                self.count(path, |kind| kind.is_current(spec) && kind.is_wanted() && !kind.serves(spec));
            let idle = idle.min(surplus);
            self.end_surplus(m, path, idle, |one| one.version >= current && !serves(one, spec));
            self.end_surplus(m, path, surplus - idle, |one| one.version >= current);
            return;
        }
        let going = self.count(path, |kind| !kind.stays && kind.is_in_the_way());
        let old = self.count(path, |kind| !kind.is_current(spec) && kind.stays && kind.is_in_the_way());
        let room = bounds.max.saturating_sub(going + old + new).min(spec.instances() - new);
        if room > 0 {
            self.add_instances(m, spec, room);
        } else if new < spec.instances() && going == 0 {
            // All room is taken by old ones. One that does not serve, or that serves above the minimum, may go without loss; else
            // nothing would ever move. Those that came to serve when the upgrade had begun are in no credit.
            let serving = self.count(path, |kind| kind.serves(spec));
            let spare = replace
                .old
                .front()
                .and_then(|id| self.instance(id))
                .filter(|instance| instance.goal == Goal::Running)
                .is_some_and(|instance| serving > bounds.min || !may_serve(instance, spec));
            if spare && replace.ended >= replace.credit {
                replace.credit = replace.ended + 1;
                self.touched.insert(path.clone());
            }
        }
    }
}

/// Whether it runs, and where something looks at its health, that is good.
pub(crate) fn serves(instance: &Instance, spec: &RunSpec) -> bool {
    instance.condition == Condition::Running
        && (!crate::spec::has_health_checks(spec) || instance.healthy == Some(true))
}

/// Of whom nothing is known yet, after a start or a restart of ours, may well serve.
fn may_serve(instance: &Instance, spec: &RunSpec) -> bool {
    instance.condition == Condition::Running
        && (!crate::spec::has_health_checks(spec) || instance.healthy != Some(false))
}

/// Resident instances come back with what they keep.
pub(crate) fn old_goal(spec: &RunSpec) -> Goal {
    if spec.is_resident() { Goal::Stopped } else { Goal::Decommissioned }
}
