//! `mezzo sim`: a whole cluster in virtual time.

mod explain;
mod log;
mod progress;
mod run;
mod trace;

use std::{io::Read, path::Path, process::ExitCode};

use mezzo_resources::Quantities;
use mezzo_scenario::{Amounts, NODES_MAX, NodeGroup, Policy, Problem, Scenario, Trace};

use crate::{
    args::{Global, Sim, SimWhat},
    error::{CliError, Exit},
};

/// What the numbers in an event log mean.
#[derive(Clone, Debug, Default, serde::Deserialize)]
struct Names {
    /// Groups of nodes with how many.
    groups: Vec<(String, usize)>,
    /// Frameworks.
    frameworks: Vec<String>,
}

impl Names {
    fn of(setup: &mezzo_sim_cluster::Setup) -> Self {
        Self {
            groups: setup.nodes.iter().map(|group| (group.name.clone(), group.count)).collect(),
            frameworks: setup.frameworks.iter().map(|framework| framework.name.clone()).collect(),
        }
    }

    /// What a log calls a framework: by its scheduler's number, and in the ids of its tasks.
    fn of_framework(&self, name: &str) -> Option<Vec<String>> {
        let number = self.frameworks.iter().position(|known| known == name).or_else(|| name.parse().ok())?;
        Some(vec![format!("scheduler {number}"), format!("t{number}")])
    }

    /// What a log calls an agent: its number, and the name of its node.
    fn of_agent(&self, name: &str) -> Option<Vec<String>> {
        let mut first = 0;
        for (group, count) in &self.groups {
            let within = name.strip_prefix(group.as_str()).and_then(|rest| rest.strip_prefix('-'));
            if let Some(number) =
                within.and_then(|rest| rest.parse::<usize>().ok()).filter(|number| number < count)
            {
                return Some(vec![format!("agent {}", first + number), name.to_owned()]);
            }
            if let Some(number) =
                name.parse::<usize>().ok().filter(|number| (first..first + count).contains(number))
            {
                return Some(vec![format!("agent {number}"), format!("{group}-{}", number - first)]);
            }
            first += count;
        }
        None
    }
}

/// Nodes of a trace unless told otherwise.
const NODES_DEFAULT: u64 = 100;

pub(super) fn main(global: &Global, sim: Sim) -> Result<ExitCode, CliError> {
    match sim {
        Sim::Run(arguments) => run::run(global, &arguments),
        Sim::Explain(arguments) => explain::explain(global, &arguments),
        Sim::Trace(arguments) => trace::write(&arguments),
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let mut error = Self::new(Exit::Usage, problem.what.clone());
        if let Some(place) = &problem.place {
            error = error.place(format!("{}:{}:{}", place.file, place.line, place.column));
        }
        if let Some(excerpt) = problem.excerpt() {
            error = error.excerpt(excerpt);
        }
        error = error.why(problem.why);
        problem.help.into_iter().fold(error, Self::help)
    }
}

/// What to play, as the command line changes it: its policies are those to compare.
fn scenario(file: &Path, what: &SimWhat) -> Result<Scenario, CliError> {
    let policies: Vec<Policy> = what
        .policy
        .iter()
        .map(|word| Policy::parse(word))
        .collect::<Result<_, _>>()
        .map_err(|problem| CliError::from(problem).place("--policy"))?;
    let mut scenario = if is_scenario(file)? {
        if what.node.is_some() {
            return Err(CliError::usage("--node is for traces")
                .place(file.display().to_string())
                .why("a scenario says itself what its nodes have")
                .help("change [[nodes]] in the scenario"));
        }
        Scenario::read_file(file)?
    } else {
        let opened = std::fs::File::open(file).map_err(|error| unreadable(file, &error))?;
        let trace = Trace::read(&file.display().to_string(), std::io::BufReader::new(opened))?;
        let nodes = nodes(what, &trace)?;
        Scenario::of_trace(trace, nodes, Policy::default())?
    };
    if !policies.is_empty() {
        scenario.policies = policies;
    }
    if let Some(seed) = what.seed {
        scenario.seed = seed;
    }
    if let Some(count) = what.nodes {
        scale(&mut scenario.nodes, count);
    }
    Ok(scenario)
}

fn unreadable(file: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Exit::NotFound, "cannot read the scenario or trace")
        .place(file.display().to_string())
        .why(error.to_string())
        .help("mezzo sim run sim/scenarios/two-teams.toml")
}

/// A scenario ends in .toml, or does not look like a trace.
fn is_scenario(file: &Path) -> Result<bool, CliError> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => return Ok(true),
        Some("csv" | "jsonl" | "json" | "trace") => return Ok(false),
        _ => {}
    }
    let mut start = [0; 512];
    let read = std::fs::File::open(file).and_then(|mut opened| opened.read(&mut start));
    let read = read.map_err(|error| unreadable(file, &error))?;
    let start = String::from_utf8_lossy(&start[..read]);
    let first = start.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(!first.is_some_and(|line| line.starts_with('{') || (line.contains(',') && !line.contains('='))))
}

