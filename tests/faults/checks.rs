//! Commands of checks inside containers that are apart from the host.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    chaos::{Cluster, Marks},
    scheduler::{Scheduler, command_task, launch_all},
    support::{Folder, PATIENCE, is_root},
};

/// What the check and the session of the test run for ever; no other process has these arguments.
const FOR_EVER: &str = "86420.25";
const SESSION: &str = "86420.75";

/// A check sees what its task sees, is made again by an agent that comes back, and does not outlive its task;
/// that of the killed agent has gone by then, and so has a session.
#[test]
fn rules_344_and_360_checks_and_sessions_are_inside_and_none_is_left() {
    if !is_root("rules_344_and_360_checks_and_sessions_are_inside_and_none_is_left") {
        return;
    }
    let folder = Folder::new("checks");
    let marks = Marks::new(folder.path());
    let isolation = ["--isolation=filesystem/linux,namespaces/pid"];
    let mut cluster = Cluster::start(folder.path(), &[], &isolation);
    let scheduler = Scheduler::start(cluster.master.port, 1, {
        let marks = marks.clone();
        move |tasks, place| {
            let [task, check] = ["task", "check"].map(|name| marks.path(name).display().to_string());
            let wait = marks.command_until_told("until");
            let command = format!("readlink /proc/self/ns/pid > {task}; {wait}");
            let mut info = command_task(&tasks[0], place, &command);
            let check = format!("readlink /proc/self/ns/pid >> {check}; sleep {FOR_EVER}");
            info["check"] = json!({"type": "COMMAND", "command": {"command": {"value": check}},
                "delay_seconds": 0, "interval_seconds": 0.1, "timeout_seconds": 0});
            launch_all(&[info])
        }
    });
    let checked = |cluster: &Cluster, times: usize| {
        wait_for(cluster, "the check runs", || marks.read("check").lines().count() >= times);
    };
    checked(&cluster, 1);
    let mut session = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["exec", "-n", "task-000", "--", "sleep", SESSION])
        .env("MEZZO_MASTER", format!("127.0.0.1:{}", cluster.master.port))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("run mezzo exec");
    wait_for(&cluster, "the session runs", || sleepers(SESSION) == 1);
    cluster.agent.kill();
    cluster.agent.start();
    checked(&cluster, 2);
    wait_for(&cluster, "one check runs", || sleepers(FOR_EVER) == 1);
    // Rule 360.
    wait_for(&cluster, "the session ends", || sleepers(SESSION) == 0);
    assert!(!session.wait().expect("mezzo exec ends").success());
    marks.let_end();
    scheduler.finish().unwrap_or_else(|error| cluster.fail(0, &error));
    cluster.check(0);
    let own = fs::read_link("/proc/self/ns/pid").expect("read a link of /proc").display().to_string();
    let seen = marks.read("task");
    assert!(!seen.is_empty() && seen.trim() != own, "the task has its own processes: {seen}");
    assert!(marks.read("check").lines().all(|line| line == seen.trim()), "{seen} {}", marks.read("check"));
    wait_for(&cluster, "no check is left", || sleepers(FOR_EVER) == 0);
}

fn wait_for(cluster: &Cluster, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}:\n{}", cluster.agent.log_tail());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Processes that sleep so long.
fn sleepers(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let sleeps = |entry: &fs::DirEntry| {
        fs::read(Path::new(&entry.path()).join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    };
    fs::read_dir("/proc").expect("list processes").flatten().filter(sleeps).count()
}
