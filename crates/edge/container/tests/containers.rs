//! Containers as real processes. This test is its own launcher: the binary that runs the tests is
//! re-executed, as the agent's is, so it has a main function of its own.

mod agent;
mod confined;
mod emulated;
mod gpus;
mod networks;
mod projects;
mod terminals;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use agent::{Agent, PATIENCE, alive, configuration, kill, parent, shell, text, wait_until};
use confined::{faults::*, privileges::*, steps::*, *};
use emulated::everything_holds_with_unified_control_groups;
use gpus::*;
use mezzo_container::{
    Config, ContainerEvent, Credentials, Isolation, LAUNCHER_ARGUMENT, LaunchRequest, Limitation, Output,
    Quota, RecoveredState, Resources, Rlimit, Rotation, launcher_main,
};
use mezzo_mesos::v1::Resource;
use networks::*;
use projects::*;
use tempfile::TempDir;
use terminals::*;

impl Agent {
    fn start(directory: &Path) -> Self {
        Self::isolated(directory, Isolation::default())
    }

    fn isolated(directory: &Path, isolation: Isolation) -> Self {
        Self::configured(config(directory, isolation))
    }

    /// Runs a shell command to its end; the raw status and the sandbox.
    fn run(&self, directory: &Path, id: &str, command: &str) -> (Option<i32>, PathBuf) {
        let request = shell(directory, id, command);
        self.containers.launch(&request);
        self.started();
        (self.exited(), request.sandbox)
    }
}

fn config(directory: &Path, isolation: Isolation) -> Config {
    configuration(directory, isolation, None)
}

fn a_program_runs_in_its_sandbox_and_its_status_is_told(dir: &Path) {
    let agent = Agent::start(dir);
    let (status, sandbox) = agent.run(dir, "c1", "pwd; echo bad >&2; exit 3");
    assert_eq!(status, Some(3 << 8));
    assert_eq!(text(sandbox.join("stdout")).trim(), sandbox.to_string_lossy());
    assert_eq!(text(sandbox.join("stderr")), "bad\n");
    // rule 356: pid and status are kept until the container is removed.
    let runtime = dir.join("run/containers/c1");
    assert_eq!(text(runtime.join("status")), "768");
    assert!(text(runtime.join("pid")).parse::<u32>().is_ok());
    agent.containers.remove(&"c1".into());
    assert!(!runtime.exists());
    let (status, _) = agent.run(dir, "c2", "kill -9 $$");
    assert_eq!(status, Some(9));
}

fn nothing_of_the_agent_reaches_the_program(dir: &Path) {
    // A marker in the agent's environment (attack A127) and an open descriptor (attack A003).
    let file = fs::File::open("/etc/passwd").expect("a file");
    let leaked = rustix::io::dup(&file).expect("a descriptor that is not closed on exec");
    let agent = Agent::start(dir);
    let (_, sandbox) =
        agent.run(dir, "c1", "env; ls /proc/self/fd; grep -E 'SigBlk|SigIgn' /proc/self/status");
    let out = text(sandbox.join("stdout"));
    assert!(!out.contains("MEZZO_TEST_MARKER"), "{out}");
    // 3 is the directory that ls itself reads.
    let descriptors: Vec<&str> = out.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!(descriptors, ["0", "1", "2", "3"]);
    assert!(out.contains("SigBlk:\t0000000000000000"), "{out}");
    // Signal 13: Rust programs ignore SIGPIPE, which others do not expect to inherit.
    let ignored = out.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a line").trim();
    let ignored = u64::from_str_radix(ignored, 16).expect("a number");
    assert_eq!(ignored & (1 << 12), 0, "{out}");
    drop(leaked);
}

