//! An agent that is killed at any moment, and tasks that race with the launch of others.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mezzo_container::{ContainerEvent, Containers, Isolation, Mount, RecoveredState, Source};

use super::{is_clean, mounts, rooted};
use crate::{Agent, cgroups, config, remove_roots, shell, wait_until};

/// Makes this program an agent that launches and ends containers until it is killed.
pub(crate) const BE_AGENT: &str = "be-an-agent";

/// Containers that such an agent has on their way at once.
const CONTAINERS: usize = 8;
/// How often one is killed. Each time at another moment: the waits are spread over a few launches.
const KILLS: u64 = 200;
/// The same where every instruction is emulated.
const KILLS_EMULATED: u64 = 2;
/// Launches against a thread that exchanges folders and links.
const RACES: usize = 150;
/// The same where every instruction is emulated.
const RACES_EMULATED: usize = 20;

fn isolation(root: &str) -> Isolation {
    Isolation {
        names: vec!["cgroups/pids".to_owned()],
        cgroups_root: root.to_owned(),
        ..Isolation::default()
    }
}

pub(crate) fn be_agent(directory: &Path, root: &str) {
    let (containers, _) =
        Containers::start(config(directory, isolation(root)), |_| {}).expect("containers start");
    for n in 0.. {
        let id = format!("c{n}");
        let command = "setsid sleep 1000 & sleep 1000";
        let Some(mut request) = rooted(directory, &id, command) else { return };
        request.environment.push(("MARK".to_owned(), directory.to_string_lossy().into_owned()));
        containers.launch(&request);
        if n >= CONTAINERS {
            let old = format!("c{}", n - CONTAINERS);
            let _ = containers.destroy(&old.as_str().into());
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

pub(crate) fn an_agent_killed_at_any_moment_leaves_nothing(dir: &Path) {
    let Some(cgroups) = cgroups(&["cgroups/pids"]) else { return };
    let root = cgroups.cgroups_root;
    if rooted(dir, "image", "true").is_none() {
        return;
    }
    let before = mounts();
    for n in 0..if is_emulated() { KILLS_EMULATED } else { KILLS } {
        let mut agent = Command::new(std::env::current_exe().expect("a program"))
            .args([BE_AGENT, dir.to_str().expect("text"), &root])
            .stdout(Stdio::null())
            .spawn()
            .expect("an agent");
        wait_until("it launches", || {
            fs::read_dir(dir.join("run/containers")).is_ok_and(|mut d| d.next().is_some())
        });
        std::thread::sleep(Duration::from_micros(1 + n * 7_300 % 60_000));
        agent.kill().expect("killed");
        agent.wait().expect("ended");
        recover_and_look(dir, &root, isolation(&root), &before, &format!("kill {n}"));
    }
    remove_roots(&root);
}

/// Starts an agent where another was killed, ends what runs, and looks for what is left.
pub(crate) fn recover_and_look(dir: &Path, root: &str, isolation: Isolation, mounted: &str, what: &str) {
    let agent = Agent::isolated(dir, isolation);
    for container in &agent.recovered {
        if matches!(container.state, RecoveredState::Running { .. }) {
            // It may be ending already, on the order of the agent before.
            let _ = agent.containers.destroy(&container.id);
            while !matches!(agent.next(), ContainerEvent::Exited { .. }) {}
        }
    }
    for container in &agent.recovered {
        agent.containers.remove(&container.id);
    }
    wait_until(&format!("{what}: nothing that was written is left"), || is_clean(dir));
    let left = fs::read_dir(dir.join("run/containers")).expect("a folder").count();
    assert_eq!(left, 0, "{what}: runtime folders");
    for hierarchy in ["cpu", "cpuacct", "memory", "pids", "unified", "."] {
        // The kernel may count somebody who has ended for a moment longer.
        wait_until(&format!("{what}: no control group of {hierarchy} is left"), || {
            let groups = fs::read_dir(format!("/sys/fs/cgroup/{hierarchy}/{root}"));
            !groups.into_iter().flatten().flatten().any(|entry| entry.path().is_dir())
        });
    }
    assert_eq!(mounts(), mounted, "{what}");
    assert_eq!(processes_of(dir), 0, "{what}: processes");
}

pub(crate) fn is_emulated() -> bool {
    std::env::var_os(crate::emulated::EMULATED).is_some()
}

/// Processes of this test's containers.
fn processes_of(dir: &Path) -> usize {
    let mark = format!("MARK={}\0", dir.display());
    let is_ours = |path: PathBuf| {
        fs::read(path.join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&mark))
    };
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    entries.filter(|entry| is_ours(entry.path())).count()
}

pub(crate) fn a011_a_racing_link_never_moves_a_mount(dir: &Path) {
    let Some(mut request) = rooted(dir, "c", "true") else { return };
    let outside = dir.join("outside");
    let sandbox = dir.join("sandboxes/shared");
    fs::create_dir_all(sandbox.join("swap")).expect("a folder");
    fs::create_dir(&outside).expect("a folder");
    symlink(&outside, sandbox.join("link")).expect("a link");
    let source = dir.join("host");
    fs::create_dir(&source).expect("a folder");
    fs::write(source.join("mark"), "").expect("a file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let folder = fs::File::open(&sandbox).expect("a folder");
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&folder, "swap", &folder, "link", flags);
            }
        });
        let agent = Agent::start(dir);
        let volume = |source: Source, target: &str| Mount { source, target: target.into(), read_only: false };
        let below = || Source::Sandbox {
            sandbox: sandbox.clone(),
            path: PathBuf::from("swap/made"),
            owner: Some((1, 1)),
        };
        let mut plain = shell(dir, "shared", "true");
        for n in 0..if is_emulated() { RACES_EMULATED } else { RACES } {
            let launched = if n % 2 == 0 {
                request.confinement.mounts = vec![
                    volume(Source::Host(source.clone()), "swap/here"),
                    volume(below(), "/mnt/mesos/sandbox/link/there"),
                ];
                request.sandbox.clone_from(&sandbox);
                &mut request
            } else {
                plain.confinement.mounts =
                    vec![volume(Source::Host(source.clone()), "swap/here"), volume(below(), "link/there")];
                &mut plain
            };
            launched.id = format!("c{n}").as_str().into();
            agent.containers.launch(launched);
            // Either it was refused, or it ran with everything in its place.
            while let ContainerEvent::Started { .. } = agent.next() {}
            assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 0, "launch {n}");
        }
        done.store(true, Ordering::Relaxed);
    });
}
