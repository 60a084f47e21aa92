//! Talks to a services framework over Marathon's API.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mezzo_http::{Body, Client, HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::{
    client::unreachable,
    error::{CliError, Exit},
};

const JSON: &str = "application/json";
/// Five thousand apps with their tasks.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Errors of one document that are shown; the rest is counted.
const DETAILS_MAX: usize = 20;

/// The services framework at one address.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    client: Client,
    /// Without the name and the password, which no message repeats.
    address: String,
    /// As the header has it.
    credentials: Option<HeaderValue>,
}

impl Services {
    /// The framework at `host:port` or `user:password@host:port`; a `http://` in front is taken too.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        let (credentials, address) = match address.rsplit_once('@') {
            Some((credentials, address)) => (Some(basic(credentials)), address),
            None => (None, address),
        };
        Self { client: Client::new(), address: address.to_owned(), credentials }
    }

    /// Reads something.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, CliError> {
        self.send(Method::GET, path, None).await
    }

    /// Does something; the answer's body, null when there is none.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let body = body.map(|body| (JSON, body.to_string().into_bytes()));
        self.send_bytes(method, path, body).await
    }

    /// Does something with a body of any type; the answer's body, null when there is none.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Value, CliError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(JSON));
        if let Some(credentials) = &self.credentials {
            headers.insert(header::AUTHORIZATION, credentials.clone());
        }
        let body = match body {
            Some((kind, body)) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                Body::Full(body.into())
            }
            None => Body::Empty,
        };
        let sent = self.client.request(method, &self.address, path, headers, body).await;
        let answer = sent.map_err(|error| {
            unreachable("no services framework answers", &self.address, &error)
                .help("start a cluster with one here:  mezzo dev")
                .help("or name another:                mezzo --services HOST:PORT ...   (MEZZO_SERVICES)")
        })?;
        let status = answer.status;
        let bytes = answer.bytes(ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| unreachable("the answer broke off", &self.address, &error))?;
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        Err(refused(status, &value, &String::from_utf8_lossy(&bytes))
            .place(format!("http://{}{path}", self.address)))
    }
}

fn basic(credentials: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(credentials));
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// What the framework has against a request, in its words.
fn refused(status: StatusCode, value: &Value, text: &str) -> CliError {
    let exit = match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::CONFLICT => Exit::Conflict,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let message = value["message"].as_str().unwrap_or_else(|| text.trim());
    let message = if message.is_empty() { status.to_string() } else { message.to_owned() };
    let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    let details = list("details");
    let mut lines = vec![message];
    for detail in details.iter().take(DETAILS_MAX) {
        let path = detail["path"].as_str().unwrap_or("/");
        let errors = detail["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(errors.map(|error| format!("{path}: {error}")));
    }
    if details.len() > DETAILS_MAX {
        lines.push(format!("and {} more", details.len() - DETAILS_MAX));
    }
    let deployments = list("deployments");
    lines.extend(
        deployments.iter().filter_map(|one| Some(format!("in the way: deployment {}", one["id"].as_str()?))),
    );
    let error = CliError::new(exit, "the services framework refused").why(lines.join("\n   = "));
    if exit == Exit::Denied {
        return error.help("with a password:  MEZZO_SERVICES=USER:PASSWORD@HOST:PORT mezzo ...");
    }
    if deployments.is_empty() {
        return error;
    }
    error
        .help("wait for it:   mezzo deployments --watch")
        .help("or cancel it:  the same command with --force")
}

/// A path with its leading slash.
pub(crate) fn path_of(app: &str) -> String {
    format!("/{}", app.trim_matches('/'))
}