/// The nodes of a trace: large enough for its tasks unless told otherwise.
fn nodes(what: &SimWhat, trace: &Trace) -> Result<NodeGroup, CliError> {
    let resources = match &what.node {
        Some(text) => {
            let bad = |why: String| {
                CliError::usage("--node makes no sense")
                    .place(format!("--node {text}"))
                    .why(why)
                    .help("mezzo sim run trace.csv --nodes 100 --node 'cpus:64;mem:262144;gpus:8'")
            };
            let named = Quantities::parse(text).map_err(|error| bad(error.to_string()))?;
            let known = ["cpus", "mem", "disk", "gpus"];
            if let Some((name, _)) = named.iter().find(|(name, _)| !known.contains(&name.as_str())) {
                return Err(bad(format!(
                    "there is no '{}'; expected some of: {}",
                    name.as_str(),
                    known.join(", ")
                )));
            }
            let amount = |name: &str| named.get(name).as_f64();
            Amounts {
                cpus: amount("cpus"),
                memory: amount("mem"),
                disk: amount("disk"),
                gpus: amount("gpus"),
            }
        }
        None => {
            let gpus = if trace.wants_gpus() { 8.0 } else { 0.0 };
            Amounts { cpus: 96.0, memory: 768.0 * 1024.0, disk: 4.0 * 1024.0 * 1024.0, gpus }
        }
    };
    let count = what.nodes.unwrap_or(NODES_DEFAULT);
    Ok(NodeGroup { name: "node".into(), count, resources, attributes: Vec::new(), domain: None })
}

/// Changes how many nodes there are, in the same proportions; each group keeps one at least.
fn scale(groups: &mut [NodeGroup], wanted: u64) {
    let wanted = wanted.min(NODES_MAX).max(groups.len() as u64);
    let all: u64 = groups.iter().map(|group| group.count).sum();
    let mut left = wanted;
    let count = groups.len() as u64;
    let mut rest = all;
    for (number, group) in groups.iter_mut().enumerate() {
        let others = count - number as u64 - 1;
        // Of what is left, its part of what was left: rounding never loses a node.
        let share = (u128::from(left) * u128::from(group.count) / u128::from(rest.max(1))) as u64;
        rest -= group.count;
        group.count = if others == 0 { left } else { share.clamp(1, left - others) };
        left -= group.count;
    }
}

/// Words of a command line, quoted where a shell needs it.
fn command_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A policy's name as part of a file's name.
fn file_name(policy: &str) -> String {
    policy.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: u64) -> NodeGroup {
        NodeGroup {
            name: "a".into(),
            count,
            resources: Amounts::default(),
            attributes: Vec::new(),
            domain: None,
        }
    }

    #[test]
    fn groups_keep_their_proportions() {
        let scaled = |counts: &[u64], wanted| {
            let mut groups: Vec<NodeGroup> = counts.iter().map(|count| group(*count)).collect();
            scale(&mut groups, wanted);
            groups.into_iter().map(|group| group.count).collect::<Vec<_>>()
        };
        assert_eq!(scaled(&[10, 20, 30], 6), [1, 2, 3]);
        assert_eq!(scaled(&[10, 20, 30], 600), [100, 200, 300]);
        assert_eq!(scaled(&[1000, 1], 10), [9, 1]);
        assert_eq!(scaled(&[1, 1, 1], 1), [1, 1, 1]);
        assert_eq!(scaled(&[7], 3), [3]);
    }

    #[test]
    fn names_are_what_the_log_says() {
        let names =
            Names { groups: vec![("small".into(), 10), ("large".into(), 4)], frameworks: vec!["web".into()] };
        assert_eq!(names.of_framework("web"), Some(vec!["scheduler 0".into(), "t0".into()]));
        assert_eq!(names.of_agent("large-2"), Some(vec!["agent 12".into(), "large-2".into()]));
        assert_eq!(names.of_agent("12"), Some(vec!["agent 12".into(), "large-2".into()]));
        assert_eq!(
            (names.of_agent("large-4"), names.of_agent("14"), names.of_framework("wbe")),
            (None, None, None)
        );
    }

    #[test]
    fn a_command_can_be_pasted() {
        let words =
            ["mezzo", "sim", "run", "my file.toml", "--policy", "most-free:gpus", "it's"].map(String::from);
        assert_eq!(command_line(&words), "mezzo sim run 'my file.toml' --policy most-free:gpus 'it'\\''s'");
        assert_eq!(file_name("random+most-free:gpus"), "random-most-free-gpus");
    }
}
