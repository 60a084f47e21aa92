//! Tasks with images, from a registry to the container and back: Debian's `docker-registry` on this machine, filled
//! with a static busybox (both installed by `.ci/run`), and a master and agent with the flags of Mesos.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mezzo_images::{Digest, Platform};
use serde_json::{Value, json};

use crate::{
    interactive::{Screen, wait_until},
    mezzo,
    support::{self, Daemon, Folder, PATIENCE},
    text,
};

const BUSYBOX: &str = "/bin/busybox";
const MOTD: &str = "from the image\n";
/// Bytes that a registry behind a [`Gate`] gives away while it is shut: the manifest and the configuration, and
/// a part of the only layer.
const GATE_BYTES: usize = 300_000;

/// A registry of its own, ended with the test.
struct Registry {
    port: u16,
    process: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Registry {
    /// Nothing where the test cannot run.
    fn start(folder: &Path) -> Option<Self> {
        if !Path::new(BUSYBOX).exists() || which("docker-registry").is_none() {
            println!("skipped, needs the packages docker-registry and busybox-static");
            return None;
        }
        // The port may be taken between here and the registry's own start: then another is tried.
        let registry = (0..5).find_map(|_| Self::attempt(folder)).expect("a port that stays free");
        registry.push_busybox(folder, "1");
        Some(registry)
    }

    fn attempt(folder: &Path) -> Option<Self> {
        let port = support::free_port();
        let config = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            folder.join("registry").display()
        );
        fs::write(&config, text).expect("written");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut registry = Self { port, process };
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && registry.process.try_wait().expect("waited").is_none() {
            if support::request(port, "GET", "/v2/", &[], b"").is_ok() {
                return Some(registry);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn push(&self, blob: &[u8]) -> String {
        let digest = Digest::of(blob).to_string();
        let begun =
            support::open(self.port, "POST", "/v2/team/busybox/blobs/uploads/", &[], b"").expect("begun");
        let location = begun.headers.iter().find(|(name, _)| name == "location").expect("a place");
        let path = location.1.split_once("/v2/").expect("a path").1;
        let path = format!("/v2/{path}&digest={digest}");
        let kind = [("Content-Type", "application/octet-stream")];
        let sent = support::request(self.port, "PUT", &path, &kind, blob).expect("sent");
        assert_eq!(sent.0, 201, "{}", text(&sent.1));
        digest
    }

    /// busybox with all its names, something to read, and what to run. No two tags share a layer.
    fn push_busybox(&self, folder: &Path, tag: &str) {
        let root = folder.join("rootfs");
        for name in ["bin", "etc", "srv", "tmp"] {
            fs::create_dir_all(root.join(name)).expect("made");
        }
        fs::copy(BUSYBOX, root.join("bin/busybox")).expect("copied");
        let names = Command::new(BUSYBOX).arg("--list").output().expect("run");
        for name in text(&names.stdout).lines().filter(|name| *name != "busybox") {
            let link = root.join("bin").join(name);
            drop(fs::remove_file(&link));
            symlink("busybox", link).expect("linked");
        }
        fs::write(root.join("etc/motd"), MOTD).expect("written");
        fs::write(root.join("etc/tag"), tag).expect("written");
        let layer = Command::new("tar")
            .args(["--sort=name", "--owner=0", "--group=0", "-cf", "-", "-C"])
            .args([root.as_path(), Path::new(".")])
            .output()
            .expect("run tar")
            .stdout;
        let config = json!({
            "architecture": Platform::default().architecture,
            "os": "linux",
            "config": {
                "Cmd": ["sh", "-c", "echo $GREETING from $PWD"],
                "Env": ["PATH=/bin", "GREETING=hello"],
                "WorkingDir": "/srv",
            },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).to_string()] },
        });
        let config = config.to_string();
        let describe = |kind: &str, blob: &[u8]| json!({ "mediaType": kind, "size": blob.len(), "digest": self.push(blob) });
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": describe("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let (path, kind) = (format!("/v2/team/busybox/manifests/{tag}"), [("Content-Type", kind)]);
        let sent = support::request(self.port, "PUT", &path, &kind, manifest.to_string().as_bytes());
        assert_eq!(sent.expect("sent").0, 201);
    }
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists())
}

