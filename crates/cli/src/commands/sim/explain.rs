//! `mezzo sim explain`

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use mezzo_scenario::setup;
use mezzo_sim_cluster::Observer;

use super::{
    Names, file_name,
    log::{LogLine, read},
    scenario,
};
use crate::{
    args::{Global, SimExplain},
    error::{CliError, Exit},
    table::Format,
};

/// Lines kept; those after them are counted only.
const LINES_MAX: usize = 2_000_000;
/// Names told of when one is unknown.
const NAMES_TOLD: usize = 10;

/// What of a log is wanted.
struct Filter {
    after: f64,
    before: f64,
    /// A line has to have one word of each list.
    words: Vec<Vec<String>>,
    /// Somewhere in the line.
    text: String,
    /// Lines of this text tell why a task waits, although they do not name it.
    reasons: Option<String>,
}

impl Filter {
    fn new(arguments: &SimExplain, names: &Names) -> Result<Self, CliError> {
        let unknown = |what: &str, name: &str, known: String| {
            CliError::new(Exit::NotFound, format!("there is no {what} '{name}'"))
                .place(arguments.from.display().to_string())
                .why(format!("expected a number, or one of: {known}"))
        };
        let mut words: Vec<Vec<String>> = arguments.task.iter().map(|task| vec![task.clone()]).collect();
        if let Some(name) = &arguments.framework {
            let known = names.frameworks.iter().take(NAMES_TOLD).cloned().collect::<Vec<_>>().join(", ");
            words.push(names.of_framework(name).ok_or_else(|| unknown("framework", name, known))?);
        }
        if let Some(name) = &arguments.agent {
            let known = names
                .groups
                .iter()
                .map(|(group, count)| format!("{group}-0 to {group}-{}", count.saturating_sub(1)));
            let known = known.take(NAMES_TOLD).collect::<Vec<_>>().join(", ");
            words.push(names.of_agent(name).ok_or_else(|| unknown("agent", name, known))?);
        }
        Ok(Self {
            after: arguments.after.unwrap_or(0.0),
            before: arguments.before.unwrap_or(f64::INFINITY),
            words,
            text: arguments.grep.clone().unwrap_or_default(),
            reasons: arguments.task.as_deref().and_then(scheduler_of),
        })
    }

    fn wants(&self, line: &LogLine) -> bool {
        (self.after..=self.before).contains(&line.at)
            && line.text.contains(&self.text)
            && (self.words.iter().all(|words| words.iter().any(|word| has(&line.text, word)))
                || self.reasons.as_ref().is_some_and(|reasons| line.text.starts_with(reasons.as_str())))
    }
}

/// Whether a text has a word: `agent 1` is not in `agent 12`, nor `t0-1` in `t0-10`. The third number
/// of a task's id counts its launches, so `t0-1` is in `t0-1-2`.
fn has(text: &str, word: &str) -> bool {
    if word.is_empty() {
        return true;
    }
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_none_or(|c| !inside(c) && c != '-');
        let after = text[at + word.len()..].chars().next().is_none_or(|c| !inside(c));
        before && after
    })
}

/// The framework's number in a task's id.
fn scheduler_of(task: &str) -> Option<String> {
    let number = task.strip_prefix('t')?.split('-').next()?;
    number.parse::<u32>().ok().map(|number| format!("scheduler {number} waits with"))
}

/// The lines that somebody asked for.
#[derive(Default)]
struct Lines {
    kept: Vec<LogLine>,
    /// Lines that were looked at.
    all: usize,
    /// Wanted lines beyond [`LINES_MAX`].
    dropped: usize,
}

impl Lines {
    fn take(&mut self, filter: &Filter, line: LogLine) {
        self.all += 1;
        if !filter.wants(&line) {
            return;
        }
        if self.kept.len() < LINES_MAX {
            self.kept.push(line);
        } else {
            self.dropped += 1;
        }
    }
}

struct Keeper<'a> {
    filter: &'a Filter,
    lines: Lines,
}

impl Observer for Keeper<'_> {
    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, at: Duration, line: &str) {
        self.lines.take(self.filter, LogLine { at: at.as_secs_f64(), text: line.to_owned() });
    }
}

