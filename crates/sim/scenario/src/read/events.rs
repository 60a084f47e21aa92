//! Faults and actions.

use std::time::Duration;

use super::{Names, check_name, nodes};
use crate::{
    events::{ACTIONS, Action, ActionKind, Concerns, DIRECTIONS, Direction, Fault, KINDS, Target, When},
    problem::Problem,
    scenario::Amounts,
    section::{At, Section},
    units::duration_text,
};

/// How far a clock may be wrong, in either direction, or a message late.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

pub(super) fn fault(section: Section<'_>, names: &Names) -> Result<Fault, Problem> {
    let words: Vec<&'static str> = KINDS.iter().map(|row| row.name).collect();
    let kind = section.word("kind", &words)?;
    let kind = section.need("kind", kind, &format!("one of: {}", words.join(", ")), "\"crash-master\"")?;
    let Some(row) = KINDS.iter().find(|row| row.name == kind.value) else {
        return Err(section.wrong(kind.span, "an unknown kind", "expected a known one"));
    };
    let when = when(&section, names)?;
    let mut target = match row.concerns {
        Concerns::Master => Target::Cluster,
        Concerns::Nodes => names.nodes_of(&section)?,
        Concerns::Frameworks => names.frameworks_of(&section)?,
        Concerns::Network => match names.nodes_of(&section)? {
            Target::Anyone => match names.frameworks_of(&section)? {
                Target::Anyone => Target::Cluster,
                frameworks => frameworks,
            },
            nodes => nodes,
        },
        Concerns::AnyDisk => match section.flag("master")? {
            Some(true) => Target::Cluster,
            _ => names.nodes_of(&section)?,
        },
    };
    if matches!((&target, when), (Target::Anyone, When::At(_))) {
        let key = if matches!(row.concerns, Concerns::Frameworks) { "framework" } else { "agents" };
        if matches!(row.concerns, Concerns::Frameworks) && names.frameworks.len() == 1 {
            target = Target::Frameworks((0..names.frameworks[0].2).collect());
        } else {
            let example = if key == "framework" { "\"web\"" } else { "\"1-3\"" };
            section.need(key, None::<()>, "whom it happens to, as it happens at a time", example)?;
        }
    }
    let lasts = match row.lasts {
        true => {
            let lasts = section.duration("for", "\"30s\"")?;
            section.need("for", lasts, "how long it lasts", "\"30s\"")?.value
        }
        false => Duration::ZERO,
    };
    let share = match row.share {
        true => {
            let share = section.number("share", 1.0, "0.1")?;
            section.need("share", share, "which share of messages or starts, 0 to 1", "0.1")?.value
        }
        false => 0.0,
    };
    let seconds = match row.seconds {
        true => {
            let by = section.text("by", "\"30s\"")?;
            seconds(&section, &section.need("by", by, "how far, or how late", "\"30s\"")?)?
        }
        false => 0.0,
    };
    let direction = match row.name {
        "partition-agent" | "partition-scheduler" => {
            let word = section.word("direction", &DIRECTIONS.map(|(word, _)| word))?;
            let known = word.and_then(|word| DIRECTIONS.iter().find(|(name, _)| *name == word.value));
            known.map_or(Direction::Both, |(_, direction)| *direction)
        }
        _ => Direction::Both,
    };
    section.end()?;
    Ok(Fault { kind: row.kind, target, when, lasts, share, seconds, direction })
}

/// `at`, or `every` with `from` and `until`.
fn when(section: &Section<'_>, names: &Names) -> Result<When, Problem> {
    let at = section.duration("at", "\"30s\"")?;
    let every = section.duration("every", "\"1m\"")?;
    let from = section.duration("from", "\"10s\"")?;
    let until = section.duration("until", "\"5m\"")?;
    if let Some(at) = &at {
        within(section, at, names)?;
        if let Some(every) = every {
            let what = format!("{} has 'at' and 'every'", section.name);
            let why =
                "expected 'at' for something that happens once, 'every' for something that chance repeats";
            return Err(section.wrong(every.span, what, why).help("leave one of them out"));
        }
        return Ok(When::At(at.value));
    }
    let every =
        section.need("at", every, "when ('at'), or the mean time between two ('every')", "\"30s\"")?;
    if every.value < Duration::from_millis(100) {
        let what = format!("{}: 'every' is {}", section.name, duration_text(every.value));
        return Err(section
            .wrong(every.span, what, "expected at least 100ms")
            .help("for example  every = \"1m\""));
    }
    for time in [&from, &until].into_iter().flatten() {
        within(section, time, names)?;
    }
    Ok(When::Random {
        every: every.value,
        from: from.map_or(Duration::ZERO, |at| at.value),
        until: until.map_or(names.duration, |at| at.value),
    })
}

fn within(section: &Section<'_>, at: &At<Duration>, names: &Names) -> Result<(), Problem> {
    if at.value <= names.duration {
        return Ok(());
    }
    let what = format!("{}: {} is after the end", section.name, duration_text(at.value));
    let why = format!("expected at most the duration of the scenario, {}", duration_text(names.duration));
    Err(section.wrong(at.span.clone(), what, why).help("make 'duration' longer"))
}

