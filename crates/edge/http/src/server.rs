//! Serves a handler over a listener.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use http::{Method, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tracing::{debug, warn};

use crate::{
    compress::accepts_gzip,
    gathering::Gathering,
    request::{BODY_TIMEOUT, Request},
    response::Response,
    stalling::Stalling,
};

/// Answers requests. Called from many connections at once.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;
}

/// Headers that the parser keeps on its stack; for any other number it asks for two pieces of memory per
/// request.
const HEADERS_INLINE: usize = 100;

/// What clients may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; more are answered 503 and closed. A process may hold 20,000 descriptors.
    pub connections: usize,
    /// Connections at once from one address, so that nobody can take all of them.
    pub connections_per_address: usize,
    /// Bytes of all bodies that are being read at once; whoever wants more is answered 503.
    pub bodies_bytes: usize,
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
            connections_per_address: 9_500,
            bodies_bytes: 1 << 30,
            header_timeout: Duration::from_secs(60),
            header_bytes: 64 << 10,
            headers: HEADERS_INLINE,
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
    let permits = Arc::new(Semaphore::new(limits.connections));
    let peers = Arc::new(Peers::default());
    let shared = Arc::new(Shared { limits, bodies: AtomicUsize::new(0) });
    let stop = watch::Sender::new(Stage::Serving);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                accept_failed(&error).await;
                continue;
            }
        };
        let permit = permits.clone().try_acquire_owned().ok();
        let counted = Peers::count(&peers, peer.ip(), shared.limits.connections_per_address);
        let (Some(permit), Some(counted)) = (permit, counted) else {
            refuse(&stream);
            continue;
        };
        let (handler, shared, mut stage) = (handler.clone(), shared.clone(), stop.subscribe());
        tokio::spawn(async move {
            let _held = (permit, counted);
            connection(stream, peer, &*handler, shared, &mut stage).await;
        });
    }
    drop(listener);
    let _ = stop.send(Stage::Draining);
    // Every connection holds a receiver.
    let _ = tokio::time::timeout(shared.limits.shutdown_grace, stop.closed()).await;
    let _ = stop.send(Stage::Stopped);
    stop.closed().await;
}

/// How far the end of the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Requests that are being answered are the last of their connections.
    Draining,
    /// Streams have no end of their own, so they are dropped.
    Stopped,
}

/// Serves one connection until it ends, is taken over, or has to stop.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    handler: &impl Handler,
    shared: Arc<Shared>,
    stage: &mut watch::Receiver<Stage>,
) {
    let limits = &shared.limits;
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: http::Request<Incoming>| {
        let request = Request::new(request, peer, shared.clone());
        answer(handler, request, limits.header_bytes)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .title_case_headers(true);
    if limits.headers != HEADERS_INLINE {
        http.max_headers(limits.headers);
    }
    let stream: Transport = TokioIo::new(Gathering::new(Stalling::new(stream, limits.write_stall)));
    let mut connection = pin!(http.serve_connection(stream, service).with_upgrades());
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%peer, %error, "connection ended");
                }
                return;
            }
            stopping = stage.changed() => {
                if stopping.is_err() || *stage.borrow_and_update() == Stage::Stopped {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What a connection's bytes pass through.
pub(crate) type Transport = TokioIo<Gathering<Stalling>>;

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
    // Nobody is helped by an echo of their headers, or by a tunnel (A101).
    if matches!(request.method, Method::TRACE | Method::CONNECT) {
        let response = Response::text(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented.");
        return Ok(response.finish(false).await);
    }
    if request.is_cross_site_change() {
        let text = "403 Forbidden. Requests that change something are not taken from other sites' pages.";
        return Ok(Response::text(StatusCode::FORBIDDEN, text).finish(false).await);
    }
    let gzip = request.header(header::ACCEPT_ENCODING).is_some_and(accepts_gzip);
    let upgrade = request.unless_upgraded();
    let response = handler.handle(request).await;
    if let Some(upgrade) = upgrade.filter(|_| response.status != StatusCode::SWITCHING_PROTOCOLS) {
        tokio::spawn(upgrade.decline());
    }
    Ok(response.finish(gzip).await)
}

/// What requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    /// Bytes of bodies that are being read.
    pub(crate) bodies: AtomicUsize,
}

/// Open connections by address.
#[derive(Debug, Default)]
struct Peers(Mutex<BTreeMap<IpAddr, usize>>);

/// One connection of an address, until it is dropped.
struct Counted(Arc<Peers>, IpAddr);

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(peers: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Counted> {
        let mut all = peers.lock();
        let open = all.entry(address).or_default();
        (*open < limit).then(|| {
            *open += 1;
            Counted(peers.clone(), address)
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.0.lock();
        if let Some(open) = all.get_mut(&self.1) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.1);
            }
        }
    }
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
