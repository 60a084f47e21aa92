//! What is simulated, as plain data: machines, tenants and their work, faults, and the operator's choices.

use std::{collections::BTreeMap, time::Duration};

use mezzo_allocator::{AgentPreference, Sorter};

use crate::{fault::Fault, plant::Plant, services::setup::ServicesSetup};

/// A whole cluster and what happens to it. The same setup gives the same run, byte by byte.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Root of all chance.
    pub seed: u64,
    /// While tasks are submitted and faults happen.
    pub load: Duration,
    /// Longest time after that until everything has settled; the run ends as soon as it has. Zero: the
    /// run ends with the load, and nothing is expected of its end.
    pub settle: Duration,
    /// Machines; agents are numbered through all groups, from 0.
    pub nodes: Vec<NodeGroup>,
    /// Weights and quotas, set by an operator before anything else.
    pub roles: Vec<RoleSetup>,
    /// Tenants, numbered from 0.
    pub frameworks: Vec<FrameworkSetup>,
    /// A services node, and what is asked of it.
    pub services: Option<ServicesSetup>,
    /// What goes wrong; the order does not matter.
    pub faults: Vec<Fault>,
    /// How long messages take.
    pub network: NetworkSetup,
    /// How long a write takes until it is durable.
    pub sync: Latency,
    /// How long a container takes from being asked for to running.
    pub start: Latency,
    /// Flags of the master.
    pub master: MasterSetup,
    /// Links as frames of the real protocol, which costs encoding, or as plain messages. Plain links never
    /// resume: each break is a fresh session.
    pub framed_links: bool,
    /// The offers of every pass are judged by the allocator's checker, which costs agents times
    /// frameworks each.
    pub judge_offers: bool,
    /// Between two samples of use and shares; zero for none.
    pub sample_every: Duration,
    /// A mistake made on purpose, to see whether the checkers find it.
    pub plant: Option<Plant>,
}

/// Machines that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeGroup {
    /// Agents are called `<name>-<number>`, from 0 in each group.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Of each.
    pub resources: Amounts,
    /// Names and texts.
    pub attributes: Vec<(String, String)>,
    /// Region and zone, if any.
    pub domain: Option<(String, String)>,
}

/// Amounts of the common resources.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Cores.
    pub cpus: f64,
    /// Megabytes.
    pub mem: f64,
    /// Megabytes.
    pub disk: f64,
    /// Devices, whole numbers.
    pub gpus: f64,
}

impl Amounts {
    /// Mesos' names with amounts that are not zero.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk), ("gpus", self.gpus)];
        all.into_iter().filter(|(_, amount)| *amount > 0.0)
    }
}

/// Weight and quota of a role.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleSetup {
    /// Its path.
    pub name: String,
    /// 1.0 is usual.
    pub weight: f64,
    /// Held back for it, by name.
    pub guarantee: BTreeMap<String, f64>,
    /// Never exceeded, by name; what is missing is unlimited.
    pub limit: BTreeMap<String, f64>,
}

impl RoleSetup {
    /// Whether a quota is set for it.
    pub fn has_quota(&self) -> bool {
        !(self.guarantee.is_empty() && self.limit.is_empty())
    }
}

/// One tenant.
#[derive(Clone, Debug)]
pub struct FrameworkSetup {
    /// For people.
    pub name: String,
    /// Never empty. Its tasks go to the role of the offer they fit.
    pub roles: Vec<String>,
    /// Whether it plays by the rules.
    pub behaviour: Behaviour,
    /// PARTITION_AWARE
    pub partition_aware: bool,
    /// GPU_RESOURCES
    pub gpus: bool,
    /// REGION_AWARE
    pub region_aware: bool,
    /// How long it may be away.
    pub failover_timeout: Duration,
    /// What it refuses an offer for that it has no use for.
    pub refuse: Duration,
    /// Says SUPPRESS while it wants nothing, and REVIVE when it wants something.
    pub suppresses: bool,
    /// When it first subscribes.
    pub joins: Duration,
    /// What it runs, in the order of `submit`.
    pub tasks: Vec<TaskPlan>,
}

impl FrameworkSetup {
    /// A polite one in one role, with the capabilities that the sdk announces.
    pub fn new(name: &str, role: &str) -> Self {
        Self {
            name: name.into(),
            roles: vec![role.into()],
            behaviour: Behaviour::Polite,
            partition_aware: true,
            gpus: false,
            region_aware: true,
            failover_timeout: Duration::from_secs(7 * 24 * 3600),
            refuse: Duration::from_secs(5),
            suppresses: true,
            joins: Duration::ZERO,
            tasks: Vec::new(),
        }
    }
}

