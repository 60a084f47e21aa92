//! The way back from a deployment (rules 40 to 44).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_services_model::{DeploymentId, Group, PathId, Plan, RunSpec};

use crate::{
    Answer, Change, Refusal, RequestId,
    change::CANCELLED,
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
        let target = reverted(&self.state.root, &run.plan);
        let change = Change {
            base: self.state.root.version,
            target: Arc::new(target),
            group: PathId::root(),
            restart: BTreeSet::new(),
            kill: BTreeSet::new(),
            force: true,
            dry_run: false,
        };
        self.on_change(m, request, change);
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
