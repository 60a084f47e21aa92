//! Wall clocks of daemons that are set while tasks run (F180, F181).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    chaos::{Cluster, Marks},
    scheduler::{Scheduler, command_task, launch_all},
    support::{Folder, request},
};

const TASKS: usize = 20;
/// What the clocks are set to, against the right time in seconds: an hour on and back, 1970, 2038, 2106.
const OFFSETS: [i64; 6] = [3_600, -3_600, -1_795_000_000, 360_000_000, 2_500_000_000, 0];
/// Long enough for heartbeats of agents, which are what a wrong clock would end.
const LOOK: Duration = Duration::from_secs(3);
const PINGS: [&str; 2] = ["--agent_ping_timeout=2secs", "--max_agent_ping_timeouts=3"];

#[test]
fn f180_and_f181_clocks_that_are_set_end_nothing() {
    let folder = Folder::new("clock");
    let marks = Marks::new(folder.path());
    let mut cluster = Cluster::start(folder.path(), &PINGS, &[]);
    let (master, agent) = (folder.path().join("master-clock"), folder.path().join("agent-clock"));
    set(&master, 0);
    set(&agent, 0);
    let start = Instant::now();
    // Before there are tasks, so that nothing but the clocks disturbs them.
    cluster.master.restart_with(fake_clock(&master));
    cluster.agent.restart_with(fake_clock(&agent));
    let scheduler = Scheduler::start(cluster.master.port, TASKS, {
        let marks = marks.clone();
        move |tasks, place| {
            let infos: Vec<_> =
                tasks.iter().map(|task| command_task(task, place, &marks.command_until_told(task))).collect();
            launch_all(&infos)
        }
    });
    scheduler.wait_for("TASK_RUNNING", TASKS).unwrap_or_else(|error| cluster.fail(0, &error));
    for clock in [&master, &agent] {
        for offset in OFFSETS {
            set(clock, offset);
            thread::sleep(LOOK);
            let (uptime, real) = (uptime(cluster.master.port), start.elapsed().as_secs_f64());
            let limit = 2.0 * real + 60.0;
            assert!(
                (0.0..limit).contains(&uptime),
                "{offset} s off: the master says {uptime} s, at most {real} s have passed"
            );
        }
        for strobe in 0..40 {
            set_text(clock, if strobe % 2 == 0 { "+0.2" } else { "-0.2" });
            thread::sleep(Duration::from_millis(50));
        }
        set(clock, 0);
    }
    for state in ["TASK_LOST", "TASK_UNREACHABLE", "TASK_FAILED", "TASK_KILLED"] {
        let seen = scheduler.tasks_seen_in(state);
        if !seen.is_empty() {
            cluster.fail(0, &format!("{state} of {seen:?}"));
        }
    }
    for daemon in [&cluster.master, &cluster.agent] {
        assert!(daemon.log_tail().contains("the clock of this machine was set"), "{}", daemon.log_tail());
    }
    marks.let_end();
    let outcomes = scheduler.finish().unwrap_or_else(|error| cluster.fail(0, &error));
    cluster.check(0);
    marks.judge(0, &outcomes, TASKS);
    assert_eq!(outcomes.len(), TASKS, "no task was launched twice");
    println!("clocks: {TASKS} tasks undisturbed by {} settings", 2 * OFFSETS.len());
}

/// How long the master believes to run, in seconds.
fn uptime(port: u16) -> f64 {
    let (status, body) = request(port, "GET", "/metrics/snapshot", &[], b"").expect("ask for metrics");
    assert_eq!(status, 200);
    let metrics: serde_json::Value = serde_json::from_slice(&body).expect("metrics are JSON");
    metrics["master/uptime_secs"].as_f64().expect("an uptime")
}

/// What a daemon must be started with so that the file says how wrong its wall clock is.
fn fake_clock(file: &Path) -> Vec<(String, String)> {
    let library = library();
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Debian's libfaketime, installed where it is missing.
fn library() -> PathBuf {
    let found = || {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
    };
    found().unwrap_or_else(|| {
        let install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends libfaketime";
        let status = Command::new("sh").args(["-c", install]).status();
        assert!(status.is_ok_and(|status| status.success()), "install libfaketime");
        found().expect("libfaketime is there")
    })
}

fn set(file: &Path, offset: i64) {
    set_text(file, &format!("{offset:+}"));
}

/// Replaces the file at once, because it is read all the time.
fn set_text(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, file)).expect("set the clock");
}
