//! Traces with commas. Values may be quoted; a quote inside quotes is doubled. No value spans lines.

use std::io::BufRead;

use super::{COLUMNS, Field, Problem, Reader, Row, Submission, Trace};

/// Columns of a line; more is no trace.
const FIELDS_MAX: usize = 64;

impl<R: BufRead> Reader<'_, R> {
    pub(super) fn csv(&mut self, first: &str) -> Result<(), Problem> {
        let mut columns: Vec<&'static str> = Vec::new();
        for field in self.split(first)? {
            let column = self.column(first, &field)?;
            if columns.contains(&column) {
                let what = format!("the column '{column}' is there twice");
                return Err(self.wrong(first, &field, what, "each column once", &COLUMNS.join(",")));
            }
            columns.push(column);
        }
        for needed in ["submit", "duration"] {
            if !columns.contains(&needed) {
                let whole = Field { text: String::new(), column: 1, length: first.chars().count() };
                let what = format!("there is no column '{needed}'");
                let example = "submit,duration,cpus,mem,gpus,count,role";
                return Err(self.wrong(first, &whole, what, "the names of the columns first", example));
            }
        }
        while let Some(line) = self.lines.next_full()? {
            let fields = self.split(&line)?;
            if fields.len() != columns.len() {
                let at =
                    fields.last().cloned().unwrap_or(Field { text: String::new(), column: 1, length: 1 });
                let what = format!("the line has {} values", fields.len());
                let why = format!("{}, one for each column", columns.len());
                return Err(self.wrong(&line, &at, what, &why, &columns.join(",")));
            }
            let fields = columns.iter().copied().zip(fields).collect();
            self.take(&Row { line: &line, fields })?;
        }
        Ok(())
    }

    fn split(&self, line: &str) -> Result<Vec<Field>, Problem> {
        let mut fields = Vec::new();
        let mut characters = line.chars().enumerate().peekable();
        loop {
            let start = characters.peek().map_or_else(|| line.chars().count(), |(at, _)| *at);
            let mut text = String::new();
            let mut end = start;
            let quoted = characters.next_if(|(_, c)| *c == '"').is_some();
            let mut open = quoted;
            loop {
                match characters.peek().copied() {
                    Some((_, '"')) if open => {
                        characters.next();
                        if characters.next_if(|(_, c)| *c == '"').is_some() {
                            text.push('"');
                        } else {
                            open = false;
                        }
                    }
                    Some((_, ',')) if !open => break,
                    Some((at, c)) => {
                        characters.next();
                        text.push(c);
                        end = at + 1;
                    }
                    None => break,
                }
            }
            let field = Field { text, column: start + 1, length: end.saturating_sub(start).max(1) };
            if open {
                let what = "a quote is not closed".to_owned();
                return Err(self.wrong(line, &field, what, "the closing quote on the same line", "\"a, b\""));
            }
            if fields.len() >= FIELDS_MAX {
                let what = format!("the line has more than {FIELDS_MAX} values");
                return Err(self.wrong(line, &field, what, "one value for each column", &COLUMNS.join(",")));
            }
            fields.push(field);
            if characters.next().is_none() {
                return Ok(fields);
            }
        }
    }
}

/// See [`Trace::to_csv`].
pub(super) fn write(trace: &Trace) -> String {
    let used = |column: &str| match column {
        "submit" | "duration" => true,
        column => trace.submissions.iter().any(|submission| !value(trace, submission, column).is_empty()),
    };
    let columns: Vec<&str> = COLUMNS.into_iter().filter(|column| used(column)).collect();
    let mut text = columns.join(",");
    text.push('\n');
    for submission in &trace.submissions {
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            text.push_str(&quote(value(trace, submission, column)));
        }
        text.push('\n');
    }
    text
}

/// Empty where the column's default is meant.
fn value(trace: &Trace, submission: &Submission, column: &str) -> String {
    let amount = |amount: f64| if amount == 0.0 { String::new() } else { amount.to_string() };
    let owner = &trace.owners[submission.owner as usize];
    match column {
        "submit" => submission.submit.as_secs_f64().to_string(),
        "duration" => submission.duration.as_secs_f64().to_string(),
        "cpus" => amount(submission.resources.cpus),
        "mem" => amount(submission.resources.memory),
        "gpus" => amount(submission.resources.gpus),
        "disk" => amount(submission.resources.disk),
        "count" if submission.count > 1 => submission.count.to_string(),
        "role" if owner.role != "*" => owner.role.clone(),
        "framework" if owner.framework != owner.role && owner.framework != "trace" => owner.framework.clone(),
        "constraint" => submission.constraint.map_or_else(String::new, |number| {
            let constraint = &trace.constraints[number as usize];
            format!("{}={}", constraint.attribute, constraint.value)
        }),
        "fails" if submission.fails => "1".into(),
        _ => String::new(),
    }
}

fn quote(text: String) -> String {
    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
