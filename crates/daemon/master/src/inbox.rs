//! The bounded queue in front of the deciding thread.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use mezzo_ids::FrameworkId;
use mezzo_master::{Input, state::Snapshot};
use tokio::sync::{Semaphore, oneshot};

use crate::{
    inquiries::{Asker, Explained},
    operator_stream::NewSubscriber,
};

/// Bytes of requests that may wait. Senders wait beyond it, which slows their connections down.
const WAITING_BYTES_MAX: usize = 256 << 20;
/// What one permit stands for.
const PERMIT_BYTES: usize = 256;

/// What the deciding thread is asked to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// Something happened.
    Step(Input),
    /// Somebody reads. Answered behind every effect of earlier steps, so that nobody sees what is not
    /// durable yet, and everybody sees what they were told.
    Read(oneshot::Sender<Snapshot>),
    /// Somebody asks what a framework is not offered, and why.
    Why(FrameworkId, Asker),
    /// An operator subscribes: gets a snapshot, and every event after it.
    Watch(NewSubscriber),
    /// The process stops; nothing behind this is done.
    Stop,
}

/// Many senders, one receiver.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    filled: Condvar,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct Queue {
    work: Vec<Work>,
    permits: usize,
    waiting: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
            room: Semaphore::new(WAITING_BYTES_MAX / PERMIT_BYTES),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before the lock is released, also in a panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues work that holds about `bytes`, waiting for room.
    pub(crate) async fn push(&self, work: Work, bytes: usize) {
        self.push_all([work], bytes).await;
    }

    /// Queues work that came together, in order, as [`Inbox::push`] does.
    pub(crate) async fn push_all(&self, work: impl IntoIterator<Item = Work>, bytes: usize) {
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, WAITING_BYTES_MAX / PERMIT_BYTES);
        // The semaphore is never closed.
        if let Ok(permit) = self.room.acquire_many(u32::try_from(permits).unwrap_or(u32::MAX)).await {
            permit.forget();
            self.put(work, permits);
        }
    }

    /// Queues work at once: for news that must not wait and are bounded by something else, such as the
    /// end of a stream.
    pub(crate) fn push_now(&self, work: Work) {
        self.put([work], 0);
    }

    fn put(&self, work: impl IntoIterator<Item = Work>, permits: usize) {
        let mut queue = self.lock();
        queue.work.extend(work);
        queue.permits += permits;
        let wake = std::mem::take(&mut queue.waiting);
        drop(queue);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Moves everything that waits into `batch`, which must be empty; waits for some until `deadline`.
    pub(crate) fn take(&self, deadline: Option<Instant>, batch: &mut Vec<Work>) {
        let mut queue = self.lock();
        while queue.work.is_empty() {
            queue.waiting = true;
            match deadline {
                None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    queue = self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        queue.waiting = false;
        std::mem::swap(&mut queue.work, batch);
        let permits = std::mem::take(&mut queue.permits);
        drop(queue);
        self.room.add_permits(permits);
    }

    /// What is queued right now, for metrics.
    pub(crate) fn len(&self) -> usize {
        self.lock().work.len()
    }

    /// A snapshot that shows every answer given so far. `None` while the process stops.
    pub(crate) async fn snapshot(&self) -> Option<Snapshot> {
        let (sender, receiver) = oneshot::channel();
        self.push(Work::Read(sender), 0).await;
        receiver.await.ok()
    }

    /// What a framework is not offered. `None` while the process stops.
    pub(crate) async fn why(&self, framework: FrameworkId) -> Option<Explained> {
        let (sender, receiver) = oneshot::channel();
        self.push(Work::Why(framework, sender), 0).await;
        receiver.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mezzo_master::StreamId;

    use super::*;

    fn closed(number: u64) -> Work {
        Work::Step(Input::StreamClosed(StreamId(number)))
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let (inbox, mut batch) = (Inbox::new(), Vec::new());
        inbox.take(Some(Instant::now() + Duration::from_millis(5)), &mut batch);
        assert!(batch.is_empty());
        inbox.push_now(closed(1));
        inbox.push_now(closed(2));
        inbox.take(None, &mut batch);
        assert_eq!(batch.len(), 2);
    }

    #[tokio::test]
    async fn senders_wait_while_the_queue_is_full() {
        let (inbox, mut batch) = (Inbox::new(), Vec::new());
        inbox.push(closed(1), WAITING_BYTES_MAX).await;
        let blocked = tokio::time::timeout(Duration::from_millis(10), inbox.push(closed(2), 1)).await;
        assert!(blocked.is_err());
        inbox.push_now(closed(3));
        inbox.take(None, &mut batch);
        assert_eq!(batch.len(), 2);
        inbox.push(closed(4), WAITING_BYTES_MAX * 2).await;
        assert_eq!(inbox.len(), 1);
    }
}
