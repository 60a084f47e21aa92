//! Traces: work that arrived somewhere once, one line a submission. docs/simulation.md has the columns.

mod csv;
mod json;

use std::{collections::BTreeMap, io::BufRead, time::Duration};

use crate::scenario::Amounts;
use mezzo_document::{Place, Problem, nearest, units};

/// Bytes of a line; a longer one is no trace.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Lines of a trace.
pub const LINES_MAX: usize = 5_000_000;
/// Instances of all lines together.
pub(crate) const INSTANCES_MAX: u64 = 10_000_000;
/// Different roles, frameworks and constraints of a trace, each.
const NAMES_MAX: usize = 10_000;
/// Letters of a role, framework or constraint.
const NAME_LENGTH_MAX: usize = 1_000;

/// Columns in the order in which they are written.
pub const COLUMNS: [&str; 11] = [
    "submit",
    "duration",
    "cpus",
    "mem",
    "gpus",
    "disk",
    "count",
    "role",
    "framework",
    "constraint",
    "fails",
];

/// One submission: `count` equal tasks at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Since the start of the trace.
    pub submit: Duration,
    /// How long each task runs once started.
    pub duration: Duration,
    /// Of each task.
    pub resources: Amounts,
    /// How many tasks, at least one.
    pub count: u32,
    /// Number in [`Trace::owners`].
    pub owner: u32,
    /// Number in [`Trace::constraints`], if the tasks may not run anywhere.
    pub constraint: Option<u32>,
    /// Whether they end with a failure.
    pub fails: bool,
}

/// Whose work it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Framework by name.
    pub framework: String,
    /// Role it asks in.
    pub role: String,
}

/// An attribute that a node must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// Its name.
    pub attribute: String,
    /// Its value.
    pub value: String,
}

/// A whole trace, sorted by submit time; lines of one time keep their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The file it came from, as it was named.
    pub file: String,
    /// What was submitted.
    pub submissions: Vec<Submission>,
    /// Whose work it is, in order of appearance.
    pub owners: Vec<Owner>,
    /// Where it may run, in order of appearance.
    pub constraints: Vec<Constraint>,
}

impl Trace {
    /// Reads CSV (the first line names the columns) or JSON lines; the first character tells which.
    pub fn read(name: &str, input: impl BufRead) -> Result<Self, Problem> {
        let mut reader = Reader {
            lines: Lines { name, input, number: 0, buffer: Vec::new() },
            trace: Self { file: name.to_owned(), ..Self::default() },
            instances: 0,
            owners: BTreeMap::new(),
            constraints: BTreeMap::new(),
        };
        let Some(first) = reader.lines.next_full()? else {
            return Err(Problem::new(
                format!("trace {name} is empty"),
                "expected a line for each submission",
            )
            .help("for example  submit,duration,cpus,mem\n                     0,60,1,512"));
        };
        if first.trim_start().starts_with('{') {
            reader.json(first)?;
        } else {
            reader.csv(&first)?;
        }
        let mut trace = reader.trace;
        if trace.submissions.is_empty() {
            return Err(Problem::new(
                format!("trace {name} submits nothing"),
                "expected a line for each submission after the names of the columns",
            ));
        }
        trace.submissions.sort_by_key(|submission| submission.submit);
        Ok(trace)
    }

    /// Tasks of all submissions.
    pub fn tasks(&self) -> u64 {
        self.submissions.iter().map(|submission| u64::from(submission.count)).sum()
    }

    /// When the last one is submitted.
    pub fn last_submit(&self) -> Duration {
        self.submissions.last().map_or(Duration::ZERO, |submission| submission.submit)
    }

    /// Whether any task wants gpus.
    pub fn wants_gpus(&self) -> bool {
        self.submissions.iter().any(|submission| submission.resources.gpus > 0.0)
    }

    /// The trace as CSV, as [`Trace::read`] takes it. Columns that no line uses are left out.
    pub fn to_csv(&self) -> String {
        csv::write(self)
    }
}

/// The number of something that may have been there before; `None` when there are too many.
fn number_of<T: Ord + Clone>(numbers: &mut BTreeMap<T, u32>, known: &mut Vec<T>, wanted: T) -> Option<u32> {
    if let Some(number) = numbers.get(&wanted) {
        return Some(*number);
    }
    let number = u32::try_from(known.len()).ok().filter(|_| known.len() < NAMES_MAX)?;
    numbers.insert(wanted.clone(), number);
    known.push(wanted);
    Some(number)
}

