//! Waits for deployments and shows how far they are.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{canary, count, list, secret, text};
use crate::{
    error::{CliError, Exit},
    progress::Ticker,
    services::Services,
};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(300);
/// After this long without an instance more it is worth a word how to find out why.
const STUCK: Duration = Duration::from_secs(10);

/// Waits until these deployments are over. Ctrl-C leaves them running and says so.
pub(crate) async fn until_done(services: &Services, ids: &[String], detach: bool) -> Result<(), CliError> {
    if ids.is_empty() {
        return Ok(());
    }
    if detach {
        eprintln!("deploying: {}   watch: mezzo deployments --watch", ids.join(" "));
        return Ok(());
    }
    tokio::select! {
        done = wait(services, ids) => done,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\nthe deployment goes on: {}", ids.join(" "));
            eprintln!("  watch it:      mezzo deployments --watch");
            Err(CliError::new(Exit::Failed, "stopped waiting").why("nothing was cancelled"))
        }
    }
}

async fn wait(services: &Services, ids: &[String]) -> Result<(), CliError> {
    let started = Instant::now();
    let mut ticker = Ticker::new(EVERY);
    let mut moved = (Instant::now(), String::new());
    let mut tried: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        let running = services.get("/v2/deployments").await?;
        let ours: Vec<&Value> =
            running.as_array().into_iter().flatten().filter(|one| ids.contains(&text(one, "id"))).collect();
        if ours.is_empty() {
            ticker.clear();
            for (app, version) in &tried {
                verdict(services, app, version).await?;
            }
            eprintln!("deployed in {:.1} s", started.elapsed().as_secs_f64());
            return Ok(());
        }
        let actions: Vec<&Value> = ours.iter().copied().flat_map(|one| list(one, "currentActions")).collect();
        let (mut line, mut holding) = (String::new(), false);
        for deployment in ours {
            for action in
                list(deployment, "currentActions").iter().filter(|action| action["canary"].is_object())
            {
                let (app, report) = (text(action, "app"), &action["canary"]);
                if report["phase"] == "failed" {
                    ticker.clear();
                    return Err(stopped(&app, report));
                }
                // Time passes on purpose then.
                holding |= report["phase"] == "holding";
                tried.insert((app, text(report, "version")));
            }
            line.push_str(&describe(services, deployment).await?);
        }
        if line != moved.1 {
            moved = (Instant::now(), line.clone());
        } else {
            let missing = missing_secrets(services, &actions).await?;
            if !missing.is_empty() {
                line.push_str(&format!("   {}", missing.join("; ")));
            } else if moved.0.elapsed() > STUCK && !holding {
                line.push_str("   nothing moves: mezzo why APP tells what it waits for");
            }
        }
        ticker.show(&line);
        ticker.tick().await;
    }
}

/// What services at work wait for that a person has to set. A genuine Marathon tells nothing.
async fn missing_secrets(services: &Services, actions: &[&Value]) -> Result<Vec<String>, CliError> {
    let queue = services.get("/v2/queue").await?;
    let id = |one: &Value| format!("{}{}", text(&one["app"], "id"), text(&one["pod"], "id"));
    let at_work = |item: &&Value| {
        actions.iter().any(|action| format!("{}{}", text(action, "app"), text(action, "pod")) == id(item))
    };
    Ok(secret::missing(list(&queue, "queue").iter().filter(at_work)))
}

/// An error when the canaries of a version have failed: the deployment is over because it went back.
pub(crate) async fn verdict(services: &Services, app: &str, version: &str) -> Result<(), CliError> {
    let reports = match services.get(&format!("/v2/apps{app}/versions")).await {
        Ok(answer) => list(&answer, "canaries").to_vec(),
        // It was removed meanwhile.
        Err(error) if error.exit() == Exit::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match canary::of(&reports, version).filter(|report| report["phase"] == "failed") {
        Some(report) => Err(CliError::new(Exit::Failed, format!("the canary of {app} has failed"))
            .why(text(report, "reason"))
            .help(format!("{app} goes back to the version before:  mezzo app history {app}"))),
        None => Ok(()),
    }
}

/// A deployment that waits for a person.
fn stopped(app: &str, report: &Value) -> CliError {
    CliError::new(Exit::Failed, format!("the canary of {app} has failed, and its deployment waits for you"))
        .why(text(report, "reason"))
        .help(format!("back to the version before:  mezzo app rollback {app} --force"))
        .help("another version:             mezzo up FILE --force")
        .help("on all the same:             drop the canary from the file, then mezzo up FILE --force")
}

/// `step 1/2  scale /web 1/3`.
pub(crate) async fn describe(services: &Services, deployment: &Value) -> Result<String, CliError> {
    let mut line = format!("step {}/{} ", count(deployment, "currentStep"), count(deployment, "totalSteps"));
    for action in list(deployment, "currentActions") {
        let name = text(action, "action");
        let verb = name.trim_end_matches("Application").trim_end_matches("Pod").to_lowercase();
        let app = text(action, "app");
        if app.is_empty() {
            line.push_str(&format!(" {verb} {}", text(action, "pod")));
            continue;
        }
        line.push_str(&format!(" {verb} {app}"));
        match services.get(&format!("/v2/apps{app}")).await {
            Ok(answer) => {
                let app = &answer["app"];
                let version = text(app, "version");
                let new = list(app, "tasks").iter();
                let new = new
                    .filter(|task| text(task, "version") == version && text(task, "state") == "TASK_RUNNING")
                    .count();
                line.push_str(&format!(" {new}/{}", count(app, "instances")));
            }
            Err(error) if error.exit() == Exit::NotFound => {}
            Err(error) => return Err(error),
        }
        if action["canary"].is_object() {
            line.push_str(&format!(", canary {}", canary::verdict(&action["canary"])));
        }
        let unready =
            list(action, "readinessCheckResults").iter().filter(|one| one["ready"] == false).count();
        if unready > 0 {
            line.push_str(&format!(", {unready} not ready"));
        }
    }
    Ok(line)
}

/// The deployment that touches a pod, for answers that do not tell it.
pub(crate) async fn deployment_of(services: &Services, id: &str) -> Result<String, CliError> {
    let running = services.get("/v2/deployments").await?;
    let touches = |one: &&Value| {
        list(one, "affectedPods")
            .iter()
            .chain(list(one, "affectedApps"))
            .any(|path| path.as_str() == Some(id))
    };
    Ok(running.as_array().into_iter().flatten().find(touches).map(|one| text(one, "id")).unwrap_or_default())
}
