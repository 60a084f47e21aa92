//! What reads show.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_services_model::{
    CanaryReport, DeploymentId, Group, Health, Instance, InstanceId, PathId, Plan, QueueItem, Readiness,
    RunSpec, SealedSecret, SecretName, TaskFailure, TaskId,
};
use mezzo_time::Timestamp;

/// An ordered map of which a clone costs nothing and shares all that is not changed afterwards, so that a snapshot of ten
/// thousand apps is taken after each input.
pub type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;

/// A deployment that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Where it goes.
    pub plan: Arc<Plan>,
    /// The step it is at, from 1; 0 before the first (rule 29).
    pub step: usize,
    /// What readiness checks say of its new instances.
    pub readiness: Map<TaskId, Arc<Readiness>>,
}

/// How long a service waits for its next launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The length of the wait.
    pub length: Duration,
    /// From when it counts.
    pub since: Timestamp,
}

/// The instances of one service, by id.
pub type Instances = Map<InstanceId, Arc<Instance>>;

/// Everything that reads show, at one moment. Cheap to clone: parts are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Our id with the master, once known.
    pub framework: Option<String>,
    /// The tree.
    pub root: Arc<Group>,
    /// Versions of the tree.
    pub roots: Arc<BTreeMap<Timestamp, Arc<Group>>>,
    /// Versions of definitions.
    pub versions: Map<PathId, Arc<BTreeMap<Timestamp, RunSpec>>>,
    /// Instances by service.
    pub instances: Map<PathId, Instances>,
    /// Deployments that run.
    pub deployments: Arc<BTreeMap<DeploymentId, Arc<Deployment>>>,
    /// Results of health checks of instances, in the order of the definition.
    pub health: Map<InstanceId, Arc<Vec<Option<Health>>>>,
    /// Last failures.
    pub failures: Map<PathId, Arc<TaskFailure>>,
    /// What became of the canaries of versions that are kept.
    pub canaries: Map<PathId, Arc<BTreeMap<Timestamp, CanaryReport>>>,
    /// Who asked for the versions that are kept, where that is known.
    pub principals: Map<PathId, Arc<BTreeMap<Timestamp, String>>>,
    /// Secrets, sealed.
    pub secrets: Map<SecretName, Arc<SealedSecret>>,
    /// What waits, by service and role (rule 89).
    pub queue: Map<(PathId, String), Arc<QueueItem>>,
}
