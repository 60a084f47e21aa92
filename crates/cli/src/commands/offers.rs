//! `mezzo offers`

use serde::Serialize;
use serde_json::Value;

use crate::{
    args::Global,
    client::{self, Master},
    error::{CliError, Exit},
    table::{self, Row},
};

/// All frameworks with their tasks; the only read that lists offers.
const ANSWER_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, Serialize)]
struct OfferRow {
    id: String,
    framework: String,
    node: String,
    role: String,
    resources: Value,
}

impl Row for OfferRow {
    const TITLES: &'static [&'static str] = &["OFFER", "FRAMEWORK", "NODE", "ROLE", "RESOURCES"];

    fn cells(&self) -> Vec<String> {
        let resources = self.resources.as_object().into_iter().flatten();
        let amounts = resources.filter(|(_, amount)| amount.as_f64() != Some(0.0)).map(|(name, amount)| {
            format!("{name}:{}", amount.as_str().map_or_else(|| amount.to_string(), str::to_owned))
        });
        vec![
            self.id.clone(),
            self.framework.clone(),
            self.node.clone(),
            self.role.clone(),
            amounts.collect::<Vec<_>>().join(" "),
        ]
    }
}

/// Lists outstanding offers.
pub(crate) async fn list(global: &Global) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    let snapshot = master.state().await?;
    let address = master.address();
    let lost = |error| client::unreachable("the master does not answer", address, &error);
    let answer = master.client().get(address, "/frameworks").await.map_err(lost)?;
    let body = answer.bytes(ANSWER_BYTES_MAX).await.map_err(lost)?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| {
        CliError::new(Exit::Failed, "the answer cannot be read").place(address).why(error.to_string())
    })?;
    let frameworks = document["frameworks"].as_array().into_iter().flatten();
    let agents = &snapshot.agents.agents;
    let hostname = |id: &str| {
        let found =
            agents.iter().find(|agent| agent.agent_info.id.as_ref().is_some_and(|agent| agent.value == id));
        found.map_or_else(|| id.to_owned(), |agent| agent.agent_info.hostname.clone())
    };
    let mut rows = Vec::new();
    for framework in frameworks {
        for offer in framework["offers"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            // The agent's id is the only id of the offer that is not its own or the framework's.
            let agent = offer
                .as_object()
                .into_iter()
                .flatten()
                .find(|(key, _)| key.ends_with("_id") && *key != "framework_id");
            rows.push(OfferRow {
                id: text(&offer["id"]),
                framework: text(&framework["name"]),
                node: agent.map(|(_, id)| hostname(id.as_str().unwrap_or_default())).unwrap_or_default(),
                role: text(&offer["allocation_info"]["role"]),
                resources: offer["resources"].clone(),
            });
        }
    }
    table::print(&rows, global.output)
}
