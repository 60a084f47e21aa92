use std::path::Path;

use super::*;

const TEXT: &str = r#"
duration = "10m"
[[nodes]]
count = 4
cpus = 8
memory = "32 GiB"
[[frameworks]]
name = "web"
[[frameworks.workloads]]
kind = "service"
tasks = 6
cpus = 0.5
memory = "256 MiB"
[[frameworks.workloads]]
kind = "batch"
tasks = 4
waves = 3
every = "1m"
start = "5s"
cpus = 1
memory = "1 GiB"
runtime = ["10s", "40s"]
fails = 0.5
pod = 2
[[frameworks]]
name = "short"
count = 2
[[frameworks.workloads]]
kind = "short"
rate = 2
cpus = 0.1
memory = "64 MiB"
runtime = "2s"
[[faults]]
at = "30s"
kind = "partition-agent"
agents = "2-3"
for = "75s"
direction = "from-master"
[[faults]]
every = "20s"
kind = "crash-scheduler"
framework = "short"
for = "5s"
[[faults]]
at = "1m"
kind = "clock-jump-master"
by = "-30s"
"#;

fn made(text: &str, seed: u64) -> Setup {
    let scenario = Scenario::read("a.toml", text, Path::new(".")).expect("good");
    setup(&scenario, &scenario.policies[0], seed)
}

#[test]
fn work_is_what_the_file_says() {
    let setup = made(TEXT, 1);
    assert_eq!(setup.frameworks.len(), 3);
    assert_eq!(setup.frameworks[1].name, "short-1");
    let web = &setup.frameworks[0].tasks;
    assert_eq!(web.iter().filter(|task| task.run.is_none()).count(), 6);
    let batch: Vec<&TaskPlan> = web.iter().filter(|task| task.run.is_some()).collect();
    assert_eq!(batch.len(), 12);
    assert_eq!(batch[4].submit, Duration::from_secs(65));
    assert_eq!(batch[0].group, batch[1].group);
    assert_ne!(batch[1].group, batch[2].group);
    assert!(batch.iter().all(|task| (10.0..=40.0).contains(&task.run.expect("runs").as_secs_f64())));
    let short = setup.frameworks[1].tasks.len();
    assert!((1_000..1_400).contains(&short), "{short} of about 1200");
    assert_ne!(setup.frameworks[1].tasks, setup.frameworks[2].tasks, "copies have work of their own");
}

#[test]
fn faults_are_planned_up_front() {
    let setup = made(TEXT, 1);
    let partitions: Vec<_> =
        setup.faults.iter().filter(|fault| matches!(fault.kind, Planning::Partition { .. })).collect();
    assert_eq!(partitions.len(), 2);
    assert_eq!(partitions[0].at_ms, 30_000);
    assert_eq!(
        partitions[1].kind,
        Planning::Partition { victim: Victim::Agent(2), direction: Way::FromMaster, for_ms: 75_000 }
    );
    let crashes: Vec<_> = setup
        .faults
        .iter()
        .filter(|fault| matches!(fault.kind, Planning::Crash { victim: Victim::Scheduler(1 | 2), .. }))
        .collect();
    assert!((10..60).contains(&crashes.len()), "{} of about 30", crashes.len());
    assert!(
        setup
            .faults
            .iter()
            .any(|fault| { fault.kind == Planning::ClockJump { victim: Victim::Master, by_ms: -30_000 } })
    );
    assert!(setup.faults.is_sorted_by_key(|fault| fault.at_ms));
}

#[test]
fn one_seed_gives_one_setup() {
    assert_eq!(format!("{:?}", made(TEXT, 7)), format!("{:?}", made(TEXT, 7)));
    assert_ne!(format!("{:?}", made(TEXT, 7)), format!("{:?}", made(TEXT, 8)));
    let more = format!("{TEXT}\n[[frameworks]]\nname = \"late\"\n");
    assert_eq!(made(TEXT, 7).frameworks[2].tasks, made(&more, 7).frameworks[2].tasks);
}
