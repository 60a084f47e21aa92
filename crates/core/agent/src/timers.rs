//! Everything the agent waits for, ordered by time.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId, Uuid};
use mezzo_time::Timestamp;

/// What to do when a moment has come. Handlers look again whether it is still due, so a timer that
/// fires although its reason went away does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Register with the master, first or again.
    Register,
    /// No ping came for the ping timeout.
    PingTimeout,
    /// Executors of the agent's earlier life had their time to subscribe.
    RecoveryOver,
    /// An update was not acknowledged.
    RetryUpdate(FrameworkId, TaskId),
    /// An operation's status was not acknowledged.
    RetryOperation(Uuid),
    /// An executor had its time to subscribe.
    ExecutorRegistration(FrameworkId, ExecutorId, ContainerId),
    /// An executor had its time to end.
    ExecutorShutdown(FrameworkId, ExecutorId, ContainerId),
    /// An executor's stream needs a HEARTBEAT.
    ExecutorHeartbeat(FrameworkId, ExecutorId, ContainerId),
    /// A task had its time to end.
    Escalate(FrameworkId, ExecutorId, TaskId),
    /// A task reached its max_completion_time.
    TimeUp(FrameworkId, ExecutorId, TaskId),
    /// The disk has to be measured for garbage collection.
    MeasureDisk,
    /// A sandbox may be due for deletion.
    Collect(Arc<str>),
}

/// Timers by time.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}
