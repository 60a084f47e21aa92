//! `mezzo deployments`

use serde::Serialize;
use serde_json::Value;

use super::{canary, count, list as members, text, watch};
use crate::{
    args::{Global, services::Deployments},
    error::CliError,
    services::Services,
    table::{self, Row},
};

#[derive(Debug, Serialize)]
struct DeploymentRow {
    id: String,
    step: String,
    affected: Vec<String>,
    doing: String,
    version: String,
}

impl Row for DeploymentRow {
    const TITLES: &'static [&'static str] = &["DEPLOYMENT", "STEP", "AFFECTS", "DOING", "VERSION"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.step.clone(),
            self.affected.join(","),
            self.doing.clone(),
            self.version.clone(),
        ]
    }
}

/// Lists deployments that run, or waits for all of them.
pub(crate) async fn list(global: &Global, arguments: &Deployments) -> Result<(), CliError> {
    let services = Services::new(&arguments.server.services);
    let running = services.get("/v2/deployments").await?;
    let running: Vec<&Value> = running.as_array().into_iter().flatten().collect();
    if arguments.watch {
        let ids: Vec<String> = running.iter().map(|one| text(one, "id")).collect();
        return watch::until_done(&services, &ids, false).await;
    }
    let rows: Vec<DeploymentRow> = running.into_iter().map(row).collect();
    table::print(&rows, global.output)
}

fn row(deployment: &Value) -> DeploymentRow {
    let affected = members(deployment, "affectedApps").iter().chain(members(deployment, "affectedPods"));
    let actions = members(deployment, "currentActions").iter().map(|action| match &action["canary"] {
        Value::Null => text(action, "action"),
        report => format!("{} (canary {})", text(action, "action"), canary::verdict(report)),
    });
    DeploymentRow {
        id: text(deployment, "id"),
        step: format!("{}/{}", count(deployment, "currentStep"), count(deployment, "totalSteps")),
        affected: affected.filter_map(Value::as_str).map(str::to_owned).collect(),
        doing: actions.collect::<Vec<_>>().join(","),
        version: text(deployment, "version"),
    }
}
