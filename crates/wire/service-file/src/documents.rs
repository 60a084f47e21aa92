//! Marathon's documents, one or a list of them.

use mezzo_document::{Problem, Source};
use serde_json::Value;

use crate::{Entry, Kind};

pub(crate) fn json(source: &Source<'_>) -> Result<Vec<Entry>, Problem> {
    let value: Value = serde_json::from_str(source.text).map_err(|error| {
        let at = offset(source.text, error.line(), error.column());
        Problem::new("the file is not JSON", error.to_string()).at(source.place(at..at + 1))
    })?;
    entries(source, value)
}

pub(crate) fn yaml(source: &Source<'_>) -> Result<Vec<Entry>, Problem> {
    entries(source, yaml_value(source)?)
}

pub(crate) fn yaml_value(source: &Source<'_>) -> Result<Value, Problem> {
    serde_saphyr::from_str(source.text).map_err(|error| {
        let problem = Problem::new("the file is not YAML", error.to_string().lines().next().unwrap_or("?"));
        match error.location() {
            Some(location) => {
                let at = offset(source.text, location.line() as usize, location.column() as usize);
                problem.at(source.place(at..at + 1))
            }
            None => problem,
        }
    })
}

/// The byte at a line and column, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

fn entries(source: &Source<'_>, value: Value) -> Result<Vec<Entry>, Problem> {
    match value {
        Value::Array(values) => values.into_iter().map(|value| entry(source, value)).collect(),
        value => Ok(vec![entry(source, value)?]),
    }
}

fn entry(source: &Source<'_>, value: Value) -> Result<Entry, Problem> {
    let Value::Object(fields) = &value else {
        return Err(Problem::new(
            format!("{} holds no definition", source.name),
            "expected an app, a pod, a group, or a list",
        )
        .help("{\"id\": \"/web\", \"cmd\": \"sleep 1000\"}"));
    };
    let kind = if fields.contains_key("containers") {
        Kind::Pod
    } else if fields.contains_key("apps") || fields.contains_key("groups") {
        Kind::Group
    } else {
        Kind::App
    };
    let Some(Value::String(id)) = fields.get("id") else {
        return Err(Problem::new(
            format!("{}: a definition has no id", source.name),
            "expected a path as text",
        )
        .help("{\"id\": \"/web\", \"cmd\": \"sleep 1000\"}"));
    };
    let id = format!("/{}", id.trim_start_matches('/'));
    Ok(Entry { kind, id, value, place: None })
}
