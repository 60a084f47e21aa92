//! `mezzo why` of an app.

use serde_json::Value;

use super::{canary, count, list as members, secret, text};
use crate::{
    error::{CliError, Exit},
    services::{Services, path_of},
};

/// Agents that are told one by one; the rest is counted.
const AGENTS_MAX: usize = 20;

/// Where the instances of an app are and what the missing ones wait for. `None`: there is no such app, or nobody to ask.
pub(crate) async fn app_lines(services: &Services, app: &str) -> Result<Option<Vec<String>>, CliError> {
    let path = path_of(app);
    let answer = match services.get(&format!("/v2/apps{path}")).await {
        Ok(answer) => answer,
        // Whatever cannot be an app's path is something else.
        Err(error) if error.exit() != Exit::Denied => return Ok(None),
        Err(error) => return Err(error),
    };
    let queue = services.get("/v2/queue?embed=lastUnusedOffers").await?;
    let waiting = members(&queue, "queue").iter().find(|item| text(&item["app"], "id") == path);
    let mut lines = lines(&answer["app"], waiting);
    if let Some(line) = canary::line(&answer["app"], &canary::reports(services, &path).await?) {
        lines.insert(1, line);
    }
    Ok(Some(lines))
}

fn lines(app: &Value, waiting: Option<&Value>) -> Vec<String> {
    let missing = waiting.map_or(0, |item| count(item, "count"));
    let mut lines = vec![format!(
        "app {}   wants {}, running {}{}",
        text(app, "id"),
        count(app, "instances"),
        count(app, "tasksRunning"),
        if missing > 0 { format!(", waiting {missing}") } else { String::new() },
    )];
    for deployment in members(app, "deployments") {
        lines.push(format!("  deploying: {}   mezzo deployments", text(deployment, "id")));
    }
    let failure = &app["lastTaskFailure"];
    if failure.is_object() {
        let message = text(failure, "message");
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        let (state, host) = (text(failure, "state"), text(failure, "host"));
        lines.push(format!("  last failure: {state} on {host}{message}   {}", text(failure, "timestamp")));
    }
    let Some(item) = waiting else {
        if count(app, "tasksUnhealthy") > 0 {
            lines.push(format!("  {} instances fail their health checks", count(app, "tasksUnhealthy")));
        }
        return lines;
    };
    if item["delay"]["overdue"] == false {
        let left = count(&item["delay"], "timeLeftSeconds");
        lines.push(format!("  instances have ended too soon: the next one is launched in {left} s"));
    }
    let secrets = secret::missing([item]);
    let lacks_secrets = !secrets.is_empty();
    lines.extend(secrets.iter().map(|line| format!("  {line}")));
    let unused = members(item, "lastUnusedOffers");
    if unused.is_empty() && !lacks_secrets && item["delay"]["overdue"] == true {
        lines.push(format!("  no offer has come yet for role {}", text(item, "role")));
    }
    let width = unused.iter().map(|one| text(&one["offer"], "hostname").len()).max().unwrap_or(0);
    for one in unused.iter().take(AGENTS_MAX) {
        let words =
            |key: &str| members(one, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ");
        // A genuine Marathon names the reasons only.
        let why = Some(words("details")).filter(|why| !why.is_empty()).unwrap_or_else(|| words("reason"));
        lines.push(format!("  {:width$}  {why}", text(&one["offer"], "hostname")));
    }
    if unused.len() > AGENTS_MAX {
        lines.push(format!("  and {} more agents", unused.len() - AGENTS_MAX));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_waits_is_told_agent_by_agent() {
        let app = json!({ "id": "/web", "instances": 4, "tasksRunning": 1, "deployments": [{ "id": "d1" }] });
        let item = json!({
            "count": 3, "role": "*", "delay": { "overdue": true, "timeLeftSeconds": 0 },
            "lastUnusedOffers": [
                { "offer": { "hostname": "dev-1" }, "reason": ["InsufficientCpus"], "details": ["wants 2 cpus, 0.5 are free"] },
                { "offer": { "hostname": "dev-10" }, "reason": ["InsufficientPorts"], "details": [] },
            ],
        });
        assert_eq!(
            lines(&app, Some(&item)),
            [
                "app /web   wants 4, running 1, waiting 3",
                "  deploying: d1   mezzo deployments",
                "  dev-1   wants 2 cpus, 0.5 are free",
                "  dev-10  InsufficientPorts",
            ]
        );
        let held = json!({ "count": 1, "delay": { "overdue": true }, "missingSecrets": ["shop/db"] });
        assert_eq!(
            lines(&app, Some(&held)).last().map(String::as_str),
            Some("  secret shop/db does not exist  ->  mezzo secret set shop/db")
        );
        let delayed = json!({ "count": 1, "delay": { "overdue": false, "timeLeftSeconds": 7 } });
        assert!(lines(&app, Some(&delayed)).iter().any(|line| line.contains("in 7 s")));
    }
}
