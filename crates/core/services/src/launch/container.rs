//! The containers of tasks: images, volumes, networks, isolation.
//!
//! Docker's engine and the agents' own get the same message: our agents run images of Docker themselves, and speak to no
//! Docker daemon. So what only that daemon knows (`privileged`, `parameters`) has no counterpart here.

use std::collections::BTreeMap;

use mezzo_mesos::v1::{
    self, container_info, image, linux_info,
    network_info::PortMapping,
    volume::{self, source},
};
use mezzo_services_model::{
    App, AppVolume, Container, ExternalVolume, Image, LinuxInfo, Network, NetworkMode, Pod, PodContainer,
    PullConfig, ReadMode, VolumeSource,
};

use super::{
    parts::{labels, secret},
    ports::Port,
};

fn mesos() -> v1::ContainerInfo {
    v1::ContainerInfo { r#type: container_info::Type::Mesos.into(), ..Default::default() }
}

/// The container of an app; none when it is only a process of the agent's.
pub(super) fn of_app(app: &App, ports: &[Port<'_>], bridge: &str) -> Option<Box<v1::ContainerInfo>> {
    let mut message = mesos();
    if let Some(container) = &app.container {
        describe(container, &app.secrets, &mut message);
    }
    message.network_infos = networks(&app.networks, ports, bridge);
    message.tty_info = tty(app.tty);
    let plain = app.container.is_none() && message.network_infos.is_empty() && message.tty_info.is_none();
    (!plain).then(|| Box::new(message))
}

fn describe(container: &Container, secrets: &BTreeMap<String, String>, message: &mut v1::ContainerInfo) {
    if let Some(docker) = &container.docker {
        let image = image(&docker.image, docker.force_pull_image, docker.pull_config.as_ref(), secrets);
        message.mesos = Some(container_info::MesosInfo { image: Some(image) });
    }
    message.volumes = container.volumes.iter().filter_map(|volume| app_volume(volume, secrets)).collect();
    message.linux_info = container.linux_info.as_ref().map(linux);
}

/// Rule 307.
fn image(
    name: &str,
    force_pull: bool,
    pull: Option<&PullConfig>,
    secrets: &BTreeMap<String, String>,
) -> v1::Image {
    #[expect(deprecated, reason = "the message has a field for credentials that nobody fills")]
    let docker = image::Docker {
        name: name.into(),
        credential: None,
        config: pull.and_then(|pull| secrets.get(&pull.secret)).map(|name| secret(name)),
    };
    v1::Image {
        r#type: image::Type::Docker.into(),
        appc: None,
        docker: Some(docker),
        cached: Some(!force_pull),
    }
}

fn mode(mode: ReadMode) -> i32 {
    match mode {
        ReadMode::Rw => volume::Mode::Rw.into(),
        ReadMode::Ro => volume::Mode::Ro.into(),
    }
}

/// A volume of an app; persistent ones are among the resources.
fn app_volume(volume: &AppVolume, secrets: &BTreeMap<String, String>) -> Option<v1::Volume> {
    let mut message = v1::Volume {
        mode: mode(volume.mode),
        container_path: volume.container_path.clone(),
        ..Default::default()
    };
    match &volume.source {
        VolumeSource::Host(path) => message.host_path = Some(path.clone()),
        VolumeSource::External(external) => message.source = Some(self::external(external)),
        VolumeSource::Secret(key) => message.source = Some(secret_file(secrets.get(key)?)),
        VolumeSource::Persistent(_) | VolumeSource::Ephemeral => return None,
    }
    Some(message)
}

fn secret_file(name: &str) -> volume::Source {
    volume::Source {
        r#type: Some(source::Type::Secret.into()),
        secret: Some(secret(name)),
        ..Default::default()
    }
}

/// A volume that a driver on the agent brings.
fn external(external: &ExternalVolume) -> volume::Source {
    const DRIVER: &str = "dvdi/driver";
    let mut options: Vec<v1::Parameter> = external
        .options
        .iter()
        .filter(|(key, _)| *key != DRIVER)
        .filter_map(|(key, value)| {
            Some(v1::Parameter { key: key.strip_prefix("dvdi/")?.into(), value: value.clone() })
        })
        .collect();
    if let Some(size) = external.size {
        options.push(v1::Parameter { key: "size".into(), value: size.to_string() });
    }
    let docker_volume = source::DockerVolume {
        driver: external.options.get(DRIVER).cloned(),
        name: external.name.clone().unwrap_or_default(),
        driver_options: (!options.is_empty()).then_some(v1::Parameters { parameter: options }),
    };
    volume::Source {
        r#type: Some(source::Type::DockerVolume.into()),
        docker_volume: Some(docker_volume),
        ..Default::default()
    }
}

/// The networks that are not the host's, each with the ports of the agent that lead into it.
pub(super) fn networks(networks: &[Network], ports: &[Port<'_>], bridge: &str) -> Vec<v1::NetworkInfo> {
    let outer = networks.iter().filter(|network| network.mode != NetworkMode::Host);
    outer
        .map(|network| {
            let name = match network.mode {
                NetworkMode::Bridge => bridge,
                _ => network.name.as_deref().unwrap_or_default(),
            };
            let leads_here = |port: &&Port<'_>| {
                port.networks.is_empty() || port.networks.iter().any(|named| named == name)
            };
            let port_mappings = ports.iter().filter(leads_here).flat_map(mappings).collect();
            v1::NetworkInfo {
                name: Some(name.into()),
                labels: labels(&network.labels),
                port_mappings,
                ..Default::default()
            }
        })
        .collect()
}

fn mappings(port: &Port<'_>) -> Vec<PortMapping> {
    let Some(host) = port.host else { return Vec::new() };
    let mut protocols: Vec<&str> = port.protocols.names().collect();
    if protocols.is_empty() {
        protocols.push("tcp");
    }
    protocols
        .into_iter()
        .map(|protocol| PortMapping {
            host_port: host.into(),
            container_port: port.inside().into(),
            protocol: Some(protocol.into()),
        })
        .collect()
}

fn linux(info: &LinuxInfo) -> v1::LinuxInfo {
    let seccomp = info.seccomp.as_ref().map(|seccomp| v1::SeccompInfo {
        profile_name: seccomp.profile_name.clone(),
        unconfined: seccomp.unconfined.then_some(true),
    });
    let ipc_mode = info.ipc.as_ref().map(|ipc| {
        if ipc.share_parent {
            linux_info::IpcMode::ShareParent.into()
        } else {
            linux_info::IpcMode::Private.into()
        }
    });
    v1::LinuxInfo {
        seccomp,
        ipc_mode,
        shm_size: info.ipc.as_ref().and_then(|ipc| ipc.shm_size),
        ..Default::default()
    }
}

fn tty(wanted: Option<bool>) -> Option<v1::TtyInfo> {
    (wanted == Some(true)).then(v1::TtyInfo::default)
}

/// The container around those of a pod: networks, and volumes that they share.
pub(super) fn of_pod(pod: &Pod, ports: &[Port<'_>], bridge: &str) -> Box<v1::ContainerInfo> {
    let mut message = mesos();
    message.network_infos = networks(&pod.networks, ports, bridge);
    message.linux_info = pod.linux_info.as_ref().map(linux);
    Box::new(message)
}

/// One container of a pod.
pub(super) fn of_container(pod: &Pod, container: &PodContainer) -> Box<v1::ContainerInfo> {
    let mut message = mesos();
    if let Some(Image { id, pull_config, force_pull, .. }) = &container.image {
        let image = image(id, force_pull.unwrap_or(false), pull_config.as_ref(), &pod.secrets);
        message.mesos = Some(container_info::MesosInfo { image: Some(image) });
    }
    message.volumes = container
        .volume_mounts
        .iter()
        .filter_map(|mount| {
            let volume = pod.volumes.iter().find(|volume| volume.name == mount.name)?;
            let mut message = v1::Volume {
                mode: mode(if mount.read_only == Some(true) { ReadMode::Ro } else { ReadMode::Rw }),
                container_path: mount.mount_path.clone(),
                ..Default::default()
            };
            match &volume.source {
                VolumeSource::Host(path) => message.host_path = Some(path.clone()),
                // Rule 284.
                VolumeSource::Ephemeral => message.source = Some(parent(format!("volumes/{}", volume.name))),
                VolumeSource::Persistent(_) => message.source = Some(parent(volume.name.clone())),
                VolumeSource::Secret(key) => message.source = Some(secret_file(pod.secrets.get(key)?)),
                VolumeSource::External(external) => message.source = Some(self::external(external)),
            }
            Some(message)
        })
        .collect();
    let mut info = container.linux_info.as_ref().map(linux).unwrap_or_default();
    // A bound of its own needs a control group of its own.
    info.share_cgroups = Some(pod.legacy_shared_cgroups == Some(true));
    message.linux_info = Some(info);
    message.tty_info = tty(container.tty);
    Box::new(message)
}

/// A folder of the sandbox around the container's.
fn parent(path: String) -> volume::Source {
    volume::Source {
        r#type: Some(source::Type::SandboxPath.into()),
        sandbox_path: Some(source::SandboxPath {
            r#type: Some(source::sandbox_path::Type::Parent.into()),
            path,
        }),
        ..Default::default()
    }
}
