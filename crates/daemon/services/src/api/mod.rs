//! One file per endpoint or family of them. Reads write from the snapshot; changes go through [`crate::change`].

mod app;
mod app_tasks;
mod app_versions;
mod apps;
mod deployments;
mod documents;
mod events;
mod groups;
mod info;
mod leader;
mod logging;
mod pages;
mod pods;
mod queue;
mod secrets;
mod system;
mod tasks;

use std::{io, sync::Arc};

use bytes::Bytes;
use mezzo_clock::now;
use mezzo_http::{Method, Output, Request, Response};
use mezzo_json::Writer;
use mezzo_marathon_api::{
    Invalid,
    answer::{DeploymentFacts, Facts, Problem},
};
use mezzo_services_model::{CanaryReport, PathId};
use mezzo_time::Timestamp;
use serde_json::Value;

use crate::{
    change::How,
    http::{Failure, json},
    route::Route,
    shared::Shared,
    shown::{Nothing, Shown},
};

pub(crate) use documents::settings;

/// A tree of 10,000 apps, written out, takes less than half of it.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Answers a request whose method the route takes.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: &mut Request,
    route: Route,
    method: &Method,
) -> Result<Response, Failure> {
    let is = |wanted: Method| *method == wanted;
    match route {
        Route::Root => Ok(pages::root()),
        Route::Page => Ok(pages::page()),
        Route::Ping => Ok(system::ping(request)),
        Route::Metrics => Ok(system::metrics(shared)),
        Route::Prometheus => system::prometheus(shared),
        Route::Config => Ok(system::config(shared)),
        Route::Logging if is(Method::GET) => Ok(logging::levels(shared)),
        Route::Logging => logging::set(shared, request).await,
        Route::Apps if is(Method::GET) => apps::list(shared, request),
        Route::Apps if is(Method::POST) => apps::create(shared, request).await,
        Route::Apps => apps::update(shared, request, is(Method::PATCH)).await,
        Route::App(id) if is(Method::GET) => app::show(shared, request, &id),
        Route::App(id) if is(Method::DELETE) => app::delete(shared, request, &id).await,
        Route::App(id) => app::update(shared, request, &id, is(Method::PATCH)).await,
        Route::AppsOf(group) => apps::of_group(shared, request, &group),
        Route::AppRestart(id) if is(Method::DELETE) => {
            app::delete(shared, request, &id.child("restart")).await
        }
        Route::AppRestart(id) => app::restart(shared, request, &id).await,
        Route::AppTasks(id) if is(Method::GET) => app_tasks::list(shared, &id),
        Route::AppTasks(id) => app_tasks::kill_all(shared, request, &id).await,
        Route::TasksOf(group) => app_tasks::of_group(shared, &group),
        Route::AppTask(id, task) => app_tasks::kill_one(shared, request, &id, &task).await,
        Route::AppVersions(id) => app_versions::list(shared, &id),
        Route::AppVersion(id, version) => app_versions::show(shared, &id, &version),
        Route::Pods if request.method == Method::HEAD => Ok(Response::json(Bytes::new())),
        Route::Pods if is(Method::GET) => Ok(pods::list(shared)),
        Route::Pods => pods::create(shared, request).await,
        Route::PodStatuses => Ok(pods::statuses(shared)),
        Route::Pod(id) if is(Method::GET) => pods::show(shared, &id),
        Route::Pod(id) if is(Method::DELETE) => pods::delete(shared, request, &id).await,
        Route::Pod(id) => pods::update(shared, request, &id).await,
        Route::PodStatus(id) => pods::status(shared, &id),
        Route::PodVersions(id) => pods::versions(shared, &id),
        Route::PodVersion(id, version) => pods::version_shown(shared, &id, &version),
        Route::PodInstances(id) => pods::kill_some(shared, request, &id).await,
        Route::PodInstance(id, instance) => pods::kill_one(shared, request, &id, &instance).await,
        Route::Group(id) if is(Method::GET) => groups::show(shared, request, &id),
        Route::Group(id) if is(Method::POST) => groups::create(shared, request, &id).await,
        Route::Group(id) if is(Method::PUT) => groups::update(shared, request, &id).await,
        Route::Group(id) if is(Method::PATCH) => groups::patch(shared, request, &id).await,
        Route::Group(id) => groups::delete(shared, request, &id).await,
        Route::GroupApps(id) => groups::apps(shared, request, &id),
        Route::GroupVersions(id) => groups::versions(shared, &id),
        Route::GroupVersion(id, version) => groups::version_shown(shared, request, &id, &version),
        Route::Tasks => Ok(tasks::list(shared, request)),
        Route::TasksDelete => tasks::delete(shared, request).await,
        Route::Deployments => Ok(deployments::list(shared)),
        Route::Deployment(id) => deployments::cancel(shared, request, &id).await,
        Route::Queue => Ok(queue::list(shared, request)),
        Route::QueueDelay(id) => queue::reset_delay(shared, &id).await,
        Route::Secrets => Ok(secrets::list(shared)),
        Route::Secret(name) if is(Method::DELETE) => secrets::remove(shared, request, &name).await,
        Route::Secret(name) => secrets::set(shared, request, &name).await,
        Route::Info => Ok(info::show(shared)),
        Route::Leader if is(Method::GET) => Ok(leader::show(shared)),
        Route::Leader => leader::abdicate(shared, request),
        Route::Events => events::stream(shared, request, method),
        Route::Plugins => Ok(json(200, br#"{"plugins":[]}"#.to_vec())),
        Route::Plugin(id) => Err(Problem::NoPlugin(id).into()),
    }
}

/// The body as JSON.
async fn body(request: &mut Request) -> Result<Value, Failure> {
    let bytes = request.bytes(BODY_BYTES_MAX).await.map_err(|error| Failure::Response(error.response()))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Invalid::Empty.into());
    }
    serde_json::from_slice(&bytes).map_err(|error| Invalid::Text(error.to_string()).into())
}

