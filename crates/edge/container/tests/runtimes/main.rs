//! Containers by other runtimes, Debian's crun and runc, and by programs that are none. This test is its own
//! launcher, as `containers.rs` is.

#[path = "../agent/mod.rs"]
mod agent;
mod impostors;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use agent::{Agent, alive, configuration, kill, mounts, parent, text, wait_until};
use impostors::*;
use mezzo_container::{
    BackEnd, Capabilities, Config, Confinement, ContainerEvent, Containers, Credentials, DeviceNode, Filter,
    Input, Isolation, LAUNCHER_ARGUMENT, LaunchRequest, Limitation, Mount, Namespaces, OciRuntime,
    Privileges, RecoveredState, Resources, Rlimit, Root, Source, WindowSize, launcher_main,
};
use tempfile::TempDir;

/// Makes this program an agent that launches and ends containers until it is killed.
const BE_AGENT: &str = "be-an-agent";
/// How often one is killed, each time at another moment.
const KILLS: u64 = 12;
/// Containers that such an agent has on their way at once.
const CONTAINERS: usize = 3;

/// Programs that are in the image of these tests.
const PROGRAMS: &str =
    "sh cat ls echo id grep sleep head hostname setsid stat tail true touch tr env ps ip wc mkdir stty";

impl Agent {
    fn start(dir: &Path, runtime: &str) -> Self {
        Self::with(dir, Some(OciRuntime::new(runtime)))
    }

    fn with(dir: &Path, runtime: Option<OciRuntime>) -> Self {
        Self::configured(config(dir, runtime))
    }
}

fn cgroups_root() -> String {
    format!("mezzo-oci-{}", std::process::id())
}

fn config(dir: &Path, runtime: Option<OciRuntime>) -> Config {
    let isolation = Isolation {
        names: ["cgroups/cpu", "cgroups/mem", "cgroups/pids", "cgroups/devices"].map(str::to_owned).to_vec(),
        cgroups_root: std::env::var("CGROUPS_ROOT").unwrap_or_else(|_| cgroups_root()),
        ..Isolation::default()
    };
    configuration(dir, isolation, runtime)
}

/// A shell with limits and a mark in its environment.
fn shell(dir: &Path, id: &str, command: &str) -> LaunchRequest {
    let mut request = agent::shell(dir, id, command);
    request.environment.push(("MARK".to_owned(), dir.to_string_lossy().into_owned()));
    request.resources = Resources { mem_bytes: 64 << 20, cpus_milli: 500, ..Resources::default() };
    request
}

