//! /metrics/snapshot and GET_METRICS.

use std::collections::BTreeMap;

use mezzo_agent::{Snapshot, other_metrics, process_metrics};
use mezzo_clock::now;
use mezzo_http::{Request, Response};
use mezzo_mesos_v0::{Writer, metrics_snapshot, names};

use super::{Api, negotiate::bad_request, v0};

/// Metrics of mechanisms that do not exist here, or of which nothing went wrong; dashboards ask for them.
const ZEROS: [&str; 6] = [
    "containerizer/fetcher/cache_size_used_bytes",
    "containerizer/fetcher/task_fetches_failed",
    "containerizer/fetcher/task_fetches_succeeded",
    "containerizer/mesos/container_destroy_errors",
    "containerizer/mesos/provisioner/bind/remove_rootfs_errors",
    "containerizer/mesos/provisioner/remove_container_errors",
];

pub(super) async fn handle(api: &Api, request: &Request) -> Response {
    if let Some(timeout) = request.parameter("timeout")
        && let Err(error) = mezzo_time::parse_duration(timeout)
    {
        return bad_request(format!("Invalid timeout '{timeout}': {error}"));
    }
    let state = match api.snapshot().await {
        Ok(state) => state,
        Err(response) => return response,
    };
    let all = all(api, &state);
    v0::json(request, |writer: &mut Writer<'_>| {
        metrics_snapshot(writer, all.iter().map(|(name, value)| (name.as_str(), *value)));
    })
}

/// Every metric by name.
pub(super) fn all(api: &Api, state: &Snapshot) -> BTreeMap<String, f64> {
    let own = process_metrics(state, now());
    let mut all: BTreeMap<String, f64> =
        own.into_iter().map(|(name, value)| (format!("{}/{name}", names::AGENT_METRICS), value)).collect();
    all.extend(other_metrics(state));
    all.extend(ZEROS.map(|name| (name.to_owned(), 0.0)));
    let cache = api.flags.get("fetcher_cache_size").and_then(|size| mezzo_time::parse_bytes(size).ok());
    all.insert("containerizer/fetcher/cache_size_total_bytes".into(), cache.unwrap_or(2 << 30) as f64);
    all.insert(format!("{}/recovery_time_secs", names::AGENT_METRICS), 0.0);
    let system = System::measure();
    all.insert("system/cpus_total".into(), system.cpus);
    for (name, value) in
        ["system/load_1min", "system/load_5min", "system/load_15min"].into_iter().zip(system.load)
    {
        all.insert(name.into(), value);
    }
    all.insert("system/mem_total_bytes".into(), system.mem_total);
    all.insert("system/mem_free_bytes".into(), system.mem_free);
    all
}

/// The host, as the kernel sees it.
pub(super) struct System {
    pub(super) cpus: f64,
    pub(super) load: [f64; 3],
    pub(super) mem_total: f64,
    pub(super) mem_free: f64,
}

impl System {
    pub(super) fn measure() -> Self {
        let info = rustix::system::sysinfo();
        let unit = f64::from(info.mem_unit);
        Self {
            cpus: std::thread::available_parallelism().map_or(1.0, |cpus| usize::from(cpus) as f64),
            // Fixed point with 16 bits behind the point.
            load: info.loads.map(|load| load as f64 / 65_536.0),
            mem_total: info.totalram as f64 * unit,
            mem_free: info.freeram as f64 * unit,
        }
    }
}
