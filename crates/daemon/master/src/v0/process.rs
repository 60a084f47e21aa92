//! Endpoints about the process itself.

use mezzo_http::{Request, Response, StatusCode};
use mezzo_json::Writer;
use mezzo_time::parse_duration;

pub(super) use crate::process::build;
use crate::{endpoint, process, shared::Shared};

/// GET /version.
pub(super) fn version() -> Response {
    let mut w = Writer::new();
    mezzo_mesos_v0::version(&mut w, &process::build());
    Response::json(w.finish())
}

/// GET /flags.
pub(super) fn flags(shared: &Shared) -> Response {
    let flags: Vec<_> =
        shared.config.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut w = Writer::new();
    mezzo_mesos_v0::flags(&mut w, &flags);
    Response::json(w.finish())
}

/// GET /system/stats.json.
pub(super) fn system_stats() -> Response {
    let stats = process::system_stats();
    let mut w = Writer::new();
    w.begin_object();
    for (name, load) in [
        ("avg_load_15min", stats.load[2]),
        ("avg_load_1min", stats.load[0]),
        ("avg_load_5min", stats.load[1]),
    ] {
        w.key(name);
        w.double(load);
    }
    w.key("cpus_total");
    w.unsigned(stats.cpus as u64);
    w.key("mem_free_bytes");
    w.unsigned(stats.mem_free_bytes);
    w.key("mem_total_bytes");
    w.unsigned(stats.mem_total_bytes);
    w.end_object();
    Response::json(w.finish())
}

/// GET /__processes__: the names under which endpoints live, each without queued events, because
/// handlers here share no queue.
pub(super) fn processes() -> Response {
    let mut names: Vec<_> = endpoint::summaries().map(|(process, ..)| process).collect();
    names.dedup();
    let mut w = Writer::new();
    w.begin_array();
    for name in names {
        w.begin_object();
        w.key("events");
        w.begin_array();
        w.end_array();
        w.key("id");
        w.string(name);
        w.end_object();
    }
    w.end_array();
    Response::json(w.finish())
}

/// GET /help.
pub(super) fn help(request: &Request) -> Response {
    if request.parameter("format") == Some("json") {
        return help_json();
    }
    let lines: Vec<String> = endpoint::summaries()
        .map(|(process, path, summary)| {
            let slash = if path.is_empty() { "" } else { "/" };
            format!("<dt><code>/{process}{slash}{path}</code></dt><dd>{summary}</dd>")
        })
        .collect();
    let page = format!(
        "<!DOCTYPE html><html><head><title>Help</title></head><body><h1>Endpoints</h1><dl>{}</dl></body></html>",
        lines.join("\n")
    );
    Response::content("text/html", page)
}

fn help_json() -> Response {
    let mut w = Writer::new();
    w.begin_object();
    w.key("processes");
    w.begin_array();
    let mut open = None;
    for (process, path, summary) in endpoint::summaries() {
        if open != Some(process) {
            if open.is_some() {
                w.end_array();
                w.end_object();
            }
            open = Some(process);
            w.begin_object();
            w.key("id");
            w.string(process);
            w.key("endpoints");
            w.begin_array();
        }
        w.begin_object();
        w.key("name");
        w.string(&format!("/{path}"));
        w.key("text");
        w.string(summary);
        w.end_object();
    }
    if open.is_some() {
        w.end_array();
        w.end_object();
    }
    w.end_array();
    w.end_object();
    Response::json(w.finish())
}

/// /logging/toggle (rule 24).
pub(super) fn logging_toggle(shared: &Shared, request: &Request) -> Result<Response, Response> {
    let bad = |text: String| Response::text(StatusCode::BAD_REQUEST, format!("{text}.\n"));
    match (request.parameter("level"), request.parameter("duration")) {
        (None, None) => Ok(Response::text(StatusCode::OK, format!("{}\n", shared.process.verbosity()))),
        (Some(_), None) => Err(bad("Expecting 'duration=value' in query".into())),
        (None, Some(_)) => Err(bad("Expecting 'level=value' in query".into())),
        (Some(level), Some(duration)) => {
            let number: i64 =
                level.parse().map_err(|_| bad(format!("Failed to convert '{level}' to number")))?;
            let level = u32::try_from(number).map_err(|_| bad(format!("Invalid level '{number}'")))?;
            let duration = parse_duration(duration).map_err(|error| bad(error.to_string()))?;
            shared.process.set_verbosity(level, duration);
            Ok(Response::new(StatusCode::OK, mezzo_http::Body::Empty))
        }
    }
}
