//! GET /usage: what Mesos' messages about containers have no field for. They tell the rest (GET_CONTAINERS).

use std::collections::BTreeMap;

use mezzo_container::Load;
use mezzo_http::Response;
use serde::Serialize;

use super::Api;

#[derive(Serialize)]
struct Usage {
    /// Those that run, by id; `parent.child` for children.
    containers: BTreeMap<String, Load>,
}

pub(super) async fn handle(api: &Api) -> Response {
    let state = match api.snapshot().await {
        Ok(state) => state,
        Err(response) => return response,
    };
    let containers = api.launches.containers();
    let loads = state.containers.keys().filter_map(|id| Some((id.to_string(), containers.load(id)?)));
    let usage = Usage { containers: loads.collect() };
    // Numbers and texts alone, which always can be written.
    Response::json(serde_json::to_string(&usage).unwrap_or_default())
}
