//! The instances: the one place where they are changed, and what is counted of them.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{Condition, EventKind, Goal, Instance, InstanceId, PathId, RunSpec, TaskId};
use mezzo_time::Timestamp;

use crate::{
    Map,
    matching::counts,
    services::{Moment, Services},
    spec::{has_health_checks, has_readiness_checks, wants_word_of_health},
    timers::Timer,
};

/// What decisions tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) version: Timestamp,
    pub(crate) stays: bool,
    pub(crate) condition: Condition,
    pub(crate) healthy: Option<bool>,
    pub(crate) ready: bool,
}

impl Kind {
    fn of(instance: &Instance, ready: bool) -> Self {
        Self {
            version: instance.version,
            stays: instance.goal == Goal::Running,
            condition: instance.condition,
            healthy: instance.healthy,
            ready,
        }
    }

    /// Whether it runs a definition of the same make as the wanted one.
    pub(crate) fn is_current(&self, spec: &RunSpec) -> bool {
        self.version >= spec.version_info().last_config_change_at
    }

    /// Whether it counts among the instances that are there to stay (rule 69).
    pub(crate) fn is_wanted(&self) -> bool {
        self.stays && self.condition != Condition::UnreachableInactive
    }

    /// Whether it serves: it runs, and where something looks at its health, that is good.
    pub(crate) fn serves(&self, spec: &RunSpec) -> bool {
        self.stays
            && self.condition == Condition::Running
            && (!has_health_checks(spec) || self.healthy == Some(true))
    }

    /// Whether it does what a deployment waits for (rules 36 and 154).
    pub(crate) fn is_done(&self, spec: &RunSpec) -> bool {
        self.serves(spec) && (!has_readiness_checks(spec) || self.ready)
    }

    /// Whether an upgrade takes it for healthy (rule 61).
    pub(crate) fn is_considered_healthy(&self, spec: &RunSpec) -> bool {
        self.stays
            && self.condition == Condition::Running
            && (!wants_word_of_health(spec) || self.healthy == Some(true))
    }

    /// Whether something of it may be there that a deployment waits for: what is unreachable and to go is not waited for.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.condition.is_active() && (self.stays || self.condition != Condition::Unreachable)
    }
}

/// How many instances of a service are of each kind, so that a decision costs the same for ten instances and ten thousand.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<Kind, u32>);

impl Tally {
    fn add(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    fn remove(&mut self, kind: Kind) {
        if let Some(count) = self.0.get_mut(&kind) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&kind);
            }
        }
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Kind) -> bool) -> u32 {
        self.0.iter().filter(|(kind, _)| wanted(kind)).map(|(_, count)| count).sum()
    }
}

