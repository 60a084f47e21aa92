use std::collections::BTreeMap;

use mezzo_mesos::v1::{self, container_info, linux_info, volume, volume::source};
use mezzo_services_model::{
    AppVolume, Engine, ExternalVolume, Image, IpcInfo, LinuxInfo, PodVolume, PullConfig, ReadMode, Seccomp,
    VolumeMount, VolumeSource,
};

use crate::fixtures::{World, app, container, pod, pod_container};

fn secrets() -> BTreeMap<String, String> {
    [("key".to_owned(), "/store/key".to_owned())].into()
}

#[test]
fn marathon_rules_306_and_307_images() {
    // Rule 306 labels containers of a Docker daemon; both engines are the agents' own here, which know the task anyway.
    for engine in [Engine::Mesos, Engine::Docker] {
        for force in [true, false] {
            let mut one = app("/web");
            let mut with = container(engine, Some("registry/nginx:1"));
            let docker = with.docker.as_mut().unwrap();
            docker.force_pull_image = force;
            docker.pull_config = Some(PullConfig { secret: "key".into() });
            one.container = Some(with);
            one.secrets = secrets();
            let info = World::new().task(one).container.unwrap();
            assert_eq!(info.r#type(), container_info::Type::Mesos);
            let image = info.mesos.unwrap().image.unwrap();
            assert_eq!(image.cached, Some(!force));
            let docker = image.docker.unwrap();
            assert_eq!(docker.name, "registry/nginx:1");
            assert_eq!(docker.config.unwrap().reference.unwrap().name, "/store/key");
        }
    }
    let mut main = pod_container("main");
    main.image = Some(Image {
        id: "nginx".into(),
        pull_config: None,
        force_pull: Some(true),
        labels: BTreeMap::new(),
    });
    let group = World::new().group(pod("/pod", vec![main]));
    let image = group.task_group.tasks[0].container.as_ref().unwrap().mesos.clone().unwrap().image.unwrap();
    assert_eq!((image.cached, image.docker.unwrap().config), (Some(false), None));
}

#[test]
fn volumes_of_apps() {
    let external = ExternalVolume {
        name: Some("vol".into()),
        provider: "dvdi".into(),
        size: Some(5),
        options: [
            ("dvdi/driver".to_owned(), "rexray".to_owned()),
            ("dvdi/iops".to_owned(), "10".to_owned()),
            ("other".to_owned(), "x".to_owned()),
        ]
        .into(),
        shared: false,
    };
    let mut one = app("/web");
    let mut with = container(Engine::Mesos, None);
    let volume = |path: &str, source, mode| AppVolume { container_path: path.into(), source, mode };
    with.volumes = vec![
        volume("/a", VolumeSource::Host("/srv".into()), ReadMode::Ro),
        volume("/b", VolumeSource::External(external), ReadMode::Rw),
        volume("/c", VolumeSource::Secret("key".into()), ReadMode::Ro),
    ];
    one.container = Some(with);
    one.secrets = secrets();
    let volumes = World::new().task(one).container.unwrap().volumes;
    assert_eq!((volumes[0].host_path.as_deref(), volumes[0].mode()), (Some("/srv"), volume::Mode::Ro));
    let docker = volumes[1].source.as_ref().unwrap().docker_volume.as_ref().unwrap();
    assert_eq!((docker.name.as_str(), docker.driver.as_deref()), ("vol", Some("rexray")));
    let options = docker.driver_options.as_ref().unwrap().parameter.iter();
    let options: Vec<(&str, &str)> = options.map(|one| (one.key.as_str(), one.value.as_str())).collect();
    assert_eq!(options, [("iops", "10"), ("size", "5")]);
    let secret = volumes[2].source.as_ref().unwrap();
    assert_eq!(secret.r#type(), source::Type::Secret);
    assert_eq!(secret.secret.as_ref().unwrap().reference.as_ref().unwrap().name, "/store/key");
}

#[test]
fn marathon_rule_284_volumes_of_pods() {
    let volume = |name: &str, source| PodVolume { name: name.into(), source };
    let mount = |name: &str, read_only| VolumeMount {
        name: name.into(),
        mount_path: format!("/mnt/{name}"),
        read_only,
    };
    let mut main = pod_container("main");
    main.volume_mounts = vec![mount("shared", None), mount("host", Some(true)), mount("password", None)];
    let mut one = pod("/pod", vec![main]);
    one.volumes = vec![
        volume("shared", VolumeSource::Ephemeral),
        volume("host", VolumeSource::Host("/srv".into())),
        volume("password", VolumeSource::Secret("key".into())),
    ];
    one.secrets = secrets();
    let group = World::new().group(one);
    let volumes = &group.task_group.tasks[0].container.as_ref().unwrap().volumes;
    let shared = volumes[0].source.as_ref().unwrap().sandbox_path.as_ref().unwrap();
    assert_eq!(shared.path, "volumes/shared");
    assert_eq!(shared.r#type(), source::sandbox_path::Type::Parent);
    assert_eq!((volumes[0].container_path.as_str(), volumes[0].mode()), ("/mnt/shared", volume::Mode::Rw));
    assert_eq!((volumes[1].host_path.as_deref(), volumes[1].mode()), (Some("/srv"), volume::Mode::Ro));
    assert!(volumes[2].source.as_ref().unwrap().secret.is_some());
}

#[test]
fn isolation_and_terminals() {
    let linux = LinuxInfo {
        seccomp: Some(Seccomp { profile_name: Some("strict.json".into()), unconfined: false }),
        ipc: Some(IpcInfo { share_parent: false, shm_size: Some(64) }),
    };
    let mut one = app("/web");
    one.tty = Some(true);
    let mut with = container(Engine::Mesos, None);
    with.linux_info = Some(linux.clone());
    one.container = Some(with);
    let info = World::new().task(one).container.unwrap();
    assert!(info.tty_info.is_some());
    let judge = |linux: &v1::LinuxInfo| {
        assert_eq!(linux.seccomp.as_ref().unwrap().profile_name.as_deref(), Some("strict.json"));
        assert_eq!((linux.ipc_mode(), linux.shm_size), (linux_info::IpcMode::Private, Some(64)));
    };
    judge(info.linux_info.as_ref().unwrap());
    let mut main = pod_container("main");
    main.linux_info = Some(linux);
    main.tty = Some(true);
    let mut both = pod("/pod", vec![main]);
    both.linux_info =
        Some(LinuxInfo { seccomp: None, ipc: Some(IpcInfo { share_parent: true, shm_size: None }) });
    let group = World::new().group(both);
    let inner = group.task_group.tasks[0].container.as_ref().unwrap();
    judge(inner.linux_info.as_ref().unwrap());
    assert!(inner.tty_info.is_some());
    let outer = group.executor.container.as_ref().unwrap().linux_info.as_ref().unwrap();
    assert_eq!(outer.ipc_mode(), linux_info::IpcMode::ShareParent);
    // A terminal needs a container to say so in.
    let mut bare = app("/web");
    bare.tty = Some(true);
    assert!(World::new().task(bare).container.unwrap().tty_info.is_some());
}
