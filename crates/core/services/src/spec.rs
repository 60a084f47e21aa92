//! What definitions mean for decisions.

use mezzo_services_model::{App, Pod, RunSpec};
use mezzo_time::Timestamp;

/// Whether something says of an instance whether it is well.
pub(crate) fn has_health_checks(spec: &RunSpec) -> bool {
    match spec {
        RunSpec::App(app) => !app.health_checks.is_empty(),
        RunSpec::Pod(pod) => pod.containers.iter().any(|container| container.health_check.is_some()),
    }
}

/// Whether an instance is healthy only when something has said so (rule 61).
pub(crate) fn wants_word_of_health(spec: &RunSpec) -> bool {
    has_health_checks(spec)
        || match spec {
            RunSpec::App(app) => app.check.is_some() || !app.readiness_checks.is_empty(),
            RunSpec::Pod(pod) => pod.containers.iter().any(|container| container.check.is_some()),
        }
}

/// Pods have none (rule 152).
pub(crate) fn has_readiness_checks(spec: &RunSpec) -> bool {
    matches!(spec, RunSpec::App(app) if !app.readiness_checks.is_empty())
}

/// The definition with another version.
pub(crate) fn with_version(
    spec: &RunSpec,
    version: Timestamp,
    scaled: Timestamp,
    changed: Timestamp,
) -> RunSpec {
    let info = mezzo_services_model::VersionInfo { last_scaling_at: scaled, last_config_change_at: changed };
    match spec {
        RunSpec::App(app) => RunSpec::App(App { version, version_info: info, ..(**app).clone() }.into()),
        RunSpec::Pod(pod) => RunSpec::Pod(Pod { version, version_info: info, ..(**pod).clone() }.into()),
    }
}

/// The definition with another number of instances.
pub(crate) fn with_instances(spec: &RunSpec, instances: u32) -> RunSpec {
    match spec {
        RunSpec::App(app) => RunSpec::App(App { instances, ..(**app).clone() }.into()),
        RunSpec::Pod(pod) => RunSpec::Pod(Pod { instances, ..(**pod).clone() }.into()),
    }
}

/// What has changed between two definitions of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Nothing.
    None,
    /// Something that running instances need not know (rules 9 and 10), how an upgrade is tried among it.
    Silent,
    /// The number of instances alone (rule 6).
    Scale,
    /// More than that: instances are replaced (rules 8 and 10).
    Config,
}

pub(crate) fn difference(old: &RunSpec, new: &RunSpec) -> Difference {
    match (old, new) {
        (RunSpec::App(old), RunSpec::App(new)) => app_difference(old, new),
        (RunSpec::Pod(old), RunSpec::Pod(new)) => pod_difference(old, new),
        _ => Difference::Config,
    }
}

fn app_difference(old: &App, new: &App) -> Difference {
    let mut like = App { version: old.version, version_info: old.version_info, ..new.clone() };
    if like == *old {
        return Difference::None;
    }
    like.instances = old.instances;
    if like == *old {
        return Difference::Scale;
    }
    like.executor_resources = old.executor_resources;
    like.canary = old.canary.clone();
    if like == *old { silent(old.instances, new.instances) } else { Difference::Config }
}

fn pod_difference(old: &Pod, new: &Pod) -> Difference {
    let mut like = Pod { version: old.version, version_info: old.version_info, ..new.clone() };
    if like == *old {
        return Difference::None;
    }
    like.instances = old.instances;
    if like == *old {
        return Difference::Scale;
    }
    like.unreachable_strategy = old.unreachable_strategy;
    like.kill_selection = old.kill_selection;
    like.executor_resources = old.executor_resources;
    like.legacy_shared_cgroups = old.legacy_shared_cgroups;
    if like == *old { silent(old.instances, new.instances) } else { Difference::Config }
}

fn silent(old: u32, new: u32) -> Difference {
    if old == new { Difference::Silent } else { Difference::Scale }
}
