//! The secrets that a task brings along, wherever they stand in it.

use crate::v1::{CommandInfo, ContainerInfo, ExecutorInfo, Secret, TaskInfo};

/// Does something with the secret variables of a command.
fn each_in_command(command: &mut CommandInfo, act: &mut impl FnMut(&mut Secret)) {
    let variables = command.environment.iter_mut().flat_map(|environment| &mut environment.variables);
    variables.filter_map(|variable| variable.secret.as_mut()).for_each(act);
}

/// The same with the secret files of a container, and what opens registries.
fn each_in_container(container: &mut ContainerInfo, act: &mut impl FnMut(&mut Secret)) {
    let sources = container.volumes.iter_mut().filter_map(|volume| volume.source.as_mut());
    sources.filter_map(|source| source.secret.as_mut()).for_each(&mut *act);
    let own = container.mesos.as_mut().and_then(|mesos| mesos.image.as_mut());
    let volumes = container.volumes.iter_mut().filter_map(|volume| volume.image.as_mut());
    let images = own.into_iter().chain(volumes).filter_map(|image| image.docker.as_mut());
    images.filter_map(|docker| docker.config.as_mut()).for_each(act);
}

fn each_in_executor(executor: &mut ExecutorInfo, act: &mut impl FnMut(&mut Secret)) {
    executor.command.iter_mut().for_each(|command| each_in_command(command, act));
    executor.container.iter_mut().for_each(|container| each_in_container(container, act));
}

/// Does something with every secret of a task and its executor.
pub fn each_in_task(task: &mut TaskInfo, act: &mut impl FnMut(&mut Secret)) {
    task.command.iter_mut().for_each(|command| each_in_command(command, act));
    task.container.iter_mut().for_each(|container| each_in_container(container, act));
    task.executor.iter_mut().for_each(|executor| each_in_executor(executor, act));
}

/// What is shown of a secret: its type.
fn hide(secret: &mut Secret) {
    secret.value = None;
}

/// Takes the values of secret variables out of a command.
pub fn hide_in_command(command: &mut CommandInfo) {
    each_in_command(command, &mut hide);
}

/// Takes the values of secret files, and of what opens a registry, out of a container.
pub fn hide_in_container(container: &mut ContainerInfo) {
    each_in_container(container, &mut hide);
}

/// Takes the values of secrets out of an executor.
pub fn hide_in_executor(executor: &mut ExecutorInfo) {
    each_in_executor(executor, &mut hide);
}

/// Takes the values of secrets out of a task.
pub fn hide_in_task(task: &mut TaskInfo) {
    each_in_task(task, &mut hide);
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
