//! The agent's append log, torn at its end or damaged in its middle, while tasks run.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    chaos::{Cluster, Marks, Random},
    scheduler::{Scheduler, command_task, launch_all},
    support::{Folder, PATIENCE},
};

const TASKS: usize = 8;
/// Bytes before the first batch, and of the head of each: its length comes first.
const HEADER: usize = 16;
const HEAD: usize = 12;

#[test]
fn a_torn_end_is_cut_off_and_damage_before_the_end_is_refused() {
    let folder = Folder::new("torn-log");
    let marks = Marks::new(folder.path());
    let mut cluster = Cluster::start(folder.path(), &[], &[]);
    let scheduler = Scheduler::start(cluster.master.port, TASKS, {
        let marks = marks.clone();
        move |tasks, place| {
            let infos: Vec<_> =
                tasks.iter().map(|task| command_task(task, place, &marks.command_until_told(task))).collect();
            launch_all(&infos)
        }
    });
    // What a task says of itself is written after its launch: no launch is in the last batch.
    scheduler.wait_for("TASK_RUNNING", TASKS).unwrap_or_else(|error| cluster.fail(0, &error));
    let log = folder.path().join("agent/meta/agent.log");
    let mut random = Random::new(7);
    let rounds = 6;
    for round in 0..rounds {
        cluster.agent.kill();
        let bytes = fs::read(&log).expect("read the log");
        let last = *batches(&bytes).last().expect("the log has batches");
        let size = bytes.len() - last;
        let cut = match round {
            0 => 1,
            1 => size - 1,
            _ => 1 + random.below(size as u64 - 1) as usize,
        };
        fs::write(&log, &bytes[..bytes.len() - cut]).expect("tear the log");
        cluster.agent.start();
        let said = format!("torn, and has been cut off bytes={}", size - cut);
        let tail = cluster.agent.log_tail();
        assert!(plain(&tail).contains(&said), "cut {cut} of {size}; not said: {said}\n{tail}");
        // What was torn off is said again, and acknowledged again.
        wait_for_growth(&log, last, &cluster);
        println!("torn log, round {round}: {cut} of the last {size} bytes cut");
    }
    settle(&log);
    cluster.agent.kill();
    let bytes = fs::read(&log).expect("read the log");
    let all = batches(&bytes);
    let mut damaged = bytes.clone();
    damaged[all[all.len() / 2] + HEAD + 5] ^= 0x20;
    fs::write(&log, &damaged).expect("damage the log");
    let said = cluster.agent.refuses_to_start();
    let place = format!("is damaged at byte {}", all[all.len() / 2]);
    assert!(said.contains(&place), "{said}");
    assert_eq!(fs::read(&log).expect("read the log"), damaged, "a damaged log is left as it is");
    fs::write(&log, &bytes).expect("repair the log");
    cluster.agent.start();
    marks.let_end();
    let outcomes = scheduler.finish().unwrap_or_else(|error| cluster.fail(0, &error));
    cluster.check(0);
    marks.judge(0, &outcomes, TASKS);
    assert_eq!(outcomes.len(), TASKS, "no attempt was lost");
}

/// Where each batch begins.
fn batches(bytes: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = HEADER;
    while at < bytes.len() {
        starts.push(at);
        let length = bytes[at..at + 4].try_into().map(u32::from_le_bytes).expect("four bytes");
        at += HEAD + length as usize;
    }
    starts
}

fn wait_for_growth(log: &Path, beyond: usize, cluster: &Cluster) {
    let start = Instant::now();
    while fs::metadata(log).map_or(0, |meta| meta.len()) <= beyond as u64 {
        assert!(start.elapsed() < PATIENCE, "the agent writes nothing:\n{}", cluster.agent.log_tail());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing is written any more.
fn settle(log: &Path) {
    let size = || fs::metadata(log).map_or(0, |meta| meta.len());
    let mut before = 0;
    while size() != before {
        before = size();
        thread::sleep(Duration::from_millis(300));
    }
}

/// Text without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}
