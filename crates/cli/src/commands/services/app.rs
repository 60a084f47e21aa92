//! `mezzo app`

use mezzo_http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{canary, count, list as members, text, watch};
use crate::{
    args::{
        Global,
        services::{App, Deploy},
    },
    error::{CliError, Exit},
    output::{megabytes, number},
    services::{Services, path_of},
    table::{self, Format, Row},
};

/// Does what a command about one app says.
pub(crate) async fn main(global: &Global, command: &App) -> Result<(), CliError> {
    match command {
        App::Show { app, server } => show(global, &Services::new(&server.services), &path_of(app)).await,
        App::Scale { app, instances, deploy } => {
            let services = Services::new(&deploy.server.services);
            let wanted = wanted(&services, &path_of(app), instances).await?;
            change(&services, deploy, &path_of(app), &json!({ "instances": wanted })).await
        }
        App::Restart { app, deploy } => {
            let services = Services::new(&deploy.server.services);
            let path = format!("/v2/apps{}/restart?force={}", path_of(app), deploy.force);
            deployed(&services, deploy, Method::POST, &path, None).await
        }
        App::History { app, server } => {
            history(global, &Services::new(&server.services), &path_of(app)).await
        }
        App::Rollback { app, to, deploy } => {
            let services = Services::new(&deploy.server.services);
            let version = match to {
                Some(version) => version.clone(),
                None => before(&services, &path_of(app)).await?,
            };
            change(&services, deploy, &path_of(app), &json!({ "version": version })).await
        }
        App::Rm { app, deploy } => {
            let services = Services::new(&deploy.server.services);
            let path = format!("/v2/apps{}?force={}", path_of(app), deploy.force);
            deployed(&services, deploy, Method::DELETE, &path, None).await
        }
    }
}

async fn change(services: &Services, deploy: &Deploy, app: &str, body: &Value) -> Result<(), CliError> {
    // A path that is wrong would make a new app.
    services.get(&format!("/v2/apps{app}")).await?;
    let path = format!("/v2/apps{app}?force={}", deploy.force);
    deployed(services, deploy, Method::PUT, &path, Some(body)).await
}

async fn deployed(
    services: &Services,
    deploy: &Deploy,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(), CliError> {
    let answer = services.send(method, path, body).await?;
    watch::until_done(services, &[text(&answer, "deploymentId")], deploy.detach).await
}

/// `5`, `+2` or `-1` as a number of instances.
async fn wanted(services: &Services, app: &str, text: &str) -> Result<u64, CliError> {
    let wrong = || {
        CliError::usage(format!("'{text}' is no number of instances"))
            .help("mezzo app scale web 5   (or +2, -1)")
    };
    let (sign, digits) = match text.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", text),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    if sign.is_empty() {
        return Ok(number);
    }
    let now = count(&services.get(&format!("/v2/apps{app}")).await?["app"], "instances");
    Ok(if sign == "+" { now.saturating_add(number) } else { now.saturating_sub(number) })
}

#[derive(Debug, Serialize)]
struct TaskRow {
    id: String,
    state: String,
    healthy: Option<bool>,
    host: String,
    ports: Vec<u64>,
    version: String,
}

impl Row for TaskRow {
    const TITLES: &'static [&'static str] = &["TASK", "STATE", "HEALTHY", "HOST", "PORTS", "VERSION"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.clone(),
            self.healthy.map_or("-", |healthy| if healthy { "yes" } else { "no" }).into(),
            self.host.clone(),
            self.ports.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
            self.version.clone(),
        ]
    }
}

async fn show(global: &Global, services: &Services, app: &str) -> Result<(), CliError> {
    let answer = services.get(&format!("/v2/apps{app}")).await?;
    let app = &answer["app"];
    if global.output != Format::Table {
        return print(&format!("{app:#}\n"));
    }
    let mut lines = format!(
        "app {}   {} of {} running   {} cpus, {} each   version {}\n",
        text(app, "id"),
        count(app, "tasksRunning"),
        count(app, "instances"),
        number(app["cpus"].as_f64().unwrap_or_default()),
        megabytes(app["mem"].as_f64().unwrap_or_default()),
        text(app, "version"),
    );
    for deployment in members(app, "deployments") {
        lines.push_str(&format!("  deploying: {}   mezzo deployments --watch\n", text(deployment, "id")));
    }
    lines.extend(
        canary::line(app, &canary::reports(services, &text(app, "id")).await?).map(|line| line + "\n"),
    );
    let failure = &app["lastTaskFailure"];
    if failure.is_object() {
        lines.push_str(&format!(
            "  last failure: {} {} on {}: {}\n",
            text(failure, "timestamp"),
            text(failure, "state"),
            text(failure, "host"),
            text(failure, "message"),
        ));
    }
    print(&lines)?;
    let rows: Vec<TaskRow> = members(app, "tasks").iter().map(task).collect();
    table::print(&rows, global.output)
}

