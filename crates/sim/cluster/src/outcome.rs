//! What a run showed.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::setup::Amounts;

/// Everything that came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must never happen, and did; empty for a good run. The run ends with the first.
    pub violations: Vec<Violation>,
    /// Whether everything settled after the load; false as well when the run was stopped before.
    pub settled: bool,
    /// Events that happened.
    pub events: u64,
    /// Depends on every event and its time: equal for equal runs only.
    pub hash: u64,
    /// How long the cluster ran, in its own time.
    pub lasted: Duration,
    /// Faults that happened, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// What became of the tasks of each framework, in the order of its plans.
    pub tasks: Vec<Vec<TaskOutcome>>,
    /// Use over time.
    pub samples: Vec<Sample>,
    /// Core-seconds and the like that tasks used of each agent.
    pub node_use: Vec<Amounts>,
    /// What all agents have together.
    pub capacity: Amounts,
    /// Tasks that ended other than they should and were launched again.
    pub retries: u64,
    /// Tasks that were killed although nobody asked: drained, gone or lost machines.
    pub evictions: u64,
    /// What the services node did.
    pub services: ServicesOutcome,
}

/// What a services node did, and was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicesOutcome {
    /// Instances that came to run, by app.
    pub launches: BTreeMap<usize, u32>,
    /// Kills that it asked for.
    pub kills: u64,
    /// Orders that it refused, mostly because of other deployments.
    pub refused: u64,
    /// Attempts of operators while it was down or took no changes.
    pub turned_away: u64,
    /// Orders that it took.
    pub taken: u64,
}

/// What became of one planned task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskOutcome {
    /// When its scheduler first knew that it ran, after the start of the simulation.
    pub started: Option<Duration>,
    /// When its scheduler knew that it was over.
    pub ended: Option<Duration>,
    /// The agent of its last launch.
    pub agent: Option<u32>,
    /// Launches.
    pub attempts: u32,
    /// It ended as planned.
    pub done: bool,
    /// It ended otherwise, and is not launched again.
    pub failed: bool,
}

/// Use at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// After the start.
    pub at: Duration,
    /// Of running containers.
    pub used: Amounts,
    /// Dominant share of each role with anything running, 0 to 1.
    pub shares: BTreeMap<String, f64>,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that were submitted and do not run yet.
    pub waiting: u64,
}

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub rule: &'static str,
    /// When, after the start.
    pub at: Duration,
    /// What exactly.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.6}s: {}: {}", self.at.as_secs_f64(), self.rule, self.what)
    }
}

/// Looks on while a cluster runs. All methods do nothing unless they are replaced.
pub trait Observer {
    /// Whether lines are wanted; making them costs time.
    fn wants_lines(&self) -> bool {
        false
    }

    /// One line of the event log.
    fn line(&mut self, at: Duration, line: &str) {
        let _ = (at, line);
    }

    /// Called now and then; false ends the run with what there is.
    fn goes_on(&mut self, at: Duration, events: u64) -> bool {
        let _ = (at, events);
        true
    }
}

/// Sees nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Observer for Blind {}

/// Keeps the last lines of the log.
#[derive(Clone, Debug)]
pub struct LastLines {
    kept: std::collections::VecDeque<String>,
    max: usize,
}

impl LastLines {
    /// This many at most.
    pub fn new(max: usize) -> Self {
        Self { kept: std::collections::VecDeque::new(), max }
    }

    /// Oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }
}

impl Observer for LastLines {
    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, at: Duration, line: &str) {
        if self.kept.len() == self.max {
            self.kept.pop_front();
        }
        self.kept.push_back(format!("{:>14.6} {line}", at.as_secs_f64()));
    }
}
