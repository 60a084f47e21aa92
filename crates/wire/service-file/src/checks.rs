//! Health and readiness checks of an app.

use mezzo_document::{Kind, Problem, Section};
use serde_json::{Map, Value, json};

use crate::ports::PORT_NAME;

/// The default between checks: soon enough that a person who waits does not wonder.
const INTERVAL: u64 = 10;
/// How long one may take.
const TIMEOUT: u64 = 5;

/// `check = "http /healthz"` or a table; `ready = "http /ready"` or a table.
pub(crate) fn read(
    section: &Section<'_>,
    ports: &[String],
    app: &mut Map<String, Value>,
) -> Result<(), Problem> {
    if let Some(check) = health(section)? {
        app.insert("healthChecks".into(), json!([check]));
    }
    if let Some(check) = ready(section, ports)? {
        app.insert("readinessChecks".into(), json!([check]));
    }
    Ok(())
}

fn health(section: &Section<'_>) -> Result<Option<Value>, Problem> {
    const FORMS: &str = "expected \"http /path\", \"https /path\", \"tcp\" or \"command LINE\"";
    let example = "for example  check = \"http /healthz\"";
    if section.kind("check") != Some(Kind::Table) {
        let Some(text) = section.text("check", "\"http /healthz\"")? else { return Ok(None) };
        let (kind, rest) = text.value.split_once(' ').unwrap_or((text.value, ""));
        let Some(mut check) = target(kind, rest.trim()) else {
            let what = format!("{}: the check \"{}\" is not understood", section.name, text.value);
            return Err(section.wrong(text.span, what, FORMS).help(example));
        };
        times(&mut check, INTERVAL, TIMEOUT);
        return Ok(Some(Value::Object(check)));
    }
    let Some(table) = section.table("check", "{ http = \"/healthz\", every = \"10s\" }")? else {
        return Ok(None);
    };
    let mut targets = Vec::new();
    for (key, example) in
        [("http", "\"/healthz\""), ("https", "\"/healthz\""), ("command", "\"curl -f localhost:$PORT0\"")]
    {
        if let Some(text) = table.text(key, example)? {
            targets.extend(target(key, text.value));
        }
    }
    if table.flag("tcp")? == Some(true) {
        targets.extend(target("tcp", ""));
    }
    let mut check = match (targets.pop(), targets.is_empty()) {
        (Some(check), true) => check,
        _ => {
            let what = format!("{} has to name one target", table.name);
            return Err(table
                .wrong(table.span(), what, "expected one of http, https, command, tcp = true")
                .help(example));
        }
    };
    let seconds = |key, example, default| {
        Ok::<u64, Problem>(table.duration(key, example)?.map_or(default, |at| at.value.as_secs()))
    };
    let interval = seconds("every", "\"10s\"", INTERVAL)?;
    let timeout = seconds("timeout", "\"5s\"", TIMEOUT)?;
    times(&mut check, interval, timeout);
    if let Some(grace) = table.duration("grace", "\"5m\"")? {
        check.insert("gracePeriodSeconds".into(), json!(grace.value.as_secs()));
    }
    if let Some(delay) = table.duration("delay", "\"0s\"")? {
        check.insert("delaySeconds".into(), json!(delay.value.as_secs()));
    }
    if let Some(failures) = table.whole("failures", 0..=1_000_000, "3")? {
        check.insert("maxConsecutiveFailures".into(), json!(failures.value));
    }
    table.end()?;
    Ok(Some(Value::Object(check)))
}

/// The agents make checks: they are near, and go on without us.
fn target(kind: &str, rest: &str) -> Option<Map<String, Value>> {
    let check = match kind {
        "http" | "https" => {
            let path = if rest.is_empty() { "/" } else { rest };
            json!({ "protocol": format!("MESOS_{}", kind.to_uppercase()), "path": path, "portIndex": 0 })
        }
        "tcp" if rest.is_empty() => json!({ "protocol": "MESOS_TCP", "portIndex": 0 }),
        "command" if !rest.is_empty() => json!({ "protocol": "COMMAND", "command": { "value": rest } }),
        _ => return None,
    };
    match check {
        Value::Object(check) => Some(check),
        _ => None,
    }
}

fn times(check: &mut Map<String, Value>, interval: u64, timeout: u64) {
    check.insert("intervalSeconds".into(), json!(interval));
    check.insert("timeoutSeconds".into(), json!(timeout));
    // The first look is at once: what is not there yet is within its grace.
    check.insert("delaySeconds".into(), json!(0));
}

fn ready(section: &Section<'_>, ports: &[String]) -> Result<Option<Value>, Problem> {
    let port = ports.first().map_or(PORT_NAME, String::as_str);
    let check = |path: &str, interval: u64, timeout: u64| json!({ "protocol": "HTTP", "path": path, "portName": port, "intervalSeconds": interval, "timeoutSeconds": timeout });
    if section.kind("ready") == Some(Kind::Table) {
        let Some(table) = section.table("ready", "{ http = \"/ready\", every = \"2s\" }")? else {
            return Ok(None);
        };
        let path = table.text("http", "\"/ready\"")?;
        let path = table.need("http", path, "the path that answers 200 when ready", "\"/ready\"")?.value;
        let interval = table.duration("every", "\"2s\"")?.map_or(2, |at| at.value.as_secs());
        let timeout = table.duration("timeout", "\"1s\"")?.map_or(1, |at| at.value.as_secs());
        table.end()?;
        return Ok(Some(check(path, interval, timeout)));
    }
    let Some(text) = section.text("ready", "\"http /ready\"")? else { return Ok(None) };
    match text.value.split_once(' ') {
        Some(("http", path)) if path.starts_with('/') => Ok(Some(check(path, 2, 1))),
        _ => {
            let what = format!("{}: the readiness check \"{}\" is not understood", section.name, text.value);
            Err(section
                .wrong(text.span, what, "expected \"http /path\"")
                .help("for example  ready = \"http /ready\""))
        }
    }
}