/// A duration that may have a sign.
fn seconds(section: &Section<'_>, text: &At<&str>) -> Result<f64, Problem> {
    let (sign, plain) = match text.value.trim().strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.value.trim()),
    };
    let found = crate::units::duration(plain).map(|duration| sign * duration.as_secs_f64());
    found.filter(|seconds| seconds.abs() <= SECONDS_MAX).ok_or_else(|| {
        let what = format!("{}: 'by' cannot be \"{}\"", section.name, text.value.escape_debug());
        section
            .wrong(text.span.clone(), what, "expected a duration, perhaps with a minus, at most ten years")
            .help("for example  by = \"-30s\"")
    })
}

pub(super) fn action(section: Section<'_>, names: &Names) -> Result<Action, Problem> {
    let at = section.duration("at", "\"30s\"")?;
    let at = section.need("at", at, "when", "\"30s\"")?;
    within(&section, &at, names)?;
    let word = section.word("do", &ACTIONS)?;
    let word = section.need("do", word, &format!("one of: {}", ACTIONS.join(", ")), "\"teardown\"")?;
    let some_nodes = || match names.nodes_of(&section)? {
        Target::Nodes(nodes) => Ok(nodes),
        _ => section.need("agents", None, "which agents", "\"1-3\""),
    };
    let one_framework = || match names.frameworks_of(&section)? {
        Target::Frameworks(frameworks) => Ok(frameworks[0]),
        _ if names.frameworks.len() == 1 => Ok(0),
        _ => section.need("framework", None, "which framework", "\"web\""),
    };
    let what = match word.value {
        "teardown" => ActionKind::Teardown { framework: one_framework()? },
        "drain" => ActionKind::Drain {
            nodes: some_nodes()?,
            grace: section.duration("grace", "\"30s\"")?.map(|at| at.value),
            mark_gone: section.flag("mark_gone")?.unwrap_or(false),
        },
        "deactivate" => ActionKind::Deactivate { nodes: some_nodes()? },
        "reactivate" => ActionKind::Reactivate { nodes: some_nodes()? },
        "mark-gone" => ActionKind::MarkGone { nodes: some_nodes()? },
        "quota" => quota(&section)?,
        "kill-tasks" => ActionKind::KillTasks { framework: one_framework()? },
        "reconcile" => ActionKind::Reconcile { framework: one_framework()? },
        "suppress" => ActionKind::Suppress { framework: one_framework()? },
        "revive" => ActionKind::Revive { framework: one_framework()? },
        _ => ActionKind::TakeOver { framework: one_framework()? },
    };
    section.end()?;
    Ok(Action { at: at.value, what })
}

fn quota(section: &Section<'_>) -> Result<ActionKind, Problem> {
    let role = section.text("role", "\"web\"")?;
    let role = check_name(section, &section.need("role", role, "the role's path", "\"web\"")?, true)?;
    let example = "{ cpus = 4, memory = \"8 GiB\" }";
    let guarantee = match section.table("guarantee", example)? {
        Some(table) => nodes::quota(table)?.0,
        None => Amounts::default(),
    };
    let limit = match section.table("limit", example)? {
        Some(table) => nodes::quota(table)?.1,
        None => Vec::new(),
    };
    Ok(ActionKind::Quota { role, guarantee, limit })
}

impl Names {
    /// `agents = "3-5"`, `["1", "4-6"]`, `"all"`; numbers count from 1 in the order of the file.
    fn nodes_of(&self, section: &Section<'_>) -> Result<Target, Problem> {
        let Some(words) = section.texts("agents", "\"1-3\"")? else { return Ok(Target::Anyone) };
        let mut nodes = Vec::new();
        for word in words {
            if word.value == "all" {
                nodes.extend(0..self.nodes);
                continue;
            }
            let (from, to) = word.value.split_once('-').unwrap_or((word.value, word.value));
            let range = from.trim().parse::<usize>().ok().zip(to.trim().parse::<usize>().ok());
            match range.filter(|(from, to)| (1..=*to).contains(from) && *to <= self.nodes) {
                Some((from, to)) => nodes.extend(from - 1..to),
                None => {
                    let what =
                        format!("{}: there are no agents \"{}\"", section.name, word.value.escape_debug());
                    let why = format!("expected \"all\", a number or a range from 1 to {}", self.nodes);
                    return Err(section.wrong(word.span, what, why).help("for example  agents = \"1-3\""));
                }
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() {
            return section.need("agents", None, "at least one agent", "\"1-3\"");
        }
        Ok(Target::Nodes(nodes))
    }

    /// `framework = "web"`: all its copies.
    fn frameworks_of(&self, section: &Section<'_>) -> Result<Target, Problem> {
        let Some(words) = section.texts("framework", "\"web\"")? else { return Ok(Target::Anyone) };
        let mut frameworks = Vec::new();
        for word in words {
            match self.frameworks.iter().find(|(name, _, _)| name == word.value) {
                Some((_, first, count)) => frameworks.extend(*first..first + count),
                None => return Err(self.unknown_framework(section, &word)),
            }
        }
        if frameworks.is_empty() {
            return section.need("framework", None, "at least one framework", "\"web\"");
        }
        Ok(Target::Frameworks(frameworks))
    }
}
