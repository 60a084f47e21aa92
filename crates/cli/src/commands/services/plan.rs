//! `mezzo plan`

use mezzo_http::Method;
use mezzo_service_file::{Entry, Kind};
use serde_json::{Value, json};

use super::{app::differences, count, files, list as members, secret, text};
use crate::{
    args::{Global, services::Plan},
    error::{CliError, Exit},
    services::Services,
    table::Format,
};

/// Shows what `mezzo up` would do, and does none of it.
pub(crate) async fn plan(global: &Global, arguments: &Plan) -> Result<(), CliError> {
    let entries = files::read(&arguments.files)?;
    let services = Services::new(&arguments.server.services);
    let apps: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == Kind::App).collect();
    let mut answers = Vec::new();
    if !apps.is_empty() {
        let body = Value::Array(apps.iter().map(|entry| entry.value.clone()).collect());
        let path = "/v2/apps?partialUpdate=false&force=true&dryRun=true";
        answers.push(services.send(Method::PUT, path, Some(&body)).await?);
    }
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Group) {
        let path = format!("/v2/groups{}?force=true&dryRun=true", entry.id);
        answers.push(services.send(Method::PUT, &path, Some(&entry.value)).await?);
    }
    if global.output != Format::Table {
        let answer = if answers.len() == 1 { answers.remove(0) } else { Value::Array(answers) };
        println!("{answer:#}");
        return Ok(());
    }
    let outlooks: Vec<&Value> = answers.iter().flat_map(|answer| members(answer, "outlook")).collect();
    for entry in &entries {
        println!("{}", line(&services, entry).await?);
        for outlook in outlooks.iter().filter(|outlook| text(outlook, "id") == entry.id) {
            forecast(outlook).iter().for_each(|line| println!("    {line}"));
        }
    }
    // What is not in the file and changes all the same.
    for outlook in outlooks.iter().filter(|one| entries.iter().all(|entry| text(one, "id") != entry.id)) {
        println!("! {}", text(outlook, "id"));
        forecast(outlook).iter().for_each(|line| println!("    {line}"));
    }
    for line in secret::missing(outlooks.iter().copied()) {
        println!("! {line}");
    }
    for why in answers.iter().map(|answer| text(answer, "outlookUnknown")).filter(|why| !why.is_empty()) {
        println!("where instances would go is not known: {why}");
    }
    let steps: Vec<&Value> = answers.iter().flat_map(|answer| members(answer, "steps")).collect();
    for (number, step) in steps.iter().enumerate() {
        let actions: Vec<String> = members(step, "actions").iter().map(action).collect();
        println!("step {}/{}  {}", number + 1, steps.len(), actions.join("  "));
    }
    if steps.is_empty() {
        println!("nothing to do");
    } else {
        let names: Vec<String> = arguments.files.iter().map(|file| file.display().to_string()).collect();
        println!("apply: mezzo up {}", names.join(" "));
    }
    Ok(())
}

/// `+ app /web  2 instances, 0.5 cpus each` or `~ app /web  cpus 0.5 -> 0.3`.
async fn line(services: &Services, entry: &Entry) -> Result<String, CliError> {
    let (noun, path) = match entry.kind {
        Kind::App => ("app", format!("/v2/apps{}", entry.id)),
        Kind::Pod => ("pod", format!("/v2/pods{}", entry.id)),
        Kind::Group => ("group", format!("/v2/groups{}", entry.id)),
    };
    let now = match services.get(&path).await {
        Ok(now) => now,
        Err(error) if error.exit() == Exit::NotFound => {
            let instances = entry.value.get("instances").and_then(Value::as_u64).unwrap_or(1);
            let what =
                if entry.kind == Kind::App { format!("   {instances} instances") } else { String::new() };
            return Ok(format!("+ {noun} {}{what}", entry.id));
        }
        Err(error) => return Err(error),
    };
    if entry.kind != Kind::App {
        return Ok(format!("~ {noun} {}", entry.id));
    }
    let changed = changes(&now["app"], &entry.value);
    let running = count(&now["app"], "tasksRunning");
    Ok(match changed.as_slice() {
        [same] if same == "restarted" => format!("= {noun} {}   {running} running", entry.id),
        changed => format!("~ {noun} {}   {}", entry.id, changed.join(", ")),
    })
}

/// What a file changes of an app. Only what it says counts: the rest are defaults, which the framework fills in.
fn changes(now: &Value, said: &Value) -> Vec<String> {
    let (mut before, mut after) = (now.clone(), said.clone());
    if let (Some(before), Some(after)) = (before.as_object_mut(), after.as_object_mut()) {
        before.retain(|key, _| after.contains_key(key));
        after.retain(|key, value| {
            let (now, said) = (json!({ key: before.get(key) }), json!({ key: value }));
            !covers(&now, &said)
        });
        before.retain(|key, _| after.contains_key(key));
    }
    differences(&before, &after)
}

