//! Deployments: one step after the other, each until all its actions are done.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{
    Action, ActionKind, DeploymentId, EventKind, Goal, InstanceId, PathId, Plan, RunSpec,
};

use crate::{
    Deployment, Map, Record,
    change::affected,
    scale::Scale,
    services::{Moment, Services},
    upgrade::Replace,
};

/// A deployment that runs.
pub(crate) struct Run {
    pub(crate) plan: Arc<Plan>,
    /// From 1; 0 before the first (rule 29).
    pub(crate) step: usize,
    /// What the step still waits for.
    acts: BTreeMap<PathId, Act>,
}

/// An action of the running step.
enum Act {
    Stop,
    Scale(Scale),
    Replace(Replace),
}

impl Services {
    /// Rule 27: who asked has the answer by then.
    pub(crate) fn begin_deployment(&mut self, m: &mut Moment<'_>, plan: Arc<Plan>) {
        for path in affected(&plan) {
            self.locks.insert(path, plan.id.clone());
        }
        if !plan.steps.is_empty() {
            self.records.push(Record::Deployment(plan.clone()));
        }
        let shown = Deployment { plan: plan.clone(), step: 0, readiness: Map::new_sync() };
        Arc::make_mut(&mut self.state.deployments).insert(plan.id.clone(), Arc::new(shown));
        let id = plan.id.clone();
        self.runs.insert(id.clone(), Run { plan, step: 0, acts: BTreeMap::new() });
        self.next_step(m, &id);
    }

    /// Begins the next step that has something to wait for, or ends (rule 4).
    fn next_step(&mut self, m: &mut Moment<'_>, id: &DeploymentId) {
        while let Some(run) = self.runs.get_mut(id) {
            let plan = run.plan.clone();
            run.step += 1;
            let step = run.step;
            let Some(actions) = plan.steps.get(step - 1).map(|step| &step.actions) else {
                return self.succeed(m, &plan);
            };
            if let Some(shown) = Arc::make_mut(&mut self.state.deployments).get_mut(id) {
                Arc::make_mut(shown).step = step;
            }
            self.publish(m, EventKind::DeploymentInfo { plan: plan.clone(), step });
            let mut acts = BTreeMap::new();
            for action in actions {
                if let Some(act) = self.begin_action(m, &plan, action) {
                    acts.insert(action.run_spec.clone(), act);
                }
            }
            let waits = !acts.is_empty();
            self.touched.extend(acts.keys().cloned());
            if let Some(run) = self.runs.get_mut(id) {
                run.acts = acts;
            }
            if waits {
                return;
            }
            self.publish(m, EventKind::DeploymentStepSucceeded { plan, step });
        }
    }

    fn begin_action(&mut self, m: &mut Moment<'_>, plan: &Plan, action: &Action) -> Option<Act> {
        let path = &action.run_spec;
        match action.kind {
            ActionKind::Start => {
                let spec = self.wanted(path)?;
                self.tell_checks_added(m, &spec);
                None
            }
            ActionKind::Stop => {
                if let Some(spec) = plan.original.run_spec(path) {
                    self.tell_checks_removed(m, &spec);
                }
                self.end_all(m, path);
                Some(Act::Stop)
            }
            ActionKind::Scale { to } => {
                let before = plan.original.run_spec(path).map_or(0, |spec| spec.instances());
                Some(Act::Scale(self.begin_scale(m, path, plan, to, before < to)))
            }
            ActionKind::Restart => {
                let spec = self.wanted(path)?;
                if let Some(old) = plan.original.run_spec(path) {
                    self.tell_checks_removed(m, &old);
                }
                self.tell_checks_added(m, &spec);
                Some(Act::Replace(self.begin_replace(m, &spec)))
            }
        }
    }

    /// All instances of a service that is no more.
    fn end_all(&mut self, m: &mut Moment<'_>, path: &PathId) {
        let all: Vec<InstanceId> = self.instances(path).map(|instance| instance.id.clone()).collect();
        for id in all {
            self.end(m, &id, Goal::Decommissioned);
        }
    }

