//! What exactly is started: user, environment, volumes and limits of each container.

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId};
use mezzo_mesos::v1;
use mezzo_protocol::records::ExecutorKind;

use crate::{
    agent::Agent,
    config::Config,
    effect::{ContainerSpec, Effect, Limits},
    environment, resources,
    state::{Executor, Framework, Owner, Task},
};

/// Where the data of a persistent volume lies (rules 402 and 403).
pub(crate) fn volume_path(config: &Config, volume: &v1::Resource) -> Option<String> {
    use v1::resource::disk_info::source::Type;
    let disk = volume.disk.as_ref()?;
    let persistence = disk.persistence.as_ref()?;
    let source = disk.source.as_ref();
    let absolute = |root: &str| {
        if root.starts_with('/') { root.to_owned() } else { format!("{}/{root}", config.work_dir) }
    };
    let root = match source.map(|s| s.r#type()) {
        Some(Type::Mount) => {
            return Some(absolute(source?.mount.as_ref()?.root.as_deref()?));
        }
        Some(Type::Path) => absolute(source?.path.as_ref()?.root.as_deref()?),
        _ => config.work_dir.clone(),
    };
    // A slash would make a role's folder lie inside another role's.
    let role = role_of(volume).replace('/', " ");
    Some(format!("{root}/volumes/roles/{role}/{}", persistence.id))
}

/// The role that a resource is reserved for; `*` for none.
fn role_of(resource: &v1::Resource) -> &str {
    let stacked = resource.reservations.last().and_then(|r| r.role.as_deref());
    stacked.or(resource.role.as_deref()).unwrap_or("*")
}

/// Persistent volumes among resources: host path, path in the sandbox, read only.
fn volumes<'a>(
    config: &Config,
    resources: impl Iterator<Item = &'a v1::Resource>,
) -> Vec<(String, String, bool)> {
    resources
        .filter_map(|resource| {
            let volume = resource.disk.as_ref()?.volume.as_ref()?;
            let read_only = volume.mode == v1::volume::Mode::Ro as i32;
            Some((volume_path(config, resource)?, volume.container_path.clone(), read_only))
        })
        .collect()
}

fn limit(task: &v1::TaskInfo, name: &str) -> Option<f64> {
    task.limits.get(name).map(|limit| limit.value)
}

impl Agent {
    /// Who a process runs as (rule 431).
    fn user(&self, framework: &Framework, command: Option<&v1::CommandInfo>) -> Option<String> {
        if !self.state.config.switch_user {
            return None;
        }
        let user = command.and_then(|c| c.user.clone()).unwrap_or_else(|| framework.info.user.clone());
        (!user.is_empty()).then_some(user)
    }

    pub(crate) fn command_spec(
        &self,
        framework: &Framework,
        executor: &Executor,
        task: &Task,
    ) -> ContainerSpec {
        let config = &self.state.config;
        let info = &*task.info;
        let command = info.command.clone().unwrap_or_default();
        let all = || executor.info.resources.iter().chain(&info.resources);
        ContainerSpec {
            container: executor.container.clone(),
            parent: None,
            framework: Some(framework.id.clone()),
            sandbox: executor.directory.clone(),
            environment: environment::task(
                config,
                &self.id(),
                framework,
                executor,
                info,
                &executor.directory,
            ),
            user: self.user(framework, info.command.as_ref()),
            command,
            resources: resources::merged(all()),
            limits: resources::limits(&executor.info.resources, std::iter::once(info)),
            container_info: info
                .container
                .as_deref()
                .cloned()
                .or_else(|| config.default_container_info.clone()),
            volumes: volumes(config, all()),
            working_directory: None,
            debug: false,
            pod: false,
            executor: None,
        }
    }

    /// What a running container of a framework was started as; `None` for other containers.
    pub(crate) fn played_spec(&self, container: &ContainerId) -> Option<ContainerSpec> {
        let (framework, executor, id) = match &self.state.containers.get(container)?.owner {
            Owner::Executor(framework, executor) => (framework, executor, None),
            Owner::Task(framework, executor, id) => (framework, executor, Some(id)),
            Owner::Nested | Owner::Standalone => return None,
        };
        let framework = self.framework(framework)?;
        let executor = framework.executors.get(executor)?;
        Some(match id {
            Some(id) => {
                let sandbox = &self.state.containers.get(container)?.sandbox;
                self.child_spec(framework, executor, executor.tasks.get(id)?, sandbox)
            }
            None if executor.kind == ExecutorKind::Command => {
                self.command_spec(framework, executor, executor.tasks.values().next()?)
            }
            None => self.executor_spec(framework, executor),
        })
    }

    /// The container of a custom executor, or the one around a task group.
    pub(crate) fn executor_spec(&self, framework: &Framework, executor: &Executor) -> ContainerSpec {
        let config = &self.state.config;
        let pod = executor.info.r#type() == v1::executor_info::Type::Default;
        let tasks = || executor.tasks.values().filter(|t| !t.is_terminal()).map(|t| &*t.info);
        let all = || executor.info.resources.iter().chain(tasks().flat_map(|t| &t.resources));
        ContainerSpec {
            container: executor.container.clone(),
            parent: None,
            framework: Some(framework.id.clone()),
            sandbox: executor.directory.clone(),
            command: executor.info.command.clone().unwrap_or_default(),
            environment: environment::executor(config, &self.id(), framework, executor),
            user: self.user(framework, executor.info.command.as_ref()),
            resources: resources::merged(all()),
            limits: resources::limits(&executor.info.resources, tasks()),
            container_info: executor
                .info
                .container
                .as_deref()
                .or(config.default_container_info.as_ref())
                .cloned(),
            volumes: volumes(config, all()),
            working_directory: None,
            debug: false,
            pod,
            executor: (!pod).then(|| executor.id.clone()),
        }
    }

    /// The container of one task of a group. A child without a user runs as its parent (rule 354).
    pub(crate) fn child_spec(
        &self,
        framework: &Framework,
        executor: &Executor,
        task: &Task,
        sandbox: &str,
    ) -> ContainerSpec {
        let config = &self.state.config;
        let info = &*task.info;
        let own = info.command.as_ref().filter(|c| c.user.is_some());
        ContainerSpec {
            container: task.container.clone(),
            parent: Some(executor.container.clone()),
            framework: Some(framework.id.clone()),
            sandbox: sandbox.into(),
            command: info.command.clone().unwrap_or_default(),
            environment: environment::task(config, &self.id(), framework, executor, info, sandbox),
            user: self.user(framework, own.or(executor.info.command.as_ref())),
            resources: resources::merged(info.resources.iter()),
            limits: Limits { cpus: limit(info, "cpus"), mem: limit(info, "mem") },
            container_info: info.container.as_deref().cloned(),
            volumes: volumes(config, info.resources.iter()),
            working_directory: None,
            debug: false,
            pod: false,
            executor: None,
        }
    }

    /// Tasks came or went: the container of their executor gets the sum of what is left.
    pub(crate) fn update_container_resources(&mut self, framework: &FrameworkId, executor: &ExecutorId) {
        let Some(owner) = self.framework(framework) else { return };
        let Some(executor) = owner.executors.get(executor) else { return };
        let spec = self.executor_spec(owner, executor);
        let container: ContainerId = spec.container;
        if let Some(known) = self.container_mut(&container) {
            known.resources = spec.resources.clone().into();
        }
        let (sandbox, resources, limits) = (spec.sandbox, spec.resources, spec.limits.into());
        self.effects.push(Effect::Update { container, sandbox, resources, limits });
    }
}
