//! /metrics/snapshot with Mesos' names, and /metrics in the OpenMetrics text form.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mezzo_clock::now;
use mezzo_http::{Request, Response, StatusCode};
use mezzo_json::Writer;
use mezzo_master::metrics;
use mezzo_time::parse_duration;
use tokio::time::Instant;

use crate::{process::system_stats, run::registry_path, shared::Shared};

/// At most one snapshot per this long; more wait in line (rule 23).
const PACE: Duration = Duration::from_millis(500);
/// Requests that may wait in line; more are told to come back later.
const WAITING_MAX: u32 = 120;

/// When the next snapshot may be made.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// A place in line: how long to wait, or `None` when the line is too long.
    fn turn(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        if at - now > PACE * WAITING_MAX {
            return None;
        }
        *next = Some(at + PACE);
        Some(at - now)
    }
}

/// GET /metrics/snapshot.
pub(crate) async fn snapshot(
    shared: &Arc<Shared>,
    pace: &Pace,
    request: &Request,
) -> Result<Response, Response> {
    // A snapshot is made in one piece, so a timeout leaves nothing out; it still has to be one.
    if let Some(timeout) = request.parameter("timeout") {
        parse_duration(timeout).map_err(|_| {
            let digits =
                timeout.len() - timeout.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
            let why = if digits == 0 {
                "Failed to convert '' to number".to_owned()
            } else {
                format!("Unknown duration unit '{}'", &timeout[digits..])
            };
            Response::text(StatusCode::BAD_REQUEST, format!("Invalid timeout '{timeout}': {why}.\n"))
        })?;
    }
    match pace.turn() {
        Some(wait) => tokio::time::sleep(wait).await,
        None => return Err(Response::text(StatusCode::SERVICE_UNAVAILABLE, "Too many requests for metrics")),
    }
    let values = values(shared).await?;
    let mut w = Writer::new();
    w.begin_object();
    for (name, value) in &values {
        w.key(name);
        w.double(*value);
    }
    w.end_object();
    Ok(Response::json(w.finish()).jsonp(request.parameter("jsonp")))
}

/// Everything by the names of Mesos.
pub(crate) async fn values(shared: &Arc<Shared>) -> Result<BTreeMap<String, f64>, Response> {
    let (snapshot, shared) = (shared.snapshot().await?, shared.clone());
    let made = tokio::task::spawn_blocking(move || {
        let core = metrics::values(&snapshot).into_iter().map(|(name, value)| {
            let name = if metrics::is_fixed(&name) { name.replace("agent", "slave") } else { name };
            (name, value)
        });
        core.chain(process_values(&shared)).collect()
    });
    made.await.map_err(|_| Response::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error."))
}

/// What only the process knows.
fn process_values(shared: &Shared) -> Vec<(String, f64)> {
    let system = system_stats();
    let registry = registry_path(&shared.config).and_then(|path| path.metadata().ok());
    let values = [
        ("master/uptime_secs", now().since(shared.started).as_secs_f64()),
        ("master/elected", 1.0),
        ("master/operator_event_stream_subscribers", shared.subscribers.len() as f64),
        ("master/event_queue_messages", 0.0),
        ("master/event_queue_dispatches", shared.inbox.len() as f64),
        ("master/event_queue_http_requests", 0.0),
        // The allocator is a part of the core and has no queue of its own.
        ("allocator/event_queue_dispatches", 0.0),
        ("allocator/mesos/event_queue_dispatches", 0.0),
        ("registrar/queued_operations", 0.0),
        ("registrar/registry_size_bytes", registry.map_or(0.0, |file| file.len() as f64)),
        ("registrar/state_fetch_ms", shared.fetch.as_secs_f64() * 1000.0),
        ("registrar/log/recovered", 1.0),
        ("registrar/log/ensemble_size", 1.0),
        ("system/load_1min", system.load[0]),
        ("system/load_5min", system.load[1]),
        ("system/load_15min", system.load[2]),
        ("system/cpus_total", system.cpus as f64),
        ("system/mem_total_bytes", system.mem_total_bytes as f64),
        ("system/mem_free_bytes", system.mem_free_bytes as f64),
    ];
    let timings = [
        (&shared.allocations, "allocator/mesos/allocation_run_ms"),
        (&shared.allocation_delays, "allocator/mesos/allocation_run_latency_ms"),
        (&shared.stores, "registrar/state_store_ms"),
    ];
    let timings = timings.into_iter().flat_map(|(timing, name)| timing.values(name));
    let checks = shared.checks.values().into_iter().filter(|_| shared.config.check_allocations);
    values.into_iter().chain(checks).map(|(name, value)| (name.to_owned(), value)).chain(timings).collect()
}

/// GET /metrics.
pub(crate) async fn open_metrics(shared: &Arc<Shared>, _request: &Request) -> Result<Response, Response> {
    let (snapshot, shared) = (shared.snapshot().await?, shared.clone());
    Ok(Response::produced("application/openmetrics-text; version=1.0.0; charset=utf-8", move |out| {
        let (connected, waiting) = shared.links.count();
        let own = [
            ("mezzo/links_connected".to_owned(), connected as f64),
            ("mezzo/links_waiting".to_owned(), waiting as f64),
            ("mezzo/registry_commits".to_owned(), shared.commits() as f64),
        ];
        let mut text = String::new();
        for (name, value) in metrics::values(&snapshot).into_iter().chain(process_values(&shared)) {
            if let Some(exposed) = metrics::open_metrics_name(&name) {
                push(&mut text, &exposed, metrics::is_counter(&name), value);
            }
        }
        for (name, value) in own {
            push(&mut text, &name.replace('/', "_"), false, value);
        }
        for (name, value) in shared.checks.values().into_iter().filter(|_| shared.config.check_allocations) {
            push(&mut text, &format!("mezzo_{}", name.replace('/', "_")), true, value);
        }
        text.push_str("# EOF\n");
        out.write(text.as_bytes())
    }))
}

fn push(text: &mut String, name: &str, counter: bool, value: f64) {
    let (kind, suffix) = if counter { ("counter", "_total") } else { ("gauge", "") };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name}{suffix} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rule_23_two_snapshots_per_second() {
        let pace = Pace::default();
        assert_eq!(pace.turn(), Some(Duration::ZERO));
        assert_eq!(pace.turn(), Some(PACE));
        assert_eq!(pace.turn(), Some(PACE * 2));
        tokio::time::advance(PACE * 10).await;
        assert_eq!(pace.turn(), Some(Duration::ZERO));
        while pace.turn().is_some() {}
    }
}
