//! The first five minutes, as the README shows them: `mezzo dev` and what is said to it from a second terminal.

mod https;
mod images;
mod interactive;
mod networks;
mod pages;
mod runtimes;
mod services;
mod sim;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test program uses its part of the shared module")]
mod support;
mod top;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{Folder, PATIENCE};

/// A dev cluster of the test's own.
struct Dev {
    child: Child,
    port: u16,
    said: Vec<String>,
    _folder: Folder,
}

impl Dev {
    fn start(name: &str, more: &[&str]) -> Self {
        let port = support::free_port();
        let folder = Folder::new(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(["dev", &format!("--port={port}")])
            .args(more)
            .env("TMPDIR", folder.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start mezzo dev");
        let (send, lines) = std::sync::mpsc::channel();
        for stream in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>),
        ] {
            let send = send.clone();
            let stream = BufReader::new(stream.expect("the pipe"));
            thread::spawn(move || {
                stream.lines().map_while(Result::ok).for_each(|line| drop(send.send(line)))
            });
        }
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("next:")) {
            said.push(lines.recv_timeout(PATIENCE).expect("mezzo dev says what is next"));
        }
        Self { child, port, said, _folder: folder }
    }

    fn mezzo(&self, arguments: &[&str]) -> Output {
        mezzo(self.port, arguments)
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.mezzo(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON on stdout")
    }

    /// Ends it as Ctrl-C does, and waits.
    fn stop(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("run kill").success());
        self.child.wait().expect("wait for mezzo dev")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Already over when the test went well.
        drop(self.child.kill());
    }
}

/// What a command of the master on this port comes to.
fn mezzo(port: u16, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(arguments)
        .env("MEZZO_MASTER", format!("127.0.0.1:{port}"))
        .env("NO_COLOR", "1")
        .output()
        .expect("run mezzo")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn dev_runs_a_task_and_gives_its_output_and_exit_code() {
    let dev = Dev::start("dev-run", &["--agents=2"]);
    assert!(dev.said.iter().any(|line| line.contains("agents 2")), "{:?}", dev.said);

    let ran = dev.mezzo(&["run", "--", "sh", "-c", "echo hi; exit 3"]);
    assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(3), "hi\n"), "{}", text(&ran.stderr));
    let ran = dev.mezzo(&["run", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(0), "out\n"));
    assert!(text(&ran.stderr).contains("err"), "{}", text(&ran.stderr));
    let ran = dev.mezzo(&["run", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(ran.status.code(), Some(128 + 9));

    let nodes = dev.json(&["nodes"]);
    assert_eq!(nodes.as_array().map(Vec::len), Some(2), "{nodes}");
    assert!(dev.stop().success());
}

#[test]
fn a_running_task_is_seen_explained_and_ended() {
    let dev = Dev::start("dev-task", &["--agents=1"]);
    let mut run = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["run", "--name", "sleeper", "--", "sh", "-c", "echo awake; sleep 1000"])
        .env("MEZZO_MASTER", format!("127.0.0.1:{}", dev.port))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start mezzo run");
    let start = Instant::now();
    while !dev.mezzo(&["tasks"]).stdout.windows(7).any(|word| word == b"running") {
        assert!(start.elapsed() < PATIENCE, "the task does not run");
        thread::sleep(Duration::from_millis(50));
    }
    let why = text(&dev.mezzo(&["why", "sleeper"]).stdout);
    assert!(why.contains("running on dev-1"), "{why}");
    let logs = text(&dev.mezzo(&["logs", "sleeper"]).stdout);
    assert!(logs.contains("awake"), "{logs}");
    assert!(dev.mezzo(&["kill", "sleeper"]).status.success());
    assert!(!run.wait().expect("wait for mezzo run").success());
    assert!(dev.stop().success());
}

#[test]
fn doctor_tells_what_works_here_and_why_the_rest_does_not() {
    let empty = support::Folder::new("doctor");
    let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["doctor", "-o", "json", "--cgroups_hierarchy"])
        .arg(empty.path())
        .output()
        .expect("run mezzo");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |what: &str| findings.iter().find(|finding| finding["what"] == what).expect("it is told");
    assert_eq!(of("posix/cpu")["works"], true);
    assert_eq!(of("control groups")["works"], false);
    assert_eq!(of("cgroups/mem")["works"], false);
    assert!(of("cgroups/mem")["note"].as_str().is_some_and(|note| note.contains("control group")));
}

#[test]
fn errors_say_what_to_do() {
    let port = support::free_port();
    let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["tasks"])
        .env("MEZZO_MASTER", format!("127.0.0.1:{port}"))
        .env("NO_COLOR", "1")
        .output()
        .expect("run mezzo");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("error[") && said.contains("help:"), "{said}");

    let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["master", "--zk=zk://nowhere:2181/mesos", "--quorum=1"])
        .output()
        .expect("run mezzo");
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("zk"), "{}", text(&output.stderr));
}
