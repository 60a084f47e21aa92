//! What containers use, measured when somebody asks.

use mezzo_agent::{Limits, Snapshot, container_text, query};
use mezzo_ids::ContainerId;
use mezzo_mesos::v1::{ResourceStatistics, agent::response::GetContainers};

use super::Api;
use crate::convert::container_resources;

/// GET_CONTAINERS with statistics where they could be measured.
pub(super) fn with_statistics(api: &Api, state: &Snapshot, mut answer: GetContainers) -> GetContainers {
    for container in &mut answer.containers {
        let id = container.container_status.as_ref().and_then(|status| status.container_id.as_ref());
        container.resource_statistics = id.and_then(|id| statistics(api, state, &container_text(id)));
    }
    answer
}

/// Containers of executors with their statistics, for the older endpoints.
pub(super) fn of_executors(api: &Api, state: &Snapshot) -> GetContainers {
    with_statistics(api, state, query::containers(state, false, false))
}

fn statistics(api: &Api, state: &Snapshot, id: &ContainerId) -> Option<ResourceStatistics> {
    let resources = container_resources(&state.containers.get(id)?.resources, &Limits::default());
    if let Ok(measured) = api.launches.containers().statistics(id, &resources) {
        return Some(measured);
    }
    // A pod has no process of its own: it uses what its children use.
    let prefix = format!("{id}.");
    let children = state
        .containers
        .range(ContainerId::from(prefix.as_str())..)
        .take_while(|(child, _)| child.starts_with(&prefix))
        .filter_map(|(child, _)| statistics(api, state, child));
    let limits = |milli: u64| milli as f64 / 1000.0;
    children.reduce(|sum, child| with_child(&sum, &child)).map(|sum| ResourceStatistics {
        cpus_soft_limit: Some(limits(resources.cpus_milli)),
        mem_soft_limit_bytes: Some(resources.mem_bytes),
        mem_limit_bytes: Some(resources.mem_bytes),
        ..sum
    })
}

/// The use of both together; what only one of them knows counts for both.
fn with_child(sum: &ResourceStatistics, child: &ResourceStatistics) -> ResourceStatistics {
    let seconds = |a: Option<f64>, b: Option<f64>| a.map(|a| a + b.unwrap_or_default()).or(b);
    let bytes = |a: Option<u64>, b: Option<u64>| a.map(|a| a.saturating_add(b.unwrap_or_default())).or(b);
    ResourceStatistics {
        timestamp: child.timestamp,
        cpus_user_time_secs: seconds(sum.cpus_user_time_secs, child.cpus_user_time_secs),
        cpus_system_time_secs: seconds(sum.cpus_system_time_secs, child.cpus_system_time_secs),
        mem_rss_bytes: bytes(sum.mem_rss_bytes, child.mem_rss_bytes),
        ..ResourceStatistics::default()
    }
}
