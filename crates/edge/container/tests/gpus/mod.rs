//! Gpus, which are harmless devices here.

use std::{fs, path::Path};

use mezzo_container::{DeviceNode, GpuSettings, Isolation, LaunchRequest, Resources};

use crate::{Agent, confined::rooted, shell, text};

/// Two gpus: 1:11 is the kernel's log, which is not among the devices that everybody has; 7:0 is what is on
/// the screen. Both are only opened.
const TWO: &str = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
    "containerEdits": {"env": ["GPU_DRIVER=1", "SET_BY_TASK=gpu"],
        "mounts": [{"hostPath": "FOLDER/driver", "containerPath": "/usr/lib/driver", "options": ["ro"]}],
        "hooks": [{"hookName": "createContainer", "path": "/bin/false"}]},
    "devices": [
        {"name": "0", "containerEdits": {"env": ["GPU=0"], "deviceNodes": [
            {"path": "/dev/dri/card0", "type": "c", "major": 1, "minor": 11, "permissions": "r"}]}},
        {"name": "1", "containerEdits": {"env": ["GPU=1"], "deviceNodes": [
            {"path": "/dev/gpu1", "type": "c", "major": 7, "minor": 0, "fileMode": 384}]}}]}"#;

fn isolation(dir: &Path) -> Option<Isolation> {
    let specs = dir.join("cdi");
    fs::create_dir_all(&specs).expect("a folder");
    fs::create_dir_all(dir.join("driver")).expect("a folder");
    fs::write(dir.join("driver/libgpu.so"), "library").expect("a file");
    let text = TWO.replace("FOLDER", dir.to_str().expect("text"));
    fs::write(specs.join("two.json"), text).expect("a file");
    let gpus = GpuSettings { spec_dirs: vec![specs], ..GpuSettings::default() };
    let isolation = Isolation { gpus, ..crate::cgroups(&["cgroups/devices"])? };
    let names = isolation.names.iter().cloned().chain(["gpu/nvidia".to_owned()]).collect();
    Some(Isolation { names, ..isolation })
}

fn with(count: usize, request: LaunchRequest) -> LaunchRequest {
    LaunchRequest { resources: Resources { gpus: count, ..Resources::default() }, ..request }
}

/// Tries to open both devices by nodes of its own, and tells which could be.
const TRY: &str = "mknod k c 1 11; mknod l c 7 0; for f in k l; do (: < $f) 2>/dev/null && echo $f; done; ";
const WAIT: &str = "while [ ! -e go ]; do sleep 0.01; done; ";

pub(crate) fn a_gpu_is_its_containers_alone_and_stays_so_over_a_restart(dir: &Path) {
    let Some(isolation) = isolation(dir) else { return };
    let agent = Agent::isolated(dir, isolation.clone());
    let command = format!("{WAIT}{TRY}echo $GPU $GPU_DRIVER $SET_BY_TASK");
    let mut first = with(1, shell(dir, "c1", &command));
    first.environment.push(("SET_BY_TASK".to_owned(), "task".to_owned()));
    agent.containers.launch(&first);
    agent.started();
    let (status, out, err) = agent.finish(&with(1, shell(dir, "c2", &format!("{TRY}echo $GPU"))));
    assert_eq!((status, out.as_str()), (Some(0), "l\n1\n"), "{err}");
    let (_, out, err) = agent.finish(&shell(dir, "c3", TRY));
    assert_eq!(out, "", "who has none uses none: {err}");
    agent.containers.launch(&with(2, shell(dir, "c4", "true")));
    assert_eq!(agent.failed(), "Requested 2 gpus but only 1 available");
    drop(agent);

    let agent = Agent::isolated(dir, isolation);
    agent.containers.launch(&with(2, shell(dir, "c5", "true")));
    assert_eq!(agent.failed(), "Requested 2 gpus but only 1 available");
    fs::write(first.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(first.sandbox.join("stdout")), "k\n0 1 gpu\n");
    let (_, out, err) = agent.finish(&with(2, shell(dir, "c6", TRY)));
    assert_eq!(out, "k\nl\n", "both are free: {err}");
}

pub(crate) fn nodes_and_libraries_of_a_gpu_are_in_a_root(dir: &Path) {
    let Some(isolation) = isolation(dir) else { return };
    let command = "stat -c '%t:%T %a' /dev/dri/card0 /dev/gpu1; cat /usr/lib/driver/libgpu.so; \
        touch /usr/lib/driver/x || echo $GPU_DRIVER";
    let Some(request) = rooted(dir, "c1", command) else { return };
    let agent = Agent::isolated(dir, isolation);
    let (status, out, err) = agent.finish(&with(1, request.clone()));
    assert_eq!((status, out.as_str()), (Some(0), "1:b 666\nlibrary1\n"), "{err}");
    assert!(err.contains("/dev/gpu1") && err.contains("Read-only"), "{err}");
    agent.containers.remove(&"c1".into());
    let (_, out, err) = agent.finish(&with(2, request));
    assert!(out.contains("1:b 666\n7:0 600\n"), "{out}{err}");
}

pub(crate) fn children_use_gpus_of_their_own(dir: &Path) {
    let Some(isolation) = isolation(dir) else { return };
    let agent = Agent::isolated(dir, isolation);
    let all = Resources { gpus: 2, ..Resources::default() };
    agent.containers.isolate(&"pod".into(), &all).expect("control groups");
    let child = |id: &str, command: &str| {
        let request = with(1, shell(dir, id, command));
        LaunchRequest { share_cgroups: true, ..request }
    };
    let first = child("pod.a", &format!("{WAIT}{TRY}"));
    agent.containers.launch(&first);
    agent.started();
    let (_, out, err) = agent.finish(&child("pod.b", &format!("{TRY}echo $GPU")));
    assert_eq!(out, "k\nl\n1\n", "they share control groups: {err}");
    fs::write(first.sandbox.join("go"), "").expect("a file");
    agent.exited();
    assert_eq!(text(first.sandbox.join("stdout")), "k\n", "what a child had goes with it");
    agent.containers.remove(&"pod".into());
}

pub(crate) fn a_running_container_can_be_given_another_gpu(dir: &Path) {
    let Some(isolation) = isolation(dir) else { return };
    let agent = Agent::isolated(dir, isolation);
    let request = with(1, shell(dir, "c1", &format!("{WAIT}{TRY}rm go; echo next; {WAIT}{TRY}true")));
    agent.containers.launch(&request);
    agent.started();
    let update = |gpus| agent.containers.update(&"c1".into(), &Resources { gpus, ..Resources::default() });
    update(2).expect("another");
    assert!(update(3).is_err(), "there are two");
    fs::write(request.sandbox.join("go"), "").expect("a file");
    crate::wait_until("it has tried", || text(request.sandbox.join("stdout")).contains("next"));
    update(1).expect("one less");
    fs::write(request.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(request.sandbox.join("stdout")), "k\nl\nnext\nk\n");
}

pub(crate) fn a_node_that_everybody_has_is_not_made_twice(dir: &Path) {
    let Some(mut request) = rooted(dir, "c1", "stat -c %t:%T /dev/null") else { return };
    request.confinement.devices.push(DeviceNode {
        path: "/dev/null".into(),
        block: false,
        major: 1,
        minor: 5,
        mode: 0o666,
        owner: (0, 0),
        read: true,
        write: true,
        mknod: false,
    });
    let (status, out, err) = Agent::start(dir).finish(&request);
    assert_eq!((status, out.as_str()), (Some(0), "1:3\n"), "{err}");
}
