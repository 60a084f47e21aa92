//! Changes of apps: the parts that were sent, on top of the definition that is stored.

use std::sync::Arc;

use mezzo_services_model::{App, AppCommand, Backoff, NetworkMode, PathId};
use mezzo_time::Timestamp;
use serde_json::Value;

use crate::{
    Invalid, UnknownKey,
    json::Reading,
    settings::{Context, Roles},
};

use super::{
    change::judge_change,
    document::{AppDocument, ContainerDocument, DockerDocument, Naming, read_document},
    legacy,
    read::complete,
};

/// A change as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct AppUpdate {
    document: AppDocument,
    /// Keys that nobody knows.
    pub unknown: Vec<UnknownKey>,
}

/// Reads the change of one app.
pub fn read_app_update(value: &Value) -> Result<AppUpdate, Invalid> {
    let (document, unknown) = Reading::document(value, |at| read_document(at, Naming::Optional))?;
    Ok(AppUpdate { document, unknown })
}

/// Reads the changes of several apps.
pub fn read_app_updates(value: &Value) -> Result<Vec<AppUpdate>, Invalid> {
    let (documents, _) = Reading::document(value, |at| at.list(|at| read_document(at, Naming::Optional)))?;
    Ok(documents.into_iter().map(|document| AppUpdate { document, unknown: Vec::new() }).collect())
}

impl AppUpdate {
    /// The app that the change names; a call for one app goes by the address instead (rule.partialUpdate.id).
    pub fn id(&self) -> Option<Result<PathId, Invalid>> {
        let id = self.document.id.as_ref()?;
        Some(super::read::path(id, &PathId::root(), "/id"))
    }

    /// The version that is to come back (rule 47); nothing else was sent then, or the change is not valid.
    pub fn version(&self) -> Result<Option<Timestamp>, Invalid> {
        legacy::judge_update(&self.document)?;
        Ok(self.document.version)
    }

    /// The definition at `id` with the change made. A `partial` one keeps what it does not name, any other is a whole
    /// definition (rule.partialUpdate.true and false). Without a stored definition it is that of a new app.
    pub fn apply(
        &self,
        stored: Option<&Arc<App>>,
        id: &PathId,
        partial: bool,
        context: &Context<'_>,
    ) -> Result<App, Invalid> {
        legacy::judge(&self.document)?;
        legacy::judge_update(&self.document)?;
        let document = match stored {
            Some(stored) if partial => {
                let mut sent = self.document.clone();
                legacy::rewrite_update(&mut sent, &context.settings.bridge)?;
                merge(sent, document_of(stored))
            }
            _ => self.document.clone(),
        };
        let roles = Roles::of(context, id);
        let app = complete(document, id.clone(), &PathId::root(), context, Some(roles))?;
        let Some(stored) = stored else { return Ok(app) };
        judge_change(stored, &app)?;
        Ok(App { version: stored.version, version_info: stored.version_info, ..app })
    }
}

/// The document that says all that a definition says.
pub(crate) fn document_of(app: &App) -> AppDocument {
    let whole = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let Backoff { first, factor, longest } = app.backoff;
    let off_host = !app.is_on_host_network();
    AppDocument {
        id: Some(app.id.to_string()),
        accepted_resource_roles: app.accepted_resource_roles.clone(),
        args: match &app.command {
            Some(AppCommand::Args(args)) => Some(args.clone()),
            _ => None,
        },
        backoff_factor: Some(factor),
        backoff_seconds: Some(whole(first)),
        cmd: match &app.command {
            Some(AppCommand::Shell(line)) => Some(line.clone()),
            _ => None,
        },
        constraints: Some(app.constraints.iter().map(texts_of).collect()),
        container: app.container.as_ref().map(|container| ContainerDocument {
            engine: container.engine,
            docker: container.docker.as_ref().map(|docker| DockerDocument {
                image: docker.image.clone(),
                force_pull_image: docker.force_pull_image,
                privileged: docker.privileged,
                parameters: docker.parameters.clone(),
                pull_config: docker.pull_config.clone(),
                credential: false,
                network: None,
                port_mappings: None,
            }),
            volumes: container.volumes.clone(),
            port_mappings: off_host.then(|| container.port_mappings.clone()),
            linux_info: container.linux_info.clone(),
        }),
        cpus: Some(app.resources.cpus),
        dependencies: Some(app.dependencies.iter().map(PathId::to_string).collect()),
        disk: Some(app.resources.disk),
        env: Some(app.env.clone()),
        executor: Some(app.executor.clone()),
        executor_resources: app.executor_resources,
        fetch: Some(app.fetch.clone()),
        health_checks: Some(app.health_checks.clone()),
        check: app.check.clone(),
        instances: Some(app.instances),
        labels: Some(app.labels.clone()),
        max_launch_delay_seconds: Some(whole(longest)),
        mem: Some(app.resources.mem),
        gpus: Some(app.resources.gpus),
        ip_address: None,
        networks: Some(app.networks.clone()),
        ports: None,
        port_definitions: (!off_host).then(|| app.port_definitions.clone()),
        readiness_checks: Some(app.readiness_checks.clone()),
        residency: false,
        resource_limits: app.resource_limits,
        require_ports: Some(app.require_ports),
        secrets: Some(app.secrets.clone()),
        task_kill_grace_period_seconds: app.kill_grace_period.map(whole),
        upgrade_strategy: Some(app.upgrade_strategy),
        canary: app.canary.clone(),
        uris: None,
        user: app.user.clone(),
        version: None,
        version_info: None,
        kill_selection: Some(app.kill_selection),
        unreachable_strategy: Some(app.unreachable_strategy),
        tty: app.tty,
        role: Some(app.role.clone()),
    }
}

