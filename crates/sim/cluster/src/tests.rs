use std::time::Duration;

use crate::*;

fn cluster(seed: u64) -> Setup {
    let mut framework = FrameworkSetup::new("batch", "web");
    for number in 0..20u64 {
        framework.tasks.push(TaskPlan {
            submit: Duration::from_millis(500 * number),
            run: Some(Duration::from_secs(5)),
            kill_after: None,
            exit: 0,
            stubborn: false,
            needs: Amounts { cpus: 1.0, mem: 128.0, ..Amounts::default() },
            retries: 10,
            group: 0,
        });
    }
    Setup {
        seed,
        nodes: vec![NodeGroup {
            name: "node".into(),
            count: 3,
            resources: Amounts { cpus: 4.0, mem: 4096.0, disk: 10_000.0, gpus: 0.0 },
            attributes: Vec::new(),
            domain: None,
        }],
        frameworks: vec![framework],
        ..Setup::default()
    }
}

#[test]
fn a_quiet_cluster_runs_its_tasks() {
    let mut last = LastLines::new(100);
    let outcome = run_watched(cluster(1), &mut last);
    for line in last.lines() {
        println!("{line}");
    }
    assert_eq!(outcome.violations, []);
    assert!(outcome.settled);
    assert!(outcome.tasks[0].iter().all(|task| task.done), "{:?}", outcome.tasks);
}

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