/// A way to a registry that can be shut in the middle of an image.
struct Gate {
    port: u16,
    open: Arc<AtomicBool>,
}

impl Gate {
    fn shut_before(registry: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let open = Arc::new(AtomicBool::new(false));
        let (passed, is_open) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", registry)).expect("the registry");
                let (mut from_client, mut to_server) =
                    (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
                thread::spawn(move || drop(std::io::copy(&mut from_client, &mut to_server)));
                let (passed, open) = (Arc::clone(&passed), Arc::clone(&is_open));
                thread::spawn(move || pass(server, client, &passed, &open));
            }
        });
        Self { port, open }
    }

    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, passed: &AtomicUsize, open: &AtomicBool) {
    let mut chunk = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
        passed.fetch_add(count, Ordering::Relaxed);
        while passed.load(Ordering::Relaxed) > GATE_BYTES && !open.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

/// A master and an agent whose containers have images and limits.
struct Cluster {
    agent: Daemon,
    master: Daemon,
    registry: Registry,
    cgroups_root: String,
    folder: Folder,
}

impl Cluster {
    /// Nothing where the test cannot run.
    fn start(name: &str) -> Option<Self> {
        if !support::is_root(name) {
            return None;
        }
        let folder = Folder::new(name);
        let registry = Registry::start(folder.path())?;
        let master = Daemon::master(folder.path(), &[]);
        let cgroups_root = format!("mezzo-{name}-{}", std::process::id());
        let agent = Daemon::agent(
            folder.path(),
            master.port,
            &[
                "--image_providers=docker",
                "--isolation=filesystem/linux,docker/runtime,cgroups/cpu,cgroups/mem,cgroups/pids,posix/rlimits,disk/du,namespaces/pid",
                "--enforce_container_disk_quota",
                "--container_disk_watch_interval=500ms",
                "--resources=cpus:4;mem:1024;disk:4096",
                &format!("--docker_registry=http://127.0.0.1:{}", registry.port),
                &format!("--docker_store_dir={}", folder.path().join("store").display()),
                &format!("--cgroups_root={cgroups_root}"),
            ],
        );
        let cluster = Self { agent, master, registry, cgroups_root, folder };
        wait_until("the agent is registered", || cluster.says(&["nodes"]).contains("active"));
        Some(cluster)
    }

    fn mezzo(&self, arguments: &[&str]) -> Output {
        mezzo(self.master.port, arguments)
    }

    /// What a command prints.
    fn says(&self, arguments: &[&str]) -> String {
        text(&self.mezzo(arguments).stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.mezzo(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON on stdout")
    }

    /// A task in the background.
    fn task(&self, name: &str, more: &[&str], command: &[&str]) -> Task {
        let task = self.begin(name, more, command);
        wait_until("the task runs", || self.says(&["why", name]).contains("running on"));
        task
    }

    fn begin(&self, name: &str, more: &[&str], command: &[&str]) -> Task {
        let log = fs::File::create(self.folder.path().join(format!("{name}.run"))).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(["run", "--name", name])
            .args(more)
            .args([&["--"][..], command].concat())
            .env("MEZZO_MASTER", format!("127.0.0.1:{}", self.master.port))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share it"))
            .stderr(log)
            .spawn()
            .expect("start mezzo run");
        Task(child)
    }

    /// What `mezzo run` of a task in the background has said.
    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{name}.run"))).unwrap_or_default()
    }

    /// Control groups of containers that are there.
    fn groups(&self) -> Vec<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let roots = hierarchies.map(|entry| entry.path().join(&self.cgroups_root));
        let all = roots.chain([Path::new("/sys/fs/cgroup").join(&self.cgroups_root)]);
        all.filter_map(|root| fs::read_dir(root).ok())
            .flat_map(|entries| entries.flatten())
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }

    /// Ends it and looks for what is left.
    fn end(mut self) {
        wait_until("no container is left", || self.groups().is_empty());
        self.agent.kill();
        self.master.kill();
        assert_eq!(self.agent.log_panics(), Vec::<String>::new());
        for entry in fs::read_dir("/sys/fs/cgroup").expect("read").flatten() {
            drop(fs::remove_dir(entry.path().join(&self.cgroups_root)));
        }
    }
}

/// `mezzo run` in the background, until it is dropped.
struct Task(Child);

impl Task {
    fn end(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("waited") {
                return status.code();
            }
            assert!(begin.elapsed() < PATIENCE, "it goes on");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_task_runs_from_its_image_and_can_be_worked_with() {
    let Some(cluster) = Cluster::start("image-run") else { return };
    // What the image says of how it is run, and what its user says.
    let ran = cluster.mezzo(&["run", "team/busybox:1"]);
    assert_eq!(
        (ran.status.code(), text(&ran.stdout).as_str()),
        (Some(0), "hello from /srv\n"),
        "{}",
        text(&ran.stderr)
    );
    let script = "cat /etc/motd; echo $GREETING $X; test -e /usr/lib || echo alone; exit 7";
    let ran = cluster.mezzo(&["run", "--env", "X=y", "team/busybox:1", "--", "sh", "-c", script]);
    let expected = format!("{MOTD}hello y\nalone\n");
    assert_eq!((ran.status.code(), text(&ran.stdout)), (Some(7), expected), "{}", text(&ran.stderr));

    let images = cluster.json(&["images"]);
    assert_eq!(images.as_array().map(Vec::len), Some(1), "{images}");
    assert!(images[0]["image"].as_str().is_some_and(|name| name.ends_with("/team/busybox:1")), "{images}");
    assert!(images[0]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{images}");
    assert_eq!(images[0]["in_use"], false, "{images}");

    let script = "echo started; echo mine > /tmp/file; while read line; do echo got $line; done; exit 4";
    let task = cluster.task("t", &["--tty", "team/busybox:1"], &["sh", "-c", script]);
    assert_eq!(cluster.json(&["images"])[0]["in_use"], true);
    let done = cluster.mezzo(&["exec", "-n", "t", "--", "sh", "-c", "cat /etc/motd /tmp/file; exit 9"]);
    assert_eq!(
        (done.status.code(), text(&done.stdout)),
        (Some(9), format!("{MOTD}mine\n")),
        "{}",
        text(&done.stderr)
    );
    // Rule 353: a session has the variables that the task really has.
    let variables = ["exec", "-n", "t", "--", "sh", "-c", "echo $GREETING $MESOS_SANDBOX"];
    assert_eq!(cluster.says(&variables), "hello /mnt/mesos/sandbox\n");
    assert_eq!(cluster.says(&["cp", "t:/etc/motd", "-"]), MOTD);
    let local = cluster.folder.path().join("local");
    fs::write(&local, "brought\n").expect("written");
    let copied = cluster.mezzo(&["cp", &local.display().to_string(), "t:/tmp"]);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    assert_eq!(cluster.says(&["exec", "-n", "t", "--", "cat", "/tmp/local"]), "brought\n");
    assert!(!Path::new("/tmp/local").exists(), "the host's /tmp is another");
    a042_copies_stay_in_the_container(&cluster);
    let mut screen = Screen::start(cluster.master.port, &["exec", "-it", "t", "--", "sh"]);
    screen.shows("# ");
    screen.types("cat /etc/motd; exit 5\r");
    assert_eq!(screen.end(), Some(5), "{:?}", screen.text());
    screen.shows("from the image");
    let mut screen = Screen::start(cluster.master.port, &["attach", "t"]);
    screen.shows("attached");
    wait_until("an answer", || {
        screen.types("one\r");
        thread::sleep(Duration::from_millis(100));
        screen.text().contains("got one\r\n")
    });
    screen.types("\x04");
    assert_eq!(screen.end(), Some(4), "{:?}", screen.text());
    let logs = cluster.says(&["logs", "t"]);
    assert!(logs.contains("started") && logs.contains("got one"), "{logs}");
    drop(task);
    cluster.end();
}

/// Links of a container lead to places in it, for what is copied out of it and into it; also while they change.
fn a042_copies_stay_in_the_container(cluster: &Cluster) {
    let folder = cluster.folder.path();
    let (victim, local) = (folder.join("victim"), folder.join("local"));
    fs::write(&victim, "the host's").expect("written");
    // What is the host's at this path is there in the container too, with other words in it.
    let script = format!(
        "mkdir -p {0}; echo own > {1}; ln -s {1} /tmp/leads; ln -s {1} leads; ln -s /proc/1/root{1} /tmp/around; \
         (while :; do ln -sfn {0} /tmp/swap; ln -sfn /tmp /tmp/swap; done) & echo $! > /tmp/swapper",
        folder.display(),
        victim.display()
    );
    let made = cluster.mezzo(&["exec", "-n", "t", "--", "sh", "-c", &format!("{script}; true")]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert_eq!(cluster.says(&["cp", "t:/tmp/leads", "-"]), "own\n");
    // Nobody goes through the root of the container's first process, which is not the container's.
    assert_eq!(cluster.says(&["cp", "t:/tmp/around", "-"]), "");
    // The agent itself reads what is in the sandbox, and follows no link out of it.
    let refused = cluster.mezzo(&["cp", "t:leads", "-"]);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{}", text(&refused.stdout));
    fs::write(&local, "brought\n").expect("written");
    for target in ["t:/tmp/leads", "t:/tmp/swap/victim", "t:/tmp/swap/victim", "t:/tmp/swap/victim"] {
        drop(cluster.mezzo(&["cp", &local.display().to_string(), target]));
    }
    assert_eq!(cluster.says(&["cp", "t:/tmp/leads", "-"]), "brought\n");
    assert_eq!(fs::read_to_string(&victim).expect("it is there"), "the host's");
    drop(cluster.mezzo(&["exec", "-n", "t", "--", "sh", "-c", "kill -9 $(cat /tmp/swapper)"]));
}

#[test]
fn limits_hold_and_the_neighbour_does_not_notice() {
    let Some(cluster) = Cluster::start("image-limits") else { return };
    let neighbour = cluster.task(
        "neighbour",
        &["team/busybox:1"],
        &["sh", "-c", "n=0; while true; do n=$((n+1)); echo $n; sleep 0.1; done"],
    );
    let count = || cluster.says(&["logs", "neighbour"]).lines().last().and_then(|n| n.parse::<u64>().ok());
    wait_until("the neighbour counts", || count().is_some());
    let goes_on = |after: &str| {
        let before = count();
        wait_until(after, || count() > before);
    };

    // More memory than it has.
    let hog = [
        "run",
        "--name",
        "hog",
        "--mem",
        "32",
        "team/busybox:1",
        "--",
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=300M",
        "count=1",
    ];
    let ran = cluster.mezzo(&hog);
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stderr));
    let why = cluster.says(&["why", "hog"]);
    assert!(why.contains("Memory limit exceeded: Requested: 64MB Maximum Used: 64MB"), "{why}");
    assert!(why.contains("REASON_CONTAINER_LIMITATION_MEMORY"), "{why}");
    goes_on("after a hog of memory");

    // As many processes as it gets.
    let mut bomb = cluster.begin(
        "bomb",
        &["--mem", "32", "team/busybox:1"],
        &["sh", "-c", "while true; do sleep 1000 & done"],
    );
    let is_limited = |groups: Vec<PathBuf>| {
        let limits = groups.iter().filter_map(|group| fs::read_to_string(group.join("pids.max")).ok());
        limits.map(|limit| limit.trim().parse::<u64>()).collect::<Result<Vec<_>, _>>()
    };
    // A group has none for the moment between its making and its first limit.
    wait_until("every container has a number of processes", || {
        is_limited(cluster.groups()).is_ok_and(|limits| !limits.is_empty())
    });
    assert_ne!(bomb.end(), Some(0), "{}", cluster.said("bomb"));
    goes_on("after a fork bomb");
    wait_until("its processes are gone", || cluster.says(&["why", "bomb"]).contains("failed"));

    // More of the disk than it may have, in the root file system.
    let script = "n=0; while true; do n=$((n+1)); dd if=/dev/zero of=/fill.$n bs=1M count=2 2>/dev/null; sleep 0.2; done";
    let ran = cluster.mezzo(&[
        "run",
        "--name",
        "filler",
        "--disk",
        "8",
        "team/busybox:1",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stderr));
    let why = cluster.says(&["why", "filler"]);
    assert!(why.contains("exceeds quota (8MB)") && why.contains("LIMITATION_DISK"), "{why}");
    goes_on("after a filler of the disk");

    // More open files than it may have.
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); : > f$i; done; ulimit -n; timeout 5 tail -f f* 2>&1 | grep -c 'Too many open files'";
    let call = json!({
        "type": "LAUNCH_CONTAINER",
        "launch_container": {
            "container_id": { "value": "descriptors" },
            "command": { "shell": true, "value": format!("cd /tmp; ({script}) > $MESOS_SANDBOX/told") },
            "resources": [{ "name": "mem", "type": "SCALAR", "scalar": { "value": 64 } }],
            "container": {
                "type": "MESOS",
                "mesos": { "image": { "type": "DOCKER", "docker": { "name": "team/busybox:1" } } },
                "rlimit_info": { "rlimits": [{ "type": "RLMT_NOFILE", "soft": 64, "hard": 64 }] },
            },
        },
    });
    let json = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let ask = |call: Value| {
        let (status, body) =
            support::request(cluster.agent.port, "POST", "/api/v1", &json, call.to_string().as_bytes())
                .expect("asked");
        assert!((200..300).contains(&status), "{status} {}", text(&body));
    };
    ask(call);
    ask(
        json!({ "type": "WAIT_CONTAINER", "wait_container": { "container_id": { "value": "descriptors" } } }),
    );
    let told = find(&cluster.folder.path().join("agent"), "told")
        .map(|path| fs::read_to_string(path).expect("read"));
    let told = told.expect("the sandbox has the file");
    let refused = told.lines().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    assert!(told.starts_with("64\n") && refused > 30, "{told}");
    goes_on("after a hog of descriptors");

    assert_eq!(cluster.mezzo(&["kill", "neighbour"]).status.code(), Some(0));
    drop(neighbour);
    cluster.end();
}

/// A file of this name somewhere below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let (path, kind) = (entry.path(), entry.file_type().ok()?);
        if kind.is_file() && entry.file_name() == name {
            return Some(path);
        }
        if kind.is_dir()
            && let Some(found) = find(&path, name)
        {
            return Some(found);
        }
    }
    None
}