fn rule_357_a_child_that_ends_while_its_parent_is_removed_leaves_nothing(dir: &Path) {
    let agent = Agent::start(dir);
    let folder = dir.join("run/containers");
    for n in 0..50 {
        let (parent, child) = (format!("pod{n}"), format!("pod{n}.child"));
        let inside = folder.join(&parent).join("containers/child");
        fs::create_dir_all(&inside).expect("a folder");
        // As a supervisor does at its end, only more often.
        let writes = || {
            for file in 0..200 {
                let _ = fs::write(inside.join(file.to_string()), "");
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(writes);
            agent.containers.remove(&parent.as_str().into());
        });
        agent.containers.remove(&child.as_str().into());
        assert!(!folder.join(&parent).exists(), "{parent}");
    }
}

fn what_cannot_be_executed_is_told_with_the_reason(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", "");
    request.program = "/no/such/program".to_owned();
    agent.containers.launch(&request);
    assert_eq!(agent.failed(), "Failed to execute '/no/such/program': No such file or directory");
    let mut request = shell(dir, "c2", "");
    request.sandbox = dir.join("missing");
    agent.containers.launch(&request);
    assert!(agent.failed().starts_with("Failed to change directory to"), "names the step");
    let mut request = shell(dir, "c3", "");
    request.arguments.push("a\0b".to_owned());
    agent.containers.launch(&request);
    assert_eq!(agent.failed(), "Failed to launch: argument contains a zero byte");
    let mut request = shell(dir, "c4", "");
    request.program = "true".to_owned();
    agent.containers.launch(&request);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    agent.containers.launch(&shell(dir, "../c5", ""));
    assert!(agent.failed().ends_with("is not a container id"), "ids are checked before paths are made");
}

fn large_requests_arrive(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", "echo ${#BIG_1} ${#BIG_2}");
    for n in 1..=2 {
        request.environment.push((format!("BIG_{n}"), "x".repeat(120_000)));
    }
    agent.containers.launch(&request);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(request.sandbox.join("stdout")), "120000 120000\n");
}

fn signals_reach_the_whole_group(dir: &Path) {
    let agent = Agent::start(dir);
    let request = shell(dir, "c1", "trap 'echo got; exit 7' TERM; echo ready; sleep 1000 & wait");
    agent.containers.launch(&request);
    agent.started();
    wait_until("the trap is set", || text(request.sandbox.join("stdout")) == "ready\n");
    agent.containers.signal(&"c1".into(), 15).expect("a signal");
    assert_eq!(agent.exited(), Some(7 << 8));
    assert_eq!(text(request.sandbox.join("stdout")), "ready\ngot\n");
    assert!(agent.containers.signal(&"c1".into(), 15).is_err());
    assert!(agent.containers.destroy(&"c1".into()).is_err());
}

fn destroy_ends_what_tries_to_escape(dir: &Path) {
    let agent = Agent::start(dir);
    // Own sessions, orphans, ignored signals and a stopped process (attack A043).
    let command = "trap '' TERM HUP; \
        setsid sh -c 'echo $$ >> pids; trap \"\" TERM; while :; do sleep 1; done' & \
        (setsid sh -c 'echo $$ >> pids; kill -STOP $$' &) ; \
        echo $$ >> pids; while :; do sleep 1; done";
    let request = shell(dir, "c1", command);
    agent.containers.launch(&request);
    agent.started();
    let pids = request.sandbox.join("pids");
    wait_until("all three run", || text(pids.clone()).lines().count() == 3);
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    for pid in text(pids).lines() {
        assert!(!alive(pid.parse().expect("a number")), "{pid} escaped");
    }
}

fn the_end_of_the_program_ends_the_rest(dir: &Path) {
    let agent = Agent::start(dir);
    let (status, sandbox) =
        agent.run(dir, "c1", "sleep 1000 & echo $! > pids; setsid sleep 1000 & echo $! >> pids; exit 4");
    assert_eq!(status, Some(4 << 8));
    let pids = text(sandbox.join("pids"));
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        assert!(!alive(pid.parse().expect("a number")), "{pid} was left");
    }
}

