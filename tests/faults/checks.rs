//! Commands of checks inside containers that are apart from the host.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    chaos::{Cluster, Marks},
    scheduler::{Scheduler, command_task, launch_all},
    support::{Folder, PATIENCE, is_root},
};

/// What the check of the test runs for ever; no other process has these arguments.
const FOR_EVER: &str = "86420.25";

/// A check sees what its task sees, is made again by an agent that comes back, and does not outlive its task;
/// that of the killed agent has gone by then.
#[test]
fn rule_344_checks_run_inside_the_container_and_none_is_left() {
    if !is_root("rule_344_checks_run_inside_the_container_and_none_is_left") {
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
        let start = Instant::now();
        while marks.read("check").lines().count() < times {
            assert!(start.elapsed() < PATIENCE, "the check runs:\n{}", cluster.agent.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    checked(&cluster, 1);
    cluster.agent.kill();
    cluster.agent.start();
    checked(&cluster, 2);
    let start = Instant::now();
    while sleepers() != 1 {
        assert!(
            start.elapsed() < PATIENCE,
            "one check runs, not {}:\n{}",
            sleepers(),
            cluster.agent.log_tail()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    marks.let_end();
    scheduler.finish().unwrap_or_else(|error| cluster.fail(0, &error));
    cluster.check(0);
    let own = fs::read_link("/proc/self/ns/pid").expect("read a link of /proc").display().to_string();
    let seen = marks.read("task");
    assert!(!seen.is_empty() && seen.trim() != own, "the task has its own processes: {seen}");
    assert!(marks.read("check").lines().all(|line| line == seen.trim()), "{seen} {}", marks.read("check"));
    let start = Instant::now();
    while sleepers() != 0 {
        assert!(start.elapsed() < PATIENCE, "a check is left:\n{}", cluster.agent.log_tail());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes that sleep as long as the check does.
fn sleepers() -> usize {
    let wanted = format!("sleep\0{FOR_EVER}\0");
    let sleeps = |entry: &fs::DirEntry| {
        fs::read(Path::new(&entry.path()).join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    };
    fs::read_dir("/proc").expect("list processes").flatten().filter(sleeps).count()
}
