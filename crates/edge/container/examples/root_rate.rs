//! How long a container with a root of its own takes, beside one without.
//!
//!     cargo run --release -p mezzo-container --example root_rate [COUNT]
//!
//! One after another: from the request until the program runs, and until its end is known; medians. Needs root
//! and busybox-static.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, mpsc::channel},
    time::{Duration, Instant},
};

use mezzo_container::{
    BackEnd, Capabilities, Config, Confinement, ContainerEvent, Containers, Filter, Isolation,
    LAUNCHER_ARGUMENT, LaunchRequest, LauncherProgram, Namespaces, Output, Privileges, Resources, Root,
    launcher_main,
};

fn main() {
    let first = std::env::args().nth(1);
    if first.as_deref() == Some(LAUNCHER_ARGUMENT) {
        launcher_main();
    }
    let count = first.and_then(|text| text.parse().ok()).unwrap_or(500);
    let directory = tempfile::TempDir::new().expect("a directory");
    let directory = directory.path();
    let image = directory.join("image");
    fs::create_dir_all(image.join("bin")).expect("a folder");
    fs::copy("/bin/busybox", image.join("bin/busybox")).expect("busybox-static");
    symlink("busybox", image.join("bin/true")).expect("a link");
    let (sender, events) = channel();
    let config = Config {
        runtime_dir: directory.join("run"),
        launcher: LauncherProgram::default(),
        isolation: Isolation::default(),
        scratch_dir: directory.join("scratch"),
        networks_dir: directory.join("networks"),
        protected: Vec::new(),
        runtime: None,
    };
    let (containers, _) =
        Containers::start(config, move |event| drop(sender.send(event))).expect("containers start");
    let restricted = restricted();
    let rooted = |privileges: Privileges| Confinement {
        root: Some(Root {
            layers: vec![image.clone()],
            back_end: BackEnd::Any,
            read_only: false,
            sandbox: "/mnt/mesos/sandbox".into(),
        }),
        namespaces: Namespaces { pid: true, ipc: true, ..Namespaces::default() },
        privileges,
        ..Confinement::default()
    };
    for (name, confinement) in [
        ("plain", Confinement::default()),
        ("restricted", Confinement { privileges: restricted.clone(), ..Confinement::default() }),
        ("root, namespaces", rooted(Privileges::default())),
        ("root, namespaces, restricted", rooted(restricted)),
    ] {
        let (mut starts, mut ends) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for n in 0..count {
            let request = request(directory, &format!("{}-{n}", starts.capacity()), confinement.clone());
            let begun = Instant::now();
            containers.launch(&request);
            loop {
                match events.recv().expect("an event") {
                    ContainerEvent::Started { .. } => starts.push(begun.elapsed()),
                    ContainerEvent::Exited { .. } => break,
                    ContainerEvent::LaunchFailed { message, .. } => panic!("{message}"),
                }
            }
            ends.push(begun.elapsed());
            containers.remove(&request.id);
        }
        println!("{name:30} runs {:>9.1?}  ended {:>9.1?}", median(starts), median(ends));
    }
}

fn restricted() -> Privileges {
    let set = 0b101_1111_1011;
    Privileges {
        capabilities: Some(Capabilities { effective: set, bounding: set }),
        no_new_privileges: true,
        filter: Some(Arc::new(Filter::standard(set).expect("a filter"))),
    }
}

fn request(directory: &Path, id: &str, confinement: Confinement) -> LaunchRequest {
    LaunchRequest {
        id: id.into(),
        program: "/bin/true".to_owned(),
        arguments: vec!["true".to_owned()],
        environment: Vec::new(),
        sandbox: directory.to_path_buf(),
        credentials: None,
        rlimits: Vec::new(),
        stdin: mezzo_container::Input::Null,
        stdout: Output::Null,
        stderr: Output::Null,
        resources: Resources::default(),
        share_cgroups: false,
        quotas: Vec::new(),
        ports: Vec::new(),
        confinement,
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
