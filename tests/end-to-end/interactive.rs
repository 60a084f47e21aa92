//! `mezzo exec`, `mezzo attach` and `mezzo cp`, with pipes and in a terminal.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::OpenptFlags,
    termios::{Termios, Winsize},
};

use crate::{
    Dev,
    support::{Daemon, Folder, PATIENCE, open, request},
    text,
};

/// A task in the background, until it is dropped.
pub(crate) struct Task(Child);

impl Task {
    pub(crate) fn start(dev: &Dev, more: &[&str], command: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(["run", "--name", "t"])
            .args(more)
            .args(["--", "sh", "-c", command])
            .env("MEZZO_MASTER", format!("127.0.0.1:{}", dev.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start mezzo run");
        wait_until("the task runs", || text(&dev.mezzo(&["tasks"]).stdout).contains("running"));
        Self(child)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A terminal with `mezzo` in it, as a person has it.
pub(crate) struct Screen {
    ours: File,
    theirs: OwnedFd,
    before: Termios,
    seen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Screen {
    pub(crate) fn start(port: u16, arguments: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags).expect("a terminal");
        rustix::pty::unlockpt(&ours).expect("unlocked");
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags).expect("its other end");
        let before = rustix::termios::tcgetattr(&theirs).expect("its settings");
        let stdio = || Stdio::from(theirs.try_clone().expect("a copy"));
        rustix::termios::tcsetwinsize(&ours, size(33, 99)).expect("a size");
        // Makes it the terminal of a session of its own.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_mezzo")])
            .args(arguments)
            .env("MEZZO_MASTER", format!("127.0.0.1:{port}"))
            .env("TERM", "dumb")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("start mezzo");
        let ours = File::from(ours);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, kept) = (ours.try_clone().expect("a copy"), seen.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                kept.lock().expect("the text").extend_from_slice(&buffer[..length]);
            }
        });
        Self { ours, theirs, before, seen, child }
    }

    pub(crate) fn text(&self) -> String {
        text(&self.seen.lock().expect("the text"))
    }

