//! Runs a range of seeds and says what it found: `cargo run --release -p mezzo-sim-cluster --example search -- 0..1000 --jobs 2`.
//! With `--services` these are clusters with a services node. With one number the run's last lines are printed as well, and the smallest case that fails in the same
//! way; with a second number that is zero, all lines.

use std::{
    collections::BTreeMap,
    ops::Range,
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use mezzo_sim_cluster::{
    Case, LastLines, Observer, Outcome, ServicesCase, Setup, minimise, minimise_services, run, run_watched,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINES: usize = 60;
/// Runs that making a failing case smaller may take.
const MINIMISE_RUNS: usize = 400;
/// Failing seeds that are shown before the search gives up.
const SHOWN_MAX: usize = 20;
/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);
const USAGE: &str = "expected SEED [LINES] or FROM..TO [--jobs N] [--services], such as 0..1000 --jobs 2";

/// What is asked for.
#[derive(Default)]
struct Options {
    seeds: Range<u64>,
    is_range: bool,
    lines: usize,
    jobs: usize,
    has_services: bool,
}

fn options(arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { seeds: 0..100, is_range: true, lines: LINES, jobs: 1, has_services: false };
    let mut arguments = arguments.peekable();
    let mut place = 0;
    while let Some(argument) = arguments.next() {
        if argument == "--services" {
            options.has_services = true;
            continue;
        }
        let jobs = argument.strip_prefix("--jobs=").map(str::to_owned);
        if argument == "--jobs" || jobs.is_some() {
            options.jobs = jobs.or_else(|| arguments.next())?.parse().ok().filter(|jobs| *jobs > 0)?;
            continue;
        }
        match (place, argument.split_once("..")) {
            (0, Some((from, to))) => options.seeds = from.parse().ok()?..to.parse().ok()?,
            (0, None) => {
                let seed: u64 = argument.parse().ok()?;
                options.seeds = seed..seed.checked_add(1)?;
                options.is_range = false;
            }
            (1, None) => options.lines = argument.parse().ok()?,
            _ => return None,
        }
        place += 1;
    }
    Some(options)
}

/// Prints as it goes.
struct Out;

impl Observer for Out {
    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, at: Duration, line: &str) {
        println!("{:>14.6} {line}", at.as_secs_f64());
    }
}

/// What all runs so far came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    events: u64,
    simulated: Duration,
    faults: BTreeMap<&'static str, u64>,
    failing: Vec<u64>,
    /// Of all runs, whatever their order: equal for equal programs on the same seeds.
    digest: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.simulated += outcome.lasted;
        self.digest = self.digest.wrapping_add(outcome.hash);
        for (name, count) in &outcome.faults {
            *self.faults.entry(name).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failing.push(seed);
        }
    }

    fn hours(&self) -> f64 {
        self.simulated.as_secs_f64() / 3600.0
    }

    /// One line while it goes on.
    fn tell(&self, of: u64, taken: Duration) {
        let seconds = taken.as_secs_f64();
        let faults: u64 = self.faults.values().sum();
        let mut most: Vec<_> = self.faults.iter().map(|(name, count)| (count, name)).collect();
        most.sort_by(|one, other| other.cmp(one));
        let most: Vec<_> = most.into_iter().take(4).map(|(count, name)| format!("{name} {count}")).collect();
        eprintln!(
            "{seconds:>6.0} s: {} of {of} seeds, {:.1}/s, {:.1} simulated hours, {faults} faults ({}, ...), {} failing",
            self.seeds,
            self.seeds as f64 / seconds,
            self.hours(),
            most.join(", "),
            self.failing.len()
        );
    }

    fn report(&mut self, taken: Duration, jobs: usize) {
        let seconds = taken.as_secs_f64();
        self.failing.sort_unstable();
        let rows = [
            ("seeds", format!("{} ({:.1}/s, {jobs} at a time)", self.seeds, self.seeds as f64 / seconds)),
            ("simulated hours", format!("{:.1}", self.hours())),
            ("events", format!("{} ({:.0}/s)", self.events, self.events as f64 / seconds)),
            ("real time", format!("{seconds:.1} s")),
            ("digest", format!("{:016x}", self.digest)),
            ("faults", self.faults.values().sum::<u64>().to_string()),
        ];
        for (name, value) in rows {
            println!("{name:<36} {value}");
        }
        for (name, count) in &self.faults {
            println!("  {name:<34} {count}");
        }
        println!("{:<36} {} {:?}", "failing seeds", self.failing.len(), self.failing);
    }
}

/// The cluster of a seed.
fn setup(seed: u64, has_services: bool) -> Setup {
    if has_services { ServicesCase::random(seed).setup() } else { Case::random(seed).setup() }
}

/// The smallest case that breaks the same promise, as text.
fn smallest(seed: u64, has_services: bool, rule: &str) -> String {
    let fails = |setup: Setup| run(setup).violations.iter().any(|other| other.rule == rule);
    let text = if has_services {
        let case = ServicesCase::random(seed);
        toml::to_string(&minimise_services(case, MINIMISE_RUNS, |case| fails(case.setup())))
    } else {
        toml::to_string(&minimise(Case::random(seed), MINIMISE_RUNS, |case| fails(case.setup())))
    };
    text.unwrap_or_default()
}

/// One seed, told in full.
fn replay(seed: u64, lines: usize, has_services: bool) -> ExitCode {
    if lines == 0 {
        let outcome = run_watched(setup(seed, has_services), &mut Out);
        println!("{:?} {:?}", outcome.violations, outcome.lasted);
        return ExitCode::SUCCESS;
    }
    let mut last = LastLines::new(lines);
    let begun = Instant::now();
    let outcome = run_watched(setup(seed, has_services), &mut last);
    let taken = begun.elapsed();
    last.lines().for_each(|line| println!("{line}"));
    let mut sum = Sum::default();
    sum.add(seed, &outcome);
    let failed = outcome.violations.first();
    if let Some(first) = failed {
        println!("seed {seed}: {first}");
        println!("smallest case found, for regressions/:\n{}", smallest(seed, has_services, first.rule));
    }
    sum.report(taken, 1);
    if failed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A whole range, several at a time.
fn search(seeds: Range<u64>, jobs: usize, has_services: bool) -> ExitCode {
    let begun = Instant::now();
    let (next, gives_up) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (played, results) = mpsc::channel();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (played, next, gives_up, end) = (played.clone(), &next, &gives_up, seeds.end);
            scope.spawn(move || {
                while !gives_up.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || played.send((seed, run(setup(seed, has_services)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(played);
        let mut told = begun;
        for (seed, outcome) in results {
            sum.add(seed, &outcome);
            if let Some(first) = outcome.violations.first() {
                println!("seed {seed}: {first}");
                if sum.failing.len() == SHOWN_MAX {
                    println!("stopped after {SHOWN_MAX} failing seeds");
                    gives_up.store(true, Ordering::Relaxed);
                }
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                sum.tell(seeds.end.saturating_sub(seeds.start), begun.elapsed());
            }
        }
    });
    sum.report(begun.elapsed(), jobs);
    if sum.failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        None => {
            eprintln!("{USAGE}");
            ExitCode::FAILURE
        }
        Some(options) if options.is_range => search(options.seeds, options.jobs, options.has_services),
        Some(options) => replay(options.seeds.start, options.lines, options.has_services),
    }
}
