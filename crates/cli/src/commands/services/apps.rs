//! `mezzo apps`

use serde::Serialize;
use serde_json::Value;

use super::{count, list as members, text};
use crate::{
    args::{Global, services::Apps},
    error::CliError,
    output::{megabytes, number},
    services::Services,
    table::{self, Format, Row},
};

#[derive(Debug, Serialize)]
pub(crate) struct AppRow {
    id: String,
    state: &'static str,
    instances: u64,
    running: u64,
    healthy: Option<u64>,
    cpus: f64,
    mem: f64,
    version: String,
}

impl Row for AppRow {
    const TITLES: &'static [&'static str] = &["APP", "STATE", "RUNNING", "HEALTHY", "CPUS", "MEM", "VERSION"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.into(),
            format!("{}/{}", self.running, self.instances),
            self.healthy.map_or_else(|| "-".into(), |healthy| format!("{healthy}/{}", self.instances)),
            number(self.cpus),
            megabytes(self.mem),
            self.version.clone(),
        ]
    }
}

/// Lists apps by path.
pub(crate) async fn list(global: &Global, arguments: &Apps) -> Result<(), CliError> {
    let services = Services::new(&arguments.server.services);
    let mut path = "/v2/apps?embed=apps.counts&embed=apps.deployments".to_owned();
    if let Some(selector) = &arguments.label {
        path.push_str("&label=");
        path.push_str(&encoded(selector));
    }
    let mut rows: Vec<AppRow> = members(&services.get(&path).await?, "apps").iter().map(row).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    table::print(&rows, global.output)
}

/// Prints the rows of some apps.
pub(crate) async fn print(services: &Services, ids: &[String], format: Format) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for id in ids {
        rows.push(row(&services.get(&format!("/v2/apps{id}")).await?["app"]));
    }
    table::print(&rows, format)
}

fn row(app: &Value) -> AppRow {
    let (instances, running) = (count(app, "instances"), count(app, "tasksRunning"));
    let deploying = !members(app, "deployments").is_empty();
    AppRow {
        id: text(app, "id"),
        state: match () {
            () if deploying => "deploying",
            () if instances == 0 => "suspended",
            () if running < instances => "waiting",
            () => "running",
        },
        instances,
        running,
        healthy: (!members(app, "healthChecks").is_empty()).then(|| count(app, "tasksHealthy")),
        cpus: app["cpus"].as_f64().unwrap_or_default(),
        mem: app["mem"].as_f64().unwrap_or_default(),
        version: text(app, "version"),
    }
}

/// A text as part of a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
