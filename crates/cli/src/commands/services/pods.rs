//! `mezzo pods`

use serde::Serialize;
use serde_json::Value;

use super::{list as members, text};
use crate::{
    args::{Global, services::Pods},
    error::CliError,
    services::Services,
    table::{self, Row},
};

#[derive(Debug, Serialize)]
struct PodRow {
    id: String,
    state: String,
    instances: u64,
    stable: usize,
    containers: usize,
    version: String,
}

impl Row for PodRow {
    const TITLES: &'static [&'static str] = &["POD", "STATE", "STABLE", "CONTAINERS", "VERSION"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.to_lowercase(),
            format!("{}/{}", self.stable, self.instances),
            self.containers.to_string(),
            self.version.clone(),
        ]
    }
}

/// Lists pods by path.
pub(crate) async fn list(global: &Global, arguments: &Pods) -> Result<(), CliError> {
    let answer = Services::new(&arguments.server.services).get("/v2/pods/::status").await?;
    let mut rows: Vec<PodRow> = answer.as_array().into_iter().flatten().map(row).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    table::print(&rows, global.output)
}

fn row(pod: &Value) -> PodRow {
    let spec = &pod["spec"];
    PodRow {
        id: text(pod, "id"),
        state: text(pod, "status"),
        instances: spec["scaling"]["instances"].as_u64().unwrap_or(1),
        stable: members(pod, "instances")
            .iter()
            .filter(|instance| text(instance, "status") == "STABLE")
            .count(),
        containers: members(spec, "containers").len(),
        version: text(spec, "version"),
    }
}
