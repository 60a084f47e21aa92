//! HTTP/1.1 for daemons and their clients: bounded, streaming, and nothing about Mesos' calls.
//!
//! [`serve`] runs a [`Handler`] over a listener under [`Limits`]. An answer's [`Body`] is there at
//! once, produced while it is sent ([`Body::Produced`], for answers too big to hold), or a stream of
//! records whose backlog is bounded in bytes ([`stream`]). [`Client`] keeps connections alive and
//! streams both ways. [`Routes`] picks a handler the way libprocess does.
//!
//! A reader that stops reading costs at most its backlog and is cut off; a writer that stops writing
//! is cut off by the timeouts of [`Limits`].

mod client;
mod compress;
mod gathering;
mod request;
mod response;
mod route;
mod server;
mod stalling;
mod stream;

pub use client::{Client, ClientError, ClientResponse};
pub use request::{
    BodyError, PendingUpgrade, Request, RequestStream, Upgrade, Upgraded, decode_percent, parse_query,
};
pub use response::{Body, Output, Response};
pub use route::Routes;
pub use server::{Handler, Limits, serve};
pub use stream::{SendError, StreamBody, StreamSender, stream};

pub use bytes::Bytes;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