/// A shell in an image.
fn rooted(dir: &Path, id: &str, command: &str) -> LaunchRequest {
    let image = dir.join("image");
    if !image.exists() {
        for name in ["bin", "etc", "tmp"] {
            fs::create_dir_all(image.join(name)).expect("a folder");
        }
        fs::copy("/bin/busybox", image.join("bin/busybox")).expect("a program");
        for name in PROGRAMS.split_whitespace() {
            symlink("busybox", image.join("bin").join(name)).expect("a link");
        }
        fs::write(image.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").expect("a file");
        fs::write(image.join("layer"), "low").expect("a file");
    }
    let root = Root {
        layers: vec![image],
        back_end: BackEnd::Any,
        read_only: false,
        sandbox: PathBuf::from("/mnt/mesos/sandbox"),
    };
    let set = 0b1110_0001;
    let privileges = Privileges {
        capabilities: Some(Capabilities { effective: set, bounding: set }),
        no_new_privileges: true,
        filter: Some(Filter::standard(set).expect("a filter").into()),
    };
    let namespaces = Namespaces { pid: true, ipc: true, ..Namespaces::default() };
    let confinement = Confinement { root: Some(root), namespaces, privileges, ..Confinement::default() };
    LaunchRequest { confinement, ..shell(dir, id, command) }
}

/// Control groups of containers, in any hierarchy.
fn groups(root: &str) -> Vec<PathBuf> {
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let all = hierarchies
        .chain([PathBuf::from("/sys/fs/cgroup")])
        .filter_map(|path| fs::read_dir(path.join(root)).ok());
    all.flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Processes of this test's containers.
fn processes_of(dir: &Path) -> Vec<String> {
    let mark = format!("MARK={}\0", dir.display());
    let entries = fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
    let ours = entries.filter(|path| {
        fs::read(path.join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&mark))
            || fs::read(path.join("cmdline")).is_ok_and(|text| {
                String::from_utf8_lossy(&text).contains(&*dir.join("run").to_string_lossy())
                    && !String::from_utf8_lossy(&text).contains(LAUNCHER_ARGUMENT)
            })
    });
    ours.map(|path| text(path.join("cmdline"))).collect()
}

/// Asserts that nothing of any container is left but what is kept until it is removed.
fn assert_clean(dir: &Path, root: &str, mounted: &str) {
    wait_until("what was written is deleted", || {
        fs::read_dir(dir.join("scratch")).expect("a folder").flatten().all(|entry| {
            let is_empty = fs::read_dir(entry.path()).expect("a folder").next().is_none();
            entry.file_name() == ".places" || (entry.file_name() == ".removed" && is_empty)
        })
    });
    wait_until("no control group is left", || groups(root).is_empty());
    assert_eq!(mounts(), mounted);
    assert_eq!(processes_of(dir), Vec::<String>::new());
    for entry in fs::read_dir(dir.join("run/containers")).into_iter().flatten().flatten() {
        assert!(!entry.path().join("oci").exists(), "{}", entry.path().display());
    }
}

fn an_image_runs_to_its_end(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    let command = "pwd; cat /layer; echo; echo $A; id -u; id -G; echo new > /file; cat /file; hostname; \
        cat /host/mark; cat /host/sub/deep; touch /host/x || echo refused; cat /key; ls /dev/given; cat /own/made; \
        grep -E 'NoNewPrivs|CapEff|CapBnd|Seccomp:|SigBlk' /proc/self/status; ls /proc/keys /sys/firmware; head -c 1 /proc/kcore | wc -c; \
        ps | wc -l; ulimit -n; head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/null; stat -c %t:%T:%a:%g /dev/more/zero; cat /other/layer; echo; mkdir /proc/sys/x || echo kept; \
        echo bad >&2; exit 7";
    let mut request = rooted(dir, "c1", command);
    request.environment.push(("A".to_owned(), "a b".to_owned()));
    request.rlimits = vec![Rlimit { resource: 7, soft: 77, hard: 78 }];
    request.confinement.namespaces.hostname = Some("carton".to_owned());
    let host = dir.join("host");
    fs::create_dir_all(host.join("sub")).expect("a folder");
    fs::write(host.join("mark"), "marked\n").expect("a file");
    fs::write(host.join("sub/deep"), "deep\n").expect("a file");
    let own = request.sandbox.join("own");
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("made"), "made\n").expect("a file");
    let mount = |source: Source, target: &str, read_only| Mount { source, target: target.into(), read_only };
    request.confinement.devices = vec![DeviceNode {
        path: "/dev/more/zero".into(),
        block: false,
        major: 1,
        minor: 5,
        mode: 0o640,
        owner: (0, 7),
        read: true,
        write: false,
        mknod: false,
    }];
    request.confinement.mounts = vec![
        mount(Source::Image { layers: vec![dir.join("image")], back_end: BackEnd::Any }, "/other", true),
        mount(Source::Host(host.clone()), "/host", true),
        mount(Source::Host(host), "/dev/given", false),
        mount(Source::Content { bytes: b"secret\n".to_vec(), owner: None }, "/key", true),
        mount(
            Source::Sandbox { sandbox: request.sandbox.clone(), path: "own".into(), owner: None },
            "/own",
            false,
        ),
    ];
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(7 << 8), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    let expected = [
        "/mnt/mesos/sandbox",
        "low",
        "a b",
        "0",
        "0",
        "new",
        "carton",
        "marked",
        "deep",
        "refused",
        "secret",
        "mark",
        "sub",
        "made",
    ];
    let found: Vec<&str> = lines.iter().take(expected.len()).copied().collect();
    assert_eq!(found, expected, "{out}{err}");
    for line in [
        "NoNewPrivs:\t1",
        "CapEff:\t00000000000000e1",
        "CapBnd:\t00000000000000e1",
        "Seccomp:\t2",
        "SigBlk:\t0000000000000000",
        "77",
        "3",
        "1:3",
        "1:5:640:7",
        "kept",
    ] {
        assert!(lines.contains(&line), "{line}: {out}{err}");
    }
    assert!(err.contains("bad") && !out.contains("Low"), "{out}{err}");
    assert!(!dir.join("image/file").exists(), "layers are never written");
    assert_clean(dir, &cgroups_root(), &mounted);
    agent.containers.remove(&"c1".into());
    assert_eq!(fs::read_dir(dir.join("run/containers")).expect("a folder").count(), 0);
}

