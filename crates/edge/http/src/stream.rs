//! A stream of records with a bounded backlog.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::Frame;
use thiserror::Error;

/// Makes a stream whose unsent records may hold up to `backlog_max` bytes.
pub fn stream(backlog_max: usize) -> (StreamSender, StreamBody) {
    let shared = Arc::new(Shared { state: Mutex::default(), backlog_max });
    (StreamSender { shared: shared.clone() }, StreamBody { shared })
}

/// Why a record did not go onto a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The reader does not keep up; the stream has been cut off.
    #[error("reader does not keep up, stream cut off")]
    Full,
    /// The reader is gone, or the stream has ended.
    #[error("stream closed")]
    Closed,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    backlog_max: usize,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Bytes>,
    bytes: usize,
    phase: Phase,
    reader: Option<Waker>,
    closed_watchers: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Ends in order once the backlog has been read.
    Ending,
    /// Breaks off without the final chunk, so that the reader knows that something is missing.
    Cut,
    /// The reader's side has been dropped.
    Gone,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the lock is released, also in a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase == Phase::Open || (state.phase == Phase::Ending && phase != Phase::Ending) {
            state.phase = phase;
        }
        if phase != Phase::Ending {
            state.records.clear();
            state.bytes = 0;
        }
        let wakers: Vec<_> = state.reader.take().into_iter().chain(state.closed_watchers.drain(..)).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The writing half. The stream ends in order when it is dropped.
#[derive(Debug)]
pub struct StreamSender {
    shared: Arc<Shared>,
}

impl StreamSender {
    /// Queues one record, which becomes one HTTP chunk, and wakes the reader. Never waits: a reader whose
    /// backlog is full is cut off.
    pub fn try_send(&self, record: Bytes) -> Result<(), SendError> {
        self.queue(record)?;
        self.wake();
        Ok(())
    }

    /// Wakes the reader after [`StreamSender::queue`].
    pub fn wake(&self) {
        let reader = self.shared.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Queues one record as [`StreamSender::try_send`] does without waking the reader: for who has more
    /// at once and calls [`StreamSender::wake`] after the last.
    pub fn queue(&self, record: Bytes) -> Result<(), SendError> {
        let mut state = self.shared.lock();
        if state.phase != Phase::Open {
            return Err(SendError::Closed);
        }
        // An empty backlog takes a record of any size: a limit smaller than one record would make
        // the stream useless instead of bounded.
        if state.bytes > 0 && state.bytes + record.len() > self.shared.backlog_max {
            drop(state);
            self.shared.end(Phase::Cut);
            return Err(SendError::Full);
        }
        state.bytes += record.len();
        state.records.push_back(record);
        Ok(())
    }

    /// Ends the stream in order after what has been sent.
    pub fn finish(&self) {
        self.shared.end(Phase::Ending);
    }

    /// Breaks the stream off; what has not been read yet is lost.
    pub fn cut(&self) {
        self.shared.end(Phase::Cut);
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().phase != Phase::Open
    }

    /// Unread bytes.
    pub fn backlog(&self) -> usize {
        self.shared.lock().bytes
    }

    /// Resolves once the reader is gone or the stream has ended. Does not keep the stream open.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        std::future::poll_fn(move |context| {
            let mut state = shared.lock();
            if state.phase != Phase::Open {
                return Poll::Ready(());
            }
            if !state.closed_watchers.iter().any(|w| w.will_wake(context.waker())) {
                state.closed_watchers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The reading half, a body.
#[derive(Debug)]
pub struct StreamBody {
    shared: Arc<Shared>,
}

impl StreamBody {
    /// The next record; `None` after the last; an error when the stream was cut off.
    pub fn poll_record(&self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.shared.lock();
        if let Some(record) = state.records.pop_front() {
            state.bytes -= record.len();
            return Poll::Ready(Some(Ok(record)));
        }
        match state.phase {
            Phase::Open => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
            Phase::Ending | Phase::Gone => Poll::Ready(None),
            Phase::Cut => Poll::Ready(Some(Err(io::Error::other("stream cut off")))),
        }
    }

    pub(crate) fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_record(context).map(|record| record.map(|r| r.map(Frame::data)))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.shared.end(Phase::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &StreamBody) -> Poll<Option<io::Result<Bytes>>> {
        body.poll_record(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_reader_that_does_not_keep_up_is_cut_off() {
        let (sender, body) = stream(10);
        assert_eq!(sender.try_send(Bytes::from_static(b"a record over the limit")), Ok(()));
        assert_eq!(sender.try_send(Bytes::from_static(b"x")), Err(SendError::Full));
        assert!(matches!(read(&body), Poll::Ready(Some(Err(_)))));
        assert_eq!(sender.try_send(Bytes::from_static(b"x")), Err(SendError::Closed));
        assert_eq!(sender.backlog(), 0);
    }

    #[test]
    fn the_end_comes_after_the_backlog() {
        let (sender, body) = stream(10);
        sender.try_send(Bytes::from_static(b"one")).unwrap();
        drop(sender);
        assert!(matches!(read(&body), Poll::Ready(Some(Ok(record))) if record == "one"));
        assert!(matches!(read(&body), Poll::Ready(None)));
    }

    #[test]
    fn queued_records_wake_their_reader_once() {
        #[derive(Default)]
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let (sender, body) = stream(100);
        let count = Arc::new(Count::default());
        assert!(body.poll_record(&mut Context::from_waker(&count.clone().into())).is_pending());
        for _ in 0..3 {
            sender.queue(Bytes::from_static(b"x")).unwrap();
        }
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 0);
        sender.wake();
        sender.wake();
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(matches!(read(&body), Poll::Ready(Some(Ok(_)))));
    }

    #[test]
    fn a_dropped_reader_closes_the_stream() {
        let (sender, body) = stream(10);
        assert!(!sender.is_closed());
        drop(body);
        assert!(sender.is_closed());
    }
}
