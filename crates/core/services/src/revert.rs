//! The way back from a deployment (rules 40 to 44).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_services_model::{CanaryReport, DeploymentId, Group, PathId, Plan, RunSpec};

use crate::{
    Answer, Change, Refusal, RequestId,
    change::{CANCELLED, affected},
    differences::differences,
    services::{Moment, Services},
};

impl Services {
    pub(crate) fn on_cancel(
        &mut self,
        m: &mut Moment<'_>,
        request: RequestId,
        id: &DeploymentId,
        force: bool,
    ) {
        let Some(run) = self.runs.get(id) else {
            let text = format!("DeploymentPlan {id} does not exist");
            return self.answer(request, Answer::Refused(Refusal::Unknown(text)));
        };
        if force {
            self.cancel(m, id, CANCELLED);
            return self.answer(request, Answer::Done);
        }
        let plan = run.plan.clone();
        let change = self.way_back(&plan);
        self.on_change(m, request, change);
    }

    /// Back from a plan; what it has on trial goes to the definition before the trial.
    fn way_back(&self, plan: &Plan) -> Change {
        let mut target = reverted(&self.state.root, plan);
        for path in affected(plan) {
            let base = self.wanted(&path).and_then(|spec| self.base(self.trial(&spec)?));
            let Some(RunSpec::App(app)) = base else { continue };
            let version = target.version;
            target = target.updated(&path.parent(), version, &mut |group| {
                group.apps.insert(path.clone(), app.clone());
            });
        }
        Change {
            base: self.state.root.version,
            target: Arc::new(target),
            group: PathId::root(),
            restart: BTreeSet::new(),
            kill: BTreeSet::new(),
            force: true,
            dry_run: false,
            principal: None,
        }
    }

    /// The canaries of a service have failed: its deployment goes back.
    pub(crate) fn roll_back(&mut self, m: &mut Moment<'_>, path: &PathId) {
        let Some(plan) = self.locks.get(path).and_then(|id| self.runs.get(id)).map(|run| run.plan.clone())
        else {
            return;
        };
        let Some(report) = self.wanted(path).and_then(|spec| self.trial(&spec).cloned()) else { return };
        let reason = format!("Canary of {path} has failed: {}", report.reason);
        let change = self.way_back(&plan);
        if let Err(refusal) = self.make_change(m, None, change, &reason) {
            let why = crate::change::words(&refusal);
            self.keep_report(CanaryReport {
                reason: format!("{}; going back was refused: {why}", report.reason),
                ..report
            });
        }
    }
}

/// The tree as it is without what a plan has changed: its services are as they were before; changes of others stay.
pub(crate) fn reverted(root: &Group, plan: &Plan) -> Group {
    let found = differences(&plan.original, &plan.target);
    let before = found.removed.iter().chain(found.changed.iter().map(|(id, (old, _))| (id, old)));
    let mut wanted: BTreeMap<PathId, Vec<(PathId, Option<RunSpec>)>> = BTreeMap::new();
    for (id, spec) in before {
        wanted.entry(id.parent()).or_default().push((id.clone(), Some(spec.clone())));
    }
    for id in found.added.keys() {
        wanted.entry(id.parent()).or_default().push((id.clone(), None));
    }
    let mut root = root.clone();
    let version = root.version;
    for (group, specs) in wanted {
        root = root.updated(&group, version, &mut |group| {
            for (id, spec) in &specs {
                group.apps.remove(id);
                group.pods.remove(id);
                match spec {
                    Some(RunSpec::App(app)) => {
                        group.apps.insert(id.clone(), app.clone());
                    }
                    Some(RunSpec::Pod(pod)) => {
                        group.pods.insert(id.clone(), pod.clone());
                    }
                    None => {}
                }
            }
        });
    }
    // Deepest first, so that a group of nothing but added groups goes as well.
    let mut groups = found.groups;
    groups.sort_by_key(|id| std::cmp::Reverse(id.segments().count()));
    for id in groups {
        let (Some(current), Some(after)) = (root.group(&id), plan.target.group(&id)) else { continue };
        let empty = current.apps.is_empty() && current.pods.is_empty() && current.groups.is_empty();
        match plan.original.group(&id) {
            None if empty && current.dependencies == after.dependencies && !id.is_root() => {
                root = root.updated(&id.parent(), version, &mut |parent| {
                    parent.groups.remove(&id);
                });
            }
            before => {
                let old = before.map(|group| group.dependencies.clone()).unwrap_or_default();
                let added: BTreeSet<PathId> = after.dependencies.difference(&old).cloned().collect();
                let removed: BTreeSet<PathId> = old.difference(&after.dependencies).cloned().collect();
                root = root.updated(&id, version, &mut |group| {
                    group.dependencies.retain(|dependency| !added.contains(dependency));
                    group.dependencies.extend(removed.iter().cloned());
                });
            }
        }
    }
    root
}
