//! What clients wait for: answers to requests, and event streams of executors.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mezzo_agent::{Answer, RequestId, StreamId};
use mezzo_http::{Bytes, StreamSender};
use mezzo_mesos::v1::executor::Event;
use prost::Message as _;
use tokio::sync::oneshot;

use crate::api::MessageType;

/// Events that an executor has not read yet; far more than an executor that works ever leaves.
const STREAM_BACKLOG_MAX: usize = 16 << 20;

/// Matches effects of the core with the clients they are for.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    next: AtomicU64,
    answers: Mutex<BTreeMap<RequestId, oneshot::Sender<Answer>>>,
    streams: Mutex<BTreeMap<StreamId, (MessageType, StreamSender)>>,
}

impl Desk {
    /// A request that waits; the receiver gets the core's answer.
    pub(crate) fn request(&self) -> (RequestId, oneshot::Receiver<Answer>) {
        let id = RequestId(self.mint());
        let (sender, receiver) = oneshot::channel();
        lock(&self.answers).insert(id, sender);
        (id, receiver)
    }

    /// Nobody waits for this any more.
    pub(crate) fn forget(&self, request: RequestId) {
        lock(&self.answers).remove(&request);
    }

    /// Hands an answer over; dropped when nobody waits.
    pub(crate) fn answer(&self, request: RequestId, answer: Answer) {
        if let Some(sender) = lock(&self.answers).remove(&request) {
            let _ = sender.send(answer);
        }
    }

    /// A stream that events can be sent to before its head has been written.
    pub(crate) fn open_stream(&self, format: MessageType) -> (StreamId, mezzo_http::Response) {
        let id = StreamId(self.mint());
        let (sender, response) = mezzo_http::Response::stream(format.content_type(), STREAM_BACKLOG_MAX);
        lock(&self.streams).insert(id, (format, sender));
        (id, response)
    }

    /// Sends an event; false when the stream is gone or its reader does not keep up.
    pub(crate) fn event(&self, stream: StreamId, event: &Event) -> bool {
        let streams = lock(&self.streams);
        let Some((format, sender)) = streams.get(&stream) else { return true };
        let record = match format {
            MessageType::Json => mezzo_json::to_vec(event),
            MessageType::Protobuf => event.encode_to_vec(),
        };
        sender.try_send(Bytes::from(mezzo_recordio::record(&record))).is_ok()
    }

    /// Ends a stream after what was sent on it.
    pub(crate) fn close_stream(&self, stream: StreamId) {
        if let Some((_, sender)) = lock(&self.streams).remove(&stream) {
            sender.finish();
        }
    }

    /// Resolves once the reader of a stream has gone; at once when the stream is not open.
    pub(crate) async fn stream_closed(&self, stream: StreamId) {
        let closed = lock(&self.streams).get(&stream).map(|(_, sender)| sender.closed());
        if let Some(closed) = closed {
            closed.await;
        }
        lock(&self.streams).remove(&stream);
    }

    fn mint(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps are whole after every operation, also when a thread died while it held them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