/// How a scheduler behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As the sdk's schedulers: acknowledges, reconciles, subscribes again, retries what was lost.
    Polite,
    /// Keeps every offer and never answers.
    Hoarder,
    /// Runs its tasks, and sends senseless calls: this many a second.
    Flooder(u32),
    /// Runs its tasks and acknowledges nothing.
    NeverAcknowledges,
    /// Declines everything for an hour.
    DeclinesAll,
    /// Runs its tasks and kills some of them at any moment.
    KillsAtRandom,
    /// Many roles, offer constraints without end, and tasks that no validation lets pass.
    Absurd,
}

impl Behaviour {
    /// Whether all that is promised to schedulers is promised to this one.
    pub fn is_polite(self) -> bool {
        matches!(self, Self::Polite | Self::KillsAtRandom)
    }
}

/// One task that shall run once, or for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskPlan {
    /// When its scheduler first wants it.
    pub submit: Duration,
    /// How long it runs; `None` until it is killed.
    pub run: Option<Duration>,
    /// Killed by its scheduler so long after it first runs.
    pub kill_after: Option<Duration>,
    /// What it exits with.
    pub exit: u8,
    /// Does not end on SIGTERM.
    pub stubborn: bool,
    /// What it needs.
    pub needs: Amounts,
    /// How often it is launched again when it ends in any other way than it should.
    pub retries: u32,
    /// Tasks in a row with the same number are launched as one group, all or nothing; zero: alone.
    pub group: u32,
}

/// How long something takes: at least `min`, and an exponentially spread time on top with this mean, of
/// which ten times is the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Always.
    pub min: Duration,
    /// On top, on average.
    pub mean: Duration,
}

impl Latency {
    /// In milliseconds.
    pub const fn millis(min: u64, mean: u64) -> Self {
        Self { min: Duration::from_millis(min), mean: Duration::from_millis(mean) }
    }
}

/// How long messages take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSetup {
    /// Between agents and the master, one way.
    pub agents: Latency,
    /// Between schedulers and the master, one way.
    pub schedulers: Latency,
}

/// Flags of the master, under Mesos' names.
#[derive(Clone, Debug)]
pub struct MasterSetup {
    /// --agent_ping_timeout
    pub agent_ping_timeout: Duration,
    /// --max_agent_ping_timeouts
    pub agent_ping_timeouts_max: u32,
    /// --agent_reregister_timeout
    pub agent_reregister_timeout: Duration,
    /// --agent_removal_rate_limit: time between two removals.
    pub agent_removal_every: Option<Duration>,
    /// --offer_timeout
    pub offer_timeout: Option<Duration>,
    /// --allocation_interval
    pub allocation_interval: Duration,
    /// --role_sorter and --framework_sorter
    pub sorter: Sorter,
    /// Which agents are offered first.
    pub preference: AgentPreference,
}

impl Default for MasterSetup {
    fn default() -> Self {
        Self {
            agent_ping_timeout: Duration::from_secs(15),
            agent_ping_timeouts_max: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            agent_removal_every: None,
            offer_timeout: None,
            allocation_interval: Duration::from_secs(1),
            sorter: Sorter::FairShare,
            preference: AgentPreference::Random,
        }
    }
}

impl Default for Setup {
    /// An empty cluster in a quiet data centre, with Mesos' flags.
    fn default() -> Self {
        Self {
            seed: 1,
            load: Duration::from_secs(60),
            settle: Duration::from_secs(1800),
            nodes: Vec::new(),
            roles: Vec::new(),
            frameworks: Vec::new(),
            services: None,
            faults: Vec::new(),
            network: NetworkSetup {
                agents: Latency { min: Duration::from_micros(200), mean: Duration::from_micros(300) },
                schedulers: Latency { min: Duration::from_micros(200), mean: Duration::from_micros(300) },
            },
            sync: Latency { min: Duration::from_micros(500), mean: Duration::from_micros(500) },
            start: Latency::millis(5, 15),
            master: MasterSetup::default(),
            framed_links: true,
            judge_offers: false,
            sample_every: Duration::ZERO,
            plant: None,
        }
    }
}

impl Setup {
    /// Agents of all groups.
    pub fn agents(&self) -> usize {
        self.nodes.iter().map(|group| group.count).sum()
    }
}
