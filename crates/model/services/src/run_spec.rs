//! What apps and pods have in common.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_time::Timestamp;

use crate::{
    App, Backoff, Canary, Constraint, KillSelection, PathId, Pod, Resources, UnreachableStrategy,
    UpgradeStrategy, VersionInfo,
};

/// An app or a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum RunSpec {
    /// One container.
    App(Arc<App>),
    /// Several.
    Pod(Arc<Pod>),
}

macro_rules! common {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> $kind {
            match self {
                Self::App(app) => app.$name,
                Self::Pod(pod) => pod.$name,
            }
        }
    )*};
}

macro_rules! common_ref {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> &$kind {
            match self {
                Self::App(app) => &app.$name,
                Self::Pod(pod) => &pod.$name,
            }
        }
    )*};
}

impl RunSpec {
    common! {
        /// How many are wanted.
        instances: u32;
        /// When this definition was made.
        version: Timestamp;
        /// When what changed.
        version_info: VersionInfo;
        /// How instances are replaced.
        upgrade_strategy: UpgradeStrategy;
        /// Waits after failures.
        backoff: Backoff;
        /// Which goes first.
        kill_selection: KillSelection;
        /// When agents cannot be reached.
        unreachable_strategy: UnreachableStrategy;
    }

    common_ref! {
        /// Where it stands.
        id: PathId;
        /// The role whose offers it takes.
        role: String;
        /// Where instances may be placed.
        constraints: BTreeSet<Constraint>;
        /// Roles whose reservations are used; none: the flag decides.
        accepted_resource_roles: Option<BTreeSet<String>>;
    }

    /// Whether instances keep a volume, and so a place.
    pub fn is_resident(&self) -> bool {
        match self {
            Self::App(app) => app.is_resident(),
            Self::Pod(pod) => pod.is_resident(),
        }
    }

    /// How an upgrade is tried first. Pods have no such thing.
    pub fn canary(&self) -> Option<&Canary> {
        match self {
            Self::App(app) => app.canary.as_ref(),
            Self::Pod(_) => None,
        }
    }

    /// What one instance needs.
    pub fn resources(&self) -> Resources {
        match self {
            Self::App(app) => app.resources,
            Self::Pod(pod) => pod.resources(),
        }
    }
}
