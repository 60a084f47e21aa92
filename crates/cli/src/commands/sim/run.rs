//! `mezzo sim run`

use std::{path::Path, process::ExitCode, time::Instant};

use mezzo_scenario::{Scenario, judge, setup};
use mezzo_sim_report::{Story, Summary, TITLES, page, summary};
use serde::Serialize;

use super::{
    Names, command_line, file_name,
    log::LogWriter,
    progress::{Watcher, is_interrupted, watch_interrupts},
    scenario,
};
use crate::{
    args::{Global, SimRun, SimWhat},
    error::{CliError, Exit},
    table::{self, Format, Row},
};

/// results.json, and what `-o json` prints.
#[derive(Serialize)]
struct Results<'a> {
    scenario: &'a str,
    title: &'a str,
    rows: &'a [String],
    seed: u64,
    nodes: usize,
    /// For `mezzo sim explain`: groups of nodes with how many, and frameworks, in the order of their numbers.
    groups: Vec<(String, usize)>,
    frameworks: Vec<String>,
    command: &'a str,
    policies: &'a [PolicyRow],
}

/// One line of the table.
#[derive(Serialize)]
struct PolicyRow {
    #[serde(flatten)]
    summary: Summary,
    events_log: Option<String>,
}

impl Row for PolicyRow {
    const TITLES: &'static [&'static str] = &TITLES;
    fn cells(&self) -> Vec<String> {
        self.summary.cells().to_vec()
    }
}

/// Plays a scenario under each policy, and compares.
pub(super) fn run(global: &Global, arguments: &SimRun) -> Result<ExitCode, CliError> {
    let scenario = scenario(&arguments.file, &arguments.what)?;
    if let Some(out) = &arguments.out {
        std::fs::create_dir_all(out).map_err(|error| {
            CliError::new(Exit::Failed, "make the folder of the report")
                .place(out.display().to_string())
                .why(error.to_string())
                .help("mezzo sim run SCENARIO.toml --out runs/")
        })?;
    }
    let command = replay(&scenario, &arguments.file, &arguments.what, arguments.out.as_deref());
    watch_interrupts();
    let mut story: Option<Story> = None;
    let mut names = Names::default();
    let mut logs = Vec::new();
    for policy in &scenario.policies {
        if is_interrupted() {
            break;
        }
        let setup = setup(&scenario, policy, scenario.seed);
        names = Names::of(&setup);
        let name = arguments.out.as_ref().map(|_| format!("events.{}.log", file_name(&policy.name)));
        let path = arguments.out.as_ref().zip(name.as_ref()).map(|(out, name)| out.join(name));
        let writer = path.map(LogWriter::create).transpose()?;
        let mut watcher = Watcher::new(policy.name.clone(), setup.load, writer);
        let began = Instant::now();
        let outcome = mezzo_sim_cluster::run_watched(setup.clone(), &mut watcher);
        let wall = began.elapsed();
        if let Some(log) = watcher.finish() {
            log.finish()?;
        }
        logs.push(name);
        let complete = !watcher.stopped;
        let checks = if complete { judge(&scenario, &setup, &outcome) } else { Vec::new() };
        story.get_or_insert_with(|| Story::new(&scenario, &setup, command.clone())).add(
            &policy.name,
            &setup,
            &outcome,
            &checks,
            wall,
            complete,
        );
    }
    let Some(story) = story else {
        return Err(CliError::new(Exit::Failed, "nothing was simulated").why("Ctrl-C came first"));
    };
    let rows: Vec<PolicyRow> = story
        .runs
        .iter()
        .zip(logs)
        .map(|(run, events_log)| PolicyRow { summary: summary(&story, run), events_log })
        .collect();
    report(global, &scenario, &story, names, &rows, arguments.out.as_deref())?;
    if is_interrupted() {
        return Ok(ExitCode::from(130));
    }
    let broken = rows
        .iter()
        .filter(|row| !row.summary.violations.is_empty() || !row.summary.broken_expectations.is_empty());
    match broken.count() {
        0 => Ok(ExitCode::SUCCESS),
        broken => Err(CliError::new(
            Exit::Failed,
            format!("{broken} of {} runs did not do what is expected", rows.len()),
        )
        .place(scenario.file.clone())
        .why(
            rows.iter()
                .flat_map(|row| &row.summary.broken_expectations)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n   = "),
        )
        .help(command)),
    }
}

/// The table, and the files of `--out`.
fn report(
    global: &Global,
    scenario: &Scenario,
    story: &Story,
    names: Names,
    rows: &[PolicyRow],
    out: Option<&Path>,
) -> Result<(), CliError> {
    let results = Results {
        scenario: &scenario.file,
        title: &scenario.title,
        rows: &scenario.rows,
        seed: story.seed,
        nodes: story.nodes.len(),
        groups: names.groups,
        frameworks: names.frameworks,
        command: &story.command,
        policies: rows,
    };
    let json = serde_json::to_string_pretty(&results)
        .map_err(|error| CliError::new(Exit::Failed, "write JSON").why(error.to_string()))?;
    match global.output {
        Format::Json => println!("{json}"),
        format => table::print(rows, format)?,
    }
    if let Some(out) = out {
        write(&out.join("results.json"), &(json + "\n"))?;
        write(&out.join("report.html"), &page(story))?;
        eprintln!("  report  {}", out.join("report.html").display());
        eprintln!("  next:   mezzo sim explain {}", out.display());
    }
    if global.output == Format::Table {
        eprintln!("  seed {}   again:  {}", story.seed, story.command);
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text).map_err(|error| {
        CliError::new(Exit::Failed, "write the report")
            .place(path.display().to_string())
            .why(error.to_string())
    })
}

/// The command that plays the same again.
fn replay(scenario: &Scenario, file: &Path, what: &SimWhat, out: Option<&Path>) -> String {
    let mut words: Vec<String> = ["mezzo", "sim", "run"].map(String::from).to_vec();
    words.push(file.display().to_string());
    if let Some(nodes) = what.nodes {
        words.extend(["--nodes".into(), nodes.to_string()]);
    }
    if let Some(node) = &what.node {
        words.extend(["--node".into(), node.clone()]);
    }
    let policies: Vec<&str> = scenario.policies.iter().map(|policy| policy.name.as_str()).collect();
    words.extend(["--policy".into(), policies.join(",")]);
    words.extend(["--seed".into(), scenario.seed.to_string()]);
    if let Some(out) = out {
        words.extend(["--out".into(), out.display().to_string()]);
    }
    command_line(&words)
}