/// Whether something has all that is said of it.
fn covers(now: &Value, said: &Value) -> bool {
    match (now, said) {
        (Value::Object(now), Value::Object(said)) => {
            said.iter().all(|(key, said)| match (key.as_str(), now.get(key)) {
                (_, None) => false,
                // People choose the names in these, so one that is not said is to go.
                ("env" | "labels" | "secrets", Some(now)) => now == said,
                // Any port, which the framework has chosen.
                ("port" | "servicePort", Some(_)) if *said == 0 => true,
                (_, Some(now)) => covers(now, said),
            })
        }
        (Value::Array(now), Value::Array(said)) => {
            now.len() == said.len() && now.iter().zip(said).all(|(now, said)| covers(now, said))
        }
        // 64 and 64.0 are the same.
        (Value::Number(now), Value::Number(said)) => now.as_f64() == said.as_f64(),
        (now, said) => now == said,
    }
}

/// Where instances would go, what stops, and what those lack that would wait.
fn forecast(outlook: &Value) -> Vec<String> {
    /// Agents that are told one by one; the rest is counted.
    const AGENTS_MAX: usize = 20;
    let (starts, stops) = (count(outlook, "starts"), count(outlook, "stops"));
    let waiting = count(outlook, "waiting");
    let mut lines = Vec::new();
    if starts > waiting {
        let places: Vec<(&String, u64)> = outlook["places"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(host, count)| (host, count.as_u64().unwrap_or_default()))
            .collect();
        let more = places.len().saturating_sub(AGENTS_MAX);
        let shown = places.iter().take(AGENTS_MAX).map(|(host, count)| format!("{host} {count}"));
        let mut line = format!("{} would start: {}", starts - waiting, shown.collect::<Vec<_>>().join(", "));
        if more > 0 {
            line.push_str(&format!(", and {more} more agents"));
        }
        lines.push(line);
    }
    if stops > 0 {
        lines.push(format!("{stops} would stop"));
    }
    if waiting > 0 {
        lines.push(format!("{waiting} would wait:"));
        let lacks = members(outlook, "lacks");
        if lacks.is_empty() {
            lines.push("  there is no agent".into());
        }
        for lack in lacks.iter().take(AGENTS_MAX) {
            lines.push(format!("  {}  {}", text(lack, "host"), text(lack, "why")));
        }
        let would: Vec<&str> = members(outlook, "wouldDo").iter().filter_map(Value::as_str).collect();
        if !would.is_empty() {
            lines.push(format!("  all would find a place with:  {}", would.join("  or  ")));
        }
    }
    lines
}

fn action(action: &Value) -> String {
    let name = text(action, "action");
    let id = if action["app"].is_string() { text(action, "app") } else { text(action, "pod") };
    format!("{} {id}", name.trim_end_matches("Application").trim_end_matches("Pod").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_instances_would_go_and_what_they_lack() {
        let all = json!({ "starts": 3, "stops": 2, "places": { "dev-1": 2, "dev-2": 1 }, "waiting": 0 });
        assert_eq!(forecast(&all), ["3 would start: dev-1 2, dev-2 1", "2 would stop"]);
        let some = json!({
            "starts": 3, "stops": 0, "places": { "dev-1": 1 }, "waiting": 2,
            "lacks": [{ "host": "dev-1", "why": "wanted: cpus 2, free: 1" }], "wouldDo": ["instances 1", "cpus 0.5"],
        });
        assert_eq!(
            forecast(&some),
            [
                "1 would start: dev-1 1",
                "2 would wait:",
                "  dev-1  wanted: cpus 2, free: 1",
                "  all would find a place with:  instances 1  or  cpus 0.5",
            ]
        );
        assert_eq!(forecast(&json!({ "starts": 0, "stops": 0, "waiting": 0 })), Vec::<String>::new());
        let none = json!({ "starts": 1, "stops": 0, "places": {}, "waiting": 1, "lacks": [], "wouldDo": [] });
        assert_eq!(forecast(&none), ["1 would wait:", "  there is no agent"]);
    }

    #[test]
    fn what_the_framework_fills_in_is_no_change() {
        let now = json!({
            "id": "/web", "mem": 64, "cpus": 0.1, "instances": 3, "backoffSeconds": 1,
            "portDefinitions": [{ "port": 0, "name": "http", "labels": {} }],
        });
        let said =
            json!({ "id": "/web", "mem": 64.0, "instances": 3, "portDefinitions": [{ "name": "http" }] });
        assert_eq!(changes(&now, &said), ["restarted"]);
        let said = json!({ "id": "/web", "mem": 64.0, "instances": 2, "portDefinitions": [], "cmd": "true" });
        assert_eq!(
            changes(&now, &said),
            [
                "cmd none -> \"true\"",
                "instances 3 -> 2",
                "portDefinitions [{\"labels\":{},\"name\":\"http\",\"port\":0}] -> []"
            ]
        );
    }
}
