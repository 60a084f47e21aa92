//! `/ping`, `/metrics` and `/config`: the process itself.

use mezzo_http::{Body, Request, Response, StatusCode, header};
use mezzo_marathon_api::answer::{Problem, write_metrics, write_prometheus};
use serde_json::json;

use super::written;
use crate::{
    http::{Failure, json as answer},
    metrics,
    shared::Shared,
};

/// That the process answers, in the words that are accepted.
pub(super) fn ping(request: &Request) -> Response {
    let accept = request.header(header::ACCEPT).unwrap_or("*/*");
    let types: Vec<&str> = accept.split(',').filter_map(|one| one.split(';').next()).map(str::trim).collect();
    let takes = |wanted: &str| types.contains(&wanted);
    if takes("*/*") || takes("text/*") || takes("text/plain") {
        Response::content("text/plain", "pong")
    } else if takes("text/html") {
        Response::content("text/html", "pong")
    } else if takes("application/json") || takes("application/*") {
        Response::json("\"pong\"")
    } else {
        Response::new(StatusCode::NO_CONTENT, Body::Empty)
    }
}

/// Counts and durations as JSON.
pub(super) fn metrics(shared: &Shared) -> Response {
    written(|w| write_metrics(w, &metrics::collect(shared)))
}

/// The same as text for Prometheus.
pub(super) fn prometheus(shared: &Shared) -> Result<Response, Failure> {
    if !shared.config.prometheus {
        return Err(
            Problem::Absent("The Prometheus reporter is disabled (--metrics_prometheus)".into()).into()
        );
    }
    let mut text = String::new();
    write_prometheus(&mut text, &metrics::collect(shared));
    Ok(Response::content("text/plain; version=0.0.4; charset=utf-8", text))
}

/// The effective flags. Secrets are not told.
pub(super) fn config(shared: &Shared) -> Response {
    let told = shared.config.flags.iter().filter(|(name, _)| !is_secret(name));
    let flags: serde_json::Map<String, serde_json::Value> =
        told.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    answer(200, json!({ "marathon": flags }).to_string().into_bytes())
}

/// Whether the value of a flag must not be shown.
pub(super) fn is_secret(name: &str) -> bool {
    ["credentials", "secret", "password", "api_key"].iter().any(|word| name.contains(word))
}
