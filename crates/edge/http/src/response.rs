//! What is answered.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    compress::{Compression, GZIP_SIZE_MIN},
    stream::{StreamBody, StreamSender, stream},
};

/// Bytes of a produced body that travel together. Each chunk costs two hand-overs between threads.
const CHUNK_SIZE: usize = 240 << 10;
/// A little more than a chunk, for what is written across its end.
const BUFFER_SIZE: usize = CHUNK_SIZE + (16 << 10);
/// Chunks of a produced body that may wait for the network: with the size above a megabyte per reader.
const CHUNKS_WAITING_MAX: usize = 4;
/// Buffers kept for the next chunks: those that wait, one being sent and one being filled.
const SPARE_MAX: usize = CHUNKS_WAITING_MAX + 2;
/// A buffer that has grown beyond this is not kept.
const SPARE_SIZE_MAX: usize = 4 * BUFFER_SIZE;
/// A produced body whose reader takes nothing for this long is given up, so that slow readers cannot
/// keep all the producing threads.
const PRODUCED_STALL_MAX: Duration = Duration::from_secs(30);

/// Longest name of a jsonp function; it is echoed into the answer.
const JSONP_NAME_MAX: usize = 256;

/// Names of functions and paths to them: `page.callbacks["x"]` is not needed by anybody, and anything
/// more could be a script of somebody else's (A104).
fn is_of_a_function(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$' | '.' | '[' | ']')
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// 200, 404 ...
    pub status: StatusCode,
    /// Without the ones about length and encoding, which follow from the body. Boxed, because answers
    /// travel as the error of many results.
    pub headers: Box<HeaderMap>,
    /// Its content.
    pub body: Body,
}

/// The content of an answer, or of a client's request.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// There already.
    Full(Bytes),
    /// Made on a blocking thread while it is sent.
    Produced(Producer),
    /// Chunks of a body that is being produced.
    #[doc(hidden)]
    Chunks(Chunks),
    /// Records, as they come.
    Stream(StreamBody),
}

/// Writes a body into an [`Output`].
pub struct Producer(Produce);

