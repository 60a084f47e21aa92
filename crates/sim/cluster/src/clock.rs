//! A machine's clock as its daemon sees it.

use std::time::Duration;

use mezzo_time::{Timestamp, steered};

use crate::{queue::Nanos, world::EPOCH};

/// A wall clock that may be set, and the time of a process that is steered towards it, as the daemons' is.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How far the wall clock is off.
    skew: Nanos,
    /// When it was set last, or the process started.
    since: Nanos,
    /// What the process took for the time then.
    then: Timestamp,
}

impl Default for Clock {
    fn default() -> Self {
        Self { skew: 0, since: 0, then: Timestamp::from_nanos(EPOCH) }
    }
}

impl Clock {
    fn wall(&self, now: Nanos) -> Timestamp {
        Timestamp::from_nanos(EPOCH + now + self.skew)
    }

    pub(crate) fn at(&self, now: Nanos) -> Timestamp {
        let elapsed = Duration::from_nanos(u64::try_from(now - self.since).unwrap_or(0));
        steered(self.then, elapsed, self.wall(now))
    }

    /// When a deadline should be looked at; it may turn out to be a little ahead still.
    pub(crate) fn due(&self, now: Nanos, deadline: Timestamp) -> Nanos {
        let left = deadline.since(self.at(now)).as_nanos();
        now.saturating_add(Nanos::try_from(left).unwrap_or(Nanos::MAX))
    }

    /// A process starts, with no other idea of the time.
    pub(crate) fn start(&mut self, now: Nanos) {
        (self.since, self.then) = (now, self.wall(now));
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&mut self, now: Nanos, by: Nanos) {
        (self.since, self.then) = (now, self.at(now));
        self.skew += by;
    }
}