#[test]
fn an_image_that_cannot_be_had_is_told_by_name_and_reason() {
    let Some(cluster) = Cluster::start("image-errors") else { return };
    let fails = |image: &str, words: &[&str]| {
        let ran = cluster.mezzo(&["run", image, "--", "true"]);
        let said = text(&ran.stderr);
        assert!(!ran.status.success(), "{image}");
        assert!(said.contains("error[MZ") && words.iter().all(|word| said.contains(word)), "{image}: {said}");
    };
    fails("team/nothing:1", &["Failed to pull image 'team/nothing:1'", "there is no such image"]);
    let digest = format!("team/busybox@sha256:{}", "0".repeat(64));
    fails(&digest, &[&digest, "there is no such image"]);
    fails("127.0.0.1:1/team/busybox", &["127.0.0.1:1/team/busybox", "refused"]);
    fails("Not/An/Image", &["'Not/An/Image' is not the name of an image", "mezzo run --"]);
    let pulled = cluster.mezzo(&["pull", "team/nothing:1"]);
    assert_eq!(pulled.status.code(), Some(1));
    assert!(text(&pulled.stderr).contains("there is no such image"), "{}", text(&pulled.stderr));
    assert_eq!(cluster.mezzo(&["pull", "team/busybox:1", "--agent", "nobody"]).status.code(), Some(3));

    let pulled = cluster.json(&["pull", "team/busybox:1", "--agent", "127.0.0.1"]);
    assert_eq!(pulled.as_array().map(Vec::len), Some(1), "{pulled}");
    // By what it is, and by something else.
    let digest = pulled[0]["digest"].as_str().expect("a digest");
    let by_digest = format!("team/busybox@{digest}");
    assert_eq!(cluster.mezzo(&["run", &by_digest, "--", "true"]).status.code(), Some(0));
    let lines = cluster.says(&["images"]);
    assert!(lines.contains("IMAGE") && lines.contains("/team/busybox:1"), "{lines}");
    cluster.end();
}

