//! The values of secrets in a call to the master: tasks name them until the call leaves.

use mezzo_mesos::v1::{self, scheduler::Call, secret::Type};
use mezzo_services::Snapshot;
use mezzo_services_model::SecretName;

use super::Key;

impl Key {
    /// The call with the value of each secret in place of its name; `None` where it names none. The error is the name of a
    /// secret that is gone.
    pub(crate) fn resolved(&self, call: &Call, snapshot: &Snapshot) -> Result<Option<Call>, String> {
        if !tasks(call).any(has_references) {
            return Ok(None);
        }
        let mut call = call.clone();
        let operations = call.accept.iter_mut().flat_map(|accept| &mut accept.operations);
        for operation in operations {
            let single = operation.launch.iter_mut().flat_map(|launch| &mut launch.task_infos);
            let group = operation.launch_group.iter_mut().flat_map(|launch| &mut launch.task_group.tasks);
            for secret in single.chain(group).flat_map(secrets_mut) {
                self.fill(secret, snapshot)?;
            }
        }
        Ok(Some(call))
    }

    fn fill(&self, secret: &mut v1::Secret, snapshot: &Snapshot) -> Result<(), String> {
        let Some(reference) = secret.reference.take() else { return Ok(()) };
        let kept = SecretName::parse(&reference.name).ok().and_then(|name| snapshot.secrets.get(&name));
        let data = kept.and_then(|kept| self.open(kept).ok()).ok_or(reference.name)?;
        secret.r#type = Some(Type::Value.into());
        secret.value = Some(v1::secret::Value { data });
        Ok(())
    }
}

fn tasks(call: &Call) -> impl Iterator<Item = &v1::TaskInfo> {
    call.accept.iter().flat_map(|accept| &accept.operations).flat_map(|operation| {
        let single = operation.launch.iter().flat_map(|launch| &launch.task_infos);
        single.chain(operation.launch_group.iter().flat_map(|launch| &launch.task_group.tasks))
    })
}

/// Whether anything is to be filled in: most tasks have no secrets, and are not copied.
fn has_references(task: &v1::TaskInfo) -> bool {
    let executor = task.executor.as_ref();
    let commands = task.command.iter().chain(executor.and_then(|executor| executor.command.as_ref()));
    let mut variables =
        commands.flat_map(|command| &command.environment).flat_map(|environment| &environment.variables);
    let mut own = task.container.iter().chain(executor.and_then(|executor| executor.container.as_ref()));
    variables.any(|variable| variable.secret.is_some())
        || own.any(|container| {
            let image = container.mesos.as_ref().and_then(|mesos| mesos.image.as_ref());
            let config =
                image.and_then(|image| image.docker.as_ref()).and_then(|docker| docker.config.as_ref());
            let mut sources = container.volumes.iter().filter_map(|volume| volume.source.as_ref());
            config.is_some() || sources.any(|source| source.secret.is_some())
        })
}

/// All secrets of a task, wherever they stand.
fn secrets_mut(task: &mut v1::TaskInfo) -> Vec<&mut v1::Secret> {
    let mut all = Vec::new();
    let (mut commands, mut containers) = (Vec::new(), Vec::new());
    commands.extend(task.command.as_mut());
    containers.extend(task.container.as_deref_mut());
    if let Some(executor) = &mut task.executor {
        commands.extend(executor.command.as_mut());
        containers.extend(executor.container.as_deref_mut());
    }
    for command in commands {
        let variables = command.environment.iter_mut().flat_map(|environment| &mut environment.variables);
        all.extend(variables.filter_map(|variable| variable.secret.as_mut()));
    }
    for container in containers {
        let image = container.mesos.as_mut().and_then(|mesos| mesos.image.as_mut());
        all.extend(image.and_then(|image| image.docker.as_mut()).and_then(|docker| docker.config.as_mut()));
        let sources = container.volumes.iter_mut().filter_map(|volume| volume.source.as_mut());
        all.extend(sources.filter_map(|source| source.secret.as_mut()));
    }
    all
}
