//! The event streams of schedulers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mezzo_http::{Response, SendError, StreamSender};
use mezzo_master::{Input, StreamId};
use mezzo_mesos::v1::scheduler::{Event, event};
use tracing::warn;

use crate::{
    format::Format,
    inbox::{Inbox, Work},
};

/// Unread bytes of one stream. Enough for the offers of 100,000 agents; a scheduler further behind is
/// cut off and has to subscribe again, which brings it up to date.
const BACKLOG_MAX: usize = 128 << 20;
/// Between heartbeats, as SUBSCRIBED says (rule 52).
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// All open streams.
#[derive(Debug, Default)]
pub(crate) struct SchedulerStreams {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    streams: BTreeMap<StreamId, Stream>,
    /// By `Mesos-Stream-Id`: the framework that was told SUBSCRIBED there.
    subscribed: BTreeMap<Arc<str>, String>,
    /// Streams with events whose readers have not been woken.
    unwoken: Vec<Stream>,
}

impl Table {
    fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.subscribed.remove(&stream.uuid);
        Some(stream)
    }
}

#[derive(Clone, Debug)]
struct Stream {
    sender: Arc<StreamSender>,
    format: Format,
    uuid: Arc<str>,
    /// Whether it is among the unwoken.
    queued: Arc<AtomicBool>,
}

impl SchedulerStreams {
    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Opens a stream; the core learns when it closes for whatever reason.
    pub(crate) fn open(&self, id: StreamId, uuid: Arc<str>, format: Format, inbox: &Arc<Inbox>) -> Response {
        let (sender, response) = Response::stream(format.content_type(), BACKLOG_MAX);
        let closed = sender.closed();
        let stream = Stream { sender: Arc::new(sender), format, uuid, queued: Arc::default() };
        self.lock().streams.insert(id, stream);
        let (inbox, table) = (inbox.clone(), self.table.clone());
        tokio::spawn(async move {
            closed.await;
            lock(&table).remove(id);
            inbox.push_now(Work::Step(Input::StreamClosed(id)));
        });
        response
    }

    /// Queues an event; one to a closed stream is dropped. It leaves with [`SchedulerStreams::wake`]:
    /// events come in bursts, and waking a reader costs more than a record.
    pub(crate) fn send(&self, id: StreamId, event: &Event) {
        let stream = {
            let mut table = self.lock();
            let Some(stream) = table.streams.get(&id).cloned() else { return };
            if let Some(subscribed) = &event.subscribed {
                let framework = subscribed.framework_id.value.clone();
                table.subscribed.insert(stream.uuid.clone(), framework);
            }
            stream
        };
        let queued = stream.sender.queue(stream.format.record(event));
        if let Err(error) = queued {
            if error == SendError::Full {
                warn!(
                    stream = id.0,
                    "a scheduler does not read and is cut off; it is brought up to date when it subscribes again"
                );
            }
            self.lock().remove(id);
        } else if !stream.queued.swap(true, Ordering::Relaxed) {
            self.lock().unwoken.push(stream);
        }
    }

    /// Wakes the readers of the streams that events were queued on.
    pub(crate) fn wake(&self) {
        for stream in std::mem::take(&mut self.lock().unwoken) {
            stream.queued.store(false, Ordering::Relaxed);
            stream.sender.wake();
        }
    }

    /// Whether the framework was told SUBSCRIBED on the stream of this `Mesos-Stream-Id`, and the stream
    /// is still open.
    pub(crate) fn is_subscribed(&self, uuid: &str, framework: &str) -> bool {
        self.lock().subscribed.get(uuid).is_some_and(|known| known == framework)
    }

    /// Ends a stream after what was sent on it.
    pub(crate) fn finish(&self, id: StreamId) {
        if let Some(stream) = self.lock().remove(id) {
            stream.sender.finish();
        }
    }

    /// Sends a heartbeat at once, and from then on until the stream ends. Needs a runtime.
    pub(crate) fn start_heartbeat(&self, id: StreamId) {
        let Some(Stream { sender, format, .. }) = self.lock().streams.get(&id).cloned() else { return };
        let beat =
            format.record(&Event { r#type: Some(event::Type::Heartbeat.into()), ..Default::default() });
        tokio::spawn(heartbeat(Arc::downgrade(&sender), beat.clone()));
        // A stream that is closed already is cleaned up by the core's answer to that.
        let _ = sender.try_send(beat);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Every change of the table is complete before the lock is released, also in a panic.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats a record until the stream has ended.
pub(crate) async fn heartbeat(stream: Weak<StreamSender>, beat: mezzo_http::Bytes) {
    let Some(closed) = stream.upgrade().map(|sender| sender.closed()) else { return };
    tokio::pin!(closed);
    loop {
        tokio::select! {
            () = &mut closed => return,
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
        }
        match stream.upgrade() {
            Some(sender) if sender.try_send(beat.clone()).is_ok() => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use mezzo_http::Body;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rule_52_a_heartbeat_at_once_and_then_every_15_seconds() {
        let (streams, inbox) = (SchedulerStreams::default(), Arc::new(Inbox::new()));
        let response = streams.open(StreamId(1), "uuid".into(), Format::Json, &inbox);
        let Body::Stream(body) = response.body else { panic!("a stream was wanted") };
        let read = || match body.poll_record(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(record))) => Some(record),
            _ => None,
        };
        streams.start_heartbeat(StreamId(1));
        assert_eq!(read().as_deref(), Some(&b"20\n{\"type\":\"HEARTBEAT\"}"[..]));
        assert_eq!(read(), None);
        tokio::time::sleep(HEARTBEAT_INTERVAL + Duration::from_millis(1)).await;
        assert!(read().is_some() && read().is_none());
        streams.finish(StreamId(1));
        tokio::time::sleep(HEARTBEAT_INTERVAL * 2).await;
        let mut batch = Vec::new();
        inbox.take(None, &mut batch);
        assert!(matches!(batch[..], [Work::Step(Input::StreamClosed(StreamId(1)))]));
    }

    #[tokio::test]
    async fn a_subscription_is_known_from_its_event_until_its_stream_ends() {
        use mezzo_mesos::v1::{FrameworkId, scheduler::event::Subscribed};
        let (streams, inbox) = (SchedulerStreams::default(), Arc::new(Inbox::new()));
        let _response = streams.open(StreamId(1), "uuid".into(), Format::Json, &inbox);
        assert!(!streams.is_subscribed("uuid", "f"));
        let subscribed = Subscribed { framework_id: FrameworkId { value: "f".into() }, ..Default::default() };
        let event = Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(Box::new(subscribed)),
            ..Default::default()
        };
        streams.send(StreamId(1), &event);
        assert!(streams.is_subscribed("uuid", "f"));
        assert!(!streams.is_subscribed("uuid", "g") && !streams.is_subscribed("other", "f"));
        streams.finish(StreamId(1));
        assert!(!streams.is_subscribed("uuid", "f"));
    }
}
