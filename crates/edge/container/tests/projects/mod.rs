//! Quotas of projects, on file systems of this test's own. Kernels that lack them skip; the emulated machine's
//! has them for both.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use mezzo_container::{
    Capabilities, ContainerEvent, Credentials, Isolation, LaunchRequest, Limitation, ProjectSettings, Quota,
};

use crate::{Agent, confined::rooted, emulated::EMULATED, shell, text, wait_until};

/// The smallest that mkfs.xfs makes.
const DISK_BYTES: u64 = 320 << 20;
/// What a container may write.
const LIMIT: u64 = 2 << 20;

/// A mounted file system in a file.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run(command: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn disk(dir: &Path, mkfs: &str) -> Option<Disk> {
    let (file, place) = (dir.join("disk"), dir.join("mnt"));
    fs::create_dir(&place).expect("a folder");
    fs::File::create(&file).and_then(|file| file.set_len(DISK_BYTES)).expect("a file");
    let (from, to) = (file.display(), place.display());
    match run(&format!("{mkfs} {from} >&2 && mount -o loop,prjquota {from} {to}")) {
        Ok(()) => Some(Disk(place)),
        Err(why) => {
            assert!(std::env::var_os(EMULATED).is_none(), "{mkfs}: {why}");
            println!("    skipped: {mkfs}: {why}");
            None
        }
    }
}

fn isolation(folder: &Path) -> Isolation {
    Isolation {
        names: vec!["disk/xfs".to_owned()],
        enforce_container_disk_quota: true,
        container_disk_watch_interval: Duration::from_millis(50),
        projects: ProjectSettings {
            folder: folder.to_path_buf(),
            ranges: vec![(5_000, 5_000), (6_000, 6_000)],
            ..ProjectSettings::default()
        },
        ..Isolation::default()
    }
}

pub(crate) fn projects_limit_what_is_written_to_ext4(dir: &Path) {
    let Some(disk) = disk(dir, "mkfs.ext4 -q -O quota,project -E quotatype=prjquota") else { return };
    limits_hold(&disk.0);
}

pub(crate) fn projects_limit_what_is_written_to_xfs(dir: &Path) {
    let Some(disk) = disk(dir, "mkfs.xfs -q") else { return };
    limits_hold(&disk.0);
}

fn quota(request: &LaunchRequest) -> Vec<Quota> {
    vec![Quota { path: request.sandbox.clone(), bytes: LIMIT, volume: None, enforced: true }]
}

/// A shell of a user whom no file system lets write more than others; its output has a place from the start.
fn user(dir: &Path, id: &str, command: &str) -> LaunchRequest {
    let mut request = shell(dir, id, &format!("echo begin; {command}"));
    std::os::unix::fs::chown(&request.sandbox, Some(65_534), Some(65_534)).expect("chown");
    request.credentials = Some(Credentials { uid: 65_534, gid: 65_534, groups: vec![65_534] });
    request.quotas = quota(&request);
    request
}

