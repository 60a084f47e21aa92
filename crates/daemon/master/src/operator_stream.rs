//! The event streams of operators: a snapshot, then every change after it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mezzo_http::{Bytes, SendError, StreamSender};
use mezzo_master::{query::View, state::Snapshot};
use mezzo_mesos::v1::master::{Event, event};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{format::Format, scheduler_stream::heartbeat};

/// Unread bytes of one subscriber, the opening snapshot not counted. One further behind is cut off and
/// resumes by subscribing again, which brings a fresh snapshot.
pub(crate) const BACKLOG_MAX: usize = 32 << 20;
/// Snapshots that are encoded at once: each may be a quarter of a gigabyte.
const OPENING_MAX: usize = 2;

/// Somebody who asked for events.
#[derive(Debug)]
pub(crate) struct NewSubscriber {
    /// Where events go.
    pub(crate) sender: StreamSender,
    /// In which form.
    pub(crate) format: Format,
    /// From [`Subscribers::watch`]; lives as long as the subscriber.
    pub(crate) watching: Arc<()>,
}

/// Everybody who gets events, oldest first.
#[derive(Debug)]
pub(crate) struct Subscribers {
    subscribers: Mutex<VecDeque<Arc<Subscriber>>>,
    subscribers_max: usize,
    opening: Arc<Semaphore>,
    agent_url_path: String,
    /// Shared with every subscriber, those that are not added yet included.
    watching: Arc<()>,
}

#[derive(Debug)]
struct Subscriber {
    sender: Arc<StreamSender>,
    format: Format,
    _watching: Arc<()>,
    /// What came while the snapshot is being written; `None` once that has been sent.
    held_back: Mutex<Option<HeldBack>>,
}

#[derive(Debug, Default)]
struct HeldBack {
    records: Vec<Bytes>,
    bytes: usize,
}

impl Subscriber {
    fn held_back(&self) -> MutexGuard<'_, Option<HeldBack>> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, record: &Bytes) -> Result<(), SendError> {
        let mut held_back = self.held_back();
        let Some(held) = &mut *held_back else { return self.sender.try_send(record.clone()) };
        if held.bytes + record.len() > BACKLOG_MAX {
            self.sender.cut();
            return Err(SendError::Full);
        }
        held.bytes += record.len();
        held.records.push(record.clone());
        Ok(())
    }

    /// Sends the snapshot, a heartbeat (rule 499), and what came meanwhile.
    fn open(&self, snapshot: Bytes, beat: Bytes) {
        let mut held_back = self.held_back();
        let HeldBack { records, .. } = held_back.take().unwrap_or_default();
        for record in [snapshot, beat].into_iter().chain(records) {
            if self.sender.try_send(record).is_err() {
                return;
            }
        }
    }
}

impl Subscribers {
    pub(crate) fn new(subscribers_max: usize, agent_url_path: String) -> Self {
        Self {
            subscribers: Mutex::default(),
            subscribers_max,
            opening: Arc::new(Semaphore::new(OPENING_MAX)),
            agent_url_path,
            watching: Arc::default(),
        }
    }

    /// To be held by a new subscriber.
    pub(crate) fn watch(&self) -> Arc<()> {
        self.watching.clone()
    }

    /// Whether somebody subscribes or wants to. One who went away counts until the next event.
    pub(crate) fn watched(&self) -> bool {
        Arc::strong_count(&self.watching) > 1
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Subscriber>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().iter().filter(|s| !s.sender.is_closed()).count()
    }

