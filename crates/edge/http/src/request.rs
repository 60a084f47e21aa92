//! What a client asks.

use std::{
    io::Read,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    response::{Body, Response},
    server::{Shared, Transport},
};

/// A body's part of what all bodies may hold while they are read. Without it many clients that each send
/// a body just within its limit, slowly, would fill the machine.
struct Room<'a> {
    shared: &'a Shared,
    bytes: usize,
}

impl Room<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.bytes += bytes;
        let held = self.shared.bodies.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.shared.limits.bodies_bytes { Err(BodyError::Busy) } else { Ok(()) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.shared.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The two directions of a connection that a client has upgraded.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// One request. Its body is read by [`Request::bytes`] or [`Request::stream`], at most once.
#[derive(Debug)]
pub struct Request {
    /// GET, POST ...
    pub method: Method,
    /// As sent, not decoded, without the query.
    pub path: String,
    /// As sent, without the question mark.
    pub raw_query: String,
    /// Decoded, in order.
    pub query: Vec<(String, String)>,
    /// All of them.
    pub headers: HeaderMap,
    /// The other end.
    pub peer: SocketAddr,
    body: Option<Incoming>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    shared: Arc<Shared>,
}

impl Request {
    pub(crate) fn new(request: http::Request<Incoming>, peer: SocketAddr, shared: Arc<Shared>) -> Self {
        let (mut parts, body) = request.into_parts();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        Self {
            path: parts.uri.path().to_owned(),
            query: if raw_query.is_empty() { Vec::new() } else { parse_query(&raw_query) },
            raw_query,
            method: parts.method,
            upgrade: parts.extensions.remove(),
            headers: parts.headers,
            peer,
            body: Some(body),
            shared,
        }
    }

    /// A header's value, when it is there and text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first query parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The whole body, decompressed when it is gzip (rule 13). The limit counts decompressed bytes.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let gzip = match self.header(header::CONTENT_ENCODING).unwrap_or("identity") {
            name if name.eq_ignore_ascii_case("gzip") => true,
            name if name.eq_ignore_ascii_case("identity") || name.is_empty() => false,
            _ => return Err(BodyError::Encoding),
        };
        let Some(mut body) = self.body.take() else { return Ok(Bytes::new()) };
        let mut room = Room { shared: &self.shared, bytes: 0 };
        let read = async {
            let mut first: Option<Bytes> = None;
            let mut all = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
                if first.as_ref().map_or(0, Bytes::len) + all.len() + data.len() > limit {
                    return Err(BodyError::TooLarge);
                }
                room.take(data.len())?;
                match first.take() {
                    None if all.is_empty() => first = Some(data),
                    None => all.extend_from_slice(&data),
                    Some(start) => {
                        all.extend_from_slice(&start);
                        all.extend_from_slice(&data);
                    }
                }
            }
            Ok(first.unwrap_or_else(|| all.freeze()))
        };
        let bytes = tokio::time::timeout(self.shared.limits.body_timeout, read)
            .await
            .map_err(|_| BodyError::Timeout)??;
        if gzip { gunzip(&bytes, limit) } else { Ok(bytes) }
    }

    /// The body as it arrives, not decompressed.
    pub fn stream(&mut self) -> RequestStream {
        RequestStream { body: self.body.take() }
    }

    /// Whether a page of another site makes a browser send this, and it may change something (A102).
    /// Only browsers send Origin, and pages cannot choose it.
    pub(crate) fn is_cross_site_change(&self) -> bool {
        if matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return false;
        }
        let Some(origin) = self.headers.get(header::ORIGIN) else { return false };
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site);
        let host = self.header(header::HOST);
        !site.zip(host).is_some_and(|(site, host)| site.eq_ignore_ascii_case(host))
    }

    /// Whether the client asks to speak `protocol` on this connection from here on.
    pub fn wants_upgrade(&self, protocol: &str) -> bool {
        self.header(header::UPGRADE).is_some_and(|name| name.eq_ignore_ascii_case(protocol))
    }

    /// What has to be done with the connection when this request is answered, unless it is taken over.
    pub(crate) fn unless_upgraded(&self) -> Option<PendingUpgrade> {
        self.upgrade.clone().map(|connection| PendingUpgrade { connection, protocol: "" })
    }

    /// Takes the connection over; `None` unless the client asked for `protocol`.
    pub fn upgrade(&mut self, protocol: &'static str) -> Option<PendingUpgrade> {
        if !self.wants_upgrade(protocol) {
            return None;
        }
        self.upgrade.take().map(|connection| PendingUpgrade { connection, protocol })
    }
}

