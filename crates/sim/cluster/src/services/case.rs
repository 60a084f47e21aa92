//! Small clusters with a services node, drawn from a seed.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::setup::{AppSetup, Order, OrderKind, Placement, Quality, ServicesSetup};
use crate::{
    fault::{Fault, FaultKind, Victim},
    random::{Actor, Draw, source},
    setup::{Amounts, FrameworkSetup, Latency, MasterSetup, NetworkSetup, NodeGroup, Setup},
};

/// When the last orders come, which make everything sound: so long after the load.
const MEND_AFTER_MS: u64 = 1_000;

/// How large such a case is. Everything else comes from its seed, so a failing one can be made smaller by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicesCase {
    /// Root of all chance.
    pub seed: u64,
    /// Agents.
    pub agents: usize,
    /// Seconds of load.
    pub seconds: u64,
    /// The apps.
    pub apps: Vec<AppSetup>,
    /// What operators ask.
    pub orders: Vec<Order>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl ServicesCase {
    /// The case of a seed. In one of three nothing takes instances away but orders, so that upgrades are held to their bounds.
    pub fn random(seed: u64) -> Self {
        let mut rng = source(seed, Actor::Load(usize::MAX >> 21));
        let mut case = Self {
            seed,
            agents: 3 + rng.index(3),
            seconds: 120 + rng.below(180),
            apps: Vec::new(),
            orders: Vec::new(),
            faults: Vec::new(),
        };
        case.apps = (0..2 + rng.index(3)).map(|_| app(&mut rng)).collect();
        case.orders = case.draw_orders(&mut rng);
        let count = 4 + rng.index(14);
        let faults = Fault::random(&case.setup(), count * 2);
        let is_calm = rng.percent(33);
        let mut own: Vec<Fault> = (0..1 + rng.index(4)).map(|_| case.own_fault(&mut rng)).collect();
        if is_calm {
            own.retain(|fault| !matches!(fault.kind, FaultKind::LoseCalls { .. }));
        } else {
            let possible = |fault: &Fault| !matches!(fault.kind, FaultKind::Teardown { .. });
            own.extend(faults.into_iter().filter(possible).take(count));
        }
        own.sort_by_key(|fault| fault.at_ms);
        case.faults = own;
        case.draw_rules(&mut rng);
        for app in case.apps.iter_mut().filter(|app| app.checked) {
            app.by_agents = rng.percent(25);
        }
        case
    }

    /// Where instances may be, and which apps come after others. What there is to be drawn later comes behind it, so that a seed
    /// keeps what it is known for.
    fn draw_rules(&mut self, rng: &mut ChaCha8Rng) {
        let hosts = self.agents as u32;
        for (number, app) in self.apps.iter_mut().enumerate() {
            if !rng.percent(30) {
                continue;
            }
            let all = [
                Placement::Unique,
                Placement::Cluster,
                Placement::GroupBy(1 + rng.below(u64::from(hosts)) as u32),
                Placement::MaxPer(2),
            ];
            let placement = all[rng.index(all.len())];
            app.placement = Some(placement);
            // More could never run.
            let most = match placement {
                Placement::Unique => hosts,
                Placement::MaxPer(most) => most * hosts,
                Placement::Cluster | Placement::GroupBy(_) => u32::MAX,
            };
            for order in self.orders.iter_mut().filter(|order| order.app == number) {
                order.kind.cap_instances(most);
            }
        }
        if !rng.percent(40) {
            return;
        }
        for (number, app) in self.apps.iter_mut().enumerate().skip(1) {
            app.after = rng.percent(60).then(|| rng.index(number));
        }
        for _ in 0..1 + rng.index(3) {
            // No more than any constraint lets run.
            let kind = OrderKind::PutAll { instances: rng.below(4) as u32, quality: quality(rng) };
            let at_ms = 10_000 + rng.below(self.seconds.saturating_sub(12).max(1) * 1000);
            self.orders.push(Order { at_ms, app: 0, force: rng.percent(35), kind });
        }
        self.orders.sort_by_key(|order| order.at_ms);
    }

    /// Of the services node itself.
    fn own_fault(&self, rng: &mut ChaCha8Rng) -> Fault {
        let victim = Victim::Scheduler(0);
        let at_ms = rng.below(self.seconds * 1000);
        let for_ms = if rng.percent(70) { rng.below(4_000) } else { rng.below(60_000) };
        let kind = match rng.below(10) {
            0..4 => FaultKind::Crash { victim, down_ms: for_ms },
            4..6 => FaultKind::DiskFull { victim, for_ms },
            6 => FaultKind::SlowDisk { victim, sync_ms: 1 + rng.below(2_000), for_ms },
            7 => FaultKind::Pause { victim, for_ms },
            8 => FaultKind::ClockJump { victim, by_ms: rng.below(240_000) as i64 - 120_000 },
            _ => FaultKind::Crash { victim: Victim::Master, down_ms: for_ms },
        };
        Fault { at_ms, kind }
    }

    fn draw_orders(&self, rng: &mut ChaCha8Rng) -> Vec<Order> {
        let mut orders = Vec::new();
        for app in 0..self.apps.len() {
            let kind = OrderKind::Put { instances: 1 + rng.below(4) as u32, quality: Quality::Good };
            orders.push(Order { at_ms: 2_000 + rng.below(5_000), app, force: false, kind });
        }
        for _ in 0..5 + rng.index(16) {
            let app = rng.index(self.apps.len());
            let at_ms = 10_000 + rng.below(self.seconds.saturating_sub(12).max(1) * 1000);
            orders.push(Order { at_ms, app, force: rng.percent(35), kind: order(rng) });
        }
        for app in 0..self.apps.len() {
            let at_ms = self.seconds * 1000 + MEND_AFTER_MS;
            orders.push(Order { at_ms, app, force: true, kind: OrderKind::Mend });
        }
        orders.sort_by_key(|order| order.at_ms);
        orders
    }

    /// The whole cluster.
    pub fn setup(&self) -> Setup {
        let mut rng = source(self.seed, Actor::Load(0));
        let nodes = vec![NodeGroup {
            name: "node".into(),
            count: self.agents,
            resources: Amounts { cpus: 4.0, mem: 4096.0, disk: 10_000.0, gpus: 0.0 },
            attributes: Vec::new(),
            domain: None,
        }];
        Setup {
            seed: self.seed,
            load: Duration::from_secs(self.seconds),
            settle: Duration::from_secs(3_600),
            nodes,
            frameworks: vec![FrameworkSetup::new("services", "services")],
            services: Some(ServicesSetup {
                framework: 0,
                apps: self.apps.clone(),
                orders: self.orders.clone(),
            }),
            faults: self.faults.clone(),
            network: NetworkSetup {
                agents: Latency { min: Duration::from_micros(200), mean: Duration::from_millis(2) },
                schedulers: Latency { min: Duration::from_micros(200), mean: Duration::from_millis(3) },
            },
            sync: Latency { min: Duration::from_micros(100), mean: Duration::from_millis(2) },
            start: Latency::millis(5, 40),
            master: MasterSetup {
                agent_ping_timeout: Duration::from_secs(if rng.percent(50) { 15 } else { 3 }),
                agent_reregister_timeout: Duration::from_secs(if rng.percent(50) { 600 } else { 60 }),
                ..MasterSetup::default()
            },
            judge_offers: rng.percent(25),
            ..Setup::default()
        }
    }
}