    pub(crate) fn shows(&self, wanted: &str) {
        let start = Instant::now();
        while !self.text().contains(wanted) {
            assert!(start.elapsed() < PATIENCE, "no {wanted:?} in {:?}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).expect("type");
    }

    /// Whether the terminal is as it was before.
    pub(crate) fn is_restored(&self) -> bool {
        let now = rustix::termios::tcgetattr(&self.theirs).expect("its settings");
        (now.input_modes, now.output_modes, now.local_modes)
            == (self.before.input_modes, self.before.output_modes, self.before.local_modes)
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it goes on: {:?}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// `mezzo` with something piped into it.
fn piped(dev: &Dev, arguments: &[&str], input: &[u8]) -> std::process::Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(arguments)
        .env("MEZZO_MASTER", format!("127.0.0.1:{}", dev.port))
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start mezzo");
    let mut pipe = child.stdin.take().expect("the pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().expect("wait for mezzo");
    writer.join().expect("all was written");
    output
}

#[test]
fn what_is_piped_in_comes_out_and_files_are_copied() {
    let dev = Dev::start("exec-pipes", &["--agents=1"]);
    let _task = Task::start(&dev, &[], "echo hello > greeting; sleep 1000");
    // More than all the buffers on the way hold together.
    let input: Vec<u8> = (0..8 << 20).map(|n: u32| n.to_le_bytes()[1] ^ n.to_le_bytes()[0]).collect();
    let output = piped(&dev, &["exec", "t", "--", "cat"], &input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout == input, "{} of {} bytes", output.stdout.len(), input.len());

    let script = "cat greeting; echo bad >&2; echo $MESOS_SANDBOX | grep -c runs; exit 7";
    let output = piped(&dev, &["exec", "t", "--", "sh", "-c", script], b"");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("hello\n1\n".into(), "bad\n".into()));
    let output = piped(&dev, &["exec", "-n", "t", "--", "cat"], b"not for it");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{}", text(&output.stderr));
    // A command that does not read its input.
    let output = piped(&dev, &["exec", "t", "--", "sh", "-c", "kill -9 $$"], &input);
    assert_eq!(output.status.code(), Some(128 + 9), "{}", text(&output.stderr));
    for (arguments, code) in [
        (["exec", "nobody", "--", "true"], 3),
        (["exec", "t", "--", "/no/such/program"], 1),
        (["attach", "t", "-n", "-o=table"], 1),
    ] {
        let output = piped(&dev, &arguments, b"");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("error[MZ"), "{}", text(&output.stderr));
    }

    let folder = Folder::new("exec-files");
    let (local, back) = (folder.path().join("data"), folder.path().join("back"));
    fs::write(&local, &input).expect("a file");
    let (local, back) = (local.display().to_string(), back.display().to_string());
    for (from, to) in [
        (local.as_str(), "t:"),
        ("t:data", back.as_str()),
        (local.as_str(), "t:/tmp"),
        ("t:/tmp/data", back.as_str()),
    ] {
        drop(fs::remove_file(&back));
        let output = dev.mezzo(&["cp", from, to]);
        assert_eq!(output.status.code(), Some(0), "{from} {to}: {}", text(&output.stderr));
        assert!(to != back || fs::read(&back).expect("the copy") == input, "{from}");
    }
    assert!(piped(&dev, &["exec", "t", "--", "rm", "/tmp/data"], b"").status.success());
    let output = dev.mezzo(&["cp", "t:greeting", "-"]);
    assert_eq!(text(&output.stdout), "hello\n", "{}", text(&output.stderr));
    assert_eq!(dev.mezzo(&["cp", "t:nothing", &back]).status.code(), Some(3));
    assert_eq!(dev.mezzo(&["cp", "t:/no/thing", &back]).status.code(), Some(1));
    assert_eq!(dev.mezzo(&["cp", "a", "b"]).status.code(), Some(2));
    assert!(dev.stop().success());
}

#[test]
fn a_terminal_is_handed_over_and_given_back() {
    let dev = Dev::start("exec-terminal", &["--agents=1"]);
    let _task = Task::start(&dev, &[], "sleep 1000");
    let mut screen = Screen::start(dev.port, &["exec", "-it", "t", "--", "sh"]);
    screen.shows("# ");
    screen.types("stty size; echo $TERM\r");
    screen.shows("33 99\r\ndumb\r\n");
    rustix::termios::tcsetwinsize(&screen.ours, size(44, 111)).expect("another size");
    wait_until("the size arrives", || {
        screen.types("stty size\r");
        thread::sleep(Duration::from_millis(100));
        screen.text().contains("44 111")
    });
    assert!(!screen.is_restored());
    screen.types("sleep 1000; echo interrupted $?\r");
    wait_until("the interruption", || {
        screen.types("\x03");
        thread::sleep(Duration::from_millis(100));
        screen.text().contains("^C")
    });
    screen.types("\rexit 9\r");
    assert_eq!(screen.end(), Some(9), "{:?}", screen.text());
    assert!(screen.is_restored());

    // Ended from outside: also then the terminal is put back in order.
    let mut screen = Screen::start(dev.port, &["exec", "t", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    screen.shows("ready");
    assert!(!screen.is_restored());
    let children = format!("/proc/{0}/task/{0}/children", screen.child.id());
    // setsid has forked when it was the leader of a group.
    let child = fs::read_to_string(children).unwrap_or_default();
    let pid = child.trim().parse().unwrap_or(screen.child.id()).to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("run kill").success());
    assert_eq!(screen.end(), Some(128 + 15), "{:?}", screen.text());
    assert!(screen.is_restored());
    assert!(dev.stop().success());
}

#[test]
fn a_task_with_a_terminal_is_attached_to_and_left() {
    let dev = Dev::start("attach", &["--agents=1"]);
    let task = Task::start(&dev, &["--tty"], "while read line; do echo got $line; stty size; done; exit 4");
    let mut screen = Screen::start(dev.port, &["attach", "t"]);
    screen.shows("attached");
    wait_until("an answer", || {
        screen.types("one\r");
        thread::sleep(Duration::from_millis(100));
        screen.text().contains("got one\r\n33 99\r\n")
    });
    screen.types("\x10\x11");
    assert_eq!(screen.end(), Some(0), "{:?}", screen.text());
    assert!(screen.is_restored());
    // What it wrote last may still be on its way through the terminal.
    screen.shows("left");

    let mut screen = Screen::start(dev.port, &["attach", "t"]);
    screen.shows("attached");
    wait_until("an answer", || {
        screen.types("two\r");
        thread::sleep(Duration::from_millis(100));
        screen.text().contains("got two")
    });
    // The end of its input.
    screen.types("\x04");
    assert_eq!(screen.end(), Some(4), "{:?}", screen.text());
    assert!(screen.is_restored());
    let logs = text(&dev.mezzo(&["logs", "t"]).stdout);
    assert!(logs.contains("got one") && logs.contains("got two"), "rule 377: {logs}");
    drop(task);
    assert!(dev.stop().success());
}

/// A task on an agent of its own, and the container it is in.
pub(crate) fn on_an_agent(folder: &Folder) -> (Daemon, Daemon, Task, serde_json::Value) {
    let master = Daemon::master(folder.path(), &[]);
    let agent = Daemon::agent(folder.path(), master.port, &["--resources=cpus:1;mem:256"]);
    let child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["run", "--", "sleep", "1000"])
        .env("MEZZO_MASTER", format!("127.0.0.1:{}", master.port))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start mezzo run");
    let task = Task(child);
    let mut containers = serde_json::Value::Null;
    wait_until("the task runs", || {
        let (_, body) = request(agent.port, "GET", "/containers", &[], b"").expect("an answer");
        containers = serde_json::from_slice(&body).expect("JSON");
        containers[0]["status"]["executor_pid"].is_u64()
    });
    let id = containers[0]["container_id"].clone();
    (master, agent, task, id)
}

/// A session that never stops talking to a client that does not listen. What it says is in files, and an agent
/// reads on when its client has.
#[test]
fn a040_output_without_end_is_not_kept_in_memory() {
    const BYTES: u64 = 300 << 20;
    const MEMORY_KIB_MAX: u64 = 128 << 10;
    let folder = Folder::new("endless");
    let (_master, agent, _task, id) = on_an_agent(&folder);
    let command = format!("head -c {BYTES} /dev/zero; head -c {BYTES} /dev/zero >&2; touch said; sleep 1000");
    let call = serde_json::json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": {
        "container_id": {"value": "endless", "parent": {"value": id}}, "command": {"value": command}}});
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let client =
        open(agent.port, "POST", "/api/v1", &headers, call.to_string().as_bytes()).expect("an answer");
    assert_eq!(client.status, 200);
    let agents = folder.path().join("agent");
    let find =
        || Command::new("find").arg(&agents).args(["-name", "said"]).output().expect("run find").stdout;
    wait_until("it has said all", || !find().is_empty());
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
    drop(client);
}

/// What the log of a container can tell is not streamed: only terminals and sessions are, as in Mesos.
#[test]
fn rule_372_a_container_without_a_terminal_is_not_attached_to() {
    let folder = Folder::new("attach-refused");
    let (_master, agent, _task, id) = on_an_agent(&folder);
    let output = serde_json::json!({"type": "ATTACH_CONTAINER_OUTPUT",
        "attach_container_output": {"container_id": {"value": id}}});
    let input = serde_json::json!({"type": "ATTACH_CONTAINER_INPUT",
        "attach_container_input": {"type": "CONTAINER_ID", "container_id": {"value": id}}});
    let record = format!("{}\n{input}", input.to_string().len());
    let stream = [("Content-Type", "application/recordio"), ("Message-Content-Type", "application/json")];
    for (headers, body) in
        [(&[("Content-Type", "application/json")][..], output.to_string()), (&stream[..], record)]
    {
        let (status, said) =
            request(agent.port, "POST", "/api/v1", headers, body.as_bytes()).expect("an answer");
        assert_eq!(status, 500, "{body}: {}", text(&said));
        assert!(text(&said).contains("no I/O switchboard"), "{}", text(&said));
    }
}
