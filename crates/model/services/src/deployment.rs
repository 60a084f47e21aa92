//! Deployments: the steps from one tree to another.

use std::{collections::BTreeSet, fmt, sync::Arc};

use mezzo_time::Timestamp;

use crate::{Group, PathId};

/// The id of a deployment, a uuid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(pub Arc<str>);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is done to one app or pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// It is made, with no instances yet.
    Start,
    /// All its instances end.
    Stop,
    /// So many instances are there.
    Scale {
        /// How many.
        to: u32,
    },
    /// All instances are replaced.
    Restart,
}

/// One part of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The app or pod.
    pub run_spec: PathId,
    /// Whether it is a pod.
    pub is_pod: bool,
    /// What is done.
    pub kind: ActionKind,
}

impl Action {
    /// The name as the API writes it.
    pub fn name(&self) -> &'static str {
        match (self.kind, self.is_pod) {
            (ActionKind::Start, false) => "StartApplication",
            (ActionKind::Stop, false) => "StopApplication",
            (ActionKind::Scale { .. }, false) => "ScaleApplication",
            (ActionKind::Restart, false) => "RestartApplication",
            (ActionKind::Start, true) => "StartPod",
            (ActionKind::Stop, true) => "StopPod",
            (ActionKind::Scale { .. }, true) => "ScalePod",
            (ActionKind::Restart, true) => "RestartPod",
        }
    }
}

/// What is done at the same time (rule 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// One per app or pod.
    pub actions: Vec<Action>,
}

/// From one tree to another, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its id.
    pub id: DeploymentId,
    /// The tree before.
    pub original: Arc<Group>,
    /// The tree to come.
    pub target: Arc<Group>,
    /// In this order; none is empty.
    pub steps: Vec<Step>,
    /// The version of the target.
    pub version: Timestamp,
}

impl Plan {
    /// The apps that any step touches.
    pub fn affected_apps(&self) -> BTreeSet<PathId> {
        self.affected(false)
    }

    /// The pods that any step touches.
    pub fn affected_pods(&self) -> BTreeSet<PathId> {
        self.affected(true)
    }

    fn affected(&self, pods: bool) -> BTreeSet<PathId> {
        let actions = self.steps.iter().flat_map(|step| &step.actions);
        actions.filter(|action| action.is_pod == pods).map(|action| action.run_spec.clone()).collect()
    }
}