/// Steps through the event log of a run, or of a scenario that is played first.
pub(super) fn explain(global: &Global, arguments: &SimExplain) -> Result<ExitCode, CliError> {
    let filter;
    let mut lines = if arguments.from.is_dir() {
        filter = Filter::new(arguments, &names_of(&arguments.from)?)?;
        let mut lines = Lines::default();
        read(&log_of(&arguments.from, arguments.what.policy.first())?, |line| lines.take(&filter, line))?;
        lines
    } else {
        let scenario = scenario(&arguments.from, &arguments.what)?;
        let policy = &scenario.policies[0];
        eprintln!("playing {} with {}, seed {}", scenario.file, policy.name, scenario.seed);
        let setup = setup(&scenario, policy, scenario.seed);
        filter = Filter::new(arguments, &Names::of(&setup))?;
        let mut keeper = Keeper { filter: &filter, lines: Lines::default() };
        mezzo_sim_cluster::run_watched(setup, &mut keeper);
        keeper.lines
    };
    let summary = match &arguments.task {
        Some(task) => waited(task, &mut lines.kept),
        None => Vec::new(),
    };
    if lines.kept.is_empty() {
        let mut error = CliError::new(Exit::NotFound, "nothing in the event log is like that")
            .place(arguments.from.display().to_string())
            .why(format!("none of {} lines matches", lines.all));
        if !filter.words.is_empty() || !filter.text.is_empty() {
            error = error.help(format!("mezzo sim explain {}   without filters", arguments.from.display()));
        }
        return Err(error);
    }
    let mut texts: Vec<String> =
        lines.kept.iter().map(|line| format!("{:>12.3} s  {}", line.at, line.text)).collect();
    texts.extend(summary);
    if lines.dropped > 0 {
        texts.push(format!(
            "{} more lines are left out: choose a shorter time with --after and --before",
            lines.dropped
        ));
    }
    match global.output {
        Format::Json | Format::Jsonl => {
            for line in &lines.kept {
                println!("{}", serde_json::json!({ "at": line.at, "text": line.text }));
            }
        }
        Format::Table | Format::Name => show(&texts, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The names in the folder of a run.
fn names_of(folder: &Path) -> Result<Names, CliError> {
    let path = folder.join("results.json");
    let failed = |why: String| {
        CliError::new(Exit::NotFound, "cannot read the results of the run")
            .place(path.display().to_string())
            .why(why)
            .help("mezzo sim run SCENARIO.toml --out runs/   writes them")
    };
    let text = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
}

/// The event log in the folder of a run.
fn log_of(folder: &Path, policy: Option<&String>) -> Result<PathBuf, CliError> {
    if let Some(policy) = policy {
        return Ok(folder.join(format!("events.{}.log", file_name(policy))));
    }
    let failed = |why: String| {
        CliError::new(Exit::NotFound, "there is no event log")
            .place(folder.display().to_string())
            .why(why)
            .help("mezzo sim run SCENARIO.toml --out runs/   writes one")
    };
    let entries = std::fs::read_dir(folder).map_err(|error| failed(error.to_string()))?;
    let mut logs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("events.") && name.ends_with(".log")
        })
        .collect();
    logs.sort();
    match &logs[..] {
        [] => Err(failed("no file is called events.POLICY.log".into())),
        [one] => Ok(one.clone()),
        [first, rest @ ..] => {
            let names: Vec<String> = rest.iter().map(|path| path.display().to_string()).collect();
            eprintln!("reading {}; --policy chooses another: {}", first.display(), names.join(", "));
            Ok(first.clone())
        }
    }
}

/// Prints a page, all, or page by page.
fn show(texts: &[String], arguments: &SimExplain) -> Result<(), CliError> {
    let per_page = arguments.lines as usize;
    let pages = texts.len().div_ceil(per_page);
    if let Some(page) = arguments.page {
        let number = page as usize;
        if number > pages {
            return Err(CliError::new(Exit::NotFound, format!("there is no page {number}"))
                .why(format!("there are {pages} pages of {per_page} lines")));
        }
        print(texts.chunks(per_page).nth(number - 1).unwrap_or_default());
        eprintln!("  page {number} of {pages}{}", neighbours(number, pages));
        return Ok(());
    }
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) || pages <= 1 {
        print(texts);
        return Ok(());
    }
    let mut at = 0;
    loop {
        print(texts.chunks(per_page).nth(at).unwrap_or_default());
        eprint!("-- page {} of {pages}: Enter next, p previous, a number, /text, q quit -- ", at + 1);
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        if std::io::stdin().read_line(&mut answer).unwrap_or(0) == 0 {
            return Ok(());
        }
        at = match answer.trim() {
            "q" => return Ok(()),
            "p" => at.saturating_sub(1),
            "" | "n" if at + 1 >= pages => return Ok(()),
            "" | "n" => at + 1,
            other => match (other.parse::<usize>(), other.strip_prefix('/')) {
                (Ok(number), _) => number.clamp(1, pages) - 1,
                (_, Some(text)) => {
                    let from = (at + 1) * per_page;
                    let found = texts.iter().skip(from).position(|line| line.contains(text));
                    found.map_or(at, |found| (from + found) / per_page)
                }
                _ => at,
            },
        };
    }
}

