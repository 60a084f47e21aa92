//! `mezzo plan`

use mezzo_http::Method;
use mezzo_service_file::{Entry, Kind};
use serde_json::Value;

use super::{app::differences, count, files, list as members, text};
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
    for entry in &entries {
        println!("{}", line(&services, entry).await?);
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
    // Only what the file says: the rest are defaults, which the framework fills in.
    let mut before = now["app"].clone();
    if let (Some(before), Some(said)) = (before.as_object_mut(), entry.value.as_object()) {
        before.retain(|key, _| said.contains_key(key));
    }
    let changed = differences(&before, &entry.value);
    let running = count(&now["app"], "tasksRunning");
    Ok(match changed.as_slice() {
        [same] if same == "restarted" => format!("= {noun} {}   {running} running", entry.id),
        changed => format!("~ {noun} {}   {}", entry.id, changed.join(", ")),
    })
}

fn action(action: &Value) -> String {
    let name = text(action, "action");
    let id = if action["app"].is_string() { text(action, "app") } else { text(action, "pod") };
    format!("{} {id}", name.trim_end_matches("Application").trim_end_matches("Pod").to_lowercase())
}