/// A switch in the query.
fn switch(request: &Request, name: &str, default: bool) -> Result<bool, Failure> {
    match request.parameter(name) {
        None => Ok(default),
        // Clients in Python write `True`. Anything else is read as false, as the API's servers do it.
        Some(value) => Ok(value.is_empty() || value.eq_ignore_ascii_case("true")),
    }
}

/// How a change is asked for.
fn how(request: &Request, force_by_default: bool) -> Result<How, Failure> {
    Ok(How { force: switch(request, "force", force_by_default)?, dry_run: switch(request, "dryRun", false)? })
}

/// All values of a parameter, in order.
fn words<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    request.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The part of the path as the event of a change has it, with its query.
fn uri(request: &Request) -> String {
    request.path.clone()
}

/// What answers are made of besides the definitions.
fn facts(snapshot: &Shown) -> Facts<'_> {
    Facts::new(now(), snapshot, deployments(snapshot))
}

/// The deployments that run.
fn deployments(snapshot: &Shown) -> impl Iterator<Item = DeploymentFacts<'_>> {
    snapshot.deployments.values().map(|deployment| DeploymentFacts {
        plan: &deployment.plan,
        step: deployment.step,
        readiness: deployment.readiness.values().map(AsRef::as_ref).collect(),
        canaries: deployment.plan.affected_apps().iter().filter_map(|id| canary(snapshot, id)).collect(),
    })
}

/// What has become of the canaries of the wanted version of an app.
fn canary<'a>(snapshot: &'a Shown, id: &PathId) -> Option<&'a CanaryReport> {
    snapshot.canaries.get(id)?.get(&snapshot.root.app(id)?.version)
}

/// 200 with JSON that is written at once.
fn written(write: impl FnOnce(&mut Writer<'_>)) -> Response {
    let mut w = Writer::new();
    write(&mut w);
    Response::json(w.finish())
}

/// 200 with JSON that is written from the snapshot while it is sent, on another thread: lists may be large.
fn produced(snapshot: Arc<Shown>, write: impl FnOnce(&Shown, &mut Writer<'_>) + Send + 'static) -> Response {
    Response::produced("application/json", move |out: &mut Output| {
        let mut sent: io::Result<()> = Ok(());
        let mut sink = |mut piece: Vec<u8>| {
            if sent.is_err() {
                piece.clear();
                return piece;
            }
            out.write_buffer(piece).unwrap_or_else(|error| {
                sent = Err(error);
                Vec::new()
            })
        };
        let mut writer = Writer::streaming(&mut sink);
        write(&snapshot, &mut writer);
        let rest = writer.finish();
        sent?;
        out.write(&rest)
    })
}

/// A time in a path.
fn version(text: &str) -> Result<Timestamp, Failure> {
    let found = mezzo_marathon_api::parse_time(text);
    found.ok_or_else(|| Problem::Argument(format!("Invalid format: \"{text}\"")).into())
}