fn a_restarted_agent_finds_what_runs_and_what_ended(dir: &Path) {
    let agent = Agent::start(dir);
    let running = shell(dir, "running", "while [ ! -e go ]; do sleep 0.01; done; exit 5");
    agent.containers.launch(&running);
    let pid = agent.started();
    let ending = shell(dir, "ending", "while [ ! -e go ]; do sleep 0.01; done; exit 6");
    agent.containers.launch(&ending);
    agent.started();
    let (status, _) = agent.run(dir, "ended", "exit 2");
    assert_eq!(status, Some(2 << 8));
    // The agent is gone; its launcher sees the socket close and goes as well.
    drop(agent);
    fs::write(ending.sandbox.join("go"), "").expect("a file");
    wait_until("the status is kept", || !text(dir.join("run/containers/ending/status")).is_empty());

    let agent = Agent::start(dir);
    let state = |id: &str| {
        let found = agent.recovered.iter().find(|container| container.id.as_str() == id);
        found.map(|container| container.state.clone())
    };
    assert_eq!(state("running"), Some(RecoveredState::Running { pid: Some(pid) }));
    assert_eq!(state("ended"), Some(RecoveredState::Ended(2 << 8)));
    assert_eq!(state("ending"), Some(RecoveredState::Ended(6 << 8)));
    assert!(alive(pid), "undisturbed");
    fs::write(running.sandbox.join("go"), "").expect("a file");
    loop {
        // The end of `ending` may still be told a second time by its supervisor; it is not.
        if let ContainerEvent::Exited { id, status, .. } = agent.next() {
            assert_eq!((id.as_str(), status), ("running", Some(5 << 8)));
            break;
        }
    }
    assert!(agent.events.try_recv().is_err());
}