fn a_user_of_the_image_has_only_what_is_given(dir: &Path, runtime: &str) {
    let agent = Agent::start(dir, runtime);
    let mut request = rooted(
        dir,
        "c1",
        "id -u; id -g; id -G; grep -E 'CapEff|CapAmb' /proc/self/status; touch here && stat -c %u here",
    );
    request.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: vec![65534, 12345] });
    std::os::unix::fs::chown(&request.sandbox, Some(65534), Some(65534)).expect("chown");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    let set = 1 << 10;
    request.confinement.privileges.capabilities = Some(Capabilities { effective: set, bounding: set });
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{out}{err}");
    let expected = "65534\n65534\n65534 12345\nCapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n65534\n";
    assert_eq!(out, expected, "{err}");
    // Output is opened with the user's rights, and no link is followed.
    let mut request = rooted(dir, "c2", "true");
    request.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: Vec::new() });
    symlink(dir.join("target"), request.sandbox.join("stdout")).expect("a link");
    assert!(agent.refusal(&request).starts_with("Failed to open output file 'stdout'"));
    // A002.
    let mut request = rooted(dir, "c3", "true");
    request.confinement.working_directory = Some("/proc/self/fd/7".into());
    assert!(agent.refusal(&request).starts_with("Failed to change directory to '/proc/self/fd/7'"));
}

fn without_an_image_the_hosts_files_are_there(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let devices = || {
        let all = fs::read_dir("/dev").expect("devices").flatten();
        let mut all: Vec<_> =
            all.map(|entry| (entry.file_name(), entry.metadata().expect("one").ino())).collect();
        all.sort();
        all
    };
    let before = devices();
    let agent = Agent::start(dir, runtime);
    let host = dir.join("host");
    fs::create_dir(&host).expect("a folder");
    fs::write(host.join("mark"), "marked\n").expect("a file");
    let mut request = shell(
        dir,
        "c1",
        "pwd; cat /proc/self/cgroup > groups; test -d /usr/sbin && echo usr; cat here/mark; echo x > /dev/null; kill -9 $$",
    );
    request.confinement.mounts =
        vec![Mount { source: Source::Host(host.clone()), target: "here".into(), read_only: true }];
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(9), "{out}{err}");
    assert_eq!(out, format!("{}\nusr\nmarked\n", request.sandbox.display()), "{err}");
    let groups = text(request.sandbox.join("groups"));
    assert!(
        groups.contains(&format!(":memory:/{}/c1/", cgroups_root())) || groups.contains("0::/"),
        "{groups}"
    );
    // Rule 366: nothing is made on the host.
    let mut missing = shell(dir, "c2", "true");
    missing.confinement.mounts =
        vec![Mount { source: Source::Host(host), target: "/no/where".into(), read_only: true }];
    assert!(agent.refusal(&missing).contains("at '/no/where': No such file or directory"));
    // Namespaces of its own beside the host's files.
    let mut apart = shell(dir, "c3", "echo $$; ls /dev/shm | wc -l");
    apart.confinement.namespaces = Namespaces { pid: true, ipc: true, ..Namespaces::default() };
    let (status, out, err) = agent.finish(&apart);
    assert_eq!((status, out.as_str()), (Some(0), "1\n0\n"), "{err}");
    assert_eq!(devices(), before, "the host's devices are not the runtime's");
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn rule_364_a_memory_hog_is_ended_with_the_reason(dir: &Path, runtime: &str) {
    let agent = Agent::start(dir, runtime);
    let mut request = rooted(dir, "c1", "(head -c 100000000 /dev/zero | tail > /dev/null); sleep 40");
    request.resources.mem_bytes = 32 << 20;
    agent.containers.launch(&request);
    agent.started();
    let ContainerEvent::Exited { limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Memory { message, peak_bytes }) = limitation else {
        panic!("a limitation: {limitation:?}")
    };
    assert!(peak_bytes >= 31 << 20, "{peak_bytes}");
    assert!(message.starts_with("Memory limit exceeded: Requested: 32MB"), "{message}");
}

