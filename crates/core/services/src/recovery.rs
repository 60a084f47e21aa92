//! A machine from what was kept.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{Condition, Goal, Group, Instance, PathId, RunSpec};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    Config, Effect, Record, Recovered, ports,
    services::{Moment, Services},
    timers::Timer,
};

impl Services {
    /// Goes on where another has ended, at any moment: deployments begin again with their first step, and find done what
    /// was done (rules 30 and 31). The effects are performed as those of a step.
    pub fn recover(
        config: Config,
        recovered: Recovered,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> (Self, Vec<Effect>) {
        let m = &mut Moment { now, rng };
        let fresh = recovered.root.is_none();
        let root = recovered.root.unwrap_or_else(|| Arc::new(Group::empty(PathId::root(), now)));
        let mut new = Self::bare(config, root.clone());
        if fresh {
            // A deployment's beginning is a tree that is kept, the empty one too.
            new.records.push(Record::Root(root.clone()));
        }
        new.state.framework = recovered.framework;
        let mut roots = recovered.roots;
        roots.insert(root.version, root.clone());
        new.state.roots = Arc::new(roots);
        for (path, versions) in recovered.versions {
            new.state.versions.insert_mut(path, Arc::new(versions));
        }
        for report in recovered.canaries {
            let mut reports = new.state.canaries.get(&report.run_spec).cloned().unwrap_or_default();
            let path = report.run_spec.clone();
            Arc::make_mut(&mut reports).insert(report.version, report);
            new.state.canaries.insert_mut(path, reports);
        }
        for (path, version, principal) in recovered.principals {
            let mut known = new.state.principals.get(&path).cloned().unwrap_or_default();
            Arc::make_mut(&mut known).insert(version, principal);
            new.state.principals.insert_mut(path, known);
        }
        for secret in recovered.secrets {
            new.state.secrets.insert_mut(secret.name.clone(), Arc::new(secret));
        }
        for failure in recovered.failures {
            new.state.failures.insert_mut(failure.run_spec.clone(), Arc::new(failure));
        }
        for app in root.all_apps() {
            ports::take(&mut new.used_ports, &RunSpec::App(app.clone()));
        }
        for instance in recovered.instances {
            new.take_in(m, Arc::new(instance));
        }
        let mut plans = recovered.deployments;
        plans.sort_by_key(|plan| plan.version);
        for plan in plans {
            new.begin_deployment(m, plan);
        }
        new.touched.extend(root.all_run_specs().map(|spec| spec.id().clone()));
        new.touch_orphans();
        new.timers.ensure(Timer::Scale, now + new.config.scale_initial_delay);
        let effects = new.finish(m);
        (new, effects)
    }

    fn take_in(&mut self, m: &mut Moment<'_>, instance: Arc<Instance>) {
        self.enter(m, &instance);
        let id = &instance.id;
        match instance.condition {
            Condition::Running => {
                self.start_checks(m, &instance);
                self.know_agents_health(m, &instance);
                self.expect_word_of_health(&instance);
            }
            // Looked at again at once: time has passed.
            Condition::Unreachable => self.on_unreachable(m, (*instance).clone()),
            _ => {}
        }
        if instance.goal != Goal::Running {
            // Rule 77; what had ended when the other machine did is forgotten.
            if instance.condition.is_terminal() || instance.condition == Condition::Scheduled {
                self.after_end(m, id, &instance);
            } else {
                self.kill(m, id);
            }
        } else if instance.condition.is_terminal() {
            self.after_end(m, id, &instance);
        }
    }

    fn expect_word_of_health(&mut self, instance: &Instance) {
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        let is_unknown = self.instance(&instance.id).is_some_and(|known| known.healthy.is_none());
        if is_unknown && app.health_checks.iter().any(|check| !check.protocol.is_by_agent()) {
            self.unheard.insert(instance.id.clone());
        }
    }

    /// Rule 144: what agents have said of health stands in the statuses that were kept.
    fn know_agents_health(&mut self, m: &mut Moment<'_>, instance: &Instance) {
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        let healthy = instance.tasks.values().find_map(|task| task.healthy);
        if let (Some(healthy), Some(index)) =
            (healthy, app.health_checks.iter().position(|check| check.protocol.is_by_agent()))
        {
            self.note_health(m, instance, &app, index, healthy, "reported by the agent");
        }
    }
}

/// What is kept after these records, as a store would give it back: for tests and simulations of a machine that ends at any
/// moment.
pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Recovered {
    let mut all = Recovered::default();
    let mut instances: BTreeMap<_, Instance> = BTreeMap::new();
    let mut deployments = BTreeMap::new();
    let mut failures = BTreeMap::new();
    let mut canaries = BTreeMap::new();
    let mut principals = BTreeMap::new();
    let mut secrets = BTreeMap::new();
    for record in records {
        match record {
            Record::Framework(id) => all.framework = Some(id.clone()),
            Record::RunSpec(spec) => {
                all.versions.entry(spec.id().clone()).or_default().insert(spec.version(), spec.clone());
            }
            Record::RunSpecGone(path, version) => {
                if let Some(versions) = all.versions.get_mut(path) {
                    versions.remove(version);
                    if versions.is_empty() {
                        all.versions.remove(path);
                    }
                }
            }
            Record::Root(root) => {
                all.roots.insert(root.version, root.clone());
                all.root = Some(root.clone());
            }
            Record::RootGone(version) => {
                all.roots.remove(version);
            }
            Record::Deployment(plan) => {
                deployments.insert(plan.id.clone(), plan.clone());
            }
            Record::DeploymentGone(id) => {
                deployments.remove(id);
            }
            Record::Instance(instance) => {
                instances.insert(instance.id.clone(), (**instance).clone());
            }
            Record::InstanceGone(id) => {
                instances.remove(id);
            }
            Record::Failure(failure) => {
                failures.insert(failure.run_spec.clone(), (**failure).clone());
            }
            Record::FailureGone(path) => {
                failures.remove(path);
            }
            Record::Canary(report) => {
                canaries.insert((report.run_spec.clone(), report.version), (**report).clone());
            }
            Record::CanaryGone(path, version) => {
                canaries.remove(&(path.clone(), *version));
            }
            Record::Principal(path, version, principal) => {
                principals.insert((path.clone(), *version), principal.clone());
            }
            Record::PrincipalGone(path, version) => {
                principals.remove(&(path.clone(), *version));
            }
            Record::Secret(secret) => {
                secrets.insert(secret.name.clone(), (**secret).clone());
            }
            Record::SecretGone(name) => {
                secrets.remove(name);
            }
        }
    }
    all.instances = instances.into_values().collect();
    all.deployments = deployments.into_values().collect();
    all.failures = failures.into_values().collect();
    all.canaries = canaries.into_values().collect();
    all.secrets = secrets.into_values().collect();
    all.principals = principals.into_iter().map(|((path, version), who)| (path, version, who)).collect();
    all
}
