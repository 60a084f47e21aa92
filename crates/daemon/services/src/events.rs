//! Who listens to `GET /v2/events`, and what each is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use mezzo_clock::now;
use mezzo_http::{Response, SendError, StreamSender};
use mezzo_marathon_api::{EVENT_HEARTBEAT, event_frame, event_name};
use mezzo_services_model::{Event, EventKind};
use tracing::{debug, info};

/// Streams at once: half of what the server's connections allow, so that listeners leave room for requests.
const SUBSCRIBERS_MAX: usize = 9_000;
/// What one event takes on average, generously: bounds the bytes that wait for one listener, together with
/// `event_stream_max_outstanding_messages`.
const EVENT_BYTES: usize = 2 << 10;
/// Between signs of life, so that proxies keep the connection and those that went away are noticed.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// One listener.
#[derive(Debug)]
struct Subscriber {
    sender: StreamSender,
    /// Only events of these names; all when empty.
    types: BTreeSet<String>,
}

/// All listeners.
#[derive(Debug)]
pub(crate) struct Hub {
    backlog_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    subscribers: BTreeMap<u64, Subscriber>,
}

impl Hub {
    /// Where up to so many events wait for a listener.
    pub(crate) fn new(outstanding_max: usize) -> Self {
        Self { backlog_max: outstanding_max.saturating_mul(EVENT_BYTES), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock is released, also in a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a listener from this address; none when there are too many.
    pub(crate) fn attach(self: &Arc<Self>, types: BTreeSet<String>, remote: String) -> Option<Response> {
        let (sender, response) = Response::stream("text/event-stream;charset=utf-8", self.backlog_max);
        let closed = sender.closed();
        let id = {
            let mut state = self.lock();
            if state.subscribers.len() >= SUBSCRIBERS_MAX {
                return None;
            }
            let id = state.next;
            state.next += 1;
            state.subscribers.insert(id, Subscriber { sender, types });
            id
        };
        info!(%remote, "event stream attached");
        self.publish(&Event {
            at: now(),
            kind: EventKind::StreamAttached { remote_address: remote.clone() },
        });
        let hub = self.clone();
        tokio::spawn(async move {
            closed.await;
            hub.lock().subscribers.remove(&id);
            info!(%remote, "event stream detached");
            hub.publish(&Event { at: now(), kind: EventKind::StreamDetached { remote_address: remote } });
        });
        Some(response)
    }

    /// Tells all that want to know. Encoded once; a listener whose backlog is full is cut off.
    pub(crate) fn publish(&self, event: &Event) {
        let state = self.lock();
        if state.subscribers.is_empty() {
            return;
        }
        let name = event_name(&event.kind);
        let wanted =
            |subscriber: &&Subscriber| subscriber.types.is_empty() || subscriber.types.contains(name);
        let mut listeners = state.subscribers.values().filter(wanted).peekable();
        if listeners.peek().is_none() {
            return;
        }
        let record = Bytes::from(event_frame(event));
        for listener in listeners {
            if listener.sender.try_send(record.clone()) == Err(SendError::Full) {
                debug!("an event stream does not keep up and is cut off");
            }
        }
    }

    /// A sign of life to everybody.
    pub(crate) fn beat(&self) {
        for subscriber in self.lock().subscribers.values() {
            // A reader that does not keep up is cut off and removes itself.
            let _ = subscriber.sender.try_send(Bytes::from_static(EVENT_HEARTBEAT));
        }
    }
}