fn neighbours(number: usize, pages: usize) -> String {
    let mut text = String::new();
    if number > 1 {
        text.push_str(&format!("   previous: --page {}", number - 1));
    }
    if number < pages {
        text.push_str(&format!("   next: --page {}", number + 1));
    }
    text
}

fn print(texts: &[String]) {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for text in texts {
        // A reader that went away wants no more of it.
        if writeln!(out, "{text}").is_err() {
            return;
        }
    }
}

/// When a task was wanted, when it first ran, and what the allocator said in between; the log is cut
/// down to lines of the task and of that time.
fn waited(task: &str, lines: &mut Vec<LogLine>) -> Vec<String> {
    let told = |line: &&LogLine| has(&line.text, task);
    let wanted = lines.iter().filter(told).map(|line| line.at).next();
    let runs = |line: &&LogLine| told(line) && line.text.contains("TASK_RUNNING");
    let started = lines.iter().find(runs).map(|line| line.at);
    let Some(wanted) = wanted else {
        lines.clear();
        return Vec::new();
    };
    let until = started.unwrap_or(f64::INFINITY);
    lines.retain(|line| has(&line.text, task) || (wanted..=until).contains(&line.at));
    let mut texts = vec![match started {
        Some(started) => {
            format!("task {task} waited {:.3} s, from {wanted:.3} s to {started:.3} s", started - wanted)
        }
        None => format!("task {task} waits since {wanted:.3} s and never ran"),
    }];
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for line in lines.iter().filter(|line| line.text.contains(" waits with ")) {
        let Some((_, told)) = line.text.split_once("): ") else { continue };
        for one in told.split("; ") {
            let plain = one.rsplit_once(" (").map_or(one, |(plain, _)| plain);
            match counts.iter_mut().find(|(known, _)| *known == plain) {
                Some((_, count)) => *count += 1,
                None => counts.push((plain, 1)),
            }
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if counts.is_empty() {
        texts.push("  it waited less than the time between two samples".into());
    }
    texts.extend(counts.into_iter().map(|(reason, count)| format!("  {reason}: at {count} samples")));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_not_part_of_another() {
        assert!(has("agent 1: start", "agent 1"));
        assert!(!has("agent 12: start", "agent 1"));
        assert!(has("container of t0-1-2 runs", "t0-1"));
        assert!(!has("container of t0-10-1 runs", "t0-1"));
        assert!(!has("container of t0-0-1 runs", "0-1"));
        assert!(has("anything", ""));
    }

    #[test]
    fn a_task_tells_how_long_it_waited_and_why() {
        let line = |at, text: &str| LogLine { at, text: text.into() };
        let mut lines = vec![
            line(
                0.5,
                "scheduler 0 waits with 1 tasks (t0-0): role a: nothing that the role may hold is free",
            ),
            line(1.0, "scheduler 0 wants t0-1 cpus:1"),
            line(
                2.0,
                "scheduler 0 waits with 2 tasks (t0-0 t0-1): role a: nothing is free (3 agents); the rest",
            ),
            line(3.0, "scheduler 0 waits with 2 tasks (t0-0 t0-1): role a: nothing is free (2 agents)"),
            line(4.0, "scheduler 0 hears t0-1-0 TASK_RUNNING "),
            line(5.0, "scheduler 0 waits with 1 tasks (t0-0): role a: nothing is free (2 agents)"),
        ];
        let texts = waited("t0-1", &mut lines);
        assert_eq!(lines.len(), 4);
        assert_eq!(
            texts,
            [
                "task t0-1 waited 3.000 s, from 1.000 s to 4.000 s",
                "  role a: nothing is free: at 2 samples",
                "  the rest: at 1 samples"
            ]
        );
    }
}