    /// Begins a stream: every event published after this call follows the snapshot. Needs a runtime.
    pub(crate) fn add(&self, new: NewSubscriber, snapshot: Snapshot) {
        let subscriber = Arc::new(Subscriber {
            sender: Arc::new(new.sender),
            format: new.format,
            _watching: new.watching,
            held_back: Mutex::new(Some(HeldBack::default())),
        });
        let mut subscribers = self.lock();
        subscribers.retain(|s| !s.sender.is_closed());
        while subscribers.len() >= self.subscribers_max {
            if let Some(oldest) = subscribers.pop_front() {
                oldest.sender.finish();
            }
        }
        subscribers.push_back(subscriber.clone());
        drop(subscribers);
        let (opening, agent_url_path) = (self.opening.clone(), self.agent_url_path.clone());
        tokio::spawn(async move {
            let _permit = opening.acquire_owned().await;
            let format = subscriber.format;
            let beat =
                format.record(&Event { r#type: Some(event::Type::Heartbeat.into()), ..Default::default() });
            tokio::spawn(heartbeat(Arc::downgrade(&subscriber.sender), beat.clone()));
            // The snapshot is encoded away from the threads that serve everybody else.
            let opened = tokio::task::spawn_blocking(move || {
                let view = View { snapshot: &snapshot, agent_url_path: &agent_url_path };
                subscriber.open(format.record(&view.subscribed()), beat);
            });
            let _ = opened.await;
        });
    }

    /// Sends an event to everybody; encoded at most once per form.
    pub(crate) fn publish(&self, event: &Event) {
        let mut encoded: [Option<Bytes>; 2] = [None, None];
        self.lock().retain(|subscriber| {
            let slot = &mut encoded[subscriber.format as usize];
            let record = slot.get_or_insert_with(|| subscriber.format.record(event));
            let sent = subscriber.send(record);
            if sent == Err(SendError::Full) {
                warn!("an operator does not read events and is cut off; a fresh state comes when it subscribes again");
            }
            sent.is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use mezzo_http::{StreamBody, stream};

    use super::*;

    fn subscriber(format: Format) -> (NewSubscriber, StreamBody) {
        let (sender, body) = stream(BACKLOG_MAX);
        (NewSubscriber { sender, format, watching: Arc::default() }, body)
    }

    fn read(body: &StreamBody) -> Option<Option<Bytes>> {
        match body.poll_record(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(record) => Some(record.map(Result::unwrap)),
            Poll::Pending => None,
        }
    }

    fn event(kind: event::Type) -> Event {
        Event { r#type: Some(kind.into()), ..Default::default() }
    }

    #[tokio::test]
    async fn rule_499_snapshot_heartbeat_and_then_every_event() {
        let subscribers = Subscribers::new(10, "/slave(1)".into());
        let (new, body) = subscriber(Format::Json);
        subscribers.add(new, Snapshot::default());
        // Published before the snapshot has been written.
        subscribers.publish(&event(event::Type::AgentRemoved));
        while read_peek(&subscribers) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        subscribers.publish(&event(event::Type::TaskAdded));
        let mut texts = Vec::new();
        while let Some(Some(record)) = read(&body) {
            texts.push(String::from_utf8(record.to_vec()).unwrap());
        }
        let kinds = ["SUBSCRIBED", "HEARTBEAT", "AGENT_REMOVED", "TASK_ADDED"];
        assert_eq!(texts.len(), kinds.len(), "{texts:?}");
        for (text, kind) in texts.iter().zip(kinds) {
            assert!(text.contains(&format!("{{\"type\":\"{kind}\"")), "{text}");
        }
    }

    fn read_peek(subscribers: &Subscribers) -> bool {
        subscribers.lock().iter().any(|s| s.held_back().is_some())
    }

    #[tokio::test]
    async fn the_oldest_subscriber_is_let_go_above_the_limit() {
        let subscribers = Subscribers::new(2, "/slave(1)".into());
        let bodies: Vec<_> = (0..3)
            .map(|_| {
                let (new, body) = subscriber(Format::Protobuf);
                subscribers.add(new, Snapshot::default());
                body
            })
            .collect();
        assert_eq!(subscribers.len(), 2);
        assert_eq!(read(&bodies[0]), Some(None));
    }

    #[tokio::test]
    async fn a_subscriber_that_does_not_read_is_cut_off() {
        let subscribers = Subscribers::new(2, "/slave(1)".into());
        let (new, body) = subscriber(Format::Json);
        subscribers.add(new, Snapshot::default());
        while read_peek(&subscribers) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let big = Event {
            agent_removed: Some(Box::new(event::AgentRemoved {
                agent_id: mezzo_mesos::v1::AgentId { value: "x".repeat(BACKLOG_MAX / 4) },
            })),
            ..event(event::Type::AgentRemoved)
        };
        for _ in 0..5 {
            subscribers.publish(&big);
        }
        assert_eq!(subscribers.len(), 0);
        drop(body);
    }
}