fn a_killed_launcher_is_replaced_and_disturbs_nothing(dir: &Path) {
    let agent = Agent::start(dir);
    agent.containers.launch(&shell(dir, "c1", "while [ ! -e go ]; do sleep 0.01; done; exit 5"));
    agent.started();
    let launcher = agent.containers.launcher_pid().expect("a launcher");
    kill(launcher);
    wait_until("another launcher", || agent.containers.launcher_pid().is_some_and(|pid| pid != launcher));
    let (status, _) = {
        let request = shell(dir, "c2", "nice > nice; exit 1");
        agent.containers.launch(&request);
        agent.started();
        (agent.exited(), ())
    };
    assert_eq!(status, Some(1 << 8));
    // The thread that started the launcher is more important than this program; its containers are not.
    let own = rustix::process::getpriority_process(None).expect("a number");
    assert_eq!(text(dir.join("sandboxes/c2/nice")).trim(), own.to_string());
    fs::write(dir.join("sandboxes/c1/go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(5 << 8));
}

/// After many supervisors that have a copy of its memory.
fn a_launcher_begins_anew_and_nobody_notices(dir: &Path) {
    const MANY: usize = 150;
    let agent = Agent::start(dir);
    let launcher = agent.containers.launcher_pid().expect("a launcher");
    let size = || text(format!("/proc/{launcher}/cmdline").into()).len();
    let with_limit = |id: &str, command: &str| LaunchRequest {
        rlimits: vec![Rlimit { resource: 7, soft: 77, hard: 78 }],
        ..shell(dir, id, command)
    };
    agent.containers.launch(&with_limit("first", "while [ ! -e go ]; do sleep 0.05; done; exit 5"));
    agent.started();
    let before = size();
    for n in 0..MANY {
        agent.containers.launch(&with_limit(&format!("c{n}"), "ulimit -n; exit 3"));
    }
    let (mut started, mut ended) = (0, 0);
    while ended < MANY {
        match agent.next() {
            ContainerEvent::Started { .. } => started += 1,
            ContainerEvent::Exited { status, .. } => {
                assert_eq!(status, Some(3 << 8));
                ended += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(started, MANY);
    assert_eq!(agent.containers.launcher_pid(), Some(launcher));
    if rustix::process::geteuid().is_root() {
        assert_ne!(size(), before, "it has executed itself again, with its stage");
    }
    fs::write(dir.join("sandboxes/first/go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(5 << 8));
}

fn a_killed_supervisor_takes_its_container_along(dir: &Path) {
    let agent = Agent::start(dir);
    agent.containers.launch(&shell(dir, "c1", "sleep 1000"));
    let pid = agent.started();
    kill(parent(pid));
    assert_eq!(agent.exited(), None);
    wait_until("the program is ended", || !alive(pid));
}

fn rule_397_output_is_cut_into_files(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request =
        shell(dir, "c1", "for i in 1 2 3 4 5; do head -c 4096 /dev/zero | tr '\\0' $i; done; echo end");
    request.stdout = Output::Rotated("stdout".to_owned(), Rotation { size_max: 4096, files_kept: 2 });
    agent.containers.launch(&request);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(request.sandbox.join("stdout")), "end\n");
    assert_eq!(text(request.sandbox.join("stdout.1")), "5".repeat(4096));
    assert_eq!(text(request.sandbox.join("stdout.2")), "4".repeat(4096));
    assert!(!request.sandbox.join("stdout.3").exists());
}

fn limits_and_user_are_set_exactly(dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return println!("    skipped: needs root");
    }
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", "id -u; id -g; id -G; ulimit -n; grep NoNewPrivs /proc/self/status");
    // Only these groups: neither the agent's nor the database's (attack A024).
    request.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: vec![65534, 12345] });
    request.rlimits = vec![Rlimit { resource: 7, soft: 77, hard: 78 }];
    std::os::unix::fs::chown(&request.sandbox, Some(65534), Some(65534)).expect("chown");
    open_to_all(dir);
    agent.containers.launch(&request);
    agent.started();
    assert_eq!(agent.exited(), Some(0), "{}", text(request.sandbox.join("stderr")));
    let out = text(request.sandbox.join("stdout"));
    assert_eq!(out.lines().take(4).collect::<Vec<_>>(), ["65534", "65534", "65534 12345", "77"]);
    // Output files are opened as the user, so a link to a file of root's does not help.
    let mut request = shell(dir, "c2", "echo owned");
    request.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: vec![65534] });
    std::os::unix::fs::symlink(dir.join("target"), request.sandbox.join("stdout")).expect("a link");
    agent.containers.launch(&request);
    assert!(agent.failed().starts_with("Failed to open output file 'stdout'"), "links are not followed");
    assert!(!dir.join("target").exists());
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for path in [dir.to_path_buf(), dir.join("sandboxes")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}

fn cgroups(names: &[&str]) -> Option<Isolation> {
    let isolation = Isolation {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        cgroups_root: format!("mezzo-test-{}", std::process::id()),
        cgroups_enable_cfs: true,
        ..Isolation::default()
    };
    if !rustix::process::geteuid().is_root() {
        println!("    skipped: needs root");
        return None;
    }
    Some(isolation)
}

fn rules_362_and_363_limits_are_written(dir: &Path) {
    let Some(isolation) = cgroups(&["cgroups/cpu", "cgroups/mem"]) else { return };
    let root = isolation.cgroups_root.clone();
    let agent = match Agent::try_configured(config(dir, isolation)) {
        Ok(agent) => agent,
        Err(error) => return println!("    skipped: {error}"),
    };
    let mut request = shell(dir, "c1", "cat /proc/self/cgroup; while [ ! -e go ]; do sleep 0.01; done");
    request.resources = Resources {
        cpus_milli: 500,
        mem_bytes: 64 << 20,
        mem_limit_bytes: Some(96 << 20),
        ..Resources::default()
    };
    agent.containers.launch(&request);
    agent.started();
    wait_until("it runs", || !text(request.sandbox.join("stdout")).is_empty());
    assert!(text(request.sandbox.join("stdout")).contains(&format!("/{root}/c1")), "joined");
    let memory = PathBuf::from(format!("/sys/fs/cgroup/memory/{root}/c1"));
    if memory.exists() {
        assert_eq!(text(memory.join("memory.soft_limit_in_bytes")).trim(), (64u64 << 20).to_string());
        assert_eq!(text(memory.join("memory.limit_in_bytes")).trim(), (96u64 << 20).to_string());
        let lower = Resources { mem_limit_bytes: Some(80 << 20), ..request.resources };
        agent.containers.update(&"c1".into(), &lower).expect("an update");
        assert_eq!(text(memory.join("memory.limit_in_bytes")).trim(), (96u64 << 20).to_string());
        let higher = Resources { mem_limit_bytes: Some(128 << 20), ..request.resources };
        agent.containers.update(&"c1".into(), &higher).expect("an update");
        assert_eq!(text(memory.join("memory.limit_in_bytes")).trim(), (128u64 << 20).to_string());
    }
    let cpu = PathBuf::from(format!("/sys/fs/cgroup/cpu/{root}/c1"));
    if cpu.exists() {
        assert_eq!(text(cpu.join("cpu.shares")).trim(), "512");
        assert_eq!(text(cpu.join("cpu.cfs_quota_us")).trim(), "50000");
    }
    let statistics = agent.containers.statistics(&"c1".into(), &request.resources).expect("statistics");
    assert_eq!(statistics.cpus_soft_limit, Some(0.5));
    assert!(statistics.mem_rss_bytes.is_some_and(|bytes| bytes > 0));
    fs::write(request.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
    assert!(!memory.exists() && !cpu.exists(), "groups are removed");
    drop(agent);
    remove_roots(&root);
}

fn rule_364_running_out_of_memory_is_told_with_the_peak(dir: &Path) {
    let Some(isolation) = cgroups(&["cgroups/mem"]) else { return };
    let root = isolation.cgroups_root.clone();
    let agent = match Agent::try_configured(config(dir, isolation)) {
        Ok(agent) => agent,
        Err(error) => return println!("    skipped: {error}"),
    };
    // The hungry one is a child: without the agent's help the shell would live on.
    let mut request = shell(dir, "c1", "(head -c 100m /dev/zero | tail > /dev/null); sleep 40");
    request.resources = Resources { mem_bytes: 32 << 20, ..Resources::default() };
    agent.containers.launch(&request);
    agent.started();
    let ContainerEvent::Exited { limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Memory { message, peak_bytes }) = limitation else { panic!("a limitation") };
    assert!(peak_bytes >= 31 << 20, "{peak_bytes}");
    assert!(message.starts_with("Memory limit exceeded: Requested: 32MB"), "{message}");
    drop(agent);
    remove_roots(&root);
}

fn remove_roots(root: &str) {
    for controller in ["cpu", "cpuacct", "memory", "pids", "devices", "blkio", "cpuset", "unified", "."] {
        let _ = fs::remove_dir(format!("/sys/fs/cgroup/{controller}/{root}"));
    }
}

fn many_at_once_all_end(dir: &Path) {
    let agent = Agent::start(dir);
    for n in 0..200 {
        let mut request = shell(dir, &format!("c{n}"), "");
        request.program = "/bin/true".to_owned();
        request.arguments = vec!["true".to_owned()];
        agent.containers.launch(&request);
    }
    let mut ended = 0;
    while ended < 200 {
        if let ContainerEvent::Exited { status, .. } = agent.next() {
            assert_eq!(status, Some(0));
            ended += 1;
        }
    }
}

fn a022_and_a048_devices_and_processes_are_limited(dir: &Path) {
    let Some(mut isolation) =
        cgroups(&["cgroups/pids", "cgroups/devices", "cgroups/blkio", "cgroups/cpuset"])
    else {
        return;
    };
    isolation.pids_max = Some(40);
    let root = isolation.cgroups_root.clone();
    let agent = Agent::isolated(dir, isolation);
    // A device that the host lets everybody read, made where only control groups are in the way.
    let command = "mknod kmsg c 1 11; mknod null c 1 3; mknod disk b 7 0; \
        head -c 1 kmsg > /dev/null && echo READ; head -c 1 disk && echo DISK; head -c 1 null && echo null; \
        mkfifo wait; (i=0; while [ $i -lt 60 ]; do sleep 20 & i=$((i+1)); done) 2> forks; \
        echo ready; read x < wait";
    let request = shell(dir, "c1", command);
    agent.containers.launch(&request);
    agent.started();
    wait_until("it has forked", || {
        text(request.sandbox.join("stdout")).contains("ready")
            || !text(request.sandbox.join("forks")).is_empty()
    });
    let out = text(request.sandbox.join("stdout"));
    let err = text(request.sandbox.join("stderr"));
    assert!(!out.contains("READ") && !out.contains("DISK") && out.contains("null"), "{out}{err}");
    assert!(err.contains("Operation not permitted"), "{err}");
    let statistics = agent.containers.statistics(&"c1".into(), &request.resources).expect("statistics");
    assert!(statistics.blkio_statistics.is_some());
    wait_until("a fork was refused", || !text(request.sandbox.join("forks")).is_empty());
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    agent.containers.remove(&"c1".into());
    for controller in ["pids", "devices", "blkio", "cpuset", "unified", "."] {
        assert!(!Path::new(&format!("/sys/fs/cgroup/{controller}/{root}/c1")).exists(), "{controller}");
    }
    drop(agent);
    remove_roots(&root);
}

fn sandbox_quota(request: &LaunchRequest) -> Quota {
    Quota { path: request.sandbox.clone(), bytes: 2 << 20, volume: None, enforced: true }
}

fn rule_365_a_container_over_its_disk_quota_is_ended(dir: &Path) {
    let isolation = Isolation {
        names: vec!["disk/du".to_owned()],
        enforce_container_disk_quota: true,
        container_disk_watch_interval: Duration::from_millis(50),
        ..Isolation::default()
    };
    let agent = Agent::isolated(dir, isolation.clone());
    let mut request = shell(dir, "c1", "head -c 3000000 /dev/zero > file; echo written; sleep 1000");
    request.quotas = vec![sandbox_quota(&request)];
    agent.containers.launch(&request);
    agent.started();
    let ContainerEvent::Exited { limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Disk { message, limit_bytes, .. }) = limitation else { panic!("a limitation") };
    assert_eq!(limit_bytes, 2 << 20);
    assert!(message.starts_with("Disk usage (") && message.ends_with(") exceeds quota (2MB)"), "{message}");
    agent.containers.remove(&"c1".into());
    assert!(!dir.join("run/containers/c1").exists());
    // A later agent goes on watching.
    let mut request = shell(
        dir,
        "c2",
        "while [ ! -e go ]; do sleep 0.01; done; head -c 3000000 /dev/zero > file; \
        sleep 1000",
    );
    request.quotas = vec![sandbox_quota(&request)];
    agent.containers.launch(&request);
    agent.started();
    drop(agent);
    let agent = Agent::isolated(dir, isolation);
    fs::write(request.sandbox.join("go"), "").expect("a file");
    let ContainerEvent::Exited { limitation, .. } = agent.next() else { panic!("an end") };
    assert!(matches!(limitation, Some(Limitation::Disk { .. })));
    // A volume has a size of its own.
    let folder = dir.join("volume");
    fs::create_dir(&folder).expect("a folder");
    let mut request = shell(
        dir,
        "c3",
        "while [ ! -e go ]; do sleep 0.01; done; head -c 3000000 /dev/zero > ../../volume/file; sleep 1000",
    );
    let volume = Resource { name: "disk".to_owned(), ..Resource::default() };
    let quota = |path: &Path, bytes, volume| Quota { path: path.into(), bytes, volume, enforced: true };
    request.quotas = vec![
        quota(&request.sandbox, 64 << 20, None),
        quota(&folder, 2 << 20, Some(Box::new(volume.clone()))),
    ];
    agent.containers.launch(&request);
    agent.started();
    let told = || agent.containers.statistics(&"c3".into(), &request.resources).expect("statistics");
    wait_until("both are measured", || {
        told().disk_statistics.iter().filter(|one| one.used_bytes.is_some()).count() == 2
    });
    assert_eq!(told().disk_limit_bytes, Some(64 << 20), "the sandbox's");
    fs::write(request.sandbox.join("go"), "").expect("a file");
    let ContainerEvent::Exited { limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Disk { volume: Some(full), .. }) = limitation else { panic!("{limitation:?}") };
    assert_eq!(*full, volume);
}

fn cgroups_all_is_what_the_host_has(dir: &Path) {
    let Some(isolation) = cgroups(&["cgroups/all"]) else { return };
    let root = isolation.cgroups_root.clone();
    let agent = Agent::isolated(dir, isolation);
    let (status, sandbox) = agent.run(dir, "c1", "cat /proc/self/cgroup");
    assert_eq!(status, Some(0), "{}", text(sandbox.join("stderr")));
    let joined = text(sandbox.join("stdout")).matches(&format!("/{root}/c1")).count();
    // Of v1, those of cpu and cpuacct may be one.
    assert!([6, 7, 1].contains(&joined), "all of v1, or the one of v2: {joined}");
    drop(agent);
    remove_roots(&root);
}

type Test = (&'static str, fn(&Path));

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&Path))),*] };
}

