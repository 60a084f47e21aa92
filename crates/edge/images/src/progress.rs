//! How far a pull is, and whether it is still wanted.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::error::Reason;

/// How soon a cancelled pull notices while it waits.
const NOTICE: Duration = Duration::from_millis(50);

/// What a pull has done of what it has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Packed bytes that are here, of layers that were here before too.
    pub bytes: u64,
    /// Of all layers; 0 until the manifest is known.
    pub bytes_total: u64,
    /// Layers that are unpacked.
    pub layers: usize,
    /// Of these.
    pub layers_total: usize,
}

/// Ends a pull that takes too long or is not wanted any more.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
    /// Set by the part of a pull that failed, for the others.
    stopped: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn new(deadline: Instant, cancelled: Arc<AtomicBool>) -> Self {
        Self { deadline, cancelled, stopped: Arc::default() }
    }

    /// Ends all parts of the pull.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Passes a stream on for as long as the pull goes on.
    pub(crate) fn reader<R>(&self, reader: R) -> Watched<'_, R> {
        Watched { watch: self, reader }
    }

    pub(crate) fn until(deadline: Instant) -> Self {
        Self::new(deadline, Arc::default())
    }

    pub(crate) fn check(&self) -> Result<(), Reason> {
        if self.cancelled.load(Ordering::Relaxed) || self.stopped.load(Ordering::Relaxed) {
            return Err(Reason::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(Reason::TimedOut);
        }
        Ok(())
    }

    pub(crate) fn sleep(&self, time: Duration) -> Result<(), Reason> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(NOTICE));
        }
    }
}

pub(crate) struct Watched<'w, R> {
    watch: &'w Watch,
    reader: R,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.check().is_err() {
            // Who reads asks the watch why.
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.reader.read(buffer)
    }
}
