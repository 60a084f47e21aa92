//! What a scenario says, as plain data. Everything here has been checked.

use std::{sync::Arc, time::Duration};

use crate::{events::Fault, expect::Expect, trace::Trace};
use mezzo_document::Place;

/// Sizes of what may be simulated; beyond them a mistake is more likely than a wish.
pub const NODES_MAX: u64 = 200_000;
/// Frameworks of one scenario, copies included.
pub const FRAMEWORKS_MAX: u64 = 20_000;
/// Tasks of one workload.
pub const TASKS_MAX: u64 = 10_000_000;
/// Groups, roles, frameworks, workloads, faults, actions or expectations of one file.
pub const TABLES_MAX: usize = 10_000;
/// Bytes of a scenario file.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// A whole scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file it came from, as it was named.
    pub file: String,
    /// For people.
    pub title: String,
    /// Rows of the table of faults that it plays.
    pub rows: Vec<String>,
    /// Root of all chance, unless the command line says otherwise.
    pub seed: u64,
    /// While work arrives and faults happen.
    pub duration: Duration,
    /// Time after the last fault in which everything has to come to rest.
    pub settle: Duration,
    /// Compared with each other; never empty.
    pub policies: Vec<Policy>,
    /// Never empty.
    pub nodes: Vec<NodeGroup>,
    /// Weights and quotas.
    pub roles: Vec<Role>,
    /// Never empty.
    pub frameworks: Vec<Framework>,
    /// What goes wrong, and what operators do.
    pub faults: Vec<Fault>,
    /// What has to be true.
    pub expect: Expect,
    /// Flags of the master that differ from Mesos' defaults.
    pub master: MasterSettings,
}

/// How the allocator chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// As it was written.
    pub name: String,
    /// Who is next.
    pub sorter: Sorter,
    /// Which agents first.
    pub preference: Preference,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sorter {
    /// Lowest weighted dominant share.
    FairShare,
    /// A weighted shuffle.
    Random,
}

/// Which agents are offered first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preference {
    /// Any.
    Any,
    /// The least used.
    Spread,
    /// The most used.
    Pack,
    /// Those with most free of a resource.
    MostFree(String),
}

/// Amounts of the common resources; memory and disk in megabytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Cores.
    pub cpus: f64,
    /// Megabytes.
    pub memory: f64,
    /// Megabytes.
    pub disk: f64,
    /// Devices.
    pub gpus: f64,
}

impl Amounts {
    /// Names as Mesos knows them, with amounts.
    pub fn named(&self) -> [(&'static str, f64); 4] {
        [("cpus", self.cpus), ("mem", self.memory), ("disk", self.disk), ("gpus", self.gpus)]
    }

    /// All amounts times a number.
    pub fn times(&self, factor: f64) -> Self {
        Self {
            cpus: self.cpus * factor,
            memory: self.memory * factor,
            disk: self.disk * factor,
            gpus: self.gpus * factor,
        }
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            cpus: self.cpus + other.cpus,
            memory: self.memory + other.memory,
            disk: self.disk + other.disk,
            gpus: self.gpus + other.gpus,
        }
    }
}

/// Machines that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeGroup {
    /// Nodes are called `<name>-<number>`, from 1.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Of each.
    pub resources: Amounts,
    /// Of each.
    pub attributes: Vec<(String, String)>,
    /// Fault domain, if any: region and zone.
    pub domain: Option<(String, String)>,
}

/// Weight and quota of a role.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Its path.
    pub name: String,
    /// 1.0 unless said otherwise.
    pub weight: f64,
    /// Held back for it.
    pub guarantee: Option<Amounts>,
    /// Never exceeded: only what is named.
    pub limit: Vec<(String, f64)>,
    /// Where it was written.
    pub place: Place,
}

