//! Small clusters with a bit of everything, drawn from a seed: what the search for mistakes runs.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::{
    fault::Fault,
    random::{Actor, Draw, source},
    setup::{
        Amounts, Behaviour, FrameworkSetup, Latency, MasterSetup, NetworkSetup, NodeGroup, RoleSetup, Setup,
        TaskPlan,
    },
};

/// Cpus of the largest task.
const CPUS_MAX: f64 = 2.0;

/// How large a case is. Everything else comes from its seed, so a failing one can be made smaller by hand.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Case {
    /// Root of all chance.
    pub seed: u64,
    /// Agents.
    pub agents: usize,
    /// Frameworks; the first is polite.
    pub frameworks: usize,
    /// Planned tasks of all frameworks.
    pub tasks: usize,
    /// Seconds of load.
    pub seconds: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Case {
    /// The case of a seed.
    pub fn random(seed: u64) -> Self {
        let mut rng = source(seed, Actor::Load(usize::MAX >> 20));
        let mut case = Self {
            seed,
            agents: 5 + rng.index(4),
            frameworks: 3,
            tasks: 40 + rng.index(60),
            seconds: 120 + rng.below(240),
            faults: Vec::new(),
        };
        let count = 10 + rng.index(21);
        case.faults = Fault::random(&case.setup(), count);
        case
    }

    /// The whole cluster.
    pub fn setup(&self) -> Setup {
        let mut rng = source(self.seed, Actor::Load(0));
        let load = Duration::from_secs(self.seconds);
        let big = rng.percent(30);
        let nodes = vec![NodeGroup {
            name: "node".into(),
            count: self.agents,
            resources: Amounts { cpus: if big { 8.0 } else { 4.0 }, mem: 8192.0, disk: 100_000.0, gpus: 0.0 },
            attributes: Vec::new(),
            domain: None,
        }];
        let frameworks: Vec<_> = (0..self.frameworks).map(|number| self.framework(number)).collect();
        let mut roles = Vec::new();
        if rng.percent(40) {
            let own = frameworks.iter().filter(|framework| framework.roles == ["role-0"]);
            let for_ever: f64 = own
                .flat_map(|own| &own.tasks)
                .filter(|plan| plan.run.is_none())
                .map(|plan| plan.needs.cpus)
                .sum();
            roles.push(RoleSetup {
                name: "role-0".into(),
                weight: [1.0, 2.0, 0.5][rng.index(3)],
                guarantee: [("cpus".to_owned(), 4.0)].into(),
                // There is room for the largest task beside those that run for ever; who never acknowledges
                // does not hear either when it is time to kill one.
                limit: [("cpus".to_owned(), f64::max(12.0, for_ever + CPUS_MAX))].into(),
            });
        }
        if rng.percent(30) {
            roles.push(RoleSetup {
                name: "role-1".into(),
                weight: 3.0,
                guarantee: Default::default(),
                limit: Default::default(),
            });
        }
        // Who is not polite may lose the answer to an offer and keep it for ever.
        let are_polite = frameworks.iter().all(|framework| framework.behaviour.is_polite());
        let offer_timeout = (rng.percent(50) || !are_polite).then(|| Duration::from_secs(5 + rng.below(60)));
        let removal = rng.percent(20).then(|| Duration::from_secs(1 + rng.below(20)));
        Setup {
            seed: self.seed,
            load,
            settle: Duration::from_secs(3600),
            nodes,
            roles,
            frameworks,
            services: None,
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
                agent_removal_every: removal,
                offer_timeout,
                ..MasterSetup::default()
            },
            framed_links: true,
            judge_offers: rng.percent(40),
            sample_every: Duration::ZERO,
            plant: None,
        }
    }

    fn framework(&self, number: usize) -> FrameworkSetup {
        let mut rng = source(self.seed, Actor::Load(1 + number));
        let mut own = FrameworkSetup::new(&format!("framework-{number}"), &format!("role-{}", number % 2));
        if number > 0 && rng.percent(50) {
            own.behaviour = [
                Behaviour::KillsAtRandom,
                Behaviour::Flooder(20),
                Behaviour::NeverAcknowledges,
                Behaviour::DeclinesAll,
                Behaviour::Absurd,
                Behaviour::KillsAtRandom,
            ][rng.index(6)];
        }
        own.partition_aware = rng.percent(80);
        own.refuse = Duration::from_secs([0, 1, 5, 60][rng.index(4)]);
        own.suppresses = rng.percent(60);
        own.joins = Duration::from_millis(rng.below(5_000));
        let count = self.tasks / self.frameworks.max(1);
        let mut group = 0;
        while own.tasks.len() < count {
            let plan = self.task(&mut rng);
            if rng.percent(15) && own.tasks.len() + 3 <= count {
                group += 1;
                let needs = Amounts { cpus: 0.5, mem: 128.0, disk: 0.0, gpus: 0.0 };
                own.tasks.extend((0..2 + rng.index(2)).map(|_| TaskPlan { group, needs, ..plan }));
            } else {
                own.tasks.push(plan);
            }
        }
        own.tasks.sort_by_key(|plan| plan.submit);
        own
    }

    fn task(&self, rng: &mut ChaCha8Rng) -> TaskPlan {
        let submit = Duration::from_millis(rng.below((self.seconds * 900).max(1)));
        let (run, kill_after) = match rng.below(10) {
            0 => (None, None),
            1 => (None, Some(Duration::from_millis(rng.below(60_000)))),
            2..5 => (Some(Duration::from_millis(rng.below(500))), None),
            5..9 => (Some(Duration::from_millis(rng.below(30_000))), None),
            _ => (Some(Duration::from_millis(rng.below(120_000))), None),
        };
        let is_for_ever = run.is_none() && kill_after.is_none();
        TaskPlan {
            submit,
            run,
            kill_after,
            exit: if rng.percent(10) { 3 } else { 0 },
            stubborn: rng.percent(20),
            needs: Amounts {
                // What runs for ever must leave room for the largest of the others.
                cpus: if is_for_ever { 0.1 } else { [0.1, 0.5, 1.0, CPUS_MAX][rng.index(4)] },
                mem: [32.0, 128.0, 1024.0][rng.index(3)],
                disk: 0.0,
                gpus: 0.0,
            },
            retries: u32::MAX,
            group: 0,
        }
    }
}
