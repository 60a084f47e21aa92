//! A master that stands still for longer than its agents wait for it.

use std::{thread, time::Duration};

use crate::{
    chaos::{Cluster, Marks, Random},
    scheduler::{Scheduler, command_task, launch_all},
    support::Folder,
};

const TASKS: usize = 150;
/// Agents give the master up after two missed pings of a second.
const PINGS: [&str; 2] = ["--agent_ping_timeout=1secs", "--max_agent_ping_timeouts=2"];

#[test]
fn a_master_that_stood_still_loses_nothing() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let folder = Folder::new(&format!("stopped-{seed}"));
        let marks = Marks::new(folder.path());
        let cluster = Cluster::start(folder.path(), &PINGS, &[]);
        let scheduler = Scheduler::start(cluster.master.port, TASKS, {
            let (marks, mut random) = (marks.clone(), Random::new(random.draw()));
            move |tasks, place| {
                let infos: Vec<_> = tasks
                    .iter()
                    .map(|task| command_task(task, place, &marks.command(task, random.below(3000))))
                    .collect();
                launch_all(&infos)
            }
        });
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(300 + random.below(1500)));
            cluster.master.signal("STOP");
            thread::sleep(Duration::from_millis(4000 + random.below(1500)));
            cluster.master.signal("CONT");
        }
        let outcomes = scheduler.finish().unwrap_or_else(|error| cluster.fail(seed, &error));
        cluster.check(seed);
        marks.judge(seed, &outcomes, TASKS);
        println!("stopped master, seed {seed}: {TASKS} finished, {} never started", outcomes.len() - TASKS);
    }
}
