//! What goes wrong and what people do: faults and actions of a scenario.

use std::time::Duration;

use crate::scenario::Amounts;

/// Which nodes, schedulers or links something happens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The master, or everything where a kind concerns the whole cluster.
    Cluster,
    /// Nodes by number, from 0, in the order of the file.
    Nodes(Vec<usize>),
    /// Frameworks by number, from 0, copies counted.
    Frameworks(Vec<usize>),
    /// Chance decides, each time anew.
    Anyone,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Whom.
    pub target: Target,
    /// When.
    pub when: When,
    /// How long; zero where the kind has no length.
    pub lasts: Duration,
    /// Share of messages, 0 to 1, where the kind concerns some of them.
    pub share: f64,
    /// How far a clock is wrong, or how late a message or write is; signed seconds.
    pub seconds: f64,
    /// Which way a partition cuts.
    pub direction: Direction,
}

/// Which way a partition cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    Both,
    /// What the master sends is lost.
    FromMaster,
    /// What the master is sent is lost.
    ToMaster,
}

/// Names of [`Direction`] in files.
pub const DIRECTIONS: [(&str, Direction); 3] =
    [("both", Direction::Both), ("from-master", Direction::FromMaster), ("to-master", Direction::ToMaster)];

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Once, at a time.
    At(Duration),
    /// Again and again.
    Random {
        /// Mean time between two.
        every: Duration,
        /// Not before.
        from: Duration,
        /// Not after.
        until: Duration,
    },
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The master is killed and started again after the fault's length.
    CrashMaster,
    /// An agent is killed and started again; its tasks go on.
    CrashAgent,
    /// A machine loses power; its tasks are gone.
    RebootNode,
    /// A scheduler is killed and started again with its id.
    CrashScheduler,
    /// The master stands still.
    PauseMaster,
    /// An agent stands still.
    PauseAgent,
    /// A scheduler stands still.
    PauseScheduler,
    /// Nothing passes between an agent and the master.
    PartitionAgent,
    /// Nothing passes between a scheduler and the master.
    PartitionScheduler,
    /// An agent's connection breaks once.
    BreakLink,
    /// A scheduler's event stream breaks once.
    BreakStream,
    /// Messages are late.
    Delay,
    /// Some requests or answers vanish.
    Loss,
    /// Some requests arrive twice.
    Duplicate,
    /// A clock is wrong for a while.
    ClockSkew,
    /// A crash in the middle of a write: the last record on disk is torn.
    TornWrite,
    /// Nothing more can be written; the daemon exits.
    DiskFull,
    /// Writes become durable late.
    SlowDisk,
    /// Containers cannot be started.
    LaunchFailures,
}

/// Whom a kind concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerns {
    Master,
    Nodes,
    Frameworks,
    Network,
    AnyDisk,
}

/// One line of the table of kinds.
pub(crate) struct KindRow {
    pub(crate) name: &'static str,
    pub(crate) kind: FaultKind,
    pub(crate) concerns: Concerns,
    /// Whether it lasts.
    pub(crate) lasts: bool,
    /// Whether it concerns a share of messages.
    pub(crate) share: bool,
    /// Whether it has seconds.
    pub(crate) seconds: bool,
}

const fn row(name: &'static str, kind: FaultKind, concerns: Concerns, extras: &str) -> KindRow {
    let extras = extras.as_bytes();
    let (mut lasts, mut share, mut seconds, mut at) = (false, false, false, 0);
    while at < extras.len() {
        match extras[at] {
            b'l' => lasts = true,
            b's' => share = true,
            _ => seconds = true,
        }
        at += 1;
    }
    KindRow { name, kind, concerns, lasts, share, seconds }
}

/// Every kind: its name, whom it concerns, and which of `for` (l), `share` (s), `by` (b) it takes.
pub(crate) const KINDS: &[KindRow] = &[
    row("crash-master", FaultKind::CrashMaster, Concerns::Master, "l"),
    row("crash-agent", FaultKind::CrashAgent, Concerns::Nodes, "l"),
    row("reboot-node", FaultKind::RebootNode, Concerns::Nodes, "l"),
    row("crash-scheduler", FaultKind::CrashScheduler, Concerns::Frameworks, "l"),
    row("pause-master", FaultKind::PauseMaster, Concerns::Master, "l"),
    row("pause-agent", FaultKind::PauseAgent, Concerns::Nodes, "l"),
    row("pause-scheduler", FaultKind::PauseScheduler, Concerns::Frameworks, "l"),
    row("partition-agent", FaultKind::PartitionAgent, Concerns::Nodes, "l"),
    row("partition-scheduler", FaultKind::PartitionScheduler, Concerns::Frameworks, "l"),
    row("break-link", FaultKind::BreakLink, Concerns::Nodes, ""),
    row("break-stream", FaultKind::BreakStream, Concerns::Frameworks, ""),
    row("delay", FaultKind::Delay, Concerns::Network, "lb"),
    row("loss", FaultKind::Loss, Concerns::Network, "ls"),
    row("duplicate", FaultKind::Duplicate, Concerns::Network, "ls"),
    row("clock-skew", FaultKind::ClockSkew, Concerns::Nodes, "lb"),
    row("torn-write", FaultKind::TornWrite, Concerns::AnyDisk, "l"),
    row("disk-full", FaultKind::DiskFull, Concerns::AnyDisk, "l"),
    row("slow-disk", FaultKind::SlowDisk, Concerns::AnyDisk, "lb"),
    row("launch-failures", FaultKind::LaunchFailures, Concerns::Nodes, "ls"),
];

/// Something that an operator or a scheduler does at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// When.
    pub at: Duration,
    /// What.
    pub what: ActionKind,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// The operator ends a framework.
    Teardown {
        /// By number.
        framework: usize,
    },
    /// The operator drains agents.
    Drain {
        /// By number.
        nodes: Vec<usize>,
        /// Until tasks are killed, at most.
        grace: Option<Duration>,
        /// Marked gone at the end.
        mark_gone: bool,
    },
    /// The operator stops offers of agents.
    Deactivate {
        /// By number.
        nodes: Vec<usize>,
    },
    /// The operator lets agents be offered again.
    Reactivate {
        /// By number.
        nodes: Vec<usize>,
    },
    /// The operator says that machines never come back.
    MarkGone {
        /// By number.
        nodes: Vec<usize>,
    },
    /// The operator sets a role's quota.
    Quota {
        /// Its path.
        role: String,
        /// Held back for it.
        guarantee: Amounts,
        /// Never exceeded: only what is named.
        limit: Vec<(String, f64)>,
    },
    /// The scheduler kills its tasks.
    KillTasks {
        /// Whose, by number.
        framework: usize,
    },
    /// The scheduler asks for the states of all its tasks.
    Reconcile {
        /// Whose, by number.
        framework: usize,
    },
    /// The scheduler stops offers.
    Suppress {
        /// Whose, by number.
        framework: usize,
    },
    /// The scheduler wants offers again.
    Revive {
        /// Whose, by number.
        framework: usize,
    },
    /// A second instance of the scheduler takes over.
    TakeOver {
        /// Whose, by number.
        framework: usize,
    },
}

/// Names of [`ActionKind`] in files.
pub(crate) const ACTIONS: [&str; 11] = [
    "teardown",
    "drain",
    "deactivate",
    "reactivate",
    "mark-gone",
    "quota",
    "kill-tasks",
    "reconcile",
    "suppress",
    "revive",
    "take-over",
];
