//! Serves a handler over a listener.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use http::{StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::{debug, warn};

use crate::{
    compress::accepts_gzip,
    request::{BODY_TIMEOUT, Request},
    response::Response,
    stalling::Stalling,
};

/// Answers requests. Called from many connections at once.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;
}

/// What clients may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; more are answered 503 and closed. A process may hold 20,000 descriptors.
    pub connections: usize,
    /// Time for the head of a request to arrive, counted from the end of the one before: a
    /// connection that idles longer is closed.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Number of headers.
    pub headers: usize,
    /// Time for a body that is read as a whole.
    pub body_timeout: Duration,
    /// A peer that takes nothing for this long is cut off.
    pub write_stall: Duration,
    /// After the order to stop, running answers have this long.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 19_000,
            header_timeout: Duration::from_secs(60),
            header_bytes: 64 << 10,
            headers: 128,
            body_timeout: BODY_TIMEOUT,
            write_stall: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(1),
        }
    }
}

/// Accepts and answers until `shutdown` resolves.
pub async fn serve(
    listener: TcpListener,
    handler: Arc<impl Handler>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let limits = Arc::new(limits);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                accept_failed(&error).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            refuse(&stream);
            continue;
        };
        let (handler, limits, mut stopping) = (handler.clone(), limits.clone(), stopping.clone());
        connections.spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request: http::Request<Incoming>| {
                let request = Request::new(request, peer, limits.clone());
                answer(&*handler, request, limits.header_bytes)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_timeout)
                .max_buf_size(limits.header_bytes.max(8 << 10))
                .max_headers(limits.headers)
                .title_case_headers(true)
                .serve_connection(TokioIo::new(Stalling::new(stream, limits.write_stall)), service)
                .with_upgrades();
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
    drop(listener);
    let _ = stop.send(true);
    let drain = async { while connections.join_next().await.is_some() {} };
    // Streams have no end of their own, so they are dropped after the grace.
    let _ = tokio::time::timeout(limits.shutdown_grace, drain).await;
    connections.shutdown().await;
}

async fn answer(
    handler: &impl Handler,
    request: Request,
    header_bytes_max: usize,
) -> Result<http::Response<crate::Body>, Infallible> {
    // The parser's own bound is a buffer size, which a fast sender may exceed in one piece.
    let head = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if head + request.path.len() + request.raw_query.len() > header_bytes_max {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Ok(Response::text(status, "431 Request Header Fields Too Large.").finish(false).await);
    }
    let gzip = request.header(header::ACCEPT_ENCODING).is_some_and(accepts_gzip);
    Ok(handler.handle(request).await.finish(gzip).await)
}

fn refuse(stream: &TcpStream) {
    let _ = stream
        .try_write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

async fn accept_failed(error: &io::Error) {
    // Running out of descriptors heals as connections end; spinning would only make it worse.
    warn!(%error, "accept connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
