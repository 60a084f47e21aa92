//! Clusters with a services node, in calm and in trouble.

use std::{sync::Mutex, time::Duration};

use super::{
    case::ServicesCase,
    setup::{AppSetup, Order, OrderKind, Placement, Quality},
};
use crate::{Direction, Fault, FaultKind, Plant, Setup, Victim, run};

fn order(at_s: u64, kind: OrderKind) -> Order {
    Order { at_ms: at_s * 1000, app: 0, force: false, kind }
}

/// One app on two agents.
fn one_app(orders: Vec<Order>) -> ServicesCase {
    ServicesCase {
        seed: 1,
        agents: 2,
        seconds: 120,
        apps: vec![AppSetup::CHECKED],
        orders,
        faults: Vec::new(),
    }
}

/// The second one depends on the first, and one change brings both.
fn two_apps() -> ServicesCase {
    let mut case = one_app(vec![order(30, OrderKind::PutAll { instances: 2, quality: Quality::Slow })]);
    case.apps.push(AppSetup { after: Some(0), ..AppSetup::CHECKED });
    case
}

fn holds(setup: Setup) -> crate::Outcome {
    let outcome = run(setup);
    assert_eq!(outcome.violations, []);
    assert!(outcome.settled);
    assert!(outcome.lasted < Duration::from_secs(3_600));
    outcome
}

#[test]
fn an_app_runs_as_it_is_wanted() {
    let put = order(2, OrderKind::Put { instances: 3, quality: Quality::Good });
    holds(one_app(vec![put, order(30, OrderKind::Upgrade { quality: Quality::Good })]).setup());
}

fn put(instances: u32) -> Order {
    order(2, OrderKind::Put { instances, quality: Quality::Good })
}

fn upgrade(at_s: u64, quality: Quality) -> Order {
    order(at_s, OrderKind::Upgrade { quality })
}

#[test]
fn instances_are_where_their_constraint_lets_them_be() {
    for placement in [Placement::Unique, Placement::Cluster, Placement::GroupBy(2), Placement::MaxPer(1)] {
        let mut case = one_app(vec![
            put(2),
            upgrade(30, Quality::Good),
            order(60, OrderKind::Scale { instances: 3 }),
            order(90, OrderKind::Restart),
        ]);
        case.agents = 3;
        case.apps[0].placement = Some(placement);
        holds(case.setup());
    }
}

#[test]
fn apps_come_after_those_that_they_depend_on() {
    let mut case = two_apps();
    case.orders.push(order(100, OrderKind::PutAll { instances: 3, quality: Quality::Good }));
    holds(case.setup());
}

#[test]
fn agents_look_at_the_health_of_instances() {
    for quality in [Quality::Slow, Quality::Sick] {
        let mut case = one_app(vec![put(3), upgrade(30, quality), order(121, OrderKind::Mend)]);
        case.apps[0].by_agents = true;
        holds(case.setup());
    }
}

fn crash(at_ms: u64, down_ms: u64) -> Fault {
    Fault { at_ms, kind: FaultKind::Crash { victim: Victim::Scheduler(0), down_ms } }
}

/// F207: whenever the services node ends in a rolling deployment, that goes on, within its bounds.
#[test]
fn f207_the_services_node_dies_at_any_time_of_an_upgrade() {
    let looks = [(1.0, 0.0), (0.5, 0.25), (1.0, 1.0)];
    for (number, (minimum_health_capacity, maximum_over_capacity)) in looks.into_iter().enumerate() {
        for step in 0..25 {
            let mut case = one_app(vec![put(4), upgrade(30, Quality::Good)]);
            case.seed = number as u64;
            case.apps =
                vec![AppSetup { minimum_health_capacity, maximum_over_capacity, ..AppSetup::CHECKED }];
            case.faults = vec![crash(30_050 + step * 700, 400), crash(30_050 + step * 1_300, 100)];
            let outcome = holds(case.setup());
            assert!(outcome.services.launches[&0] == 8, "{:?}", outcome.services);
        }
    }
}

