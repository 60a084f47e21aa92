//! `kill -9` of the master, the agent, and both, at random moments while 300 tasks run and finish.
//!
//! What must hold, whatever is killed when: every task reaches exactly one terminal state, no update is
//! lost, no running task is disturbed, and a task that is reported as never started did not run.
//!
//! `FAULT_SEEDS=FIRST..LAST` chooses the seeds (`0..50` otherwise); a failure prints its seed.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test program uses its part of the shared module")]
mod support;

mod scheduler;

use std::{fs, path::Path, sync::Arc, thread, time::Duration};

use scheduler::{Outcome, Scheduler};
use support::{Daemon, Folder};

const TASKS: usize = 300;

#[test]
fn killing_daemons_loses_nothing() {
    let seeds = std::env::var("FAULT_SEEDS").unwrap_or_else(|_| "0..50".into());
    let (first, last) = seeds.split_once("..").expect("FAULT_SEEDS=FIRST..LAST");
    let seeds: Vec<u64> = (first.parse().expect("first seed")..last.parse().expect("last seed")).collect();
    let next = Arc::new(std::sync::Mutex::new(seeds.into_iter()));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let next = Arc::clone(&next);
            thread::spawn(move || {
                let mut done = Vec::new();
                loop {
                    let seed = next.lock().expect("no worker fails holding it").next();
                    let Some(seed) = seed else { return done };
                    done.push((seed, run(seed)));
                }
            })
        })
        .collect();
    let mut outcomes: Vec<_> =
        workers.into_iter().flat_map(|worker| worker.join().expect("a seed failed")).collect();
    outcomes.sort_unstable_by_key(|(seed, _)| *seed);
    for (seed, outcome) in &outcomes {
        println!("seed {seed:4}: {outcome}");
    }
    println!("{} seeds: every task exactly one terminal state, none disturbed", outcomes.len());
}

/// One cluster, 300 tasks, a handful of kills.
fn run(seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let folder = Folder::new(&format!("faults-{seed}"));
    let marks = folder.path().join("marks");
    fs::create_dir_all(&marks).expect("make the folder of marks");
    let mut master = Daemon::master(folder.path(), &["--agent_reregister_timeout=10mins"]);
    let mut agent = Daemon::agent(
        folder.path(),
        master.port,
        &["--resources=cpus:40;mem:8192;disk:100;ports:[31000-31001]"],
    );
    let scheduler = Scheduler::start(master.port, TASKS, {
        let marks = marks.clone();
        let mut random = Random(random.draw());
        move |task| {
            let pause = random.below(1200);
            let mark = marks.join(task).display().to_string();
            format!("echo began >> {mark}; sleep {}.{:03}; echo ended >> {mark}", pause / 1000, pause % 1000)
        }
    });
    let kills = 3 + random.below(4);
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(100 + random.below(1200)));
        let (hit_master, hit_agent) = [(true, false), (false, true), (true, true)][random.below(3) as usize];
        if hit_master {
            master.kill();
        }
        if hit_agent {
            agent.kill();
        }
        thread::sleep(Duration::from_millis(random.below(400)));
        if hit_master {
            master.start();
        }
        if hit_agent {
            agent.start();
        }
    }
    let outcomes = scheduler.finish().unwrap_or_else(|error| {
        panic!("seed {seed}: {error}\n-- master\n{}\n-- agent\n{}", master.log_tail(), agent.log_tail())
    });
    let panics: Vec<_> = master.log_panics().into_iter().chain(agent.log_panics()).collect();
    assert!(panics.is_empty(), "seed {seed}: {panics:?}");
    judge(seed, &marks, &outcomes);
    let finished = outcomes.iter().filter(|outcome| outcome.state == "TASK_FINISHED").count();
    format!("{kills} kills, {finished} finished, {} never started", outcomes.len() - finished)
}

fn judge(seed: u64, marks: &Path, outcomes: &[Outcome]) {
    for Outcome { task, state, message } in outcomes {
        let mark = fs::read_to_string(marks.join(task)).unwrap_or_default();
        match (state.as_str(), mark.as_str()) {
            ("TASK_FINISHED", "began\nended\n") | ("TASK_LOST" | "TASK_DROPPED" | "TASK_GONE", "") => {}
            _ => panic!("seed {seed}: {task} is {state} ({message}) but left the mark {mark:?}"),
        }
    }
}

/// A small repeatable source of randomness (xorshift64*).
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }
}
