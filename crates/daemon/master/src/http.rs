//! Requests to the master's port: routed, checked against disabled endpoints, answered.

use std::sync::Arc;

use mezzo_http::{Body, Handler, Request, Response, Routes, StatusCode, header};

use crate::{
    api_operator, api_scheduler,
    endpoint::{self, Endpoint},
    links,
    shared::{Shared, plain},
    v0,
};

/// Answers every request to the master.
#[derive(Debug)]
pub(crate) struct Api {
    shared: Arc<Shared>,
    routes: Routes<Endpoint>,
    metrics_pace: v0::metrics::Pace,
}

impl Api {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, routes: endpoint::routes(), metrics_pace: v0::metrics::Pace::default() }
    }

    async fn route(&self, endpoint: Endpoint, rest: String, request: Request) -> Result<Response, Response> {
        let shared = &self.shared;
        match endpoint {
            Endpoint::Health => Ok(Response::new(StatusCode::OK, Body::Empty)),
            // What is asked rarely is kept elsewhere: every request is moved in a piece of memory that holds
            // the largest of these.
            Endpoint::ApiV1 => Ok(Box::pin(api_operator::handle(shared, request)).await),
            Endpoint::ApiV1Scheduler => Ok(api_scheduler::handle(shared, request).await),
            Endpoint::Link => Ok(links::handle(shared, request)),
            Endpoint::Redirect if rest.is_empty() => {
                Ok(Response::new(StatusCode::TEMPORARY_REDIRECT, Body::Empty)
                    .with(header::LOCATION, &format!("//{}:{}", shared.info.hostname(), shared.info.port)))
            }
            Endpoint::Redirect => Err(plain(StatusCode::NOT_FOUND)),
            Endpoint::MetricsSnapshot => {
                Box::pin(v0::metrics::snapshot(shared, &self.metrics_pace, &request)).await
            }
            Endpoint::Metrics => Box::pin(v0::metrics::open_metrics(shared, &request)).await,
            endpoint => Box::pin(v0::handle(shared, endpoint, &rest, request)).await,
        }
    }
}

impl Handler for Api {
    async fn handle(&self, request: Request) -> Response {
        let Some((endpoint, rest)) = self.routes.find(&request.path) else {
            return plain(StatusCode::NOT_FOUND);
        };
        if let Some(path) = self.disabled(&request.path) {
            return Response::text(StatusCode::FORBIDDEN, format!("Endpoint '{path}' is disabled"));
        }
        let endpoint = *endpoint;
        match self.route(endpoint, rest, request).await {
            Ok(response) | Err(response) => response,
        }
    }
}

impl Api {
    /// The full path when it is listed as disabled; longer paths stay open (rule 12).
    fn disabled(&self, path: &str) -> Option<String> {
        let disabled = &self.shared.config.disabled_endpoints;
        if disabled.is_empty() {
            return None;
        }
        let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
        let full = format!("/{}", segments.join("/"));
        let prefixed = format!("/master{full}");
        [full, prefixed].into_iter().find(|path| disabled.contains(path))
    }
}
