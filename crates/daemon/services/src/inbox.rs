//! The queue in front of the deciding thread.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use mezzo_services::Input;
use tokio::sync::Semaphore;

/// Inputs that may wait. Who brings more waits, which slows their connection down: the master's stream, the probes, the
/// clients.
const WAITING_MAX: usize = 16_384;

/// What the deciding thread is asked to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// Something happened.
    Step(Box<Input>),
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
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), filled: Condvar::new(), room: Semaphore::new(WAITING_MAX) }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before the lock is released, also in a panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an input, waiting for room.
    pub(crate) async fn push(&self, input: Input) {
        // The semaphore is never closed.
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
            self.put(Work::Step(Box::new(input)), 1);
        }
    }

    /// Queues work at once: for news that must not wait and are bounded by something else.
    pub(crate) fn push_now(&self, work: Work) {
        self.put(work, 0);
    }

    fn put(&self, work: Work, permits: usize) {
        let mut queue = self.lock();
        queue.work.push(work);
        queue.permits += permits;
        drop(queue);
        self.filled.notify_one();
    }

    /// Moves everything that waits into `batch`, which must be empty; waits for some until `deadline`.
    pub(crate) fn take(&self, deadline: Option<Instant>, batch: &mut Vec<Work>) {
        let mut queue = self.lock();
        while queue.work.is_empty() {
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
        std::mem::swap(&mut queue.work, batch);
        let permits = std::mem::take(&mut queue.permits);
        drop(queue);
        self.room.add_permits(permits);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn senders_wait_while_the_queue_is_full() {
        let (inbox, mut batch) = (Inbox::new(), Vec::new());
        for _ in 0..WAITING_MAX {
            inbox.push(Input::Timer).await;
        }
        let blocked = tokio::time::timeout(Duration::from_millis(10), inbox.push(Input::Timer)).await;
        assert!(blocked.is_err());
        inbox.push_now(Work::Stop);
        inbox.take(None, &mut batch);
        assert_eq!(batch.len(), WAITING_MAX + 1);
        inbox.push(Input::Timer).await;
        batch.clear();
        inbox.take(Some(Instant::now()), &mut batch);
        assert_eq!(batch.len(), 1);
        batch.clear();
        inbox.take(Some(Instant::now() + Duration::from_millis(5)), &mut batch);
        assert!(batch.is_empty(), "a deadline ends the wait");
    }
}
