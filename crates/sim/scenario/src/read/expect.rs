//! What has to be true.

use super::Names;
use crate::{
    expect::{Bounds, Expect, TaskAt},
    problem::{Problem, nearest},
    section::Section,
};

/// States that a task may be expected in.
const STATES: [&str; 14] = [
    "waiting",
    "staging",
    "starting",
    "running",
    "killing",
    "finished",
    "failed",
    "killed",
    "error",
    "lost",
    "dropped",
    "unreachable",
    "gone",
    "gone_by_operator",
];

pub(super) fn read(section: Section<'_>, names: &Names) -> Result<Expect, Problem> {
    let mut expect = Expect { all: bounds(&section)?, ..Expect::default() };
    expect.agents = section.whole("agents", 0..=names.nodes as u64, "3")?.map(|at| at.value);
    for table in section.tables("frameworks", "[[expect.frameworks]]")? {
        let name = table.text("name", "\"web\"")?;
        let name = table.need("name", name, "a framework's name", "\"web\"")?;
        if !names.frameworks.iter().any(|(known, _, _)| known == name.value) {
            return Err(names.unknown_framework(&table, &name));
        }
        expect.frameworks.push((name.value.to_owned(), bounds(&table)?));
        table.end()?;
    }
    for table in section.tables("tasks", "[[expect.tasks]]")? {
        let task = table.text("task", "\"web-1\"")?;
        let task = table.need("task", task, "a task's id", "\"web-1\"")?;
        let at = table.duration("at", "\"90s\"")?;
        let at = table.need("at", at, "when", "\"90s\"")?.value;
        let state = table.word("state", &STATES)?;
        let state = table.need("state", state, "a state", "\"running\"")?;
        expect.tasks.push(TaskAt { task: task.value.to_owned(), at, state: state.value.to_owned() });
        table.end()?;
    }
    section.end()?;
    Ok(expect)
}

fn bounds(section: &Section<'_>) -> Result<Bounds, Problem> {
    let count = |key| Ok::<_, Problem>(section.whole(key, 0..=u64::MAX >> 1, "10")?.map(|at| at.value));
    let time = |key| Ok::<_, Problem>(section.duration(key, "\"30s\"")?.map(|at| at.value));
    Ok(Bounds {
        finished_min: count("finished_min")?,
        finished_max: count("finished_max")?,
        lost_max: count("lost_max")?,
        lost_min: count("lost_min")?,
        killed_max: count("killed_max")?,
        killed_min: count("killed_min")?,
        running_min: count("running_min")?,
        running_max: count("running_max")?,
        wait_max: time("wait_max")?,
        wait_p50: time("wait_p50")?,
        waiting_max: count("waiting_max")?,
    })
}

impl Names {
    /// A word that should be a framework's name and is not.
    pub(super) fn unknown_framework(
        &self,
        section: &Section<'_>,
        word: &crate::section::At<&str>,
    ) -> Problem {
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
