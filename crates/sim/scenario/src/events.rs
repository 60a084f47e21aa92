//! What goes wrong, and what operators do to a cluster.

use std::time::Duration;

/// Which nodes, schedulers or links something happens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The master, or everything where a kind concerns the whole cluster.
    Cluster,
    /// Nodes by number, from 0, in the order of the file.
    Nodes(Vec<usize>),
    /// Frameworks by number, from 0, copies counted.
    Frameworks(Vec<usize>),
    /// Chance picks one, each time anew.
    AnyNode,
    /// Chance picks one, each time anew.
    AnyFramework,
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
    /// Share of calls or starts, 0 to 1, where the kind concerns some of them.
    pub share: f64,
    /// How far a clock jumps, or how late a call or write is; signed seconds.
    pub seconds: f64,
    /// How many times slower the network is.
    pub factor: u32,
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
    /// The process is killed, what was not yet durable is lost up to some point, and it starts again.
    Crash,
    /// A machine restarts; its tasks are gone.
    Reboot,
    /// The process stands still.
    Pause,
    /// Nothing passes.
    Partition,
    /// A connection breaks once.
    Break,
    /// Some calls of a scheduler, or their answers, vanish.
    LoseCalls,
    /// Calls of a scheduler overtake each other.
    ReorderCalls,
    /// Everything on the network takes longer.
    SlowNetwork,
    /// A wall clock jumps and stays there.
    ClockJump,
    /// Nothing can be written; the daemon ends and starts again until it can.
    DiskFull,
    /// Writes become durable late.
    SlowDisk,
    /// Some containers cannot be started.
    LaunchFailures,
    /// An operator drains an agent and takes it back later.
    Drain,
    /// An operator declares an agent gone; its machine comes back as another one.
    Gone,
    /// An operator ends a framework.
    Teardown,
}

/// Whom a kind concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerns {
    Master,
    Nodes,
    Frameworks,
    Network,
}

/// One line of the table of kinds.
pub(crate) struct KindRow {
    pub(crate) name: &'static str,
    pub(crate) kind: FaultKind,
    pub(crate) concerns: Concerns,
    /// Keys it takes beside those that all take.
    pub(crate) keys: &'static [&'static str],
}

const fn row(
    name: &'static str,
    kind: FaultKind,
    concerns: Concerns,
    keys: &'static [&'static str],
) -> KindRow {
    KindRow { name, kind, concerns, keys }
}

/// Every kind by the name it has in files.
pub(crate) const KINDS: &[KindRow] = &[
    row("crash-master", FaultKind::Crash, Concerns::Master, &["for"]),
    row("crash-agent", FaultKind::Crash, Concerns::Nodes, &["for"]),
    row("crash-scheduler", FaultKind::Crash, Concerns::Frameworks, &["for"]),
    row("reboot-node", FaultKind::Reboot, Concerns::Nodes, &["for"]),
    row("pause-master", FaultKind::Pause, Concerns::Master, &["for"]),
    row("pause-agent", FaultKind::Pause, Concerns::Nodes, &["for"]),
    row("pause-scheduler", FaultKind::Pause, Concerns::Frameworks, &["for"]),
    row("partition-master", FaultKind::Partition, Concerns::Master, &["for", "direction"]),
    row("partition-agent", FaultKind::Partition, Concerns::Nodes, &["for", "direction"]),
    row("partition-scheduler", FaultKind::Partition, Concerns::Frameworks, &["for", "direction"]),
    row("break-link", FaultKind::Break, Concerns::Nodes, &[]),
    row("break-stream", FaultKind::Break, Concerns::Frameworks, &[]),
    row("lose-calls", FaultKind::LoseCalls, Concerns::Frameworks, &["for", "share"]),
    row("reorder-calls", FaultKind::ReorderCalls, Concerns::Frameworks, &["for", "by"]),
    row("slow-network", FaultKind::SlowNetwork, Concerns::Network, &["for", "factor"]),
    row("clock-jump-master", FaultKind::ClockJump, Concerns::Master, &["by"]),
    row("clock-jump-agent", FaultKind::ClockJump, Concerns::Nodes, &["by"]),
    row("disk-full-master", FaultKind::DiskFull, Concerns::Master, &["for"]),
    row("disk-full-agent", FaultKind::DiskFull, Concerns::Nodes, &["for"]),
    row("slow-disk-master", FaultKind::SlowDisk, Concerns::Master, &["for", "by"]),
    row("slow-disk-agent", FaultKind::SlowDisk, Concerns::Nodes, &["for", "by"]),
    row("launch-failures", FaultKind::LaunchFailures, Concerns::Nodes, &["for", "share"]),
    row("drain", FaultKind::Drain, Concerns::Nodes, &["for"]),
    row("mark-gone", FaultKind::Gone, Concerns::Nodes, &["for"]),
    row("teardown", FaultKind::Teardown, Concerns::Frameworks, &[]),
];
