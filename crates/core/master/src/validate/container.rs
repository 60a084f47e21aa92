//! Containers and their volumes (rules 174 to 176).

use mezzo_mesos::v1::{self, container_info, volume::source};

/// Whether a container asks for a cgroup of its own or its parent's; `None` when it does not say.
pub(super) fn share_cgroups(container: Option<&v1::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}

pub(super) fn container(container: &v1::ContainerInfo) -> Result<(), String> {
    container.volumes.iter().try_for_each(volume)?;
    if container.r#type() == container_info::Type::Docker {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".into());
        };
        if docker.parameters.iter().any(|parameter| parameter.key == "name") {
            return Err("Parameter in DockerInfo must not be 'name'".into());
        }
    }
    Ok(())
}

fn volume(volume: &v1::Volume) -> Result<(), String> {
    let given = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        return Err(format!(
            "Invalid volume '{}': exactly one of 'host_path', 'image' and 'source' must be set",
            volume.container_path
        ));
    }
    let Some(source) = &volume.source else { return Ok(()) };
    let (name, present) = match source.r#type() {
        source::Type::Unknown => return Err("'Volume.Source.type' is unknown".into()),
        source::Type::DockerVolume => ("docker_volume", source.docker_volume.is_some()),
        source::Type::HostPath => ("host_path", source.host_path.is_some()),
        source::Type::SandboxPath => ("sandbox_path", source.sandbox_path.is_some()),
        source::Type::Secret => ("secret", source.secret.is_some()),
        source::Type::CsiVolume => ("csi_volume", source.csi_volume.is_some()),
    };
    if !present {
        return Err(format!("'source.{name}' is not set for {} volume", source.r#type().as_str_name()));
    }
    source.secret.as_ref().map_or(Ok(()), super::command::secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_174_volumes_come_from_one_place() {
        assert!(volume(&v1::Volume::default()).is_err());
        let one = v1::Volume { host_path: Some("/x".into()), ..Default::default() };
        assert_eq!(volume(&one), Ok(()));
        let two = v1::Volume { image: Some(v1::Image::default()), ..one };
        assert!(volume(&two).is_err());
        let r#type = Some(source::Type::HostPath.into());
        let empty = v1::volume::Source { r#type, ..Default::default() };
        assert!(volume(&v1::Volume { source: Some(empty), ..Default::default() }).is_err());
    }

    #[test]
    fn rule_175_docker_containers() {
        let docker = |docker| v1::ContainerInfo {
            r#type: container_info::Type::Docker.into(),
            docker,
            ..Default::default()
        };
        assert!(container(&docker(None)).is_err());
        let mut info = container_info::DockerInfo::default();
        assert_eq!(container(&docker(Some(info.clone()))), Ok(()));
        info.parameters.push(v1::Parameter { key: "name".into(), value: "x".into() });
        assert!(container(&docker(Some(info))).is_err());
    }
}
