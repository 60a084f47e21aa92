//! What answers about apps, pods and groups are made of.

use std::collections::BTreeMap;

use mezzo_services_model::{
    CanaryReport, Health, Instance, InstanceId, PathId, Plan, Pod, Readiness, RunSpec, TaskFailure,
};
use mezzo_time::Timestamp;

/// A deployment that runs.
#[derive(Clone, Debug)]
pub struct DeploymentFacts<'a> {
    /// Where it goes.
    pub plan: &'a Plan,
    /// The step it is at, from 1; 0 before the first (rule 29).
    pub step: usize,
    /// What readiness checks say of its new instances.
    pub readiness: Vec<&'a Readiness>,
    /// What is tried on canaries.
    pub canaries: Vec<&'a CanaryReport>,
}

/// What is known beside the definitions, at one moment. Who keeps it says how it is found.
pub trait Sources: Sync {
    /// The instances of a service, by their ids.
    fn instances<'a>(&'a self, id: &PathId) -> Box<dyn Iterator<Item = &'a Instance> + 'a>;

    /// A version of a definition, for instances of older ones.
    fn version(&self, id: &PathId, version: Timestamp) -> Option<&RunSpec>;

    /// Results of the health checks of an instance, in the order of the definition.
    fn health(&self, id: &InstanceId) -> &[Option<Health>];

    /// The last failure of a service.
    fn failure(&self, id: &PathId) -> Option<&TaskFailure>;
}

/// [`Sources`] with the deployments that run, found by service.
pub struct Facts<'a> {
    now: Timestamp,
    sources: &'a dyn Sources,
    deployments: Vec<DeploymentFacts<'a>>,
    /// For each service the places of its deployments in the list.
    by_run_spec: BTreeMap<&'a PathId, Vec<usize>>,
}

impl<'a> Facts<'a> {
    /// Goes over the actions of all deployments once.
    pub fn new(
        now: Timestamp,
        sources: &'a dyn Sources,
        deployments: impl IntoIterator<Item = DeploymentFacts<'a>>,
    ) -> Self {
        let deployments: Vec<_> = deployments.into_iter().collect();
        let mut by_run_spec: BTreeMap<&PathId, Vec<usize>> = BTreeMap::new();
        for (place, deployment) in deployments.iter().enumerate() {
            for action in deployment.plan.steps.iter().flat_map(|step| &step.actions) {
                let places = by_run_spec.entry(&action.run_spec).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        Self { now, sources, deployments, by_run_spec }
    }

    /// When this was so.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The instances of a service.
    pub fn instances(&self, id: &PathId) -> impl Iterator<Item = &'a Instance> + Clone {
        self.sources.instances(id).collect::<Vec<_>>().into_iter()
    }

    /// The results of an instance's health checks that are there.
    pub fn health(&self, id: &InstanceId) -> impl Iterator<Item = &'a Health> + Clone {
        self.sources.health(id).iter().flatten()
    }

    /// The last failure of a service.
    pub fn failure(&self, id: &PathId) -> Option<&'a TaskFailure> {
        self.sources.failure(id)
    }

    /// The deployments that touch a service.
    pub fn deployments(&self, id: &PathId) -> impl Iterator<Item = &DeploymentFacts<'a>> {
        let places = self.by_run_spec.get(id).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.deployments.get(*place))
    }

    /// The definition that an instance of a pod runs; the newest where its own is gone.
    pub(crate) fn pod_of<'p>(&self, newest: &'p Pod, instance: &Instance) -> &'p Pod
    where
        'a: 'p,
    {
        if instance.version == newest.version {
            return newest;
        }
        match self.sources.version(&newest.id, instance.version) {
            Some(RunSpec::Pod(pod)) => pod,
            _ => newest,
        }
    }
}
