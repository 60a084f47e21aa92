//! `mezzo top`, once and as a screen.

use serde_json::Value;

use crate::{
    Dev,
    interactive::{Screen, Task, on_an_agent, wait_until},
    mezzo,
    support::Folder,
    text,
};

/// The shortest interval that is not too short.
const INTERVAL: &str = "--interval=0.2";

#[test]
fn what_a_task_uses_is_shown_once() {
    let dev = Dev::start("top-once", &["--agents=2"]);
    assert_eq!(dev.json(&["top", INTERVAL]), serde_json::json!([]));
    let _task = Task::start(&dev, &["--cpus=0.5"], "sleep 1000 & while :; do :; done");
    let mut row = Value::Null;
    wait_until("it uses a processor", || {
        row = dev.json(&["top", INTERVAL])[0].take();
        row["cpu_percent"].as_f64().is_some_and(|percent| percent > 1.0)
    });
    // By its id, as frameworks' tasks have no other name that is only theirs.
    assert!(row["task"].as_str().is_some_and(|task| task.starts_with("run-")), "{row}");
    assert_eq!(row["tasks"], serde_json::json!([row["task"]]), "{row}");
    assert_eq!(row["cpus"], 0.5, "{row}");
    let nodes = dev.json(&["nodes"]);
    assert!(
        nodes.as_array().is_some_and(|all| all.iter().any(|node| node["hostname"] == row["node"])),
        "{row}{nodes}"
    );
    assert!(row["mem_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{row}");
    // The shell and what it has started.
    assert!(row["processes"].as_u64().is_some_and(|count| count >= 2), "{row}");

    // Also in a terminal, where more than one table could be shown.
    let mut screen = Screen::start(dev.port, &["top", "--once", INTERVAL]);
    assert_eq!(screen.end(), Some(0), "{}", screen.text());
    screen.shows("WAITS");
    let output = dev.mezzo(&["top", INTERVAL]);
    let table = text(&output.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("TASK") && lines[0].contains("CPU %") && lines[0].contains("LIMIT"),
        "{table}"
    );
    assert!(lines.len() == 2 && lines[1].starts_with("run-"), "{table}");
    assert!(dev.stop().success());
}

#[test]
fn the_screen_is_kept_up_to_date_and_given_back() {
    let dev = Dev::start("top-screen", &["--agents=1"]);
    let mut screen = Screen::start(dev.port, &["top", INTERVAL]);
    screen.shows("q ends");
    assert!(!screen.is_restored() && screen.text().contains("\x1b[?1049h"), "a screen of its own");
    let task = Task::start(&dev, &[], "sleep 1000");
    screen.shows("\nrun-");
    assert!(dev.mezzo(&["kill", "t"]).status.success());
    drop(task);
    let last = |screen: &Screen| screen.text().rsplit("\x1b[2J").nth(1).unwrap_or_default().to_owned();
    wait_until("it goes when the task does", || {
        let last = last(&screen);
        last.contains("q ends") && !last.contains("\nrun-")
    });
    // Other keys mean nothing.
    screen.types("x ");
    let before = screen.text().matches("q ends").count();
    wait_until("it goes on", || screen.text().matches("q ends").count() > before + 1);
    screen.types("q");
    assert_eq!(screen.end(), Some(0), "{}", screen.text());
    assert!(screen.is_restored());
    screen.shows("\x1b[?1049l");
    // Ctrl-C comes as a key there.
    let mut screen = Screen::start(dev.port, &["top", INTERVAL]);
    screen.shows("q ends");
    screen.types("\x03");
    assert_eq!(screen.end(), Some(0), "{}", screen.text());
    assert!(screen.is_restored());
    assert!(dev.stop().success());
}

#[test]
fn an_agent_that_does_not_answer_is_told_of() {
    let folder = Folder::new("top-away");
    let (mut master, mut agent, _task, _) = on_an_agent(&folder);
    let rows = |output: &std::process::Output| {
        let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
        rows.as_array().expect("rows").len()
    };
    let arguments = ["top", INTERVAL, "-o", "json"];
    let output = mezzo(master.port, &arguments);
    assert_eq!((output.status.code(), rows(&output)), (Some(0), 1), "{}", text(&output.stderr));
    agent.kill();
    let output = mezzo(master.port, &arguments);
    assert_eq!((output.status.code(), rows(&output)), (Some(0), 0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("127.0.0.1: "), "{}", text(&output.stderr));
    // Nothing can be said without a master.
    master.kill();
    let output = mezzo(master.port, &arguments);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
}
