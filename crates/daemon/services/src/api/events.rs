//! `/v2/events`

use mezzo_http::{Method, Request, Response, header};
use mezzo_marathon_api::answer::{Problem, message_body};

use super::words;
use crate::{
    http::{Failure, json},
    shared::Shared,
};

/// A stream of events, of all names or of those that are asked for.
pub(super) fn stream(shared: &Shared, request: &Request, method: &Method) -> Result<Response, Failure> {
    const ALLOWED: &str = "GET, HEAD, OPTIONS";
    if *method == Method::OPTIONS {
        return Ok(json(200, Vec::new()).with(header::ALLOW, ALLOWED));
    }
    let accepts = request.header(header::ACCEPT).unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        let body = message_body("HTTP 405 Method Not Allowed");
        return Ok(json(405, body).with(header::ALLOW, ALLOWED));
    }
    if request.method == Method::HEAD {
        return Ok(json(200, Vec::new()).with(header::CONTENT_TYPE, "text/event-stream;charset=utf-8"));
    }
    let types = words(request, "event_type").map(str::to_owned).collect();
    let stream = shared.hub.attach(types, request.peer.ip().to_string());
    stream.ok_or_else(|| Problem::Unavailable("Too many event streams are open.".into()).into())
}