const TESTS: &[Test] = tests![
    a_program_runs_in_its_sandbox_and_its_status_is_told,
    nothing_of_the_agent_reaches_the_program,
    rule_357_a_child_that_ends_while_its_parent_is_removed_leaves_nothing,
    what_cannot_be_executed_is_told_with_the_reason,
    large_requests_arrive,
    signals_reach_the_whole_group,
    destroy_ends_what_tries_to_escape,
    the_end_of_the_program_ends_the_rest,
    a_restarted_agent_finds_what_runs_and_what_ended,
    a_killed_launcher_is_replaced_and_disturbs_nothing,
    a_launcher_begins_anew_and_nobody_notices,
    a_killed_supervisor_takes_its_container_along,
    rule_397_output_is_cut_into_files,
    limits_and_user_are_set_exactly,
    rules_362_and_363_limits_are_written,
    rule_364_running_out_of_memory_is_told_with_the_peak,
    a022_and_a048_devices_and_processes_are_limited,
    cgroups_all_is_what_the_host_has,
    rule_365_a_container_over_its_disk_quota_is_ended,
    many_at_once_all_end,
    rule_374_input_arrives_whole_and_ends_when_it_is_closed,
    a_container_that_does_not_read_stops_its_writer_alone,
    a_terminal_has_a_size_an_echo_and_a_group_of_its_own,
    keys_interrupt_and_end_what_is_in_the_foreground,
    a_terminal_outlives_the_agent_that_made_it,
    attack_a038_no_terminal_but_its_own_can_be_typed_into,
    attack_a039_sizes_and_looks_at_an_input_leave_nothing_behind,
    a_container_sees_its_own_root_and_leaves_nothing,
    images_can_be_volumes_that_are_written_to_and_end_with_their_container,
    the_copy_back_end_shows_the_same,
    many_layers_are_one_file_system,
    a_read_only_root_is_read_only,
    a001_the_launcher_cannot_be_reached,
    a002_no_descriptor_of_the_host_is_a_working_directory,
    a004_devices_of_the_image_are_not_used,
    a005_a006_and_a007_a_console_of_the_image_is_not_used,
    a008_and_a010_links_in_the_place_of_kernel_files_are_refused,
    a031_and_a037_other_containers_are_not_seen,
    a034_the_hosts_and_the_agents_own_folders_are_not_mounted,
    a043_destroy_ends_a_whole_process_namespace,
    a070_the_hosts_network_files_replace_what_an_image_has,
    a_killed_supervisor_takes_its_namespaces_along,
    containers_with_a_root_survive_the_agent,
    output_and_users_work_in_a_root,
    rule_366_volumes_without_an_image_need_a_place_on_the_host,
    secrets_are_files_in_memory_that_nobody_writes_to,
    rules_366_and_367_volumes_appear_in_their_order,
    shared_mounts_of_the_host_hear_nothing_of_a_containers_but_are_heard,
    what_is_missing_in_an_image_is_told,
    a011_a_racing_link_never_moves_a_mount,
    an_agent_killed_at_any_moment_leaves_nothing,
    an_agent_or_launcher_killed_at_every_step_leaves_nothing,
    a017_a045_and_a046_no_namespaces_and_no_mounts,
    a019_and_a021_the_hosts_kernel_is_out_of_reach,
    a023_capabilities_are_exactly_those_given,
    a026_a_set_user_id_program_gains_nothing,
    a028_a029_and_a145_forbidden_system_calls_are_refused,
    a029_other_ways_into_the_kernel_are_closed,
    a036_nobody_listens_on_a_name_that_containers_can_reach,
    a047_what_confines_an_agent_confines_its_containers,
    a047_a_session_is_confined_as_its_container_is,
    a048_a_hoard_of_descriptors_is_the_containers_own,
    a030_a_session_enters_its_container_and_may_do_no_more,
    privileges_can_be_limited_without_an_image,
    rule_368_containers_of_one_network_reach_each_other,
    a_port_of_the_host_leads_into_a_container,
    an_image_gets_the_files_of_its_network,
    children_and_sessions_are_in_the_network_around_them,
    f067_an_agent_killed_at_any_moment_leaves_no_network,
    a_chain_of_plugins_is_joined_in_order_and_left_backwards,
    the_program_of_the_loopback_plugin_is_not_run,
    plugins_that_fail_are_named_and_nothing_is_left,
    plugins_forget_who_is_not_there_only_where_the_operator_says_so,
    what_cannot_be_joined_is_told_before_anything_is_made,
    f136_addresses_are_given_back_after_a_reboot,
    what_cannot_be_left_is_tried_again,
    networks_of_running_containers_are_checked_by_a_later_agent,
    who_listens_on_a_port_it_does_not_hold_is_ended,
    ports_outside_of_the_isolated_range_are_not_looked_at,
    who_takes_datagrams_on_a_port_it_does_not_hold_is_ended,
    projects_limit_what_is_written_to_ext4,
    projects_limit_what_is_written_to_xfs,
    a_gpu_is_its_containers_alone_and_stays_so_over_a_restart,
    nodes_and_libraries_of_a_gpu_are_in_a_root,
    children_use_gpus_of_their_own,
    a_running_container_can_be_given_another_gpu,
    a_node_that_everybody_has_is_not_made_twice,
    everything_holds_with_unified_control_groups,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(LAUNCHER_ARGUMENT) {
        launcher_main();
    }
    if first.as_deref() == Some(TRY_CALLS) {
        try_calls(arguments.next().as_deref());
        return ExitCode::SUCCESS;
    }
    if first.as_deref() == Some(BE_CONFINED) {
        be_confined(Path::new(&arguments.next().expect("a directory")));
        return ExitCode::SUCCESS;
    }
    if first.as_deref() == Some(BE_AGENT) {
        let (directory, root) = (arguments.next().expect("a directory"), arguments.next().expect("a root"));
        be_agent(Path::new(&directory), &root);
        return ExitCode::FAILURE;
    }
    if let Some(role @ (BE_VICTIM | BE_TRACER)) = first.as_deref() {
        let mut next = || arguments.next().expect("an argument");
        let (directory, root) = (next(), next());
        if role == BE_VICTIM {
            be_victim(Path::new(&directory), &root);
            return ExitCode::SUCCESS;
        }
        let mut number = || next().parse().expect("a number");
        let status = be_tracer(Path::new(&directory), &root, number(), number());
        return u8::try_from(status).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    if first.as_deref() == Some(BE_JOINING_AGENT) {
        be_joining_agent(Path::new(&arguments.next().expect("a directory")));
        return ExitCode::FAILURE;
    }
    // What cargo passes: options are not for this harness, words select tests by name.
    let words: Vec<String> =
        first.into_iter().chain(arguments).filter(|word| !word.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in TESTS {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let directory = TempDir::new().expect("a directory");
        let outcome = std::panic::catch_unwind(|| test(directory.path()));
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += u32::from(outcome.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