/// Lines of a file, none of them huge.
struct Lines<'a, R> {
    name: &'a str,
    input: R,
    number: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line that says something, without its end.
    fn next_full(&mut self) -> Result<Option<String>, Problem> {
        while let Some(line) = self.next()? {
            let said = line.trim();
            if !said.is_empty() && !said.starts_with('#') {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<String>, Problem> {
        use std::io::Read;
        self.buffer.clear();
        let read = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut self.buffer);
        let count = read.map_err(|error| Problem::new(format!("read {}", self.name), error.to_string()))?;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.len() > LINE_BYTES_MAX {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            return Err(Problem::new(
                "the line is too long",
                format!("expected at most {LINE_BYTES_MAX} bytes"),
            )
            .at(self.place(&text, 1, 1))
            .help("a trace has one submission a line; is this another kind of file?"));
        }
        while self.buffer.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            self.buffer.pop();
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some(text.trim_start_matches('\u{feff}').to_owned())),
            Err(error) => {
                let text = String::from_utf8_lossy(&self.buffer).into_owned();
                let column = text.char_indices().take_while(|(at, _)| *at < error.valid_up_to()).count() + 1;
                Err(Problem::new("the line is not text", "expected UTF-8").at(self.place(&text, column, 1)))
            }
        }
    }

    fn place(&self, line: &str, column: usize, length: usize) -> Place {
        Place { file: self.name.to_owned(), line: self.number, column, text: line.to_owned(), length }
    }
}

struct Reader<'a, R> {
    lines: Lines<'a, R>,
    trace: Trace,
    instances: u64,
    owners: BTreeMap<Owner, u32>,
    constraints: BTreeMap<Constraint, u32>,
}

/// One value of a line: its text, and which characters of the line it is.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    column: usize,
    length: usize,
}

/// The line being read.
struct Row<'a> {
    line: &'a str,
    fields: Vec<(&'static str, Field)>,
}

