//! Messages as they may be shown: a secret that a task brings along keeps its type and loses its value.

use crate::v1::{CommandInfo, ContainerInfo, ExecutorInfo, Secret, TaskInfo};

fn hide(secret: &mut Option<Secret>) {
    if let Some(secret) = secret {
        secret.value = None;
    }
}

/// Takes the values of secret variables out of a command.
pub fn hide_in_command(command: &mut CommandInfo) {
    let variables = command.environment.iter_mut().flat_map(|environment| &mut environment.variables);
    variables.for_each(|variable| hide(&mut variable.secret));
}

/// Takes the values of secret files, and of what opens a registry, out of a container.
pub fn hide_in_container(container: &mut ContainerInfo) {
    let volumes = container.volumes.iter_mut();
    volumes.filter_map(|volume| volume.source.as_mut()).for_each(|source| hide(&mut source.secret));
    let own = container.mesos.as_mut().and_then(|mesos| mesos.image.as_mut());
    let volumes = container.volumes.iter_mut().filter_map(|volume| volume.image.as_mut());
    for docker in own.into_iter().chain(volumes).filter_map(|image| image.docker.as_mut()) {
        hide(&mut docker.config);
    }
}

/// Takes the values of secrets out of an executor.
pub fn hide_in_executor(executor: &mut ExecutorInfo) {
    executor.command.iter_mut().for_each(hide_in_command);
    executor.container.iter_mut().for_each(|container| hide_in_container(container));
}

/// Takes the values of secrets out of a task.
pub fn hide_in_task(task: &mut TaskInfo) {
    task.command.iter_mut().for_each(hide_in_command);
    task.container.iter_mut().for_each(|container| hide_in_container(container));
    task.executor.iter_mut().for_each(|executor| hide_in_executor(executor));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Environment, Volume, environment::Variable, secret, volume::Source};

    #[test]
    fn values_are_taken_out_and_the_rest_stays() {
        let secret = || {
            let value = Some(secret::Value { data: b"hush".to_vec() });
            Some(Secret { r#type: Some(secret::Type::Value.into()), reference: None, value })
        };
        let variables = vec![Variable { name: "A".into(), secret: secret(), ..Variable::default() }];
        let command = CommandInfo { environment: Some(Environment { variables }), ..CommandInfo::default() };
        let source = Some(Source { secret: secret(), ..Source::default() });
        let volume = Volume { container_path: "key".into(), source, ..Volume::default() };
        let container = ContainerInfo { volumes: vec![volume], ..ContainerInfo::default() };
        let executor = ExecutorInfo {
            command: Some(command.clone()),
            container: Some(container.clone().into()),
            ..ExecutorInfo::default()
        };
        let mut task = TaskInfo {
            command: Some(command),
            container: Some(container.into()),
            executor: Some(executor.into()),
            ..TaskInfo::default()
        };
        // Bytes are printed as numbers.
        let value = format!("{:?}", b"hush".to_vec());
        assert!(format!("{task:?}").contains(&value));
        hide_in_task(&mut task);
        let shown = format!("{task:?}");
        assert!(!shown.contains(&value), "{shown}");
        assert_eq!(shown.matches("Secret {").count(), 4, "{shown}");
    }
}
