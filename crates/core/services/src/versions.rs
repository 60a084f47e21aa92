//! Old definitions and trees: how many are kept, and which are needed by others.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{Group, PathId, RunSpec};
use mezzo_time::Timestamp;

use crate::{Record, differences::differences, services::Services};

impl Services {
    /// Keeps a definition as a version of its service, and forgets those that are too many (rule 241). One that instances run
    /// stays as long as they do.
    pub(crate) fn keep_definition(&mut self, spec: &RunSpec) {
        let path = spec.id();
        let mut versions = self.state.versions.get(path).cloned().unwrap_or_default();
        if versions.get(&spec.version()) == Some(spec) {
            return;
        }
        let kept = Arc::make_mut(&mut versions);
        kept.insert(spec.version(), spec.clone());
        self.records.push(Record::RunSpec(spec.clone()));
        let mut surplus = Vec::new();
        let too_many = kept.len().saturating_sub(self.config.versions_kept.max(1));
        if too_many > 0 {
            let unused = kept.keys().copied().filter(|version| {
                *version != spec.version() && self.count(path, |kind| kind.version == *version) == 0
            });
            surplus.extend(unused.take(too_many));
            for version in &surplus {
                kept.remove(version);
            }
        }
        self.state.versions.insert_mut(path.clone(), versions);
        for version in surplus {
            self.forget_report(path, version);
            self.forget_principal(path, version);
            self.forget_definition(path, version);
        }
    }

    /// The versions of a service that is no more (rule 242).
    pub(crate) fn forget_definitions(&mut self, path: &PathId) {
        let Some(versions) = self.state.versions.get(path).cloned() else { return };
        self.state.versions.remove_mut(path);
        for version in versions.keys() {
            self.forget_report(path, *version);
            self.forget_principal(path, *version);
            self.forget_definition(path, *version);
        }
    }

    /// Remembers who asked for a version.
    pub(crate) fn keep_principal(&mut self, path: &PathId, version: Timestamp, principal: &str) {
        self.records.push(Record::Principal(path.clone(), version, principal.to_owned()));
        let mut known = self.state.principals.get(path).cloned().unwrap_or_default();
        Arc::make_mut(&mut known).insert(version, principal.to_owned());
        self.state.principals.insert_mut(path.clone(), known);
    }

    fn forget_principal(&mut self, path: &PathId, version: Timestamp) {
        let Some(known) = self.state.principals.get_mut(path) else { return };
        if Arc::make_mut(known).remove(&version).is_none() {
            return;
        }
        if known.is_empty() {
            self.state.principals.remove_mut(path);
        }
        self.records.push(Record::PrincipalGone(path.clone(), version));
    }

    /// Gives a definition up unless a version of the service or of the tree names it.
    fn forget_definition(&mut self, path: &PathId, version: Timestamp) {
        let kept = self.state.versions.get(path).is_some_and(|versions| versions.contains_key(&version));
        let named = |root: &Arc<Group>| root.run_spec(path).is_some_and(|spec| spec.version() == version);
        if !kept && !self.state.roots.values().any(named) {
            self.records.push(Record::RunSpecGone(path.clone(), version));
        }
    }

    /// Forgets the oldest trees beyond the number that is kept; those that deployments come from or go to stay.
    pub(crate) fn forget_old_roots(&mut self) {
        let needed = |version: &Timestamp| {
            *version == self.state.root.version
                || self
                    .runs
                    .values()
                    .any(|run| run.plan.original.version == *version || run.plan.target.version == *version)
        };
        let too_many = self.state.roots.len().saturating_sub(self.config.versions_kept.max(1));
        let old: Vec<Timestamp> =
            self.state.roots.keys().filter(|version| !needed(version)).take(too_many).copied().collect();
        for version in old {
            let roots = Arc::make_mut(&mut self.state.roots);
            let Some(gone) = roots.remove(&version) else { continue };
            let next = roots.range(version..).next().map(|(_, root)| root.clone());
            self.records.push(Record::RootGone(version));
            let Some(next) = next else { continue };
            let found = differences(&gone, &next);
            let before =
                found.removed.into_iter().chain(found.changed.into_iter().map(|(id, (old, _))| (id, old)));
            let before: BTreeMap<PathId, RunSpec> = before.collect();
            for (path, spec) in before {
                self.forget_definition(&path, spec.version());
            }
        }
    }
}
