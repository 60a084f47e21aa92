//! What reads see, and how answers look things up in it.

use std::ops::Deref;

use mezzo_marathon_api::answer::Sources;
use mezzo_services::Snapshot;
use mezzo_services_model::{Health, Instance, InstanceId, PathId, RunSpec, TaskFailure};
use mezzo_time::Timestamp;

/// A snapshot that may be shown: nothing in it can be taken back by a crash.
#[derive(Clone, Debug)]
pub(crate) struct Shown(pub(crate) Snapshot);

impl Deref for Shown {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Sources for Shown {
    fn instances<'a>(&'a self, id: &PathId) -> Box<dyn Iterator<Item = &'a Instance> + 'a> {
        let instances = self.0.instances.get(id).into_iter();
        Box::new(instances.flat_map(|instances| instances.values()).map(AsRef::as_ref))
    }

    fn version(&self, id: &PathId, version: Timestamp) -> Option<&RunSpec> {
        self.0.versions.get(id)?.get(&version)
    }

    fn health(&self, id: &InstanceId) -> &[Option<Health>] {
        self.0.health.get(id).map_or(&[], |health| health.as_slice())
    }

    fn failure(&self, id: &PathId) -> Option<&TaskFailure> {
        self.0.failures.get(id).map(AsRef::as_ref)
    }
}

/// What is known of something that has just been made.
pub(crate) struct Nothing;

impl Sources for Nothing {
    fn instances<'a>(&'a self, _: &PathId) -> Box<dyn Iterator<Item = &'a Instance> + 'a> {
        Box::new(std::iter::empty())
    }

    fn version(&self, _: &PathId, _: Timestamp) -> Option<&RunSpec> {
        None
    }

    fn health(&self, _: &InstanceId) -> &[Option<Health>] {
        &[]
    }

    fn failure(&self, _: &PathId) -> Option<&TaskFailure> {
        None
    }
}
