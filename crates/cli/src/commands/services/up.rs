//! `mezzo up`

use mezzo_http::Method;
use mezzo_service_file::{Entry, Kind};
use serde_json::Value;

use super::{files, text, watch};
use crate::{
    args::{Global, services::Up},
    error::{CliError, Exit},
    services::Services,
};

/// Makes services what the files say, and waits until they are.
pub(crate) async fn up(global: &Global, arguments: &Up) -> Result<(), CliError> {
    let entries = files::read(&arguments.files)?;
    let services = Services::new(&arguments.deploy.server.services);
    let force = arguments.deploy.force;
    let (mut deployments, mut version) = (Vec::new(), String::new());
    // All apps change in one deployment, so that what comes after what is kept.
    let apps: Vec<Value> =
        entries.iter().filter(|entry| entry.kind == Kind::App).map(|entry| entry.value.clone()).collect();
    if !apps.is_empty() {
        let path = format!("/v2/apps?partialUpdate=false&force={force}");
        let answer = services.send(Method::PUT, &path, Some(&Value::Array(apps))).await?;
        deployments.push(text(&answer, "deploymentId"));
        version = text(&answer, "version");
    }
    for entry in entries.iter().filter(|entry| entry.kind != Kind::App) {
        deployments.push(one(&services, entry, force).await?);
    }
    deployments.retain(|id| !id.is_empty());
    let ids: Vec<String> =
        entries.iter().filter(|entry| entry.kind == Kind::App).map(|entry| entry.id.clone()).collect();
    watch::until_done(&services, &deployments, arguments.deploy.detach).await?;
    if !arguments.deploy.detach {
        // A deployment that was over before anybody looked.
        for id in &ids {
            watch::verdict(&services, id, &version).await?;
        }
        super::apps::print(&services, &ids, global.output).await?;
    }
    Ok(())
}

/// Makes or changes a pod or a group; the deployment's id, when the answer tells it.
async fn one(services: &Services, entry: &Entry, force: bool) -> Result<String, CliError> {
    if entry.kind == Kind::Group {
        let path = format!("/v2/groups{}?force={force}", entry.id);
        let answer = services.send(Method::PUT, &path, Some(&entry.value)).await?;
        return Ok(text(&answer, "deploymentId"));
    }
    let path = format!("/v2/pods{}?force={force}", entry.id);
    match services.send(Method::PUT, &path, Some(&entry.value)).await {
        Err(error) if error.exit() == Exit::NotFound => {
            services.send(Method::POST, &format!("/v2/pods?force={force}"), Some(&entry.value)).await?;
        }
        done => _ = done?,
    }
    watch::deployment_of(services, &entry.id).await
}
