//! Plays the files of sim/scenarios, and prints the rows of the table of faults that they name.

use std::path::{Path, PathBuf};

use mezzo_scenario::{Scenario, judge, setup};
use mezzo_sim_cluster::run;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../sim/scenarios")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("sim/scenarios");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    files
}

/// `SIM_ROWS=F042,F050` plays only these.
fn wanted(scenario: &Scenario) -> bool {
    match std::env::var("SIM_ROWS") {
        Ok(rows) => scenario.rows.iter().any(|row| rows.split(',').any(|wanted| wanted == row)),
        Err(_) => !scenario.rows.is_empty(),
    }
}

#[test]
fn every_row_does_what_it_says() {
    let mut broken = Vec::new();
    for file in files() {
        let scenario = Scenario::read_file(&file).unwrap_or_else(|problem| panic!("{problem}"));
        if !wanted(&scenario) {
            continue;
        }
        let setup = setup(&scenario, &scenario.policies[0], scenario.seed);
        let outcome = run(setup.clone());
        let checks = judge(&scenario, &setup, &outcome);
        let bad: Vec<&str> =
            checks.iter().filter(|check| !check.held).map(|check| check.what.as_str()).collect();
        for row in &scenario.rows {
            println!(
                "{row}  {}  {:>8} events  {:>7.1} s  {:>2} checks  {}",
                if bad.is_empty() { "ok    " } else { "BROKEN" },
                outcome.events,
                outcome.lasted.as_secs_f64(),
                checks.len(),
                scenario.title,
            );
        }
        for what in bad {
            println!("      {what}");
            broken.push(format!("{}: {what}", file.display()));
        }
        if scenario.rows.iter().any(|row| row == "F248") {
            assert_eq!(run(setup).hash, outcome.hash, "F248: the same seed twice");
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Plays a file that names no row, under each of its policies.
fn holds(name: &str) {
    let scenario = Scenario::read_file(&folder().join(name)).unwrap_or_else(|problem| panic!("{problem}"));
    for policy in &scenario.policies {
        let setup = setup(&scenario, policy, scenario.seed);
        let outcome = run(setup.clone());
        for check in judge(&scenario, &setup, &outcome) {
            assert!(check.held, "{name} under {}: {}", policy.name, check.what);
        }
    }
}

/// Absurd roles, constraints and offers of one framework do not slow another.
#[test]
fn absurd_neighbours_slow_nobody_down() {
    holds("absurd-neighbours.toml");
}

#[test]
fn two_teams_get_what_they_paid_for() {
    holds("two-teams.toml");
}

#[test]
fn every_file_is_good_and_told_of() {
    let text =
        std::fs::read_to_string(folder().join("../../docs/simulation.md")).expect("docs/simulation.md");
    for file in files() {
        let scenario = Scenario::read_file(&file).unwrap_or_else(|problem| panic!("{problem}"));
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        for row in &scenario.rows {
            let told = text.lines().any(|line| line.contains(row.as_str()) && line.contains(name));
            assert!(told, "docs/simulation.md does not name {row} with {name}");
        }
        assert!(
            scenario.rows.is_empty() || name.starts_with(&scenario.rows[0]),
            "{name} does not begin with its row"
        );
    }
}
