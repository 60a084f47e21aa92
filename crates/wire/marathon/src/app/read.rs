//! From a document to the normal form of an app.

use std::{collections::BTreeSet, time::Duration};

use mezzo_services_model::{
    App, AppCommand, AppVolume, Backoff, Constraint, Container, Docker, Network, NetworkMode, PathId,
    UnreachableStrategy, UpgradeStrategy, VersionInfo, VolumeSource,
};
use mezzo_time::Timestamp;
use serde_json::Value;

use crate::{
    Invalid, UnknownKey,
    json::Reading,
    part::{constraint, network::name_networks},
    settings::{Context, Roles},
};

use super::{
    document::{AppDocument, ContainerDocument, Naming, read_document},
    legacy, rules,
};

/// Reads the definition of a new app; a relative id is seen from `base`.
pub fn read_app(value: &Value, base: &PathId, context: &Context<'_>) -> Result<App, Invalid> {
    read_app_strictly(value, base, context).map(|(app, _)| app)
}

/// Reads the definition of a new app, and tells which keys nobody knows.
pub fn read_app_strictly(
    value: &Value,
    base: &PathId,
    context: &Context<'_>,
) -> Result<(App, Vec<UnknownKey>), Invalid> {
    let (document, unknown) = Reading::document(value, |at| read_document(at, Naming::Required))?;
    let id = path(document.id.as_deref().unwrap_or(""), base, "/id")?;
    Ok((complete(document, id, base, context, None)?, unknown))
}

/// Reads the JSON of a normal form, as it is written. Nothing is filled in but what was not worth writing, and nothing judged:
/// the rules may have become stricter since it was stored.
pub fn read_stored_app(value: &Value) -> Result<App, Invalid> {
    let (document, _) = Reading::document(value, |at| read_document(at, Naming::Required))?;
    let id = path(document.id.as_deref().unwrap_or(""), &PathId::root(), "/id")?;
    let mut dependencies = BTreeSet::new();
    for text in document.dependencies.iter().flatten() {
        dependencies.insert(path(text, &PathId::root(), "/dependencies")?);
    }
    Ok(model(document, id, dependencies, Timestamp::ZERO))
}

/// The path that a text names as seen from `base`.
pub(crate) fn path(text: &str, base: &PathId, at: &str) -> Result<PathId, Invalid> {
    PathId::parse(text, base).map_err(|error| Invalid::at(at, error.to_string()))
}

/// The whole way of a definition (rule.order): old forms are judged and rewritten, the role filled in, the new form judged,
/// and what was not said gets its default. Dependencies are seen from `base`.
pub(crate) fn complete(
    mut document: AppDocument,
    id: PathId,
    base: &PathId,
    context: &Context<'_>,
    roles: Option<Roles>,
) -> Result<App, Invalid> {
    legacy::judge(&document)?;
    // Versions are given by whoever stores the definition, never by its author.
    (document.version, document.version_info) = (None, None);
    legacy::rewrite(&mut document, &context.settings.bridge)?;
    let roles = roles.unwrap_or_else(|| Roles::of(context, &id));
    document.role.get_or_insert_with(|| roles.default.clone());
    let mut dependencies = Vec::new();
    for (index, text) in document.dependencies.iter().flatten().enumerate() {
        dependencies.push(path(text, base, &format!("/dependencies({index})"))?);
    }
    rules::judge(&document, &id, &dependencies, &roles, context)?;
    fill_networks(&mut document, context)?;
    if document.unreachable_strategy.is_none() {
        document.unreachable_strategy = Some(match rules::is_resident(&document) {
            true => UnreachableStrategy::Disabled,
            false => UnreachableStrategy::DEFAULT,
        });
    }
    Ok(model(document, id, dependencies.into_iter().collect(), context.now))
}

