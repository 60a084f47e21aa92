//! A cluster whose daemons are killed at random moments, and the judgement of what came out.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    scheduler::{Outcome, Place, Scheduler},
    support::{Daemon, Folder},
};

/// Which daemons are killed.
#[derive(Clone, Copy)]
pub(crate) enum Hits {
    /// The master, the agent, or both.
    Any,
    /// The agent, now and then together with the master.
    AgentAlways,
}

/// One run.
pub(crate) struct Chaos<'a> {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) tasks: usize,
    pub(crate) hits: Hits,
    pub(crate) kills: Range<u64>,
    /// Flags of the agent.
    pub(crate) agent: &'a [&'a str],
}

impl Chaos<'_> {
    /// Runs it with what `work` launches, and says in a few words what happened.
    pub(crate) fn run<L>(self, work: impl FnOnce(Marks, Random) -> L) -> String
    where
        L: FnMut(&[String], &Place) -> Vec<Value> + Send + 'static,
    {
        let Self { name, seed, tasks, .. } = self;
        let start = Instant::now();
        let mut random = Random::new(seed);
        let folder = Folder::new(&format!("{name}-{seed}"));
        let marks = Marks::new(folder.path());
        let mut cluster = Cluster::start(folder.path(), &[], self.agent);
        let scheduler =
            Scheduler::start(cluster.master.port, tasks, work(marks.clone(), Random::new(random.draw())));
        let kills = self.kills.start + random.below(self.kills.end - self.kills.start);
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(100 + random.below(1200)));
            let (hit_master, hit_agent) = match self.hits {
                Hits::Any => [(true, false), (false, true), (true, true)][random.below(3) as usize],
                Hits::AgentAlways => (random.below(4) == 0, true),
            };
            if hit_master {
                cluster.master.kill();
            }
            if hit_agent {
                cluster.agent.kill();
            }
            thread::sleep(Duration::from_millis(random.below(400)));
            if hit_master {
                cluster.master.start();
            }
            if hit_agent {
                cluster.agent.start();
            }
        }
        let outcomes = scheduler.finish().unwrap_or_else(|error| cluster.fail(seed, &error));
        cluster.check(seed);
        marks.judge(seed, &outcomes, tasks);
        format!(
            "{kills} kills, {} finished, {} attempts never started, {:.1} s",
            tasks,
            outcomes.len() - tasks,
            start.elapsed().as_secs_f32()
        )
    }
}

/// A master and an agent.
pub(crate) struct Cluster {
    pub(crate) master: Daemon,
    pub(crate) agent: Daemon,
}

impl Cluster {
    pub(crate) fn start(folder: &Path, master: &[&str], agent: &[&str]) -> Self {
        let master = Daemon::master(folder, &[&["--agent_reregister_timeout=10mins"], master].concat());
        let resources = "--resources=cpus:40;mem:8192;disk:100;ports:[31000-31001]";
        let agent = Daemon::agent(folder, master.port, &[&[resources], agent].concat());
        Self { master, agent }
    }

    /// Ends the test with all there is to know.
    pub(crate) fn fail(&self, seed: u64, error: &str) -> ! {
        panic!(
            "seed {seed}: {error}\n-- master\n{}\n-- agent\n{}",
            self.master.log_tail(),
            self.agent.log_tail()
        )
    }

    /// Neither daemon may have panicked.
    pub(crate) fn check(&self, seed: u64) {
        let panics: Vec<_> = self.master.log_panics().into_iter().chain(self.agent.log_panics()).collect();
        assert!(panics.is_empty(), "seed {seed}: {panics:?}");
    }
}

/// A folder in which each task leaves a file that says how far it came.
#[derive(Clone)]
pub(crate) struct Marks(PathBuf);

impl Marks {
    pub(crate) fn new(folder: &Path) -> Self {
        let marks = folder.join("marks");
        fs::create_dir_all(&marks).expect("make the folder of marks");
        Self(marks)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, task: &str) -> PathBuf {
        self.0.join(task)
    }

    pub(crate) fn read(&self, task: &str) -> String {
        fs::read_to_string(self.path(task)).unwrap_or_default()
    }

    /// A shell command that runs for some milliseconds and marks its beginning and its end.
    pub(crate) fn command(&self, task: &str, millis: u64) -> String {
        let mark = self.path(task).display().to_string();
        format!("echo began >> {mark}; sleep {}.{:03}; echo ended >> {mark}", millis / 1000, millis % 1000)
    }

    /// A shell command that runs until [`Self::let_end`].
    pub(crate) fn command_until_told(&self, task: &str) -> String {
        let mark = self.path(task).display().to_string();
        let end = self.0.join("end").display().to_string();
        format!("echo began >> {mark}; while [ ! -e {end} ]; do sleep 0.1; done; echo ended >> {mark}")
    }

    pub(crate) fn let_end(&self) {
        fs::write(self.0.join("end"), "").expect("let the tasks end");
    }

    /// Every task ran once from its beginning to its end, and what was dropped never began.
    pub(crate) fn judge(&self, seed: u64, outcomes: &[Outcome], tasks: usize) {
        for outcome in outcomes {
            let Outcome { task, state, message } = outcome;
            let mark = self.read(task);
            let right = match mark.as_str() {
                "began\nended\n" => state == "TASK_FINISHED",
                "" => outcome.never_started(),
                _ => false,
            };
            assert!(right, "seed {seed}: {task} is {state} ({message}) but left the mark {mark:?}");
        }
        let finished: Vec<&str> = outcomes
            .iter()
            .filter(|outcome| outcome.state == "TASK_FINISHED")
            .filter_map(|outcome| outcome.task.split('.').next())
            .collect();
        let mut distinct = finished.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!((finished.len(), distinct.len()), (tasks, tasks), "seed {seed}: each task finishes once");
    }
}

/// A small repeatable source of randomness (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }
}
