//! Runs a range of seeds and says what it found: `cargo run --release -p mezzo-sim-cluster --example search -- 0..1000`.
//! With one number the run's last lines are printed as well, and the smallest case that fails in the same
//! way; with a second number that is zero, all lines.

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use mezzo_sim_cluster::{Case, LastLines, minimise, run, run_watched};

const LINES: usize = 60;
/// Runs that making a failing case smaller may take.
const MINIMISE_RUNS: usize = 400;
/// Failing seeds that are shown before the search gives up.
const SHOWN_MAX: usize = 20;

/// Prints as it goes.
struct Out;

impl mezzo_sim_cluster::Observer for Out {
    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, at: std::time::Duration, line: &str) {
        println!("{:>14.6} {line}", at.as_secs_f64());
    }
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "0..100".into());
    let lines = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(LINES);
    let (from, to) = match argument.split_once("..") {
        Some((from, to)) => (from.parse().ok(), to.parse().ok()),
        None => (argument.parse().ok(), argument.parse::<u64>().ok().map(|seed| seed + 1)),
    };
    let (Some(from), Some(to)) = (from, to) else {
        eprintln!("expected a seed or a range of seeds such as 0..1000, found '{argument}'");
        return ExitCode::FAILURE;
    };
    let begun = Instant::now();
    let (mut events, mut hours) = (0u64, 0.0);
    let mut faults: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failing = Vec::new();
    for seed in from..to {
        let outcome = if to - from == 1 {
            let mut last = LastLines::new(lines);
            if lines == 0 {
                let outcome = run_watched(Case::random(seed).setup(), &mut Out);
                println!("{:?} {:?}", outcome.violations, outcome.lasted);
                return ExitCode::SUCCESS;
            }
            let outcome = run_watched(Case::random(seed).setup(), &mut last);
            last.lines().for_each(|line| println!("{line}"));
            outcome
        } else {
            run(Case::random(seed).setup())
        };
        events += outcome.events;
        hours += outcome.lasted.as_secs_f64() / 3600.0;
        for (name, count) in outcome.faults {
            *faults.entry(name).or_default() += count;
        }
        if let Some(first) = outcome.violations.first() {
            println!("seed {seed}: {first}");
            if to - from == 1 && lines > 0 {
                let rule = first.rule;
                let fails = |case: &Case| run(case.setup()).violations.iter().any(|other| other.rule == rule);
                let small = minimise(Case::random(seed), MINIMISE_RUNS, fails);
                println!(
                    "smallest case found, for regressions/:\n{}",
                    toml::to_string(&small).unwrap_or_default()
                );
            }
            failing.push(seed);
            if failing.len() == SHOWN_MAX {
                println!("stopped after {SHOWN_MAX} failing seeds");
                break;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} failing, {hours:.1} simulated hours, {events} events in {seconds:.1} s ({:.0}/s)",
        to - from,
        failing.len(),
        events as f64 / seconds
    );
    for (name, count) in faults {
        println!("  {count:>9} {name}");
    }
    if failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