fn task(task: &Value) -> TaskRow {
    let results = members(task, "healthCheckResults");
    TaskRow {
        id: text(task, "id"),
        state: text(task, "state"),
        healthy: (!results.is_empty()).then(|| results.iter().all(|one| one["alive"] == true)),
        host: text(task, "host"),
        ports: members(task, "ports").iter().filter_map(Value::as_u64).collect(),
        version: text(task, "version"),
    }
}

#[derive(Debug, Serialize)]
struct VersionRow {
    version: String,
    /// Who asked for it; none: nobody was asked for a password, or the services went back themselves.
    by: Option<String>,
    changed: Vec<String>,
    canary: Option<String>,
}

impl Row for VersionRow {
    const TITLES: &'static [&'static str] = &["VERSION", "BY", "CHANGED", "CANARY"];
    const OPTIONAL: &'static [&'static str] = &["BY", "CANARY"];

    fn cells(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        vec![self.version.clone(), or_none(&self.by), self.changed.join(", "), or_none(&self.canary)]
    }
}

/// The versions that are kept: fifty, unless the framework was told otherwise.
async fn history(global: &Global, services: &Services, app: &str) -> Result<(), CliError> {
    let mut rows: Vec<VersionRow> = Vec::new();
    let mut newer: Option<Value> = None;
    let kept = services.get(&format!("/v2/apps{app}/versions")).await?;
    let reports = members(&kept, "canaries");
    for version in members(&kept, "versions").iter().filter_map(Value::as_str).map(str::to_owned) {
        let definition = services.get(&format!("/v2/apps{app}/versions/{version}")).await?;
        if let (Some(newer), Some(row)) = (&newer, rows.last_mut()) {
            row.changed = differences(&definition, newer);
        }
        let canary = canary::of(reports, &version).map(|report| canary::words(&definition, report));
        let by = members(&kept, "principals").iter().find(|one| one["version"].as_str() == Some(&version));
        let by = by.map(|one| text(one, "principal"));
        rows.push(VersionRow { version, by, canary, changed: vec!["made".into()] });
        newer = Some(definition);
    }
    table::print(&rows, global.output)
}

/// `cpus 0.5 -> 0.3` of the fields at the top that differ.
pub(crate) fn differences(old: &Value, new: &Value) -> Vec<String> {
    /// Longer values are named only.
    const SHOWN_MAX: usize = 40;
    let mut lines = Vec::new();
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return lines };
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys.into_iter().filter(|key| !matches!(key.as_str(), "version" | "versionInfo")) {
        let (was, is) = (&old[key], &new[key]);
        if was == is {
            continue;
        }
        let shown = |value: &Value| if value.is_null() { "none".to_owned() } else { value.to_string() };
        let (was, is) = (shown(was), shown(is));
        if was.len() > SHOWN_MAX || is.len() > SHOWN_MAX {
            lines.push(key.clone());
        } else {
            lines.push(format!("{key} {was} -> {is}"));
        }
    }
    if lines.is_empty() { vec!["restarted".into()] } else { lines }
}

async fn versions(services: &Services, app: &str) -> Result<Vec<String>, CliError> {
    let answer = services.get(&format!("/v2/apps{app}/versions")).await?;
    Ok(members(&answer, "versions").iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The last version that was good: the one before a version that is tried, and none whose canary has failed.
async fn before(services: &Services, app: &str) -> Result<String, CliError> {
    let (versions, reports) = (versions(services, app).await?, canary::reports(services, app).await?);
    let tried = versions.first().and_then(|newest| canary::of(&reports, newest));
    if let Some(report) = tried.filter(|report| canary::is_open(report)) {
        return Ok(text(report, "baseVersion"));
    }
    let good =
        |version: &&String| canary::of(&reports, version).is_none_or(|report| !canary::is_open(report));
    versions.iter().skip(1).find(good).cloned().ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("{app} has no version before this one"))
            .help(format!("mezzo app history {app}"))
    })
}

/// To stdout; a reader that went away is no error.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Failed, "write to stdout").why(error.to_string()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_what_changed() {
        let old = json!({ "cpus": 0.5, "env": { "A": "1" }, "version": "a", "cmd": "sleep 1" });
        let new =
            json!({ "cpus": 0.3, "env": { "A": "1" }, "version": "b", "cmd": "x".repeat(100), "user": "me" });
        assert_eq!(differences(&old, &new), ["cmd", "cpus 0.5 -> 0.3", "user none -> \"me\""]);
        assert_eq!(differences(&old, &old), ["restarted"]);
    }
}