#[test]
fn an_agent_that_is_killed_finds_its_images_again() {
    let Some(mut cluster) = Cluster::start("image-faults") else { return };
    let task = cluster.task(
        "t",
        &["team/busybox:1"],
        &["sh", "-c", "while true; do date > /tmp/now; sleep 0.1; done"],
    );
    cluster.agent.kill();
    cluster.agent.start();
    wait_until("the task is known again", || cluster.says(&["why", "t"]).contains("running on"));
    wait_until("the image is in use", || cluster.json(&["images"])[0]["in_use"] == true);
    wait_until("sessions reach it", || cluster.says(&["exec", "-n", "t", "--", "cat", "/etc/motd"]) == MOTD);

    // While an image is on its way.
    let gate = Gate::shut_before(cluster.registry.port);
    cluster.registry.push_busybox(cluster.folder.path(), "2");
    let image = format!("127.0.0.1:{}/team/busybox:2", gate.port);
    let mut waits = cluster.begin("waits", &[&image], &["true"]);
    let how_far = || {
        let why = cluster.says(&["why", "waits"]);
        why.lines().find(|line| line.contains("pulling")).map(str::to_owned)
    };
    let begin = Instant::now();
    let line = loop {
        match how_far() {
            Some(line) if line.contains(": 0.") => break line,
            line => assert!(begin.elapsed() < PATIENCE, "{line:?}: {}", cluster.said("waits")),
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(line.contains(&format!("pulling {image}: 0.")) && line.ends_with(" MB"), "{line}");
    wait_until("mezzo run tells how far it is", || {
        cluster.said("waits").contains(&format!("pulling {image}"))
    });
    let listed = cluster.says(&["images"]);
    assert!(listed.contains("pulling 0."), "{listed}");
    cluster.agent.kill();
    cluster.agent.start();
    assert_ne!(waits.end(), Some(0), "it never ran: {}", cluster.said("waits"));
    gate.open();
    let ran = cluster.mezzo(&["run", &image, "--", "cat", "/etc/motd"]);
    assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(0), MOTD), "{}", text(&ran.stderr));
    let store = cluster.folder.path().join("store");
    for part in ["unpacking", "trash", "downloads"] {
        let left = || fs::read_dir(store.join(part)).expect("read").flatten().next();
        // What is in the trash is deleted while others go on.
        wait_until(&format!("{part} is empty"), || left().is_none());
    }
    assert_eq!(cluster.mezzo(&["kill", "t"]).status.code(), Some(0));
    drop(task);
    cluster.end();
}

#[test]
fn a_development_cluster_of_root_has_images() {
    if !support::is_root("image-dev") {
        return;
    }
    let folder = Folder::new("image-dev");
    let Some(registry) = Registry::start(folder.path()) else { return };
    let dev = crate::Dev::start("image-dev-cluster", &["--agents=1"]);
    let image = format!("127.0.0.1:{}/team/busybox:1", registry.port);
    let ran = dev.mezzo(&["run", &image]);
    assert_eq!(
        (ran.status.code(), text(&ran.stdout).as_str()),
        (Some(0), "hello from /srv\n"),
        "{}",
        text(&ran.stderr)
    );
    assert!(dev.stop().success());
}
