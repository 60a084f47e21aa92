//! What happened in one or several runs of one scenario, as plain data.

/// One scenario, run once for each policy. Times are seconds after the start of the simulation.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// For people.
    pub title: String,
    /// The command that plays it again.
    pub command: String,
    /// Root of all chance.
    pub seed: u64,
    /// While work arrived.
    pub load: f64,
    /// Machines in order.
    pub nodes: Vec<Node>,
    /// Roles in the order of their plots, with weights.
    pub roles: Vec<Role>,
    /// Faults that were planned: when, and what.
    pub faults: Vec<(f64, String)>,
    /// In the order of the policies asked for.
    pub runs: Vec<Run>,
}

/// One machine.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Machines of one group are alike.
    pub group: String,
    /// What it has: cpus, memory in megabytes, gpus.
    pub has: [f64; 3],
}

/// Names of the amounts in arrays of three.
pub const RESOURCES: [&str; 3] = ["cpus", "memory", "gpus"];

/// One tenant as the allocator sees it.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Its path.
    pub name: String,
    /// 1.0 is usual.
    pub weight: f64,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// How the allocator chose.
    pub policy: String,
    /// Real seconds it took.
    pub wall: f64,
    /// How long the cluster ran.
    pub lasted: f64,
    /// False when somebody stopped it early.
    pub complete: bool,
    /// Everything came to rest after the load.
    pub settled: bool,
    /// What must never happen, and did.
    pub violations: Vec<String>,
    /// Expectations of the scenario: what, and whether it held.
    pub checks: Vec<(String, bool)>,
    /// All tasks.
    pub tasks: Vec<Task>,
    /// Use over time, in order.
    pub samples: Vec<Sample>,
    /// Tasks that were ended although nobody asked for it.
    pub preemptions: u64,
    /// Launches of tasks that had been launched before.
    pub retries: u64,
    /// Events of the simulation.
    pub events: u64,
}

/// One task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Task {
    /// Number in [`Story::roles`].
    pub role: usize,
    /// What it needs: cpus, memory in megabytes, gpus.
    pub needs: [f64; 3],
    /// When it was wanted.
    pub submit: f64,
    /// When it first ran.
    pub started: Option<f64>,
    /// When it was over.
    pub ended: Option<f64>,
    /// Number in [`Story::nodes`] of its last launch.
    pub node: Option<usize>,
    /// It ended as planned.
    pub done: bool,
    /// It ended in another way, and is not tried again.
    pub failed: bool,
}

/// Use at one time.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When.
    pub at: f64,
    /// Used, as parts of the whole cluster, 0 to 1.
    pub used: [f64; 3],
    /// Dominant share of each of [`Story::roles`], 0 to 1.
    pub shares: Vec<f64>,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that are wanted and do not run.
    pub waiting: u64,
}

impl Story {
    /// What the cluster has.
    pub fn capacity(&self) -> [f64; 3] {
        let mut all = [0.0; 3];
        for node in &self.nodes {
            for (sum, has) in all.iter_mut().zip(node.has) {
                *sum += has;
            }
        }
        all
    }
}