fn texts_of(constraint: &mezzo_services_model::Constraint) -> Vec<String> {
    let mut texts = vec![constraint.field.clone(), constraint.operator.name().to_string()];
    texts.extend(constraint.value.clone());
    texts
}

/// What was sent, and for the rest what is stored. Every field that was sent replaces the stored one as a whole.
fn merge(sent: AppDocument, mut stored: AppDocument) -> AppDocument {
    // An app that moves to the host's network leaves its mappings behind.
    let to_host = sent.networks.iter().flatten().any(|network| network.mode == NetworkMode::Host);
    if to_host && let Some(container) = &mut stored.container {
        container.port_mappings = None;
    }
    // A command that is sent to an app with arguments takes the place of nothing, so both are there and are refused
    // (rule 286): that is Marathon's way.
    AppDocument {
        id: stored.id,
        accepted_resource_roles: sent.accepted_resource_roles.or(stored.accepted_resource_roles),
        args: sent.args.or(stored.args),
        backoff_factor: sent.backoff_factor.or(stored.backoff_factor),
        backoff_seconds: sent.backoff_seconds.or(stored.backoff_seconds),
        cmd: sent.cmd.or(stored.cmd),
        constraints: sent.constraints.or(stored.constraints),
        container: sent.container.or(stored.container),
        cpus: sent.cpus.or(stored.cpus),
        dependencies: sent.dependencies.or(stored.dependencies),
        disk: sent.disk.or(stored.disk),
        env: sent.env.or(stored.env),
        executor: sent.executor.or(stored.executor),
        // Not kept (rule.partialUpdate.exceptions).
        executor_resources: sent.executor_resources,
        fetch: sent.fetch.or(stored.fetch),
        health_checks: sent.health_checks.or(stored.health_checks),
        check: sent.check.or(stored.check),
        instances: sent.instances.or(stored.instances),
        labels: sent.labels.or(stored.labels),
        max_launch_delay_seconds: sent.max_launch_delay_seconds.or(stored.max_launch_delay_seconds),
        mem: sent.mem.or(stored.mem),
        gpus: sent.gpus.or(stored.gpus),
        ip_address: None,
        networks: sent.networks.or(stored.networks),
        ports: None,
        port_definitions: sent.port_definitions.or(stored.port_definitions),
        readiness_checks: sent.readiness_checks.or(stored.readiness_checks),
        residency: sent.residency,
        // Not kept either.
        resource_limits: sent.resource_limits,
        require_ports: sent.require_ports.or(stored.require_ports),
        secrets: sent.secrets.or(stored.secrets),
        task_kill_grace_period_seconds: sent
            .task_kill_grace_period_seconds
            .or(stored.task_kill_grace_period_seconds),
        upgrade_strategy: sent.upgrade_strategy.or(stored.upgrade_strategy),
        canary: sent.canary.or(stored.canary),
        uris: None,
        user: sent.user.or(stored.user),
        version: None,
        version_info: None,
        kill_selection: sent.kill_selection.or(stored.kill_selection),
        unreachable_strategy: sent.unreachable_strategy.or(stored.unreachable_strategy),
        tty: sent.tty.or(stored.tty),
        role: sent.role.or(stored.role),
    }
}
