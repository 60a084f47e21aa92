//! What has to be true.

use super::Names;
use crate::expect::{Bounds, Expect, TaskAt};
use mezzo_document::{At, Problem, Section, nearest};

/// At least, at most.
type Range = (Option<u64>, Option<u64>);

pub(super) fn read(section: Section<'_>, names: &Names) -> Result<Expect, Problem> {
    let evictions = range(&section, "evictions_min", "evictions_max")?;
    let mut expect = Expect { all: bounds(&section)?, evictions, ..Expect::default() };
    for table in section.tables("frameworks", "[[expect.frameworks]]")? {
        let name = framework(&table, "name", names)?;
        expect.frameworks.push((name, bounds(&table)?));
        table.end()?;
    }
    for table in section.tables("tasks", "[[expect.tasks]]")? {
        let framework = framework(&table, "framework", names)?;
        let number = table.whole("number", 1..=crate::TASKS_MAX, "1")?;
        let number = table.need("number", number, "which task, from 1", "1")?.value as usize;
        let at = table.duration("at", "\"90s\"")?;
        let at = table.need("at", at, "when", "\"90s\"")?.value;
        let state = table.word("state", &["waiting", "running", "ended"])?;
        let state = table.need("state", state, "waiting, running or ended", "\"running\"")?.value;
        expect.tasks.push(TaskAt { framework, number, at, state });
        table.end()?;
    }
    section.end()?;
    Ok(expect)
}

fn framework(table: &Section<'_>, key: &'static str, names: &Names) -> Result<String, Problem> {
    let name = table.text(key, "\"web\"")?;
    let name = table.need(key, name, "a framework's name", "\"web\"")?;
    match names.frameworks.iter().any(|(known, _, _)| known == name.value) {
        true => Ok(name.value.to_owned()),
        false => Err(names.unknown_framework(table, &name)),
    }
}

fn range(section: &Section<'_>, least: &'static str, most: &'static str) -> Result<Range, Problem> {
    let count = |key| Ok::<_, Problem>(section.whole(key, 0..=u64::MAX >> 1, "10")?.map(|at| at.value));
    Ok((count(least)?, count(most)?))
}

fn bounds(section: &Section<'_>) -> Result<Bounds, Problem> {
    let time = |key| Ok::<_, Problem>(section.duration(key, "\"30s\"")?.map(|at| at.value));
    Ok(Bounds {
        done: range(section, "done_min", "done_max")?,
        failed: range(section, "failed_min", "failed_max")?,
        running: range(section, "running_min", "running_max")?,
        waiting: range(section, "waiting_min", "waiting_max")?,
        relaunched: range(section, "relaunched_min", "relaunched_max")?,
        wait_max: time("wait_max")?,
        wait_p50: time("wait_p50")?,
    })
}

impl Names {
    /// A word that should be a framework's name and is not.
    pub(super) fn unknown_framework(&self, section: &Section<'_>, word: &At<&str>) -> Problem {
        let known: Vec<&str> = self.frameworks.iter().map(|(name, _, _)| name.as_str()).collect();
        let what = format!("{}: there is no framework \"{}\"", section.name, word.value.escape_debug());
        let shown = known.iter().take(20).copied().collect::<Vec<_>>().join(", ");
        let problem = section.wrong(word.span.clone(), what, format!("expected one of: {shown}"));
        match nearest(word.value, known) {
            Some(name) => problem.help(format!("did you mean \"{name}\"?")),
            None => problem,
        }
    }
}
