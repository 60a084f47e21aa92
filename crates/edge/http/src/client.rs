//! A client that keeps connections alive and streams both ways.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::{request::Upgraded, response::Body};

/// Idle connections kept per address; more than this many are rarely used at once.
const IDLE_MAX: usize = 8;
/// Time to connect unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests to any number of addresses. Cheap to clone; clones share connections.
#[derive(Clone, Debug, Default)]
pub struct Client {
    idle: Arc<Mutex<BTreeMap<String, Vec<SendRequest<Body>>>>>,
}

/// Why a request got no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there, or the name is unknown.
    #[error("connect to {address}")]
    Connect {
        /// host:port
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// The connection broke before the head of the answer had come.
    #[error("send request to {address}")]
    Send {
        /// host:port
        address: String,
        /// The reason.
        source: hyper::Error,
    },
    /// The connection broke while the body was coming.
    #[error("read answer")]
    Body(#[source] hyper::Error),
    /// The answer is longer than the caller wants to hold.
    #[error("answer is larger than {limit} bytes")]
    TooLarge {
        /// As given.
        limit: usize,
    },
    /// The request cannot be written down: a path or header with characters that are not allowed.
    #[error("write request")]
    Request(#[source] http::Error),
    /// The server answered something else than 101.
    #[error("server refused to upgrade: {status}")]
    NotUpgraded {
        /// What it answered.
        status: StatusCode,
    },
}

impl Client {
    /// Without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a request to `address` (`host:port`) and waits for the head of the answer. `path` carries
    /// the query. A kept connection that turns out dead before anything was sent is replaced once.
    pub async fn request(
        &self,
        method: Method,
        address: &str,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<ClientResponse, ClientError> {
        let mut request =
            http::Request::builder().method(method).uri(path).body(body).map_err(ClientError::Request)?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(address).map_err(|e| ClientError::Request(e.into()))?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        let sent = |source| ClientError::Send { address: address.to_owned(), source };
        while let Some(mut sender) = self.take_idle(address) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(address, sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(sent(error.into_error())),
                },
            }
        }
        let mut sender = connect(address).await?;
        let response = sender.send_request(request).await.map_err(sent)?;
        Ok(self.answer(address, sender, response))
    }

    /// POSTs a whole body of a type and accepts the same type.
    pub async fn post(
        &self,
        address: &str,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<ClientResponse, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::ACCEPT, HeaderValue::from_static(content_type));
        self.request(Method::POST, address, path, headers, Body::Full(body)).await
    }

    /// GETs a path.
    pub async fn get(&self, address: &str, path: &str) -> Result<ClientResponse, ClientError> {
        self.request(Method::GET, address, path, HeaderMap::new(), Body::Empty).await
    }

    /// Opens a connection of its own and speaks `protocol` on it from there on.
    pub async fn upgrade(
        &self,
        address: &str,
        path: &str,
        protocol: &'static str,
        mut headers: HeaderMap,
    ) -> Result<Upgraded, ClientError> {
        headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let mut request = http::Request::builder()
            .method(Method::GET)
            .uri(path)
            .body(Body::Empty)
            .map_err(ClientError::Request)?;
        let host = HeaderValue::from_str(address).map_err(|e| ClientError::Request(e.into()))?;
        headers.insert(header::HOST, host);
        *request.headers_mut() = headers;
        let sent = |source| ClientError::Send { address: address.to_owned(), source };
        let response = connect(address).await?.send_request(request).await.map_err(sent)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NotUpgraded { status: response.status() });
        }
        hyper::upgrade::on(response).await.map(TokioIo::new).map_err(sent)
    }

    fn answer(
        &self,
        address: &str,
        sender: SendRequest<Body>,
        response: http::Response<Incoming>,
    ) -> ClientResponse {
        let (parts, body) = response.into_parts();
        ClientResponse {
            status: parts.status,
            headers: parts.headers,
            body,
            connection: Some((self.clone(), address.to_owned(), sender)),
        }
    }

    fn take_idle(&self, address: &str) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.get_mut(address)?;
        while let Some(sender) = senders.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, address: String, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.entry(address).or_default();
        senders.retain(|sender| !sender.is_closed());
        if senders.len() < IDLE_MAX {
            senders.push(sender);
        }
    }
}

async fn connect(address: &str) -> Result<SendRequest<Body>, ClientError> {
    let failed = |source| ClientError::Connect { address: address.to_owned(), source };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ClientError::Send { address: address.to_owned(), source })?;
    tokio::spawn(async move {
        // The request that was under way learns of the error itself.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// The head of an answer, and its body as it arrives.
#[derive(Debug)]
pub struct ClientResponse {
    /// 200, 404 ...
    pub status: StatusCode,
    /// All of them.
    pub headers: HeaderMap,
    body: Incoming,
    connection: Option<(Client, String, SendRequest<Body>)>,
}

impl ClientResponse {
    /// A header's value, when it is there and text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next bytes of the body; `None` after the last. Dropping the answer before that closes the
    /// connection.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            match self.body.frame().await {
                None => {
                    if let Some((client, address, mut sender)) = self.connection.take() {
                        // The connection becomes usable again a moment after the last chunk.
                        if sender.ready().await.is_ok() {
                            client.keep(address, sender);
                        }
                    }
                    return None;
                }
                Some(Err(error)) => return Some(Err(ClientError::Body(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
            }
        }
    }

    /// The whole body, up to `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, ClientError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > limit {
                return Err(ClientError::TooLarge { limit });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}