fn limits_hold(dir: &Path) {
    for folder in [dir.parent().expect("a folder"), dir] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let isolation = isolation(dir);
    let agent = Agent::isolated(dir, isolation.clone());
    // It ends at the first "no". What goes on writing is told so for every piece, for which xfs writes everything to
    // the disk and looks for room each time, and may succeed with the last one after all.
    let fill = "dd if=/dev/zero of=file bs=100000 count=50 2> /dev/null || echo full; ";
    let first = user(dir, "c1", &format!("{fill} while [ ! -e go ]; do sleep 0.05; done"));
    agent.containers.limit_folder(&first.sandbox, LIMIT).expect("a limit");
    agent.containers.launch(&first);
    agent.started();
    wait_until("it is full", || text(first.sandbox.join("stdout")).contains("full"));
    assert!(fs::metadata(first.sandbox.join("file")).expect("a file").len() <= LIMIT);
    // A later agent knows which numbers are given, and goes on measuring.
    drop(agent);
    let agent = Agent::isolated(dir, isolation.clone());
    agent.containers.limited_folder(&first.sandbox);
    let statistics = agent.containers.statistics(&"c1".into(), &first.resources).expect("statistics");
    assert!(
        statistics.disk_used_bytes.is_some_and(|used| (1 << 20..=LIMIT).contains(&used)),
        "{statistics:?}"
    );
    assert_eq!(statistics.disk_limit_bytes, Some(LIMIT));
    let second = user(dir, "c2", "true");
    let third = user(
        dir,
        "c3",
        &format!("dd if=/dev/zero of=one bs=100000 count=15 2> /dev/null && echo one; {fill}"),
    );
    agent.containers.limit_folder(&second.sandbox, LIMIT).expect("the second of two numbers");
    assert!(agent.containers.limit_folder(&third.sandbox, LIMIT).is_err(), "there is no third");
    agent.containers.destroy(&"c1".into()).expect("an order");
    agent.exited();
    let delete = |path: &Path| {
        agent.containers.delete_folder(path, || fs::remove_dir_all(path)).expect("deleted");
    };
    delete(&first.sandbox);
    agent.containers.limit_folder(&third.sandbox, LIMIT).expect("a number that is free again");
    let (_, out, err) = agent.finish(&third);
    assert_eq!(out, "begin\none\nfull\n", "nothing of the first one counts: {err}");
    delete(&second.sandbox);
    // A limit that grows lets more be written.
    agent.containers.limit_folder(&third.sandbox, 16 << 20).expect("a limit");
    let more = LaunchRequest { id: "c3-more".into(), quotas: Vec::new(), ..third.clone() };
    let (_, out, err) = agent.finish(&more);
    assert!(out.ends_with("begin\none\n"), "{out}{err}");
    delete(&third.sandbox);
    what_is_written_to_a_root_counts(dir, &agent);
    drop(agent);
    who_uses_more_is_ended(dir, &isolation, true);
    if dir.join("lost+found").exists() {
        // On ext4 root may write more.
        who_uses_more_is_ended(dir, &isolation, false);
    }
}

fn what_is_written_to_a_root_counts(dir: &Path, agent: &Agent) {
    let command = "dd if=/dev/zero of=/one bs=100000 count=10 2> /dev/null && echo one; \
        dd if=/dev/zero of=/two bs=100000 count=30 2> /dev/null || echo full";
    let mut request = rooted(dir, "c4", command).expect("an image");
    request.confinement.privileges.capabilities = Some(Capabilities { effective: 3, bounding: 3 });
    agent.containers.limit_folder(&request.sandbox, LIMIT).expect("a limit");
    let (_, out, err) = agent.finish(&request);
    assert_eq!(out, "one\nfull\n", "{err}");
    agent
        .containers
        .delete_folder(&request.sandbox, || fs::remove_dir_all(&request.sandbox))
        .expect("deleted");
}

fn who_uses_more_is_ended(dir: &Path, isolation: &Isolation, kill: bool) {
    let projects = ProjectSettings { kill, headroom: 16 << 20, ..isolation.projects.clone() };
    let agent = Agent::isolated(dir, Isolation { projects, ..isolation.clone() });
    let mut request = shell(dir, "c5", "head -c 5000000 /dev/zero > file; echo written; sync; sleep 1000");
    request.quotas = quota(&request);
    agent.containers.limit_folder(&request.sandbox, LIMIT).expect("a limit");
    agent.containers.launch(&request);
    agent.started();
    let ContainerEvent::Exited { limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Disk { message, limit_bytes, volume: None }) = limitation else {
        panic!("{limitation:?}")
    };
    assert_eq!(limit_bytes, LIMIT);
    assert!(message.starts_with("Disk usage (") && message.ends_with("exceeds quota (2MB)"), "{message}");
    agent.containers.remove(&"c5".into());
    agent
        .containers
        .delete_folder(&request.sandbox, || fs::remove_dir_all(&request.sandbox))
        .expect("deleted");
}