/// How a scheduler behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// As the sdk's: acknowledges, reconciles, subscribes again.
    Polite,
    /// Keeps every offer.
    Hoarder,
    /// Sends calls without end.
    Flooder,
    /// Leaves every update unacknowledged.
    NeverAcknowledges,
    /// Declines everything for a long time.
    DeclinesAll,
    /// Kills its tasks at random moments.
    KillsAtRandom,
    /// Many long roles, heavy constraints, absurd calls.
    Absurd,
}

/// Names of [`Behaviour`] in files.
pub const BEHAVIOURS: [(&str, Behaviour); 7] = [
    ("polite", Behaviour::Polite),
    ("hoarder", Behaviour::Hoarder),
    ("flooder", Behaviour::Flooder),
    ("never-acknowledges", Behaviour::NeverAcknowledges),
    ("declines-all", Behaviour::DeclinesAll),
    ("kills-at-random", Behaviour::KillsAtRandom),
    ("absurd", Behaviour::Absurd),
];

/// Tenants that are alike.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Its name; copies are called `<name>-<number>`, from 1.
    pub name: String,
    /// How many copies.
    pub count: u64,
    /// Roles it subscribes to; never empty.
    pub roles: Vec<String>,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// PARTITION_AWARE
    pub partition_aware: bool,
    /// REGION_AWARE
    pub region_aware: bool,
    /// GPU_RESOURCES: it is offered nodes with gpus.
    pub gpus: bool,
    /// When it first subscribes.
    pub joins: Duration,
    /// Says SUPPRESS while it wants nothing.
    pub suppresses: bool,
    /// How long it may be away.
    pub failover_timeout: Duration,
    /// What it refuses an offer for that it has no use for.
    pub refuse: Duration,
    /// What it runs.
    pub workloads: Vec<Workload>,
}

/// Work of one kind.
#[derive(Clone, Debug)]
pub struct Workload {
    /// When, and how much.
    pub kind: WorkloadKind,
    /// Of each task.
    pub resources: Amounts,
    /// How long each task runs, from and to, evenly spread. `None`: until it is killed.
    pub runtime: Option<(Duration, Duration)>,
    /// Share of tasks that end with a failure, 0 to 1.
    pub fails: f64,
    /// Killed by its scheduler so long after it first runs.
    pub kill_after: Option<Duration>,
    /// Does not end on SIGTERM.
    pub stubborn: bool,
    /// How often a task that ended in another way than it should is launched again.
    pub retries: u32,
    /// So many tasks are launched as one pod, on one node, all or nothing; one: each alone.
    pub pod: u64,
    /// Where it was written.
    pub place: Place,
}

/// When, and how much.
#[derive(Clone, Debug)]
pub enum WorkloadKind {
    /// So many tasks from a time on; one that ends is replaced.
    Service {
        /// Kept running.
        tasks: u64,
        /// From when on.
        start: Duration,
    },
    /// Many tasks at once, several times.
    Batch {
        /// Of each wave.
        tasks: u64,
        /// How often.
        waves: u64,
        /// Between the starts of two waves.
        every: Duration,
        /// Of the first wave.
        start: Duration,
    },
    /// A steady stream.
    Short {
        /// Arrivals per second, on average.
        rate: f64,
        /// From when on.
        start: Duration,
        /// Until when.
        end: Duration,
    },
    /// What a file says, of one owner; its tasks have their own resources.
    Trace {
        /// Shared by all owners.
        trace: Arc<Trace>,
        /// Number in [`Trace::owners`].
        owner: u32,
    },
}

/// Flags of the master that a scenario may set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MasterSettings {
    /// --agent_ping_timeout
    pub agent_ping_timeout: Option<Duration>,
    /// --max_agent_ping_timeouts
    pub agent_ping_timeouts_max: Option<u64>,
    /// --agent_reregister_timeout
    pub agent_reregister_timeout: Option<Duration>,
    /// --agent_removal_rate_limit: the time between two removals.
    pub agent_removal_every: Option<Duration>,
    /// --offer_timeout
    pub offer_timeout: Option<Duration>,
    /// --allocation_interval
    pub allocation_interval: Option<Duration>,
}
