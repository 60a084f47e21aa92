//! What is due when.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{InstanceId, PathId};
use mezzo_time::Timestamp;

/// Something that is looked at again later. One of each is set at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Delays that are over are forgotten (rule 84).
    Backoff,
    /// Canaries have held, or have taken too long to be well.
    Canary(PathId),
    /// The check of canaries.
    CanaryCheck(PathId),
    /// The nth health check of an instance.
    Check(InstanceId, usize),
    /// The master may be told of constraints again (rule 123).
    Constraints,
    /// A service's delay is over.
    Delay(PathId),
    /// Instances that are unreachable for long are forgotten (rule 174).
    Expunge,
    /// An unreachable instance is to be replaced.
    Inactive(InstanceId),
    /// Kills without an answer are sent again (rule 76).
    Kills,
    /// Launches without an answer are given up (rule 99).
    Overdue,
    /// A readiness check.
    Ready(InstanceId),
    /// The master is asked what it knows (rule 104).
    Reconcile,
    /// Offers are asked for.
    Revive,
    /// Numbers of instances are looked at (rule 103).
    Scale,
    /// Launch tokens are filled up (rule 95).
    Tokens,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Timestamp, Timer)>,
    at: BTreeMap<Timer, Timestamp>,
}

impl Timers {
    /// Sets it, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.clear(&timer);
        self.due.insert((at, timer.clone()));
        self.at.insert(timer, at);
    }

    /// Sets it unless it is set.
    pub(crate) fn ensure(&mut self, timer: Timer, at: Timestamp) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    pub(crate) fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.due.remove(&(at, timer.clone()));
        }
    }

    /// Takes the first that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}
