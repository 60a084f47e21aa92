//! What is answered.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::{
    compress::{Compression, GZIP_SIZE_MIN},
    stream::{StreamBody, StreamSender, stream},
};

/// Bytes of a produced body that travel together.
const CHUNK_SIZE: usize = 64 << 10;
/// Chunks of a produced body that may wait for the network: with the size above half a megabyte per
/// reader.
const CHUNKS_WAITING_MAX: usize = 8;
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
                        buffer: BytesMut::new(),
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
    buffer: BytesMut,
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
        if self.buffer.len() >= CHUNK_SIZE { self.flush_chunk() } else { Ok(()) }
    }

    /// Appends what is already in a buffer of its own; large ones are not copied.
    pub fn write_vec(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if !self.buffer.is_empty() || bytes.len() < CHUNK_SIZE {
            return self.write(&bytes);
        }
        let part = self.compression.part(bytes.into())?;
        self.sent = true;
        self.send(Chunk::Part(part))
    }

    fn flush_chunk(&mut self) -> io::Result<()> {
        let part = self.buffer.split().freeze();
        let part = self.compression.part(part)?;
        self.sent = true;
        self.send(Chunk::Part(part))
    }

    fn finish(&mut self) -> io::Result<()> {
        let rest = self.buffer.split().freeze();
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
        let send = self.sender.send(chunk);
        match self.runtime.block_on(tokio::time::timeout(PRODUCED_STALL_MAX, send)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
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
