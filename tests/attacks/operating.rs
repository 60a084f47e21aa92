//! What operators rely on while somebody attacks: who may reach a daemon, and its log.

use std::{
    net::Ipv4Addr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    support::{Daemon, Folder, PATIENCE},
    wire::{assert_well, get, post},
};

/// Status and words of a daemon that does not start.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mezzo")).args(arguments).output().expect("run mezzo");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a107_nobody_listens_beyond_loopback_without_being_told_to() {
    let folder = Folder::new("a107");
    let work = format!("--work_dir={}", folder.path().display());
    for (daemon, more) in [("master", "--port=0"), ("agent", "--master=127.0.0.1:1")] {
        for ip in ["0.0.0.0", "::", "192.0.2.1"] {
            let (code, text) = refusal(&[daemon, &work, more, &format!("--ip={ip}")]);
            assert_eq!(code, Some(2), "{text}");
            for part in ["error[MZ0002]", "\n  --> ", "\n   = ", "--allow_unauthenticated"] {
                assert!(text.contains(part), "{daemon} --ip={ip}: {text}");
            }
        }
    }
    let everywhere = format!("--ip={}", Ipv4Addr::UNSPECIFIED);
    let (_, text) = refusal(&["master", &work, "--allow_unauthenticated", &everywhere, "--port=x"]);
    assert!(text.contains("--port=x cannot be used"), "the address is allowed: {text}");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not so: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn rules_6_24_and_399_logs_are_files_and_tell_more_for_a_while() {
    let folder = Folder::new("logs");
    let logs = folder.path().join("logs");
    let flag = format!("--log_dir={}", logs.display());
    let master = Daemon::master(folder.path(), &[&flag]);
    let agent = Daemon::agent(folder.path(), master.port, &[&flag, "--resources=cpus:1;mem:64;disk:64"]);
    for (daemon, file, path) in
        [(&master, "mezzo-master.INFO", "/master/log"), (&agent, "mezzo-agent.INFO", "/slave/log")]
    {
        let text = std::fs::read_to_string(logs.join(file)).expect("read the log");
        assert!(text.starts_with("Log file created at: ") && text.contains("INFO"), "{text}");
        let answer = get(daemon.port, &format!("/files/read?path={path}&offset=0&length=10"));
        assert!(answer.text.ends_with("{\"data\":\"Log file c\",\"offset\":0}"), "{}", answer.text);
        assert_eq!(get(daemon.port, &format!("/files/download?path={path}")).status, 200);

        // Rule 24: both parts, no level below the start level, and back after the time.
        let toggle = |query: &str| get(daemon.port, &format!("/logging/toggle{query}"));
        assert!(toggle("").text.ends_with("0\n"));
        for bad in [
            "?level=1",
            "?duration=1secs",
            "?level=-1&duration=1secs",
            "?level=x&duration=1secs",
            "?level=1&duration=x",
        ] {
            assert_eq!(toggle(bad).status, 400, "{bad}");
        }
        let has_debug = || {
            // Whatever happens below INFO: a connection that breaks off says so.
            drop(crate::wire::raw(daemon.port, b"garbage\r\n\r\n"));
            std::fs::read_to_string(logs.join(file)).expect("read the log").contains("DEBUG")
        };
        assert!(!has_debug());
        assert_eq!(toggle("?level=1&duration=1hrs").status, 200);
        assert!(toggle("").text.ends_with("1\n"));
        until("more is logged", has_debug);
        // The same order through the v1 API; a later one counts.
        let call = |nanoseconds: u64| {
            format!(
                "{{\"type\":\"SET_LOGGING_LEVEL\",\"set_logging_level\":{{\"level\":2,\"duration\":{{\"nanoseconds\":{nanoseconds}}}}}}}"
            )
        };
        let answer = post(daemon.port, "/api/v1", "application/json", call(100_000_000).as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text);
        until("the start level is back", || {
            let answer =
                post(daemon.port, "/api/v1", "application/json", b"{\"type\":\"GET_LOGGING_LEVEL\"}");
            answer.text.contains("\"level\":0")
        });
        assert_well(daemon);
    }
    // Rule 23: a timeout that cannot be read.
    for bad in ["x", "-", "5", "5parsecs"] {
        assert_eq!(get(master.port, &format!("/metrics/snapshot?timeout={bad}")).status, 400, "{bad}");
    }
}
