//! Pages for people.

use mezzo_http::{Body, Response, StatusCode, header};

/// To the page.
pub(super) fn root() -> Response {
    Response::new(StatusCode::FOUND, Body::Empty).with(header::LOCATION, "/ui/")
}

/// What there is to see.
pub(super) fn page() -> Response {
    Response::content(
        "text/html; charset=utf-8",
        "<!doctype html><title>Mezzo services</title><h1>Mezzo services</h1>\
         <p>This is the API of long-running services, as Marathon has it.</p>\
         <ul><li><a href=/v2/apps>apps</a><li><a href=/v2/groups>groups</a><li><a href=/v2/pods/::status>pods</a>\
         <li><a href=/v2/deployments>deployments</a><li><a href='/v2/queue?embed=lastUnusedOffers'>queue</a>\
         <li><a href=/v2/tasks>tasks</a><li><a href=/v2/info>info</a><li><a href=/metrics>metrics</a></ul>",
    )
}
