//! What every request passes: how many at once, who asks, from which page, where to; and what every answer carries.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::STANDARD};
use mezzo_http::{Handler, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use mezzo_marathon_api::{Invalid, answer::Problem};

use crate::{api, config::Config, route::Route, shared::Shared};

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something stands in the way.
    Problem(Problem),
    /// The document is wrong.
    Invalid(Invalid),
    /// Already an answer.
    Response(Response),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Response> for Failure {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl Failure {
    fn response(self) -> Response {
        match self {
            Self::Problem(problem) => json(problem.status(), problem.body()),
            Self::Invalid(invalid) => json(invalid.status(), invalid.body().to_string().into_bytes()),
            Self::Response(response) => response,
        }
    }
}

/// JSON with a status.
pub(crate) fn json(status: u16, body: Vec<u8>) -> Response {
    let mut response = Response::json(body);
    response.status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The handler of the process's port.
pub(crate) struct Api {
    shared: Arc<Shared>,
}

impl Api {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn answer(&self, request: &mut Request) -> Response {
        let config = &self.shared.config;
        let running = Running::new(&self.shared);
        if let Some(allowed) = config.requests_max.filter(|allowed| running.count > *allowed) {
            return Failure::from(Problem::TooManyRequests(allowed)).response();
        }
        if !is_let_in(config, request) {
            let realm = format!("Basic realm=\"{}\"", config.realm);
            return Failure::from(Problem::Unauthorized).response().with(header::WWW_AUTHENTICATE, &realm);
        }
        let Some(route) = Route::find(&request.path) else {
            return Failure::from(Problem::NoRoute).response();
        };
        let method = if request.method == Method::HEAD { Method::GET } else { request.method.clone() };
        if !route.methods().contains(&method) {
            // Browsers ask before they send; what they may is in the headers of every answer.
            let (status, text) = if method == Method::OPTIONS {
                (200, Vec::new())
            } else {
                (405, mezzo_marathon_api::answer::message_body("HTTP 405 Method Not Allowed"))
            };
            let mut allowed: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
            allowed.push("OPTIONS");
            return json(status, text).with(header::ALLOW, &allowed.join(", "));
        }
        api::handle(&self.shared, request, route, &method).await.unwrap_or_else(Failure::response)
    }
}

impl Handler for Api {
    async fn handle(&self, mut request: Request) -> Response {
        let begun = Instant::now();
        let response = self.answer(&mut request).await;
        self.shared.meter.request(&request.method, response.status, begun.elapsed());
        finish(&self.shared, &request, response)
    }
}

/// What every answer carries (marathon rules 238, 258 and 263).
fn finish(shared: &Shared, request: &Request, mut response: Response) -> Response {
    let config = &shared.config;
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate");
    set(header::PRAGMA, "no-cache");
    set(header::EXPIRES, "0");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::X_XSS_PROTECTION, "1; mode=block");
    // Each origin overwrites the one before it.
    if let Some(origin) = config.allow_origins.last() {
        set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS");
        set(header::ACCESS_CONTROL_MAX_AGE, "86400");
        response = response.with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if let Some(asked) = request.header(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            response = response.with(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
    }
    if !config.compression {
        response = response.with(header::CONTENT_ENCODING, "identity");
    }
    response.with(HeaderName::from_static("x-marathon-leader"), &format!("http://{}", leader(shared)))
}

/// This process as others reach it, `host:port`.
pub(crate) fn leader(shared: &Shared) -> String {
    format!("{}:{}", shared.config.hostname, shared.address.port())
}

/// Whether whoever asks may (marathon rule 253).
fn is_let_in(config: &Config, request: &Request) -> bool {
    let Some(credentials) = &config.credentials else { return true };
    let given = request.header(header::AUTHORIZATION).and_then(|value| {
        let (scheme, value) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("basic") { STANDARD.decode(value.trim()).ok() } else { None }
    });
    let wanted = format!("{}:{}", credentials.user, credentials.password);
    given.is_some_and(|given| verify_slices_are_equal(&given, wanted.as_bytes()).is_ok())
}

/// Counts a request while it is being answered.
struct Running<'a> {
    shared: &'a Shared,
    /// With this one.
    count: usize,
}

impl<'a> Running<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, count: shared.requests.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