/// F207: an upgrade to something that is never well takes nothing away, and has a way back.
#[test]
fn f207_a_bad_version_goes_back_while_the_services_node_dies() {
    for quality in [Quality::Sick, Quality::Crashing] {
        let mut case = one_app(vec![
            put(4),
            upgrade(30, quality),
            order(60, OrderKind::Revert),
            order(121, OrderKind::Mend),
        ]);
        case.faults = vec![crash(40_000, 3_000), crash(61_000, 500)];
        holds(case.setup());
    }
}

/// F208: while the store takes nothing, tasks run on, changes are refused, and no app is forgotten.
#[test]
fn f208_the_store_refuses_for_a_while() {
    let victim = Victim::Scheduler(0);
    let scale = order(50, OrderKind::Scale { instances: 5 });
    let mut case = one_app(vec![put(3), scale, Order { app: 1, ..put(2) }]);
    case.apps.push(AppSetup::CHECKED);
    case.faults = vec![Fault { at_ms: 20_000, kind: FaultKind::DiskFull { victim, for_ms: 60_000 } }];
    // Something has to be written, before it is known that nothing can be.
    case.orders.push(order(21, OrderKind::Kill { count: 1 }));
    let outcome = holds(case.setup());
    assert!(outcome.services.turned_away > 0 && outcome.services.taken == 3, "{:?}", outcome.services);
    // And with an end in the middle of it: what was not promised may be missing, and nothing else.
    case.faults.push(crash(40_000, 1_000));
    holds(case.setup());
}

/// F209: what cannot be reached is replaced after the first limit and not before, and is surplus when it comes back.
#[test]
fn f209_instances_are_unreachable_for_less_and_for_more_than_the_limit() {
    let launches = |for_s: u64| {
        let mut case = one_app(vec![put(4)]);
        case.seconds = 400;
        case.apps = vec![AppSetup { unreachable_s: Some((60, 3_000)), ..AppSetup::CHECKED }];
        let (victim, direction) = (Victim::Agent(0), Direction::Both);
        let kind = FaultKind::Partition { victim, direction, for_ms: for_s * 1000 };
        case.faults = vec![Fault { at_ms: 20_000, kind }];
        let mut setup = case.setup();
        setup.master.agent_ping_timeout = Duration::from_secs(3);
        holds(setup).services.launches[&0]
    };
    // The master gives the agent up after fifteen seconds or so.
    assert_eq!(launches(50), 4);
    assert!(launches(150) > 4);
}

/// F210: what fails at once is launched again at growing distances.
#[test]
fn f210_an_app_crashes_in_a_loop() {
    let mut case = one_app(vec![put(2), upgrade(20, Quality::Crashing), order(401, OrderKind::Mend)]);
    case.seconds = 400;
    case.apps = vec![AppSetup { checked: false, ..AppSetup::CHECKED }];
    let outcome = holds(case.setup());
    let launches = outcome.services.launches[&0];
    assert!((10..80).contains(&launches), "{launches}");
}

/// F211: answers that are bad now and then kill nothing, nor does a services node that stands still.
#[test]
fn f211_health_checks_flap_and_their_daemon_stands_still() {
    let mut case = one_app(vec![order(2, OrderKind::Put { instances: 4, quality: Quality::Flapping })]);
    case.seconds = 300;
    let kind = FaultKind::Pause { victim: Victim::Scheduler(0), for_ms: 60_000 };
    case.faults = vec![Fault { at_ms: 60_000, kind }];
    let outcome = holds(case.setup());
    assert_eq!((outcome.services.launches[&0], outcome.services.kills), (4, 0));
}

/// F212: of two deployments of one app one is refused, or replaces the other as a whole.
#[test]
fn f212_two_deployments_of_one_app_at_once() {
    let second = |kind, force| Order { at_ms: 30_500, app: 0, force, kind };
    let first = upgrade(30, Quality::Slow);
    let outcome =
        holds(one_app(vec![put(4), first, second(OrderKind::Scale { instances: 2 }, false)]).setup());
    assert_eq!((outcome.services.refused, outcome.services.taken), (1, 2));
    for kind in [
        OrderKind::Upgrade { quality: Quality::Good },
        OrderKind::Scale { instances: 6 },
        OrderKind::Scale { instances: 2 },
        OrderKind::Restart,
        OrderKind::KillAndScale { count: 1 },
        OrderKind::Revert,
        OrderKind::Delete,
    ] {
        let outcome = holds(one_app(vec![put(4), first, second(kind, true)]).setup());
        assert_eq!((outcome.services.refused, outcome.services.taken), (0, 3), "{kind:?}");
    }
}