    /// Looks at every service that was touched: a deployment may go on, a service that none works on is set right. Each look
    /// changes something that cannot be changed again, or nothing; so this ends.
    pub(crate) fn settle(&mut self, m: &mut Moment<'_>) {
        while let Some(path) = self.touched.pop_first() {
            match self.locks.get(&path).cloned() {
                Some(id) => self.drive(m, &id, &path),
                None => self.correct_missing(m, &path),
            }
        }
    }

    fn drive(&mut self, m: &mut Moment<'_>, id: &DeploymentId, path: &PathId) {
        let Some(mut act) = self.runs.get_mut(id).and_then(|run| run.acts.remove(path)) else { return };
        let done = match &mut act {
            Act::Stop => self.drive_stop(m, path),
            Act::Scale(scale) => self.drive_scale(m, path, scale),
            Act::Replace(replace) => self.drive_replace(m, path, replace),
        };
        let Some(run) = self.runs.get_mut(id) else { return };
        if !done {
            run.acts.insert(path.clone(), act);
            return;
        }
        if run.acts.is_empty() {
            let (plan, step) = (run.plan.clone(), run.step);
            self.publish(m, EventKind::DeploymentStepSucceeded { plan, step });
            self.next_step(m, id);
        }
    }

    /// Rule 35. What cannot be reached is not waited for; with its service gone it is forgotten, and killed if it comes back.
    fn drive_stop(&mut self, m: &mut Moment<'_>, path: &PathId) -> bool {
        if self.count(path, |kind| kind.is_in_the_way()) > 0 {
            return false;
        }
        self.end_service(path);
        self.publish(m, EventKind::AppTerminated { app: path.clone() });
        true
    }

    /// Forgets everything about a service that is no more, but instances whose reservations are still to be given up.
    pub(crate) fn end_service(&mut self, path: &PathId) {
        let lost: Vec<InstanceId> = self
            .instances(path)
            .filter(|instance| instance.reservation.is_none())
            .map(|instance| instance.id.clone())
            .collect();
        for id in lost {
            self.expunge(&id);
        }
        self.delays.remove(path);
        self.timers.clear(&crate::timers::Timer::Delay(path.clone()));
        self.placed.remove(path);
        if self.state.failures.remove_mut(path) {
            self.records.push(Record::FailureGone(path.clone()));
        }
        self.forget_definitions(path);
    }

    fn succeed(&mut self, m: &mut Moment<'_>, plan: &Arc<Plan>) {
        self.leave_deployment(plan);
        self.publish(m, EventKind::DeploymentSucceeded { plan: plan.clone() });
        // What happened while it was locked is set right.
        self.touched.extend(affected(plan));
    }

    /// Ends a deployment where it is (rule 44).
    pub(crate) fn cancel(&mut self, m: &mut Moment<'_>, id: &DeploymentId, reason: &str) {
        let Some(plan) = self.runs.get(id).map(|run| run.plan.clone()) else { return };
        self.leave_deployment(&plan);
        self.publish(m, EventKind::DeploymentFailed { plan, reason: reason.into() });
    }

    fn leave_deployment(&mut self, plan: &Arc<Plan>) {
        self.runs.remove(&plan.id);
        Arc::make_mut(&mut self.state.deployments).remove(&plan.id);
        self.locks.retain(|_, id| *id != plan.id);
        if !plan.steps.is_empty() {
            self.records.push(Record::DeploymentGone(plan.id.clone()));
        }
    }

    /// Whether old instances of a service are being replaced.
    pub(crate) fn is_replacing(&self, path: &PathId) -> bool {
        let run = self.locks.get(path).and_then(|id| self.runs.get(id));
        run.is_some_and(|run| matches!(run.acts.get(path), Some(Act::Replace(_))))
    }

    fn tell_checks_added(&mut self, m: &mut Moment<'_>, spec: &RunSpec) {
        let RunSpec::App(app) = spec else { return };
        for check in &app.health_checks {
            let (version, check) = (app.version, check.clone());
            self.publish(m, EventKind::HealthCheckAdded { app: app.id.clone(), version, check });
        }
    }

    fn tell_checks_removed(&mut self, m: &mut Moment<'_>, spec: &RunSpec) {
        let RunSpec::App(app) = spec else { return };
        for _ in &app.health_checks {
            self.publish(m, EventKind::HealthCheckRemoved { app: app.id.clone() });
        }
    }
}