/// Networks, the container that they need, and what they mean for ports.
fn fill_networks(document: &mut AppDocument, context: &Context<'_>) -> Result<(), Invalid> {
    let networks = document.networks.get_or_insert_with(Vec::new);
    if networks.is_empty() {
        networks.push(Network::host());
    }
    name_networks(networks, context.settings.network.as_deref());
    if networks.iter().any(crate::part::network::is_unnamed) {
        return Err(Invalid::Argument("container network name is not defined".into()));
    }
    let off_host = networks.iter().any(|network| network.mode != NetworkMode::Host);
    let bridged = networks.iter().any(|network| network.mode == NetworkMode::Bridge);
    if off_host {
        document.require_ports = Some(false);
        let container = document.container.get_or_insert_with(ContainerDocument::empty);
        let default = || vec![crate::part::port::bare_mapping(Some(crate::part::port::DEFAULT_NAME))];
        let mappings = container.port_mappings.get_or_insert_with(default);
        for mapping in mappings.iter_mut().filter(|_| bridged) {
            mapping.host_port.get_or_insert(0);
        }
    }
    Ok(())
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// The normal form; what was not said gets its default.
pub(crate) fn model(
    document: AppDocument,
    id: PathId,
    dependencies: BTreeSet<PathId>,
    now: Timestamp,
) -> App {
    let backoff = Backoff::default();
    let resources = rules::resources(&document);
    let version = document.version.unwrap_or(now);
    let (last_scaling_at, last_config_change_at) = document.version_info.unwrap_or((version, version));
    let keeps =
        |volume: &AppVolume| matches!(volume.source, VolumeSource::Persistent(_) | VolumeSource::External(_));
    let kept = document.container.iter().flat_map(|container| &container.volumes).any(keeps);
    let constraints = document.constraints.unwrap_or_default();
    let constraints: BTreeSet<Constraint> =
        constraints.iter().filter_map(|texts| constraint::of_texts(texts).ok()).collect();
    App {
        id,
        command: match (document.cmd, document.args) {
            (Some(line), _) => Some(AppCommand::Shell(line)),
            (None, Some(args)) if !args.is_empty() => Some(AppCommand::Args(args)),
            _ => None,
        },
        user: document.user,
        env: document.env.unwrap_or_default(),
        instances: document.instances.unwrap_or(1),
        resources,
        resource_limits: document.resource_limits,
        executor: document.executor.unwrap_or_default(),
        executor_resources: document.executor_resources,
        constraints,
        fetch: document.fetch.unwrap_or_default(),
        port_definitions: document.port_definitions.unwrap_or_default(),
        require_ports: document.require_ports.unwrap_or(false),
        container: document.container.map(container),
        networks: document.networks.unwrap_or_default(),
        health_checks: unique(document.health_checks.unwrap_or_default()),
        check: document.check,
        readiness_checks: document.readiness_checks.unwrap_or_default(),
        kill_grace_period: document.task_kill_grace_period_seconds.map(seconds),
        dependencies,
        backoff: Backoff {
            first: document.backoff_seconds.map_or(backoff.first, seconds),
            factor: document.backoff_factor.unwrap_or(backoff.factor),
            longest: document.max_launch_delay_seconds.map_or(backoff.longest, seconds),
        },
        upgrade_strategy: document.upgrade_strategy.unwrap_or(if kept {
            UpgradeStrategy::RESIDENT
        } else {
            UpgradeStrategy::DEFAULT
        }),
        canary: document.canary,
        labels: document.labels.unwrap_or_default(),
        accepted_resource_roles: document.accepted_resource_roles,
        unreachable_strategy: document.unreachable_strategy.unwrap_or(UnreachableStrategy::DEFAULT),
        kill_selection: document.kill_selection.unwrap_or_default(),
        tty: document.tty,
        secrets: document.secrets.unwrap_or_default(),
        role: document.role.unwrap_or_default(),
        version,
        version_info: VersionInfo { last_scaling_at, last_config_change_at },
    }
}

/// Without those that stand before.
fn unique<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn container(document: ContainerDocument) -> Container {
    Container {
        engine: document.engine,
        docker: document.docker.map(|docker| Docker {
            image: docker.image,
            force_pull_image: docker.force_pull_image,
            privileged: docker.privileged,
            parameters: docker.parameters,
            pull_config: docker.pull_config,
        }),
        volumes: document.volumes,
        port_mappings: document.port_mappings.unwrap_or_default(),
        linux_info: document.linux_info,
    }
}
