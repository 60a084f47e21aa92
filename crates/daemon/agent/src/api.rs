//! The agent's HTTP side: finds the handler of a path and holds what handlers need.

mod containers;
mod executor;
mod files;
mod images;
mod input;
mod metrics;
mod negotiate;
mod operator;
mod session;
mod usage;
mod v0;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_agent::{Answer, Input, RequestId, Snapshot};
use mezzo_files::VirtualFiles;
use mezzo_http::{Body, Handler, Request, Response, Routes, StatusCode};
use mezzo_mesos_v0::names;
use tokio::sync::Semaphore;

use crate::{
    config::{Config, Verbosity},
    core::Core,
    desk::Desk,
    launch::Launches,
    tokens::ExecutorTokens,
};

pub(crate) use negotiate::MessageType;

/// The largest body of a call; a task group with many large environments stays far below.
const CALL_BYTES_MAX: usize = 32 << 20;

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Usage,
    Operator,
    Executor,
    ResourceProvider,
    State,
    Flags,
    Health,
    Statistics,
    Containers,
    ContainerizerDebug,
    Version,
    Metrics,
    FilesBrowse,
    FilesRead,
    FilesDownload,
    FilesDebug,
    LoggingToggle,
    SystemStats,
    Images,
    PullImage,
}

/// Answers requests from what the agent knows, or by asking its core.
pub(crate) struct Api {
    routes: Routes<Endpoint>,
    core: Core,
    desk: Arc<Desk>,
    files: VirtualFiles,
    launches: Launches,
    /// Set when executors have to show who they are.
    tokens: Option<Arc<ExecutorTokens>>,
    flags: BTreeMap<String, String>,
    verbosity: Verbosity,
    /// One for each stream of a container's output.
    sessions: Arc<Semaphore>,
    /// One for each image that an operator waits for.
    pulls: Arc<Semaphore>,
    /// Who writes to containers.
    writers: input::Writers,
    heartbeat: Duration,
}

impl Api {
    pub(crate) fn new(
        core: Core,
        desk: Arc<Desk>,
        files: VirtualFiles,
        launches: Launches,
        tokens: Option<Arc<ExecutorTokens>>,
        config: &Config,
    ) -> Self {
        let mut routes = Routes::new(names::AGENT_PROCESS);
        for (path, endpoint) in [
            ("api/v1", Endpoint::Operator),
            ("api/v1/executor", Endpoint::Executor),
            ("api/v1/resource_provider", Endpoint::ResourceProvider),
            ("state", Endpoint::State),
            ("flags", Endpoint::Flags),
            ("health", Endpoint::Health),
            ("monitor/statistics", Endpoint::Statistics),
            ("containers", Endpoint::Containers),
            ("containerizer/debug", Endpoint::ContainerizerDebug),
            ("usage", Endpoint::Usage),
            ("images", Endpoint::Images),
            ("images/pull", Endpoint::PullImage),
        ] {
            routes.add(names::AGENT_PROCESS, path, endpoint);
        }
        for (process, path, endpoint) in [
            ("version", "", Endpoint::Version),
            ("metrics", "snapshot", Endpoint::Metrics),
            ("files", "browse", Endpoint::FilesBrowse),
            ("files", "read", Endpoint::FilesRead),
            ("files", "download", Endpoint::FilesDownload),
            ("files", "debug", Endpoint::FilesDebug),
            ("logging", "toggle", Endpoint::LoggingToggle),
            ("system", "stats.json", Endpoint::SystemStats),
        ] {
            routes.add(process, path, endpoint);
        }
        let sessions = Arc::new(Semaphore::new(session::SESSIONS_MAX));
        Self {
            routes,
            core,
            desk,
            files,
            launches,
            tokens,
            flags: config.flags.clone(),
            verbosity: config.verbosity,
            sessions,
            pulls: Arc::new(Semaphore::new(images::PULLS_MAX)),
            writers: input::Writers::default(),
            heartbeat: config.http_heartbeat_interval,
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, Response> {
        self.core.snapshot().await.map_err(|_| overloaded())
    }

    /// Asks the core and waits for its answer. `input` is made with the request's id.
    async fn ask(&self, input: impl FnOnce(RequestId) -> Input) -> Result<Answer, Response> {
        let (request, answer) = self.desk.request();
        // Dropped also when the client goes away while the core has not answered.
        let _forget = Forget { desk: &self.desk, request };
        self.core.try_send(input(request)).map_err(|_| overloaded())?;
        answer.await.map_err(|_| overloaded())
    }
}

struct Forget<'a> {
    desk: &'a Desk,
    request: RequestId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.desk.forget(self.request);
    }
}

impl Handler for Api {
    async fn handle(&self, request: Request) -> Response {
        let Some((endpoint, _)) = self.routes.find(&request.path) else {
            return Response::text(StatusCode::NOT_FOUND, "404 Not Found.");
        };
        match endpoint {
            Endpoint::Operator => operator::handle(self, request).await,
            Endpoint::Executor => executor::handle(self, request).await,
            Endpoint::ResourceProvider => Response::text(
                StatusCode::NOT_IMPLEMENTED,
                "Local resource providers are not supported by this agent",
            ),
            Endpoint::State => v0::state(self, &request).await,
            Endpoint::Flags => v0::flags(self, &request),
            Endpoint::Health => Response::new(StatusCode::OK, Body::Empty),
            Endpoint::Statistics => v0::statistics(self, &request).await,
            Endpoint::Containers => v0::containers(self, &request).await,
            Endpoint::ContainerizerDebug => v0::containerizer_debug(&request),
            Endpoint::Version => v0::version(&request),
            Endpoint::Metrics => metrics::handle(self, &request).await,
            Endpoint::FilesBrowse => either(files::browse(self, &request).await),
            Endpoint::FilesRead => either(files::read(self, &request).await),
            Endpoint::FilesDownload => either(files::download(self, &request).await),
            Endpoint::FilesDebug => files::debug(self, &request),
            Endpoint::LoggingToggle => v0::logging_toggle(self, &request),
            Endpoint::SystemStats => v0::system_stats(&request),
            Endpoint::Usage => usage::handle(self).await,
            Endpoint::Images => images::list(self).await,
            Endpoint::PullImage => images::pull(self, &request),
        }
    }
}

fn either(answer: Result<Response, Response>) -> Response {
    match answer {
        Ok(response) | Err(response) => response,
    }
}

/// The core is far behind, or ends.
fn overloaded() -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, "Agent is not able to answer at the moment")
}

/// The HTTP form of an answer. A body is written in `format`.
fn respond(answer: Answer, format: MessageType) -> Response {
    let (status, text) = match answer {
        Answer::Ok => return Response::new(StatusCode::OK, Body::Empty),
        Answer::Accepted => return Response::new(StatusCode::ACCEPTED, Body::Empty),
        Answer::Response(response) => return format.response(&*response),
        Answer::BadRequest(text) => (StatusCode::BAD_REQUEST, text),
        Answer::Forbidden(text) => (StatusCode::FORBIDDEN, text),
        Answer::NotFound(text) => (StatusCode::NOT_FOUND, text),
        Answer::Conflict(text) => (StatusCode::CONFLICT, text),
        Answer::InternalError(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        Answer::NotImplemented(text) => (StatusCode::NOT_IMPLEMENTED, text),
        Answer::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    Response::text(status, text)
}
