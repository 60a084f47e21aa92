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
    api.launches.containers().statistics(id, &resources).ok()
}
