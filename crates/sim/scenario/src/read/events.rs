//! Faults, and what operators do.

use std::time::Duration;

use super::Names;
use crate::events::{Concerns, DIRECTIONS, Direction, Fault, KINDS, Target, When};
use mezzo_document::{At, Problem, Section, units::duration_text};

/// How far a clock may be wrong, in either direction, or a message late.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;
/// How many times slower a network may be.
const FACTOR_MAX: u64 = 1_000_000;

pub(super) fn fault(section: Section<'_>, names: &Names) -> Result<Fault, Problem> {
    let words: Vec<&'static str> = KINDS.iter().map(|row| row.name).collect();
    let kind = section.word("kind", &words)?;
    let kind = section.need("kind", kind, &format!("one of: {}", words.join(", ")), "\"crash-master\"")?;
    let Some(row) = KINDS.iter().find(|row| row.name == kind.value) else {
        return Err(section.wrong(kind.span, "an unknown kind", "expected a known one"));
    };
    let when = when(&section, names)?;
    let target = match row.concerns {
        Concerns::Master | Concerns::Network => Target::Cluster,
        Concerns::Nodes => names.nodes_of(&section)?,
        Concerns::Frameworks => names.frameworks_of(&section)?,
    };
    if matches!((&target, when), (Target::AnyNode | Target::AnyFramework, When::At(_))) {
        let (key, example) = match row.concerns {
            Concerns::Frameworks => ("framework", "\"web\""),
            _ => ("agents", "\"1-3\""),
        };
        section.need(key, None::<()>, "whom it happens to, as it happens at a time", example)?;
    }
    let takes = |key: &str| row.keys.contains(&key);
    let mut fault = Fault {
        kind: row.kind,
        target,
        when,
        lasts: Duration::ZERO,
        share: 0.0,
        seconds: 0.0,
        factor: 1,
        direction: Direction::Both,
    };
    if takes("for") {
        let lasts = section.duration("for", "\"30s\"")?;
        fault.lasts = section.need("for", lasts, "how long it lasts", "\"30s\"")?.value;
    }
    if takes("share") {
        let share = section.number("share", 1.0, "0.1")?;
        fault.share = section.need("share", share, "which share of calls or starts, 0 to 1", "0.1")?.value;
    }
    if takes("by") {
        let by = section.text("by", "\"30s\"")?;
        fault.seconds = seconds(&section, &section.need("by", by, "how far, or how late", "\"30s\"")?)?;
    }
    if takes("factor") {
        let factor = section.whole("factor", 1..=FACTOR_MAX, "100")?;
        let factor = section.need("factor", factor, "how many times slower", "100")?.value;
        fault.factor = u32::try_from(factor).unwrap_or(u32::MAX);
    }
    if takes("direction") {
        let word = section.word("direction", &DIRECTIONS.map(|(word, _)| word))?;
        let known = word.and_then(|word| DIRECTIONS.iter().find(|(name, _)| *name == word.value));
        fault.direction = known.map_or(Direction::Both, |(_, direction)| *direction);
    }
    section.end()?;
    Ok(fault)
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
    let found = mezzo_document::units::duration(plain).map(|duration| sign * duration.as_secs_f64());
    found.filter(|seconds| seconds.abs() <= SECONDS_MAX).ok_or_else(|| {
        let what = format!("{}: 'by' cannot be \"{}\"", section.name, text.value.escape_debug());
        section
            .wrong(text.span.clone(), what, "expected a duration, perhaps with a minus, at most ten years")
            .help("for example  by = \"-30s\"")
    })
}

impl Names {
    /// `agents = "3-5"`, `["1", "4-6"]`, `"all"`; numbers count from 1 in the order of the file.
    fn nodes_of(&self, section: &Section<'_>) -> Result<Target, Problem> {
        let Some(words) = section.texts("agents", "\"1-3\"")? else { return Ok(Target::AnyNode) };
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
        let Some(words) = section.texts("framework", "\"web\"")? else {
            return Ok(match self.frameworks[..] {
                [(_, _, 1)] => Target::Frameworks(vec![0]),
                _ => Target::AnyFramework,
            });
        };
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