impl Services {
    pub(crate) fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.state.instances.get(&id.run_spec().ok()?)?.get(id)
    }

    pub(crate) fn instances(&self, path: &PathId) -> impl Iterator<Item = &Arc<Instance>> {
        self.state.instances.get(path).into_iter().flat_map(|instances| instances.values())
    }

    pub(crate) fn count(&self, path: &PathId, wanted: impl Fn(&Kind) -> bool) -> u32 {
        self.tallies.get(path).map_or(0, |tally| tally.count(wanted))
    }

    /// Takes an instance into all books without telling anybody.
    pub(crate) fn enter(&mut self, m: &mut Moment<'_>, new: &Arc<Instance>) {
        let ready = self.ready.contains(&new.id);
        self.tallies.entry(new.run_spec.clone()).or_default().add(Kind::of(new, ready));
        match self.state.instances.get_mut(&new.run_spec) {
            Some(instances) => instances.insert_mut(new.id.clone(), new.clone()),
            None => {
                let mut instances = Map::new_sync();
                instances.insert_mut(new.id.clone(), new.clone());
                self.state.instances.insert_mut(new.run_spec.clone(), instances);
            }
        }
        if let Some(placed) = self.placed.get_mut(&new.run_spec)
            && let Some(spec) = self.state.root.run_spec(&new.run_spec)
            && counts(new, &spec)
            && let Some(agent) = &new.agent
        {
            placed.add(agent);
        }
        match new.condition {
            Condition::Provisioned | Condition::Staging | Condition::Starting => {
                self.launching.insert(new.id.clone());
            }
            Condition::Unreachable | Condition::UnreachableInactive => {
                self.unreachable.insert(new.id.clone());
            }
            _ => {}
        }
        self.queue_enter(m, new);
    }

    /// Takes it out of all books but the instances themselves.
    fn leave(&mut self, old: &Instance) {
        let ready = self.ready.contains(&old.id);
        if let Some(tally) = self.tallies.get_mut(&old.run_spec) {
            tally.remove(Kind::of(old, ready));
        }
        if let Some(placed) = self.placed.get_mut(&old.run_spec)
            && let Some(spec) = self.state.root.run_spec(&old.run_spec)
            && counts(old, &spec)
            && let Some(agent) = &old.agent
        {
            placed.remove(agent);
        }
        self.launching.remove(&old.id);
        self.unreachable.remove(&old.id);
        self.queue_leave(old);
    }

    /// Keeps an instance as it is now, and tells what has changed.
    pub(crate) fn put(&mut self, m: &mut Moment<'_>, new: Instance) {
        let new = Arc::new(new);
        let old = self.instance(&new.id).cloned();
        if old.as_ref() == Some(&new) {
            return;
        }
        if let Some(old) = &old {
            self.leave(old);
        }
        self.enter(m, &new);
        self.dirty.insert(new.id.clone());
        self.touched.insert(new.run_spec.clone());
        let same = |old: &Instance| old.condition == new.condition && old.goal == new.goal;
        if !old.as_deref().is_some_and(same) {
            self.tell_instance(m, &new);
        }
        if let Some(old) = &old {
            self.watch_canary(m, old, &new);
        }
        let ran = old.as_ref().is_some_and(|old| old.condition == Condition::Running);
        let runs = new.condition == Condition::Running;
        if runs && !ran {
            self.start_checks(m, &new);
            self.start_readiness(m, &new);
        } else if ran && !runs {
            self.stop_checks(&new.id);
            self.unheard.remove(&new.id);
        }
        if old.is_none_or(|old| old.healthy != new.healthy) && new.healthy.is_some() {
            let (instance, run_spec) = (new.id.clone(), new.run_spec.clone());
            let (version, healthy) = (new.version, new.healthy);
            self.publish(m, EventKind::InstanceHealthChanged { instance, run_spec, version, healthy });
        }
    }

    fn tell_instance(&mut self, m: &mut Moment<'_>, new: &Instance) {
        let kind = EventKind::InstanceChanged {
            instance: new.id.clone(),
            run_spec: new.run_spec.clone(),
            condition: new.condition,
            goal: new.goal,
            agent_id: new.agent.as_ref().map(|agent| agent.id.clone()),
            host: new.agent.as_ref().map(|agent| agent.host.clone()),
            version: new.version,
        };
        self.publish(m, kind);
    }

    /// Forgets an instance.
    pub(crate) fn expunge(&mut self, id: &InstanceId) {
        let Some(old) = self.instance(id).cloned() else { return };
        self.leave(&old);
        self.stop_checks(id);
        self.ready.remove(id);
        self.unheard.remove(id);
        self.kills.forget(id);
        self.timers.clear(&Timer::Inactive(id.clone()));
        if let Some(instances) = self.state.instances.get_mut(&old.run_spec) {
            instances.remove_mut(id);
            if instances.is_empty() {
                self.state.instances.remove_mut(&old.run_spec);
                self.tallies.remove(&old.run_spec);
            }
        }
        self.dirty.insert(id.clone());
        self.touched.insert(old.run_spec.clone());
    }

    /// A readiness check has passed, or does not count any more.
    pub(crate) fn set_ready(&mut self, id: &InstanceId, ready: bool) {
        let Some(instance) = self.instance(id).cloned() else { return };
        if self.ready.contains(id) == ready {
            return;
        }
        let tally = self.tallies.entry(instance.run_spec.clone()).or_default();
        tally.remove(Kind::of(&instance, !ready));
        tally.add(Kind::of(&instance, ready));
        if ready {
            self.ready.insert(id.clone());
        } else {
            self.ready.remove(id);
        }
        self.touched.insert(instance.run_spec.clone());
    }

    /// So many instances more of a service: those that were stopped with what they keep come first (rule 160).
    pub(crate) fn add_instances(&mut self, m: &mut Moment<'_>, spec: &RunSpec, mut count: u32) {
        if count == 0 {
            return;
        }
        if spec.is_resident() {
            let stopped: Vec<Arc<Instance>> = self
                .instances(spec.id())
                .filter(|instance| {
                    instance.goal == Goal::Stopped
                        && (instance.condition == Condition::Scheduled || instance.condition.is_terminal())
                })
                .take(count as usize)
                .cloned()
                .collect();
            for instance in stopped {
                count -= 1;
                let waiting = waiting(&instance, m.now);
                self.put(m, Instance { goal: Goal::Running, version: spec.version(), ..waiting });
            }
        }
        for _ in 0..count {
            let id = InstanceId::new(spec.id(), &m.uuid().to_string());
            let instance = Instance {
                id,
                run_spec: spec.id().clone(),
                version: spec.version(),
                goal: Goal::Running,
                condition: Condition::Scheduled,
                since: m.now,
                active_since: None,
                healthy: None,
                agent: None,
                tasks: BTreeMap::new(),
                incarnation: 0,
                reservation: None,
                role: spec.role().clone(),
            };
            self.put(m, instance);
        }
    }

    /// The instance and the task of an id the master named.
    pub(crate) fn find(&self, task: &TaskId) -> Option<(Arc<Instance>, String)> {
        let instance = self.instance(&task.instance())?;
        let (name, _) = instance.tasks.iter().find(|(_, known)| known.id == *task)?;
        Some((instance.clone(), name.clone()))
    }
}

/// The instance waiting for its next launch; with a reservation it stays where it was.
pub(crate) fn waiting(instance: &Instance, now: Timestamp) -> Instance {
    Instance {
        condition: Condition::Scheduled,
        since: now,
        active_since: None,
        healthy: None,
        agent: instance.agent.clone().filter(|_| instance.reservation.is_some()),
        tasks: BTreeMap::new(),
        ..instance.clone()
    }
}