fn app(rng: &mut ChaCha8Rng) -> AppSetup {
    AppSetup {
        checked: rng.percent(70),
        minimum_health_capacity: [1.0, 1.0, 0.5, 0.75, 0.0][rng.index(5)],
        maximum_over_capacity: [1.0, 0.0, 0.25, 0.5][rng.index(4)],
        unreachable_s: [Some((0, 0)), Some((0, 0)), Some((60, 120)), Some((10, 300)), None][rng.index(5)],
        placement: None,
        after: None,
        by_agents: false,
    }
}

fn quality(rng: &mut ChaCha8Rng) -> Quality {
    let all = [
        Quality::Good,
        Quality::Good,
        Quality::Good,
        Quality::Good,
        Quality::Slow,
        Quality::Flapping,
        Quality::Frail,
        Quality::Sick,
        Quality::Crashing,
    ];
    all[rng.index(all.len())]
}

fn order(rng: &mut ChaCha8Rng) -> OrderKind {
    match rng.below(100) {
        0..8 => OrderKind::Put { instances: rng.below(5) as u32, quality: quality(rng) },
        8..34 => OrderKind::Upgrade { quality: quality(rng) },
        34..54 => OrderKind::Scale { instances: rng.below(7) as u32 },
        54..62 => OrderKind::Scale { instances: 0 },
        62..70 => OrderKind::Restart,
        70..75 => OrderKind::Delete,
        75..85 => OrderKind::Kill { count: 1 + rng.below(3) as u32 },
        85..89 => OrderKind::KillAndScale { count: 1 + rng.below(2) as u32 },
        89..97 => OrderKind::Revert,
        _ => OrderKind::ResetDelay,
    }
}