/// An upgrade that has been asked for: send [`PendingUpgrade::response`], then wait for the connection.
#[derive(Debug)]
pub struct PendingUpgrade {
    connection: hyper::upgrade::OnUpgrade,
    protocol: &'static str,
}

impl PendingUpgrade {
    /// 101, to be returned by the handler.
    pub fn response(&self) -> Response {
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS, Body::Empty);
        response.headers.insert(header::UPGRADE, HeaderValue::from_static(self.protocol));
        response.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response
    }

    /// Ends the connection after the answer to its last request. The parser gives a connection away that
    /// might have been taken over, with what has gathered and has not been sent.
    pub(crate) async fn decline(self) {
        let Ok((mut stream, unsent, _)) = self.parts().await else { return };
        // A client that went away, or takes nothing, misses nothing.
        let _ = tokio::time::timeout(LAST_ANSWER_TIMEOUT, stream.write_all(&unsent)).await;
    }

    /// The connection itself, which nothing watches any more.
    pub async fn connection(self) -> std::io::Result<Upgrade> {
        let (stream, unsent, early) = self.parts().await?;
        Ok(Upgrade { stream, unsent: unsent.freeze(), early })
    }

    async fn parts(self) -> std::io::Result<(TcpStream, BytesMut, Bytes)> {
        let upgraded = self.connection.await.map_err(std::io::Error::other)?;
        let parts = upgraded
            .downcast::<Transport>()
            .map_err(|_| std::io::Error::other("the connection was not accepted by this server"))?;
        let (stalling, unsent) = parts.io.into_inner().into_parts();
        Ok((stalling.into_inner(), unsent, parts.read_buf))
    }
}

/// A connection that was taken over.
#[derive(Debug)]
pub struct Upgrade {
    /// The connection.
    pub stream: TcpStream,
    /// The response, or what is left of it: to be sent before anything else. It is left to who takes over,
    /// so that it travels together with the first words of the other protocol.
    pub unsent: Bytes,
    /// What the client has sent behind its request.
    pub early: Bytes,
}

/// A request's body as it arrives.
#[derive(Debug)]
pub struct RequestStream {
    body: Option<Incoming>,
}

impl RequestStream {
    /// The next bytes; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let body = self.body.as_mut()?;
        loop {
            match body.frame().await? {
                Err(_) => return Some(Err(BodyError::Broken)),
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
            }
        }
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Longer than the limit, decompressed or not: 413.
    #[error("request body is larger than this endpoint takes")]
    TooLarge,
    /// It took too long to arrive: 408.
    #[error("request body did not arrive in time")]
    Timeout,
    /// The connection broke.
    #[error("request body broke off")]
    Broken,
    /// All bodies that are being read take too much together: 503.
    #[error("too many request bodies are being read, try again")]
    Busy,
    /// Compressed in a way that is not known: 415.
    #[error("request body has a Content-Encoding other than gzip")]
    Encoding,
    /// Not the gzip it claims to be: 400.
    #[error("request body is not valid gzip")]
    NotGzip,
}

impl BodyError {
    /// The answer that fits.
    pub fn response(self) -> Response {
        let status = match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken | Self::NotGzip => StatusCode::BAD_REQUEST,
        };
        let mut response = Response::text(status, self.to_string());
        // What is left of the body must not be taken for the next request.
        response.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn gunzip(bytes: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let mut out = Vec::new();
    let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(bytes)
        .take(room)
        .read_to_end(&mut out)
        .map_err(|_| BodyError::NotGzip)?;
    if out.len() > limit { Err(BodyError::TooLarge) } else { Ok(out.into()) }
}

/// Splits a query or form body; plus is a space, percent escapes are decoded, order is kept.
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split(['&', ';'])
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_percent(&key.replace('+', " ")), decode_percent(&value.replace('+', " ")))
        })
        .collect()
}

/// Decodes percent escapes; a broken escape stays as it is, bytes that are not UTF-8 are replaced.
pub fn decode_percent(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let digits =
            escape.filter(|e| e.iter().all(u8::is_ascii_hexdigit)).and_then(|e| std::str::from_utf8(e).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// What has gathered of a connection's last answer, less than a socket holds, is sent within this.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a body may take unless told otherwise.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn queries_are_decoded_in_order() {
        assert_eq!(
            parse_query("path=/a%20b+c&limit=&x&%zz=1"),
            [("path", "/a b c"), ("limit", ""), ("x", ""), ("%zz", "1")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn a_decompression_bomb_is_refused() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 2_000);
        assert_eq!(gunzip(&bomb, 1 << 16), Err(BodyError::TooLarge));
        assert_eq!(gunzip(&bomb, 1 << 20).map(|b| b.len()), Ok(1 << 20));
        assert_eq!(gunzip(b"not gzip", 100), Err(BodyError::NotGzip));
    }
}
