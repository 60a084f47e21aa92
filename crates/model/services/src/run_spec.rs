//! What apps and pods have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_time::Timestamp;

use crate::{
    App, Backoff, Canary, Constraint, EnvValue, KillSelection, PathId, Pod, PullConfig, Resources,
    UnreachableStrategy, UpgradeStrategy, VersionInfo, VolumeSource,
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

    /// The secrets that its tasks are given, as the definition names them in the store. What is declared and not used is
    /// not among them.
    pub fn secrets(&self) -> BTreeSet<&str> {
        let (declared, mut keys) = match self {
            Self::App(app) => (&app.secrets, keys_of(&app.env)),
            Self::Pod(pod) => (&pod.secrets, keys_of(&pod.environment)),
        };
        if declared.is_empty() {
            return BTreeSet::new();
        }
        let pull = |config: &'_ Option<PullConfig>| config.as_ref().map(|config| config.secret.clone());
        match self {
            Self::App(app) => {
                let container = app.container.iter();
                keys.extend(container.clone().filter_map(|one| pull(&one.docker.as_ref()?.pull_config)));
                keys.extend(container.flat_map(|one| &one.volumes).filter_map(|one| key_of(&one.source)));
            }
            Self::Pod(pod) => {
                for container in &pod.containers {
                    keys.extend(keys_of(&container.environment));
                    keys.extend(container.image.as_ref().and_then(|image| pull(&image.pull_config)));
                    let mounted = |name: &str| container.volume_mounts.iter().any(|mount| mount.name == name);
                    let volumes = pod.volumes.iter().filter(|volume| mounted(&volume.name));
                    keys.extend(volumes.filter_map(|volume| key_of(&volume.source)));
                }
            }
        }
        keys.iter().filter_map(|key| declared.get(key)).map(String::as_str).collect()
    }

    /// What one instance needs.
    pub fn resources(&self) -> Resources {
        match self {
            Self::App(app) => app.resources,
            Self::Pod(pod) => pod.resources(),
        }
    }
}

/// The keys of secrets among variables.
fn keys_of(variables: &BTreeMap<String, EnvValue>) -> BTreeSet<String> {
    let key = |value: &EnvValue| if let EnvValue::Secret(key) = value { Some(key.clone()) } else { None };
    variables.values().filter_map(key).collect()
}

/// The key of the secret that a volume holds.
fn key_of(source: &VolumeSource) -> Option<String> {
    if let VolumeSource::Secret(key) = source { Some(key.clone()) } else { None }
}