fn a_session_enters_and_may_do_no_more(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    for (id, request) in
        [("c1", rooted(dir, "c1", "echo up; sleep 1000")), ("c2", shell(dir, "c2", "echo up; sleep 1000"))]
    {
        agent.containers.launch(&request);
        let pid = agent.started();
        assert!(agent.containers.is_apart(&id.into()));
        wait_until("it runs", || text(request.sandbox.join("stdout")) == "up\n");
        let program = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
        let mut session = shell(
            dir,
            &format!("{id}.look"),
            "echo in; cat /layer; grep -E 'CapBnd|Seccomp:' /proc/self/status; cat /proc/self/cgroup > groups",
        );
        session.confinement.enter = Some(id.into());
        session.share_cgroups = true;
        agent.containers.launch(&session);
        agent.started();
        assert_eq!(agent.exited(), Some(0), "{}", text(session.sandbox.join("stderr")));
        let out = text(session.sandbox.join("stdout"));
        assert_eq!(out.contains("low"), id == "c1", "{out}");
        for line in program.lines().filter(|line| line.starts_with("CapBnd") || line.starts_with("Seccomp:"))
        {
            assert!(out.contains(line), "{line}: {out}");
        }
        agent.containers.remove(&session.id);
        let statistics = agent.containers.statistics(&id.into(), &request.resources).expect("statistics");
        assert!(statistics.mem_rss_bytes.is_some_and(|bytes| bytes > 0));
        agent.containers.destroy(&id.into()).expect("an order");
        assert_eq!(agent.exited(), Some(9));
    }
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn signals_reach_it_and_a043_an_end_is_one_for_all(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    for (id, make) in [("c1", rooted as fn(&Path, &str, &str) -> LaunchRequest), ("c2", shell)] {
        let request = make(dir, id, "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done");
        agent.containers.launch(&request);
        agent.started();
        wait_until("the trap is set", || text(request.sandbox.join("stdout")) == "ready\n");
        agent.containers.signal(&id.into(), 15).expect("a signal");
        assert_eq!(agent.exited(), Some(5 << 8), "{id}");
        let id = format!("{id}-stubborn");
        let command = "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; echo x >> up; while :; do sleep 1; done' & \
            (setsid sh -c 'echo x >> up; kill -STOP $$' &); while :; do sleep 1; done";
        let request = make(dir, &id, command);
        agent.containers.launch(&request);
        agent.started();
        wait_until("all run", || text(request.sandbox.join("up")).lines().count() == 2);
        agent.containers.destroy(&id.as_str().into()).expect("an order");
        assert_eq!(agent.exited(), Some(9));
    }
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn a_later_agent_takes_it_over_and_input_arrives(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    let command = "echo up; while [ ! -e go ]; do sleep 0.05; done; cat /layer; exit 4";
    let (running, ending) = (rooted(dir, "running", command), rooted(dir, "ending", command));
    let mut reading = rooted(dir, "reading", "cat");
    reading.stdin = Input::Pipe;
    agent.containers.launch(&reading);
    agent.started();
    let input = agent.containers.input(&reading.id).expect("it runs").expect("an input");
    input.write(b"words").expect("written");
    drop(input);
    agent.containers.close_input(&reading.id);
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(reading.sandbox.join("stdout")), "words");
    let mut pids = Vec::new();
    for request in [&running, &ending] {
        agent.containers.launch(request);
        pids.push(agent.started());
    }
    drop(agent);
    fs::write(ending.sandbox.join("go"), "").expect("a file");
    wait_until("one has ended", || !text(dir.join("run/containers/ending/status")).is_empty());
    // Also one that would start containers itself.
    let agent = Agent::with(dir, None);
    let state =
        |id: &str| agent.recovered.iter().find(|found| &*found.id == id).map(|found| found.state.clone());
    assert_eq!(state("running"), Some(RecoveredState::Running { pid: Some(pids[0]) }));
    assert_eq!(state("ending"), Some(RecoveredState::Ended(4 << 8)));
    assert!(alive(pids[0]), "undisturbed");
    assert!(!dir.join("run/containers/ending/oci").exists());
    agent.containers.remove(&ending.id);
    fs::write(running.sandbox.join("go"), "").expect("a file");
    loop {
        if let ContainerEvent::Exited { id, status, .. } = agent.next() {
            assert_eq!((&*id, status), ("running", Some(4 << 8)));
            break;
        }
    }
    assert_eq!(text(running.sandbox.join("stdout")), "up\nlow");
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn a_terminal_is_the_runtimes_and_has_keys_and_sizes(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let console = fs::metadata("/dev/console").map(|found| found.mode()).ok();
    let agent = Agent::start(dir, runtime);
    let script = "trap 'stty size' WINCH; trap 'echo stopped' INT; test -t 0 && test -t 1 && test -t 2 && echo three; \
        stty size; while ! read line; do :; done; echo \"got $line\"; echo bad >&2; exit 7";
    for (id, make) in [("c1", rooted as fn(&Path, &str, &str) -> LaunchRequest), ("c2", shell)] {
        let mut request = make(dir, id, script);
        request.stdin = Input::Terminal(Some(WindowSize { rows: 24, columns: 80 }));
        agent.containers.launch(&request);
        agent.started();
        let stdout = || text(request.sandbox.join("stdout"));
        wait_until(&format!("its first size: {}", stdout()), || stdout().contains("three\r\n24 80\r\n"));
        let input = agent.containers.input(&request.id).expect("it runs").expect("an input");
        input.resize(WindowSize { rows: 50, columns: 132 }).expect("a new size");
        wait_until("its next size", || stdout().contains("50 132\r\n"));
        input.write(b"\x03").expect("written");
        wait_until("the interruption", || stdout().contains("^C") && stdout().contains("stopped\r\n"));
        input.write(b"hello\n").expect("written");
        assert_eq!(agent.exited(), Some(7 << 8));
        let out = stdout();
        assert!(
            out.contains("hello\r\n") && out.contains("got hello\r\n") && out.contains("bad\r\n"),
            "{out:?}"
        );
    }
    assert_eq!(fs::metadata("/dev/console").map(|found| found.mode()).ok(), console);
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn a_killed_supervisor_leaves_nothing(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    for request in
        [rooted(dir, "c1", "setsid sleep 1000 & sleep 1000"), shell(dir, "c2", "sleep 1000 & sleep 1000")]
    {
        agent.containers.launch(&request);
        kill(parent(agent.started()));
        assert_eq!(agent.exited(), None);
    }
    assert_clean(dir, &cgroups_root(), &mounted);
    // The same while no agent is there.
    let request = rooted(dir, "c3", "setsid sleep 1000 & sleep 1000");
    agent.containers.launch(&request);
    let supervisor = parent(agent.started());
    drop(agent);
    kill(supervisor);
    wait_until("the supervisor has ended", || !alive(supervisor));
    let agent = Agent::start(dir, runtime);
    assert!(agent.recovered.iter().any(|found| &*found.id == "c3" && found.state == RecoveredState::Unknown));
    agent.containers.remove(&"c3".into());
    assert_clean(dir, &cgroups_root(), &mounted);
    // And while the runtime is not there either.
    let own = dir.join("runtime");
    fs::copy(runtime, &own).expect("a copy");
    drop(agent);
    let agent = Agent::start(dir, &own.to_string_lossy());
    let request = rooted(dir, "c4", "setsid sleep 1000 & sleep 1000");
    agent.containers.launch(&request);
    let supervisor = parent(agent.started());
    drop(agent);
    fs::remove_file(&own).expect("removed");
    kill(supervisor);
    wait_until("the supervisor has ended", || !alive(supervisor));
    let agent = Agent::with(dir, None);
    agent.containers.remove(&"c4".into());
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn children_share_the_groups_of_their_pod(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    let resources = Resources { mem_bytes: 64 << 20, cpus_milli: 500, ..Resources::default() };
    agent.containers.isolate(&"pod".into(), &resources).expect("groups");
    let mut children = Vec::new();
    for id in ["pod.a", "pod.b"] {
        let mut request = rooted(dir, id, "while [ ! -e go ]; do sleep 0.05; done; exit 3");
        request.share_cgroups = true;
        agent.containers.launch(&request);
        agent.started();
        children.push(request);
    }
    for (ended, request) in children.iter().enumerate() {
        let found = groups(&cgroups_root());
        assert!(!found.is_empty());
        for group in found.iter().filter(|group| group.starts_with("/sys/fs/cgroup/memory")) {
            let below =
                fs::read_dir(group).expect("a group").flatten().filter(|entry| entry.path().is_dir()).count();
            assert_eq!(below, 2 - ended, "{}", group.display());
        }
        fs::write(request.sandbox.join("go"), "").expect("a file");
        assert_eq!(agent.exited(), Some(3 << 8));
    }
    agent.containers.remove(&"pod".into());
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn what_a_runtime_refuses_is_told_in_its_words(dir: &Path, runtime: &str) {
    let mounted = mounts();
    let agent = Agent::start(dir, runtime);
    let mut request = rooted(dir, "c1", "true");
    request.program = "/no/such/program".to_owned();
    let why = agent.refusal(&request);
    let begin = format!("Failed to create the container: '{runtime} create' ended with exit status 1: ");
    assert!(why.starts_with(&begin) && why.contains("/no/such/program"), "{why}");
    assert_eq!(text(dir.join("run/containers/c1/failed")), why);
    agent.containers.remove(&"c1".into());
    assert_clean(dir, &cgroups_root(), &mounted);
}

fn an_agent_killed_at_any_moment_leaves_nothing(dir: &Path, runtime: &str) {
    let mounted = mounts();
    rooted(dir, "image", "true");
    let root = cgroups_root();
    for n in 0..KILLS {
        let mut agent = Command::new(std::env::current_exe().expect("a program"))
            .args([BE_AGENT, dir.to_str().expect("text"), runtime])
            .env("CGROUPS_ROOT", &root)
            .stdout(Stdio::null())
            .spawn()
            .expect("an agent");
        wait_until("it launches", || {
            fs::read_dir(dir.join("run/containers")).is_ok_and(|mut found| found.next().is_some())
        });
        std::thread::sleep(Duration::from_micros(1 + n * 37_300 % 200_000));
        agent.kill().expect("killed");
        agent.wait().expect("ended");
        let agent = Agent::start(dir, runtime);
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
        assert_eq!(fs::read_dir(dir.join("run/containers")).expect("a folder").count(), 0, "kill {n}");
        assert_clean(dir, &root, &mounted);
    }
}

fn be_agent(dir: &Path, runtime: &str) {
    let (containers, _) =
        Containers::start(config(dir, Some(OciRuntime::new(runtime))), |_| {}).expect("containers start");
    for n in 0.. {
        containers.launch(&rooted(dir, &format!("c{n}"), "setsid sleep 1000 & sleep 1000"));
        if n >= CONTAINERS {
            let old = format!("c{}", n - CONTAINERS);
            let _ = containers.destroy(&old.as_str().into());
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

type Test = (&'static str, fn(&Path, &str));

const TESTS: &[Test] = &[
    ("an_image_runs_to_its_end", an_image_runs_to_its_end),
    ("a_user_of_the_image_has_only_what_is_given", a_user_of_the_image_has_only_what_is_given),
    ("without_an_image_the_hosts_files_are_there", without_an_image_the_hosts_files_are_there),
    ("rule_364_a_memory_hog_is_ended_with_the_reason", rule_364_a_memory_hog_is_ended_with_the_reason),
    ("a_session_enters_and_may_do_no_more", a_session_enters_and_may_do_no_more),
    ("signals_reach_it_and_a043_an_end_is_one_for_all", signals_reach_it_and_a043_an_end_is_one_for_all),
    ("a_later_agent_takes_it_over_and_input_arrives", a_later_agent_takes_it_over_and_input_arrives),
    ("a_terminal_is_the_runtimes_and_has_keys_and_sizes", a_terminal_is_the_runtimes_and_has_keys_and_sizes),
    ("a_killed_supervisor_leaves_nothing", a_killed_supervisor_leaves_nothing),
    ("children_share_the_groups_of_their_pod", children_share_the_groups_of_their_pod),
    ("what_a_runtime_refuses_is_told_in_its_words", what_a_runtime_refuses_is_told_in_its_words),
    ("an_agent_killed_at_any_moment_leaves_nothing", an_agent_killed_at_any_moment_leaves_nothing),
];

type Other = (&'static str, fn(&Path));

/// Those that need no runtime.
const OTHERS: &[Other] = &[
    (
        "programs_that_are_no_runtime_fail_in_their_own_words",
        programs_that_are_no_runtime_fail_in_their_own_words,
    ),
    ("what_cannot_be_a_runtime_is_refused_at_start", what_cannot_be_a_runtime_is_refused_at_start),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(LAUNCHER_ARGUMENT) {
        launcher_main();
    }
    if first.as_deref() == Some(BE_AGENT) {
        let (dir, runtime) = (arguments.next().expect("a directory"), arguments.next().expect("a runtime"));
        be_agent(Path::new(&dir), &runtime);
        return ExitCode::FAILURE;
    }
    // What cargo passes: options are not for this harness, words select tests by name.
    let words: Vec<String> =
        first.into_iter().chain(arguments).filter(|word| !word.starts_with('-')).collect();
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        println!("    skipped: needs root and busybox-static");
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    let mut run = |name: &str, test: &dyn Fn(&Path)| {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            return;
        }
        let directory = TempDir::new().expect("a directory");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(directory.path())));
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += u32::from(outcome.is_err());
    };
    for runtime in ["crun", "runc"] {
        let folders = ["/usr/bin", "/usr/sbin"].map(|folder| Path::new(folder).join(runtime));
        let Some(program) = folders.iter().find(|path| path.exists()) else {
            println!("    skipped: {runtime} is not installed");
            continue;
        };
        for (name, test) in TESTS {
            run(&format!("{runtime}: {name}"), &|dir| test(dir, &program.to_string_lossy()));
        }
    }
    for (name, test) in OTHERS {
        run(name, test);
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = fs::remove_dir(hierarchy.path().join(cgroups_root()));
    }
    let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(cgroups_root()));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
