//! Groups: the tree in which apps and pods stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_time::Timestamp;

use crate::{App, PathId, Pod, RunSpec};

/// A group with everything in it. Members are shared between versions of the tree, so that one of ten thousand apps may
/// change at the price of the groups above it.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where it stands.
    pub id: PathId,
    /// Apps that stand in it directly, by their full paths.
    pub apps: BTreeMap<PathId, Arc<App>>,
    /// Pods that stand in it directly.
    pub pods: BTreeMap<PathId, Arc<Pod>>,
    /// Groups that stand in it directly.
    pub groups: BTreeMap<PathId, Arc<Group>>,
    /// Apps and groups that come before everything in it (rule 16).
    pub dependencies: BTreeSet<PathId>,
    /// When it was made or changed.
    pub version: Timestamp,
    /// Everything below has the name of this top-level group as its role (rule 229).
    pub enforce_role: bool,
}

impl Group {
    /// A group with nothing in it.
    pub fn empty(id: PathId, version: Timestamp) -> Self {
        Self {
            id,
            apps: BTreeMap::new(),
            pods: BTreeMap::new(),
            groups: BTreeMap::new(),
            dependencies: BTreeSet::new(),
            version,
            enforce_role: false,
        }
    }

    /// The group at a path at or below this one.
    pub fn group(&self, id: &PathId) -> Option<&Group> {
        if *id == self.id {
            return Some(self);
        }
        self.towards(id)?.group(id)
    }

    /// The app at a path below this group.
    pub fn app(&self, id: &PathId) -> Option<&Arc<App>> {
        self.apps.get(id).or_else(|| self.towards(id)?.app(id))
    }

    /// The pod at a path below this group.
    pub fn pod(&self, id: &PathId) -> Option<&Arc<Pod>> {
        self.pods.get(id).or_else(|| self.towards(id)?.pod(id))
    }

    /// The app or pod at a path below this group.
    pub fn run_spec(&self, id: &PathId) -> Option<RunSpec> {
        self.app(id).cloned().map(RunSpec::App).or_else(|| self.pod(id).cloned().map(RunSpec::Pod))
    }

    /// All apps at any depth, groups before their siblings' children.
    pub fn all_apps(&self) -> Box<dyn Iterator<Item = &Arc<App>> + '_> {
        Box::new(self.all_groups().flat_map(|group| group.apps.values()))
    }

    /// All pods at any depth.
    pub fn all_pods(&self) -> Box<dyn Iterator<Item = &Arc<Pod>> + '_> {
        Box::new(self.all_groups().flat_map(|group| group.pods.values()))
    }

    /// All apps and pods at any depth.
    pub fn all_run_specs(&self) -> impl Iterator<Item = RunSpec> + '_ {
        self.all_apps().cloned().map(RunSpec::App).chain(self.all_pods().cloned().map(RunSpec::Pod))
    }

    /// This group and all below, parents before children.
    pub fn all_groups(&self) -> impl Iterator<Item = &Group> {
        let mut left = vec![self];
        std::iter::from_fn(move || {
            let group = left.pop()?;
            left.extend(group.groups.values().rev().map(Arc::as_ref));
            Some(group)
        })
    }

    /// The tree with the group at `id` changed by `change`; groups on the way that are missing are made, and those on the
    /// way get `version`.
    pub fn updated(&self, id: &PathId, version: Timestamp, change: &mut dyn FnMut(&mut Group)) -> Self {
        let mut new = Self { version, ..self.clone() };
        if *id == self.id || !id.is_below(&self.id) {
            change(&mut new);
            return new;
        }
        let step = self.step(id);
        let child = match new.groups.get(&step) {
            Some(child) => child.updated(id, version, change),
            None => Self::empty(step.clone(), version).updated(id, version, change),
        };
        new.groups.insert(step, Arc::new(child));
        new
    }

    /// The child on the way to a path below.
    fn towards(&self, id: &PathId) -> Option<&Group> {
        if !id.is_below(&self.id) {
            return None;
        }
        self.groups.get(&self.step(id)).map(Arc::as_ref)
    }

    fn step(&self, id: &PathId) -> PathId {
        let depth = self.id.segments().count();
        self.id.child(id.segments().nth(depth).unwrap_or(""))
    }
}
