//! `mezzo sim` as docs/simulation.md shows it.

use std::{
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Folder, PATIENCE};

const SCENARIO: &str = r#"
title = "Small <and> short"
duration = "2m"

[[nodes]]
count = 3
cpus = 4
memory = "8 GiB"

[[frameworks]]
name = "web"

[[frameworks.workloads]]
kind = "batch"
tasks = 20
cpus = 1
memory = "512 MiB"
runtime = ["5s", "20s"]

[[faults]]
at = "5s"
kind = "crash-master"
for = "2s"

[expect]
done_min = 20
"#;

fn mezzo(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .current_dir(folder.path())
        .args(["sim"])
        .args(arguments)
        .output()
        .expect("run mezzo sim")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_scenario_is_played_reported_and_explained() {
    let folder = Folder::new("sim");
    std::fs::write(folder.path().join("small.toml"), SCENARIO).expect("written");
    let arguments = ["run", "small.toml", "--policy", "drf,pack", "--seed", "3", "--out", "runs"];
    let played = mezzo(&folder, &arguments);
    assert!(played.status.success(), "{}", text(&played.stderr));
    let table = text(&played.stdout);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("policy") && table.contains("20/20"), "{table}");
    let again = "mezzo sim run small.toml --policy drf,pack --seed 3 --out runs";
    assert!(text(&played.stderr).contains(again), "{}", text(&played.stderr));

    let read = |name: &str| std::fs::read_to_string(folder.path().join("runs").join(name)).expect("written");
    let page = read("report.html");
    assert!(page.contains("Small &lt;and&gt; short") && page.contains("data:image/png;base64,"));
    for foreign in ["http:", "https:", "<script"] {
        assert!(!page.contains(foreign), "the page needs {foreign}");
    }
    assert!(read("results.json").contains("\"seed\": 3"));
    let first = read("events.drf.log");
    assert!(mezzo(&folder, &arguments).status.success());
    assert!(first == read("events.drf.log"), "the same seed twice gives the same bytes");

    let explained = mezzo(&folder, &["explain", "runs", "--policy", "pack", "--task", "t0-19"]);
    let told = text(&explained.stdout);
    assert!(told.contains("wants t0-19") && told.contains("task t0-19 waited"), "{told}");
    let page = text(
        &mezzo(&folder, &["explain", "runs", "--framework", "web", "--lines", "5", "--page", "2"]).stdout,
    );
    assert_eq!(page.lines().count(), 5, "{page}");
    let unknown = mezzo(&folder, &["explain", "runs", "--framework", "wbe"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(text(&unknown.stderr).contains("one of: web"), "{}", text(&unknown.stderr));
}

#[test]
fn a_mistake_is_told_with_its_place() {
    let folder = Folder::new("sim-wrong");
    std::fs::write(folder.path().join("small.toml"), SCENARIO.replace("runtime", "rnutime"))
        .expect("written");
    let refused = mezzo(&folder, &["run", "small.toml"]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(told.contains("--> small.toml:18:1") && told.contains("did you mean 'runtime'?"), "{told}");

    std::fs::write(folder.path().join("t.csv"), "submit,duration,cpus\n0,10,2\n5,x,1\n").expect("written");
    let told = text(&mezzo(&folder, &["run", "t.csv", "--nodes", "2"]).stderr);
    assert!(told.contains("--> t.csv:3:3"), "{told}");
    std::fs::write(folder.path().join("t.csv"), "submit,duration,cpus\n0,10,2\n5,10,1\n").expect("written");
    let played = mezzo(&folder, &["run", "t.csv", "--nodes", "2", "--node", "cpus:2;mem:1024", "-o", "json"]);
    assert!(text(&played.stdout).contains("\"done\": 2"), "{}{}", text(&played.stdout), text(&played.stderr));
    let broken = SCENARIO.replace("done_min = 20", "done_min = 21");
    std::fs::write(folder.path().join("small.toml"), broken).expect("written");
    let broken = mezzo(&folder, &["run", "small.toml"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stderr).contains("done at least 21, and found 20"), "{}", text(&broken.stderr));
}

/// A day of thousands of nodes takes minutes; whoever has seen enough is not made to wait for it.
#[test]
fn an_interrupted_run_is_reported() {
    let folder = Folder::new("sim-interrupted");
    let long =
        SCENARIO.replace("duration = \"2m\"", "duration = \"24h\"").replace("count = 3", "count = 3000");
    let long = long.replace("kind = \"batch\"\ntasks = 20", "kind = \"short\"\nrate = 20");
    std::fs::write(folder.path().join("long.toml"), long).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .current_dir(folder.path())
        .args(["sim", "run", "long.toml", "--out", "runs"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run mezzo sim");
    let began = Instant::now();
    let log = folder.path().join("runs/events.fair-share.log");
    while std::fs::metadata(&log).map_or(0, |file| file.len()) == 0 {
        if let Some(status) = child.try_wait().expect("wait") {
            panic!("ended by itself with {status}");
        }
        assert!(began.elapsed() < PATIENCE, "nothing was played");
        thread::sleep(Duration::from_millis(20));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("run kill").success());
    let ended = child.wait_with_output().expect("its end");
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).contains("fair-share"), "{}", text(&ended.stdout));
    assert!(text(&ended.stderr).contains("stopping"), "{}", text(&ended.stderr));
    let page = std::fs::read_to_string(folder.path().join("runs/report.html")).expect("a report");
    assert!(page.contains("data:image/png;base64,"));
}
