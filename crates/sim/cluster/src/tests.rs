use std::{sync::Mutex, time::Duration};

use crate::*;

/// Seeds that run with the other tests; `SIM_SEEDS=300..1000` runs others.
const SEEDS: std::ops::Range<u64> = 0..300;

/// Later seeds that found something which is kept in no smaller case: docs/simulation.md tells what.
const FOUND: &[u64] = &[
    351, 673, 735, 2522, 4247, 9518, 9764, 10_122, 15_353, 19_876, 25_370, 35_833, 46_002, 50_997, 73_484,
    80_959,
];

/// Two tenants that want more than there is.
fn rivals(seed: u64) -> Setup {
    let mut setup = Setup {
        seed,
        nodes: vec![NodeGroup {
            name: "node".into(),
            count: 6,
            resources: Amounts { cpus: 4.0, mem: 4096.0, disk: 10_000.0, gpus: 0.0 },
            attributes: Vec::new(),
            domain: None,
        }],
        judge_offers: true,
        settle: Duration::from_secs(600),
        ..Setup::default()
    };
    for (number, weight) in [4.0, 1.0].into_iter().enumerate() {
        let role = format!("role-{number}");
        let mut framework = FrameworkSetup::new(&format!("rival-{number}"), &role);
        framework.suppresses = false;
        let needs = Amounts { cpus: 1.0, mem: 128.0, ..Amounts::default() };
        let runs = (Duration::from_secs(2), Duration::from_secs(20));
        let when = (Duration::from_secs(5), Duration::from_secs(40));
        framework.tasks = Load::new(seed, number).short(2.0, when, runs, needs).plans();
        setup.frameworks.push(framework);
        let (guarantee, limit) = Default::default();
        setup.roles.push(RoleSetup { name: role, weight, guarantee, limit });
    }
    setup
}

#[test]
fn a_quiet_cluster_runs_its_tasks() {
    let outcome = run(rivals(1));
    assert_eq!(outcome.violations, []);
    assert!(outcome.settled);
    assert!(outcome.tasks.iter().flatten().all(|task| task.done), "{:?}", outcome.tasks);
    assert!(outcome.tasks.iter().all(|tasks| tasks.len() > 40));
}

/// F248
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let log = |seed| {
        let mut lines = LastLines::new(usize::MAX);
        let outcome = run_watched(Case::random(seed).setup(), &mut lines);
        (lines.lines().collect::<Vec<_>>().join("\n"), outcome.hash, outcome.events)
    };
    for seed in 0..3 {
        let (one, two) = (log(seed), log(seed));
        assert!(one.0.len() > 10_000);
        assert!(one == two, "seed {seed}");
    }
    assert_ne!(log(0).1, log(1).1);
}

#[test]
fn planted_mistakes_are_found() {
    for plant in Plant::ALL {
        let outcome = run(Setup { plant: Some(plant), ..rivals(1) });
        let rules: &[&str] = match plant {
            Plant::DoubleOffer => &["nothing is offered twice"],
            Plant::LostUpdate => &["updates come in order, and none is left out"],
            Plant::LeakedResource => &["resources sum up"],
            Plant::WrongShare => &["offers are what the rules give"],
            // Who is not offered what he no longer refuses is passed over by others before all is at rest.
            Plant::ForgottenExpiry => &["nobody is overlooked", "offers are what the rules give"],
            // `services::tests` plants the others.
            _ => continue,
        };
        let found = outcome.violations.iter().any(|violation| rules.contains(&violation.rule));
        assert!(found, "{plant:?}: {:?}", outcome.violations);
    }
}

fn seeds() -> std::ops::Range<u64> {
    let read = |text: String| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    std::env::var("SIM_SEEDS").ok().and_then(read).unwrap_or(SEEDS)
}

/// F241 to F246: whatever goes wrong, nothing happens that must not, and everything settles afterwards.
#[test]
fn clusters_of_many_seeds_keep_every_promise() {
    let next = Mutex::new(seeds().chain(FOUND.iter().copied()));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                // The lock is free while a seed is played.
                let take = || next.lock().unwrap().next();
                while let Some(seed) = take() {
                    let outcome = run(Case::random(seed).setup());
                    if let Some(first) = outcome.violations.first() {
                        failed.lock().unwrap().push(format!(
                            "seed {seed}: {first}\n  replay: cargo run --release -p mezzo-sim-cluster --example search -- {seed}"
                        ));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn cases_that_failed_once_do_not_fail_again() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case: Case = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let outcome = run(case.setup());
        assert_eq!(outcome.violations, [], "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn a_failing_case_is_made_smaller() {
    let needs_both = |case: &Case| {
        let crashes = case.faults.iter().filter(|fault| matches!(fault.kind, FaultKind::Crash { .. }));
        crashes.count() >= 2 && case.tasks >= 10
    };
    let case = (0..).map(Case::random).find(needs_both).unwrap();
    let small = minimise(case, 500, needs_both);
    assert_eq!(small.faults.len(), 2);
    assert!(small.tasks < 20 && small.agents == 1 && small.frameworks == 1, "{small:?}");
}