/// F213: to nothing and back while the services node, or the master, changes.
#[test]
fn f213_to_nothing_and_back() {
    for step in 0..20 {
        let back = Order { force: true, ..order(40, OrderKind::Scale { instances: 3 }) };
        let mut case = one_app(vec![put(3), order(30, OrderKind::Scale { instances: 0 }), back]);
        let master = FaultKind::Crash { victim: Victim::Master, down_ms: 2_000 };
        case.faults =
            vec![crash(29_500 + step * 600, 500), Fault { at_ms: 30_000 + step * 500, kind: master }];
        holds(case.setup());
    }
}

/// F214: whoever has a framework's id in its store comes back under it, and under no other when it was ended.
#[test]
fn f214_never_two_frameworks() {
    for step in 0..20 {
        let mut case = one_app(vec![put(3)]);
        case.faults = vec![crash(1_000 + step * 150, 300), crash(5_000, 100)];
        holds(case.setup());
    }
    let mut case = one_app(vec![put(3)]);
    let ended = Fault { at_ms: 20_000, kind: FaultKind::Teardown { framework: 0 } };
    case.faults = vec![ended, crash(30_000, 1_000), crash(60_000, 1_000)];
    let outcome = holds(case.setup());
    assert_eq!(outcome.services.launches[&0], 3);
}

#[test]
fn planted_mistakes_are_found() {
    let rules = |plant| match plant {
        Plant::ForgetfulStore => "an upgrade adds no more than it may",
        Plant::LostFrameworkId => "the services are one framework",
        Plant::HastyUpgrade | Plant::BlindChecks => "an upgrade leaves as many healthy instances as it must",
        Plant::NoConstraints => "instances are where their constraint lets them be",
        Plant::NoDependencies => "an app comes after those that it depends on",
        _ => "failing apps are launched at growing distances",
    };
    for plant in Plant::OF_SERVICES {
        let mut case = one_app(vec![put(4), upgrade(30, Quality::Slow)]);
        match plant {
            // What the node forgot it launches again, beside what runs.
            Plant::ForgetfulStore => case.apps[0].maximum_over_capacity = 0.0,
            Plant::NoConstraints => case.apps[0].placement = Some(Placement::Unique),
            Plant::BlindChecks => case.apps[0].by_agents = true,
            Plant::NoDependencies => case = two_apps(),
            Plant::NoBackoff => case.orders = vec![put(4), upgrade(30, Quality::Crashing)],
            _ => {}
        }
        if matches!(plant, Plant::ForgetfulStore | Plant::LostFrameworkId) {
            case.faults = vec![crash(80_000, 1_000)];
        }
        let outcome = run(Setup { plant: Some(plant), ..case.setup() });
        let found = outcome.violations.iter().any(|violation| violation.rule == rules(plant));
        assert!(found, "{plant:?}: {:?}", outcome.violations);
    }
}

/// Seeds that run with the other tests.
const SEEDS: std::ops::Range<u64> = 0..200;

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..3 {
        let [one, two] = [0, 1].map(|_| {
            let outcome = run(ServicesCase::random(seed).setup());
            (outcome.hash, outcome.events, outcome.services)
        });
        assert_eq!(one, two, "seed {seed}");
    }
}

/// Whatever goes wrong, apps are as they are wanted in the end, and upgrades kept their bounds.
#[test]
fn services_of_many_seeds_keep_every_promise() {
    let next = Mutex::new(SEEDS);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                // The lock is free while a seed is played.
                let take = || next.lock().unwrap().next();
                while let Some(seed) = take() {
                    let outcome = run(ServicesCase::random(seed).setup());
                    if let Some(first) = outcome.violations.first() {
                        failed.lock().unwrap().push(format!(
                            "seed {seed}: {first}\n  replay: cargo run --release -p mezzo-sim-cluster --example search -- {seed} --services"
                        ));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
