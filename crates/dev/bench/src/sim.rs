//! How fast a simulated cluster runs, on one core, with its checkers on.

use std::time::Duration;

use anyhow::{Result, ensure};
use mezzo_sim_cluster::{
    Amounts, Behaviour, Case, FrameworkSetup, Load, MasterSetup, NodeGroup, Observer, Outcome, Setup, run,
    run_watched,
};
use rustix::time::{ClockId, clock_gettime};

use crate::table::{Table, percentile};

/// Runs of each small measurement; the median counts.
const RUNS: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);
const NEEDS: Amounts = Amounts { cpus: 1.0, mem: 512.0, disk: 0.0, gpus: 0.0 };
const FRAMEWORKS: usize = 8;
/// Processor seconds after which the day ends unfinished, and those between two lines of progress.
const DAY_SECONDS_MAX: f64 = 400.0;
const TELL_EVERY: f64 = 20.0;
/// Cases of the search.
const SEEDS: u64 = 60;
/// Each starts a task's whole life: launch, three updates and as many acknowledgements.
const SHORT_PER_SECOND: f64 = 40.0;

fn nodes(count: usize) -> Vec<NodeGroup> {
    vec![NodeGroup {
        name: "node".into(),
        count,
        resources: Amounts { cpus: 16.0, mem: 65_536.0, disk: 1e6, gpus: 0.0 },
        attributes: Vec::new(),
        domain: None,
    }]
}

fn framework(number: usize) -> FrameworkSetup {
    let mut framework = FrameworkSetup::new(&format!("tenant-{number}"), &format!("role-{}", number % 4));
    framework.refuse = HOUR;
    framework
}

/// Short tasks: nearly every event is about one. Refusals are those of Mesos' schedulers that say nothing.
fn busy(agents: usize, framed_links: bool) -> Setup {
    let load = Duration::from_secs(100);
    let runs = (Duration::from_secs(1), Duration::from_secs(5));
    let frameworks = (0..FRAMEWORKS).map(|number| {
        let mut framework = framework(number);
        framework.suppresses = false;
        framework.refuse = Duration::from_secs(5);
        let when = (Duration::from_secs(10), load);
        framework.tasks = Load::new(1, number).short(SHORT_PER_SECOND, when, runs, NEEDS).plans();
        framework
    });
    let frameworks = frameworks.collect();
    Setup { load, nodes: nodes(agents), frameworks, framed_links, ..Setup::default() }
}

/// A day of 5,000 agents: services, hourly waves, short tasks by the handful, and a tenant that declines all.
fn mixed_day() -> Setup {
    let load = 24 * HOUR;
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut services = framework(0);
    services.tasks = Load::new(1, 0).services(10_000, minutes(1), NEEDS).plans();
    let mut waves = framework(1);
    waves.tasks =
        Load::new(1, 1).waves((4_000, 23), (minutes(5), HOUR), (minutes(5), minutes(50)), NEEDS).plans();
    let mut short = framework(2);
    let every = Duration::from_secs(30);
    short.tasks =
        Load::new(1, 2).waves((30, 2_870), (minutes(2), every), (minutes(1) / 6, minutes(2)), NEEDS).plans();
    let mut rude = framework(3);
    rude.behaviour = Behaviour::DeclinesAll;
    Setup {
        load,
        nodes: nodes(5_000),
        frameworks: vec![services, waves, short, rude],
        framed_links: false,
        // With 15 s nearly all of the day's events would be pings.
        master: MasterSetup { agent_ping_timeout: minutes(1), ..MasterSetup::default() },
        sample_every: minutes(10),
        ..Setup::default()
    }
}

/// Processor time of this thread: what one core does, whoever else is on the machine.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs a setup; with the processor time it took.
fn measured(setup: Setup) -> Result<(Outcome, f64)> {
    let begun = processor_seconds();
    let outcome = run(setup);
    let seconds = processor_seconds() - begun;
    ensure!(outcome.violations.is_empty(), "{}", outcome.violations[0]);
    ensure!(outcome.settled, "the cluster did not settle");
    Ok((outcome, seconds))
}

fn done(outcome: &Outcome) -> usize {
    outcome.tasks.iter().flatten().filter(|task| task.done).count()
}

/// Events per second, on a cluster that is small enough for the caches and on a larger one.
pub(crate) fn events(table: &mut Table) -> Result<()> {
    let links = [("plain links", false), ("links as frames of the protocol", true)];
    for (agents, (name, framed)) in
        [100, 1_000].into_iter().flat_map(|agents| links.map(|link| (agents, link)))
    {
        let mut rates = Vec::new();
        let mut beside = String::new();
        for _ in 0..RUNS {
            let (outcome, seconds) = measured(busy(agents, framed))?;
            rates.push(outcome.events as f64 / seconds);
            beside = format!("{} tasks, {} events", done(&outcome), outcome.events);
        }
        let rate = percentile(&mut rates, 0.5);
        let what = format!("events, {agents} agents, {name}");
        table.row(&what, &format!("{rate:.0}/s"), &beside, ">= 200,000/s (1,000,000)");
    }
    Ok(())
}

/// Small clusters with faults, as the search for mistakes plays them.
pub(crate) fn seeds(table: &mut Table) -> Result<()> {
    for (name, judges) in [("", None), (", no pass judged", Some(false)), (", every pass judged", Some(true))]
    {
        let (mut events, mut hours, mut seconds) = (0, 0.0, 0.0);
        for seed in 0..SEEDS {
            let mut setup = Case::random(seed).setup();
            setup.judge_offers = judges.unwrap_or(setup.judge_offers);
            let (outcome, took) = measured(setup)?;
            seconds += took;
            events += outcome.events;
            hours += outcome.lasted.as_secs_f64() / 3600.0;
        }
        table.row(
            &format!("small clusters with faults{name}"),
            &format!("{:.1} seeds/s", SEEDS as f64 / seconds),
            &format!("{:.0} events/s, {hours:.1} simulated hours", events as f64 / seconds),
            "",
        );
    }
    Ok(())
}

/// Tells how far a long run is, and ends it when it takes too long.
struct Budget {
    begun: f64,
    told: f64,
}

impl Observer for Budget {
    fn goes_on(&mut self, at: Duration, events: u64) -> bool {
        let seconds = processor_seconds() - self.begun;
        if seconds - self.told >= TELL_EVERY {
            self.told = seconds;
            eprintln!("    {:.1} h of {events} events after {seconds:.0} s", at.as_secs_f64() / 3600.0);
        }
        seconds < DAY_SECONDS_MAX
    }
}

/// A day of a large cluster.
pub(crate) fn day(table: &mut Table) -> Result<()> {
    let begun = processor_seconds();
    let outcome = run_watched(mixed_day(), &mut Budget { begun, told: 0.0 });
    let seconds = processor_seconds() - begun;
    ensure!(outcome.violations.is_empty(), "{}", outcome.violations[0]);
    let figure = if outcome.settled {
        format!("{seconds:.0} s")
    } else {
        format!("{:.1} h after {seconds:.0} s", outcome.lasted.as_secs_f64() / 3600.0)
    };
    table.row(
        "5,000 agents, one simulated day",
        &figure,
        &format!(
            "{} tasks, {} events, {:.0}/s",
            done(&outcome),
            outcome.events,
            outcome.events as f64 / seconds
        ),
        "<= 300 s",
    );
    Ok(())
}