impl<R: BufRead> Reader<'_, R> {
    fn wrong(&self, line: &str, field: &Field, what: String, why: &str, example: &str) -> Problem {
        Problem::new(what, format!("expected {why}"))
            .at(self.lines.place(line, field.column, field.length))
            .help(format!("for example  {example}"))
    }

    /// Which column a name means.
    fn column(&self, line: &str, field: &Field) -> Result<&'static str, Problem> {
        let wanted = field.text.trim();
        if let Some(column) = COLUMNS.iter().find(|column| **column == wanted) {
            return Ok(column);
        }
        let problem = Problem::new(
            format!("there is no column '{}'", shortened(wanted)),
            format!("expected some of: {}", COLUMNS.join(", ")),
        )
        .at(self.lines.place(line, field.column, field.length));
        Err(match nearest(wanted, COLUMNS) {
            Some(column) => problem.help(format!("did you mean '{column}'?")),
            None => problem,
        })
    }

    fn take(&mut self, row: &Row<'_>) -> Result<(), Problem> {
        let whole = Field { text: String::new(), column: 1, length: row.line.chars().count() };
        if self.trace.submissions.len() >= LINES_MAX {
            let what = format!("the trace has more than {LINES_MAX} lines");
            return Err(self.wrong(
                row.line,
                &whole,
                what,
                "fewer lines; `count` repeats a task",
                "count = 8",
            ));
        }
        let submit = self.seconds(row, "submit", "1800 or 30m")?;
        let Some(submit) = submit else { return Err(self.lacks(row, &whole, "submit", "0")) };
        let duration = self.seconds(row, "duration", "60 or 1m")?;
        let Some(duration) = duration else { return Err(self.lacks(row, &whole, "duration", "60")) };
        let resources = Amounts {
            cpus: self.number(row, "cpus", 1e6, "0.5")?.unwrap_or(0.0),
            memory: self.number(row, "mem", 1e12, "512")?.unwrap_or(0.0),
            disk: self.number(row, "disk", 1e12, "1024")?.unwrap_or(0.0),
            gpus: self.number(row, "gpus", 1e6, "1")?.unwrap_or(0.0),
        };
        if resources.cpus < 0.01 && resources.memory < 32.0 && resources.gpus == 0.0 {
            let what = "the task needs nothing".to_owned();
            return Err(self.wrong(
                row.line,
                &whole,
                what,
                "at least 0.01 cpus, 32 MiB or a gpu",
                "cpus = 0.1",
            ));
        }
        let count = self.number(row, "count", 1e6, "8")?.unwrap_or(1.0);
        if count < 1.0 || count.fract() != 0.0 {
            let field = self.field(row, "count").unwrap_or(&whole).clone();
            let what = format!("'count' is {count}");
            return Err(self.wrong(row.line, &field, what, "a whole number from 1 to 1000000", "8"));
        }
        self.instances += count as u64;
        if self.instances > INSTANCES_MAX {
            let what = format!("the trace has more than {INSTANCES_MAX} tasks");
            return Err(self.wrong(row.line, &whole, what, "fewer tasks", "a shorter part of the trace"));
        }
        let role = self.name(row, "role")?.unwrap_or_else(|| "*".to_owned());
        let framework = self.name(row, "framework")?.unwrap_or_else(|| match role.as_str() {
            "*" => "trace".to_owned(),
            role => role.to_owned(),
        });
        let owner = number_of(&mut self.owners, &mut self.trace.owners, Owner { framework, role });
        let Some(owner) = owner else {
            let what = format!("the trace has more than {NAMES_MAX} frameworks");
            return Err(self.wrong(
                row.line,
                &whole,
                what,
                "fewer frameworks and roles",
                "framework = team-a",
            ));
        };
        let constraint = self.constraint(row)?;
        let fails = match self.field(row, "fails").map(|field| (field, field.text.trim())) {
            None | Some((_, "" | "0" | "false")) => false,
            Some((_, "1" | "true")) => true,
            Some((field, text)) => {
                let what = format!("'fails' is '{}'", shortened(text));
                return Err(self.wrong(row.line, field, what, "0 or 1", "1"));
            }
        };
        let count = count as u32;
        self.trace.submissions.push(Submission {
            submit,
            duration,
            resources,
            count,
            owner,
            constraint,
            fails,
        });
        Ok(())
    }

    fn constraint(&mut self, row: &Row<'_>) -> Result<Option<u32>, Problem> {
        let Some(text) = self.name(row, "constraint")? else { return Ok(None) };
        let split = text.split_once('=').map(|(attribute, value)| (attribute.trim(), value.trim()));
        let found = split.filter(|(attribute, value)| !attribute.is_empty() && !value.is_empty());
        let constraint = found.and_then(|(attribute, value)| {
            let wanted = Constraint { attribute: attribute.to_owned(), value: value.to_owned() };
            number_of(&mut self.constraints, &mut self.trace.constraints, wanted)
        });
        if constraint.is_none() {
            let field = self.field(row, "constraint").cloned();
            let field = field.unwrap_or(Field { text: String::new(), column: 1, length: 1 });
            let what = format!("'constraint' is '{}'", shortened(&text));
            let why = "an attribute, '=' and its value, at most 10000 different ones";
            return Err(self.wrong(row.line, &field, what, why, "rack=r1"));
        }
        Ok(constraint)
    }

    fn lacks(&self, row: &Row<'_>, whole: &Field, column: &str, example: &str) -> Problem {
        let what = format!("the line has no '{column}'");
        self.wrong(row.line, whole, what, "seconds, or a duration", &format!("{column} = {example}"))
    }

    fn field<'r>(&self, row: &'r Row<'_>, column: &str) -> Option<&'r Field> {
        let named = row.fields.iter().find(|(name, _)| *name == column);
        named.map(|(_, field)| field).filter(|field| !field.text.trim().is_empty())
    }

    fn seconds(&self, row: &Row<'_>, column: &str, example: &str) -> Result<Option<Duration>, Problem> {
        let Some(field) = self.field(row, column) else { return Ok(None) };
        let text = field.text.trim();
        let plain = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let found = plain.filter(|found| *found <= units::DURATION_MAX).or_else(|| units::duration(text));
        found.map(Some).ok_or_else(|| {
            let what = format!("'{column}' is '{}'", shortened(text));
            let why = "seconds that are not negative, or a duration, at most a hundred years";
            self.wrong(row.line, field, what, why, example)
        })
    }

    fn number(&self, row: &Row<'_>, column: &str, most: f64, example: &str) -> Result<Option<f64>, Problem> {
        let Some(field) = self.field(row, column) else { return Ok(None) };
        let text = field.text.trim();
        let found = text.parse::<f64>().ok().filter(|number| (0.0..=most).contains(number));
        found.map(Some).ok_or_else(|| {
            let what = format!("'{column}' is '{}'", shortened(text));
            self.wrong(row.line, field, what, &format!("a number from 0 to {most}"), example)
        })
    }

    fn name(&self, row: &Row<'_>, column: &str) -> Result<Option<String>, Problem> {
        let Some(field) = self.field(row, column) else { return Ok(None) };
        let text = field.text.trim();
        if text.chars().count() > NAME_LENGTH_MAX || text.chars().any(char::is_control) {
            let what = format!("'{column}' is '{}'", shortened(text));
            let why = format!("at most {NAME_LENGTH_MAX} letters, none of them a control character");
            return Err(self.wrong(row.line, field, what, &why, "team-a"));
        }
        Ok(Some(text.to_owned()))
    }
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}...", text[..at].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests;
