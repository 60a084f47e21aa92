//! Real daemons that are killed, stopped and damaged while tasks run under an acknowledging scheduler.
//!
//! What must hold, whatever happens when: every task reaches exactly one terminal state, no update is
//! lost, no running task is disturbed, and a task that is reported as never started did not run. Such a
//! task is launched again under another id, so that all of a run's tasks do run.
//!
//! `FAULT_SEEDS=FIRST..LAST` chooses the seeds (`0..50` otherwise); a failure prints its seed.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test program uses its part of the shared module")]
mod support;

mod chaos;
mod checks;
mod clock;
mod commands;
mod executor;
mod parts;
mod pods;
mod scheduler;
mod stopped;
mod torn_log;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use chaos::{Chaos, Hits};
use scheduler::{command_task, launch_all};

const TASKS: usize = 300;
/// Clusters at a time.
const WORKERS: usize = 4;

#[test]
fn killing_daemons_loses_nothing() {
    let seeds = std::env::var("FAULT_SEEDS").unwrap_or_else(|_| "0..50".into());
    let (first, last) = seeds.split_once("..").expect("FAULT_SEEDS=FIRST..LAST");
    let seeds: Vec<u64> = (first.parse().expect("first seed")..last.parse().expect("last seed")).collect();
    let count = seeds.len();
    let start = Instant::now();
    let next = Arc::new(Mutex::new(seeds.into_iter()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let next = Arc::clone(&next);
            thread::spawn(move || {
                let mut failed = Vec::new();
                loop {
                    let seed = next.lock().expect("no worker fails holding it").next();
                    let Some(seed) = seed else { return failed };
                    // A thread of its own, so that one failure does not hide those of other seeds.
                    match thread::spawn(move || run(seed)).join() {
                        Ok(outcome) => println!("seed {seed:4}: {outcome}"),
                        Err(_) => failed.push(seed),
                    }
                }
            })
        })
        .collect();
    let mut failed: Vec<u64> =
        workers.into_iter().flat_map(|worker| worker.join().expect("workers do not fail")).collect();
    failed.sort_unstable();
    assert!(failed.is_empty(), "{} of {count} seeds failed: {failed:?}", failed.len());
    println!(
        "{count} seeds in {} s: every task exactly one terminal state, none disturbed",
        start.elapsed().as_secs()
    );
}

/// One cluster, 300 tasks that run and finish, a handful of kills.
fn run(seed: u64) -> String {
    Chaos { name: "faults", seed, tasks: TASKS, hits: Hits::Any, kills: 3..7, agent: &[] }.run(
        |marks, mut random| {
            move |tasks, place| {
                let infos: Vec<_> = tasks
                    .iter()
                    .map(|task| command_task(task, place, &marks.command(task, random.below(1200))))
                    .collect();
                launch_all(&infos)
            }
        },
    )
}
