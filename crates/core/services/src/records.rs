//! What survives the machine.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{
    CanaryReport, DeploymentId, Group, Instance, InstanceId, PathId, Plan, RunSpec, SealedSecret, SecretName,
    TaskFailure,
};
use mezzo_time::Timestamp;

/// A fact to be kept, which replaces what was kept under the same key.
///
/// Definitions are kept one by one and trees as references to them, so that no record grows with the number of apps beyond
/// its list of ids, and a change of one app writes one definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Our id with the master.
    Framework(String),
    /// A version of a definition.
    RunSpec(RunSpec),
    /// A version of a definition that nothing names any more.
    RunSpecGone(PathId, Timestamp),
    /// The newest tree, also kept as a version.
    Root(Arc<Group>),
    /// A version of the tree that is forgotten.
    RootGone(Timestamp),
    /// A deployment that runs: its trees are kept as versions.
    Deployment(Arc<Plan>),
    /// A deployment that has ended.
    DeploymentGone(DeploymentId),
    /// An instance as it is.
    Instance(Box<Instance>),
    /// An instance that is forgotten.
    InstanceGone(InstanceId),
    /// The last failure of a service.
    Failure(Box<TaskFailure>),
    /// The last failure is forgotten with its service.
    FailureGone(PathId),
    /// What became of the canaries of a version.
    Canary(Box<CanaryReport>),
    /// A version whose canaries are forgotten with it.
    CanaryGone(PathId, Timestamp),
    /// Who asked for a version.
    Principal(PathId, Timestamp, String),
    /// A version that is forgotten, and who asked for it.
    PrincipalGone(PathId, Timestamp),
    /// A secret.
    Secret(Arc<SealedSecret>),
    /// A secret that was removed.
    SecretGone(SecretName),
}

/// What a machine begins with after a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Our id with the master.
    pub framework: Option<String>,
    /// The newest tree; none on a fresh disk.
    pub root: Option<Arc<Group>>,
    /// Versions of the tree.
    pub roots: BTreeMap<Timestamp, Arc<Group>>,
    /// Versions of definitions.
    pub versions: BTreeMap<PathId, BTreeMap<Timestamp, RunSpec>>,
    /// Instances.
    pub instances: Vec<Instance>,
    /// Deployments that ran; they begin again with their first step (rule 30).
    pub deployments: Vec<Arc<Plan>>,
    /// Last failures.
    pub failures: Vec<TaskFailure>,
    /// What became of canaries.
    pub canaries: Vec<CanaryReport>,
    /// Who asked for which version of which service.
    pub principals: Vec<(PathId, Timestamp, String)>,
    /// Secrets.
    pub secrets: Vec<SealedSecret>,
}