type Produce = Box<dyn FnOnce(&mut Output) -> io::Result<()> + Send>;

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl Response {
    /// With these and no headers.
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self { status, headers: Box::default(), body }
    }

    /// A text; Mesos' type for it.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, Body::Full(text.into().into()))
            .with(header::CONTENT_TYPE, "text/plain; charset=utf-8")
    }

    /// 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::content("application/json", body)
    }

    /// 200 with a body of this type.
    pub fn content(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Body::Full(body.into())).with(header::CONTENT_TYPE, content_type)
    }

    /// 200 with a body that is produced on a blocking thread while it is sent. Nothing is held but a
    /// few chunks; a body that fits into one is sent with its length.
    pub fn produced(
        content_type: &'static str,
        produce: impl FnOnce(&mut Output) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self::new(StatusCode::OK, Body::Produced(Producer(Box::new(produce))))
            .with(header::CONTENT_TYPE, content_type)
    }

    /// 200 with a stream of records, each its own chunk (rule 39).
    pub fn stream(content_type: &'static str, backlog_max: usize) -> (StreamSender, Self) {
        let (sender, body) = stream(backlog_max);
        (sender, Self::new(StatusCode::OK, Body::Stream(body)).with(header::CONTENT_TYPE, content_type))
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: header::HeaderName, value: &str) -> Self {
        // A value that cannot stand in a header is left out: it came from a peer.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Wraps JSON as a call of `function` when one is named (rule 16).
    #[must_use]
    pub fn jsonp(mut self, function: Option<&str>) -> Self {
        let Some(function) = function else { return self };
        if function.len() > JSONP_NAME_MAX || !function.chars().all(is_of_a_function) {
            return Self::text(StatusCode::BAD_REQUEST, "The value of 'jsonp' is not the name of a function");
        }
        let open = format!("{function}(");
        self.body = match self.body {
            Body::Full(json) => Body::Full([open.as_bytes(), &json, b")"].concat().into()),
            Body::Produced(Producer(produce)) => Body::Produced(Producer(Box::new(move |out| {
                out.write(open.as_bytes())?;
                produce(out)?;
                out.write(b")")
            }))),
            other => return Self { body: other, ..self },
        };
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript"));
        self
    }

    /// Starts producing and compresses where the client takes it (rule 13).
    pub(crate) async fn finish(mut self, gzip: bool) -> http::Response<Body> {
        let body = match std::mem::take(&mut self.body) {
            Body::Produced(Producer(produce)) => {
                let (sender, mut chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
                let runtime = tokio::runtime::Handle::current();
                tokio::task::spawn_blocking(move || {
                    let mut out = Output {
                        buffer: Vec::new(),
                        spare: Arc::default(),
                        sender,
                        runtime,
                        compression: Compression::new(gzip),
                        sent: false,
                    };
                    if produce(&mut out).and_then(|()| out.finish()).is_err() {
                        out.fail();
                    }
                });
                match chunks.recv().await {
                    Some(Chunk::Whole(bytes, compressed)) => {
                        self.set_gzip(compressed);
                        Body::Full(bytes)
                    }
                    Some(Chunk::Part(first)) => {
                        self.set_gzip(gzip);
                        Body::Chunks(Chunks { first: Some(first), rest: chunks })
                    }
                    Some(Chunk::End | Chunk::Failed) | None => {
                        return Self::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error.")
                            .into_http();
                    }
                }
            }
            Body::Full(bytes)
                if gzip
                    && bytes.len() >= GZIP_SIZE_MIN
                    && !self.headers.contains_key(header::CONTENT_ENCODING) =>
            {
                self.set_gzip(true);
                Body::Full(crate::compress::gzip(&bytes))
            }
            other => other,
        };
        self.body = body;
        self.into_http()
    }

    fn set_gzip(&mut self, gzip: bool) {
        if gzip {
            self.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }

    fn into_http(self) -> http::Response<Body> {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = *self.headers;
        response
    }
}

/// Where a produced body is written to. Blocks while the reader is behind.
pub struct Output {
    buffer: Vec<u8>,
    spare: Arc<Spare>,
    sender: mpsc::Sender<Chunk>,
    runtime: tokio::runtime::Handle,
    compression: Compression,
    sent: bool,
}

#[derive(Debug)]
enum Chunk {
    /// All of a small body, and whether it is compressed.
    Whole(Bytes, bool),
    Part(Bytes),
    End,
    Failed,
}

impl Output {
    /// Appends; an error means that nobody reads any more and producing should stop.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_SIZE {
            let full = std::mem::take(&mut self.buffer);
            self.buffer = self.spare.take();
            self.send_buffer(full)?;
        }
        Ok(())
    }

    /// Appends what is already in a buffer of its own, and gives an empty one for what comes next. Large
    /// ones are not copied.
    pub fn write_buffer(&mut self, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        if !self.buffer.is_empty() || bytes.len() < CHUNK_SIZE {
            self.write(&bytes)?;
            bytes.clear();
            return Ok(bytes);
        }
        self.send_buffer(bytes)?;
        Ok(self.spare.take())
    }

    fn send_buffer(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let part = Bytes::from_owner(Lent { bytes, spare: self.spare.clone() });
        let part = self.compression.part(part)?;
        self.sent = true;
        self.send(Chunk::Part(part))
    }

    fn finish(&mut self) -> io::Result<()> {
        let rest = Bytes::from(std::mem::take(&mut self.buffer));
        if !self.sent {
            let compress = self.compression.is_on() && rest.len() >= GZIP_SIZE_MIN;
            let whole = if compress { crate::compress::gzip(&rest) } else { rest };
            return self.send(Chunk::Whole(whole, compress));
        }
        let last = self.compression.last(rest)?;
        if !last.is_empty() {
            self.send(Chunk::Part(last))?;
        }
        self.send(Chunk::End)
    }

    fn fail(&mut self) {
        let _ = self.sender.try_send(Chunk::Failed);
    }

    fn send(&self, chunk: Chunk) -> io::Result<()> {
        let chunk = match self.sender.try_send(chunk) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(chunk)) => chunk,
        };
        let send = self.sender.send(chunk);
        match self.runtime.block_on(tokio::time::timeout(PRODUCED_STALL_MAX, send)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Buffers whose chunks have been sent.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_SIZE))
    }
}

/// A chunk that gives its buffer back when it has been sent: memory that is there already is cheaper
/// than pages that the system has to clear.
struct Lent {
    bytes: Vec<u8>,
    spare: Arc<Spare>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX && self.bytes.capacity() <= SPARE_SIZE_MAX {
            self.bytes.clear();
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Output::write(self, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A produced body on its way.
#[derive(Debug)]
pub struct Chunks {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Chunk>,
}

impl Chunks {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rest.poll_recv(context).map(|chunk| match chunk {
            Some(Chunk::Part(bytes) | Chunk::Whole(bytes, _)) => Some(Ok(bytes)),
            Some(Chunk::End) => None,
            // Without an end the reader must not take what it has for everything.
            Some(Chunk::Failed) | None => Some(Err(io::Error::other("body broke off"))),
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Empty | Self::Produced(_) => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Chunks(chunks) => chunks.poll_chunk(context).map(|chunk| chunk.map(|c| c.map(Frame::data))),
            Self::Stream(stream) => Pin::new(stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Produced(_) | Self::Chunks(_) | Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Produced(_) | Self::Chunks(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}
