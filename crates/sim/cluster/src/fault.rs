//! What goes wrong, as timed plain values: a run is its setup, so a failing one can be cut down to the
//! faults that matter.

use std::{fmt, time::Duration};

use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::{
    random::{Actor, Draw, source},
    setup::Setup,
};

/// One fault at one time. Those that name an agent or framework that is not there do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Milliseconds after the start.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// Which way nothing gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Neither.
    Both,
    /// To the master.
    ToMaster,
    /// From the master.
    FromMaster,
}

/// Whose clock, disk or process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// The master.
    Master,
    /// The agent of this number.
    Agent(usize),
    /// The scheduler of this number.
    Scheduler(usize),
}

/// What goes wrong; times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process dies at once, records that were not synced yet survive up to some point, and it is
    /// started again. Containers of an agent go on.
    Crash {
        /// Whose.
        victim: Victim,
        /// Until it starts again.
        down_ms: u64,
    },
    /// An agent's machine restarts: containers are gone, and nobody at the other end of a connection
    /// hears of it.
    Reboot {
        /// Which.
        agent: usize,
        /// Until its agent starts again.
        down_ms: u64,
    },
    /// The process stands still (SIGSTOP), and goes on with all that came meanwhile.
    Pause {
        /// Whose.
        victim: Victim,
        /// For so long.
        for_ms: u64,
    },
    /// Nothing gets through between the master and an agent or scheduler; what is on connections comes
    /// when it is over, unless they are given up.
    Partition {
        /// Who; the master itself is cut off from everybody.
        victim: Victim,
        /// Which way.
        direction: Direction,
        /// For so long.
        for_ms: u64,
    },
    /// The connection breaks at both ends, with what was on its way.
    Break {
        /// Of which agent or scheduler.
        victim: Victim,
    },
    /// Calls of a scheduler, or their answers, are lost this often.
    LoseCalls {
        /// Whose.
        scheduler: usize,
        /// How often.
        percent: u8,
        /// For so long.
        for_ms: u64,
    },
    /// Calls of a scheduler overtake each other: each is a request of its own.
    Reorder {
        /// Whose.
        scheduler: usize,
        /// By up to so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Everything on the network takes longer.
    SlowNetwork {
        /// So many times.
        factor: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The wall clock jumps, forward or back, and stays there.
    ClockJump {
        /// Whose.
        victim: Victim,
        /// By so much.
        by_ms: i64,
    },
    /// Nothing can be written: a daemon that has to, ends, and is started again until it can.
    DiskFull {
        /// The master's or an agent's.
        victim: Victim,
        /// For so long.
        for_ms: u64,
    },
    /// Every write takes this long.
    SlowDisk {
        /// The master's or an agent's.
        victim: Victim,
        /// Each.
        sync_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Containers do not start this often.
    LaunchFailures {
        /// On which agent.
        agent: usize,
        /// How often.
        percent: u8,
        /// For so long.
        for_ms: u64,
    },
    /// An operator drains an agent, and takes it back later.
    Drain {
        /// Which.
        agent: usize,
        /// Until it is taken back.
        for_ms: u64,
    },
    /// An operator declares an agent gone for ever. Its machine is wiped and comes back as another agent.
    Gone {
        /// Which.
        agent: usize,
        /// Until its machine is back.
        down_ms: u64,
    },
    /// An operator ends a framework and all its tasks.
    Teardown {
        /// Which.
        framework: usize,
    },
}

impl FaultKind {
    /// For counting.
    pub fn name(&self) -> &'static str {
        use Victim::{Agent, Master, Scheduler};
        match self {
            Self::Crash { victim: Master, .. } => "crash of the master",
            Self::Crash { victim: Agent(_), .. } => "crash of an agent",
            Self::Crash { victim: Scheduler(_), .. } => "crash of a scheduler",
            Self::Reboot { .. } => "reboot of a machine",
            Self::Pause { victim: Master, .. } => "pause of the master",
            Self::Pause { victim: Agent(_), .. } => "pause of an agent",
            Self::Pause { victim: Scheduler(_), .. } => "pause of a scheduler",
            Self::Partition { victim: Master, .. } => "partition of the master",
            Self::Partition { victim: Agent(_), direction: Direction::Both, .. } => "partition of an agent",
            Self::Partition { victim: Agent(_), .. } => "one-way partition of an agent",
            Self::Partition { victim: Scheduler(_), direction: Direction::Both, .. } => {
                "partition of a scheduler"
            }
            Self::Partition { victim: Scheduler(_), .. } => "one-way partition of a scheduler",
            Self::Break { victim: Scheduler(_) } => "broken event stream",
            Self::Break { .. } => "broken link",
            Self::LoseCalls { .. } => "lost calls and answers",
            Self::Reorder { .. } => "reordered calls",
            Self::SlowNetwork { .. } => "slow network",
            Self::ClockJump { .. } => "jump of a clock",
            Self::DiskFull { .. } => "full disk",
            Self::SlowDisk { .. } => "slow disk",
            Self::LaunchFailures { .. } => "failing launches",
            Self::Drain { .. } => "drain",
            Self::Gone { .. } => "agent gone",
            Self::Teardown { .. } => "teardown",
        }
    }

    /// How long it lasts.
    pub fn length(&self) -> Duration {
        Duration::from_millis(match *self {
            Self::Crash { down_ms, .. } | Self::Reboot { down_ms, .. } | Self::Gone { down_ms, .. } => {
                down_ms
            }
            Self::Pause { for_ms, .. }
            | Self::Partition { for_ms, .. }
            | Self::LoseCalls { for_ms, .. }
            | Self::Reorder { for_ms, .. }
            | Self::SlowNetwork { for_ms, .. }
            | Self::DiskFull { for_ms, .. }
            | Self::SlowDisk { for_ms, .. }
            | Self::LaunchFailures { for_ms, .. }
            | Self::Drain { for_ms, .. } => for_ms,
            Self::Break { .. } | Self::ClockJump { .. } | Self::Teardown { .. } => 0,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.3}s {:?}", self.at_ms as f64 / 1000.0, self.kind)
    }
}

impl Fault {
    /// When it is over.
    pub fn ends(&self) -> Duration {
        Duration::from_millis(self.at_ms) + self.kind.length()
    }

    /// This many faults of all kinds for a setup, drawn from its seed, in the order of their times.
    pub fn random(setup: &Setup, count: usize) -> Vec<Self> {
        let mut rng = source(setup.seed, Actor::Faults);
        let (agents, schedulers) = (setup.agents(), setup.frameworks.len());
        let load_ms = u64::try_from(setup.load.as_millis()).unwrap_or(u64::MAX);
        let mut faults: Vec<Self> = (0..count)
            .map(|_| Self { at_ms: rng.below(load_ms), kind: random_kind(&mut rng, agents, schedulers) })
            .collect();
        faults.sort_by_key(|fault| fault.at_ms);
        faults
    }
}

/// Mostly short, sometimes long enough for every time-out.
fn length(rng: &mut impl Rng) -> u64 {
    match rng.below(10) {
        0..5 => rng.below(3_000),
        5..8 => rng.below(20_000),
        8 => rng.below(90_000),
        _ => rng.below(180_000),
    }
}

fn random_kind(rng: &mut impl Rng, agents: usize, schedulers: usize) -> FaultKind {
    let agent = rng.index(agents);
    let scheduler = rng.index(schedulers);
    let for_ms = length(rng);
    let direction =
        [Direction::Both, Direction::Both, Direction::ToMaster, Direction::FromMaster][rng.index(4)];
    let anybody = match rng.below(8) {
        0..5 => Victim::Agent(agent),
        5..7 => Victim::Scheduler(scheduler),
        _ => Victim::Master,
    };
    let daemon = if rng.percent(25) { Victim::Master } else { Victim::Agent(agent) };
    let client = if rng.percent(35) { Victim::Scheduler(scheduler) } else { Victim::Agent(agent) };
    match rng.below(100) {
        0..24 => FaultKind::Crash { victim: anybody, down_ms: for_ms },
        24..28 => FaultKind::Reboot { agent, down_ms: for_ms },
        28..36 => FaultKind::Pause { victim: anybody, for_ms },
        36..52 => FaultKind::Partition { victim: anybody, direction, for_ms },
        52..64 => FaultKind::Break { victim: client },
        64..70 => FaultKind::LoseCalls { scheduler, percent: 10 + rng.below(60) as u8, for_ms },
        70..74 => FaultKind::Reorder { scheduler, by_ms: 1 + rng.below(2_000), for_ms },
        74..78 => FaultKind::SlowNetwork { factor: 2 + rng.below(500) as u32, for_ms },
        78..82 => FaultKind::ClockJump { victim: anybody, by_ms: rng.below(240_000) as i64 - 120_000 },
        82..86 => FaultKind::DiskFull { victim: daemon, for_ms },
        86..90 => FaultKind::SlowDisk { victim: daemon, sync_ms: 1 + rng.below(3_000), for_ms },
        90..94 => FaultKind::LaunchFailures { agent, percent: 10 + rng.below(90) as u8, for_ms },
        94..97 => FaultKind::Drain { agent, for_ms },
        97..99 => FaultKind::Gone { agent, down_ms: for_ms },
        _ => FaultKind::Teardown { framework: scheduler },
    }
}
