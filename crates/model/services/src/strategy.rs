//! How services behave when they change, fail and are cut off.

use std::time::Duration;

/// How many may be away, and how many too many may be there, while instances are replaced. Both are shares of the wanted
/// number, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpgradeStrategy {
    /// The share that stays healthy.
    pub minimum_health_capacity: f64,
    /// The share that may run beyond the wanted number.
    pub maximum_over_capacity: f64,
}

impl UpgradeStrategy {
    /// What services without volumes get.
    pub const DEFAULT: Self = Self { minimum_health_capacity: 1.0, maximum_over_capacity: 1.0 };
    /// What services with volumes get, whose data cannot be in two places.
    pub const RESIDENT: Self = Self { minimum_health_capacity: 0.5, maximum_over_capacity: 0.0 };
}

/// How long to wait before the next launch after failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// What each further failure multiplies the wait with.
    pub factor: f64,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), factor: 1.15, longest: Duration::from_secs(300) }
    }
}

/// Which instance goes first when there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillSelection {
    /// The one started last.
    #[default]
    YoungestFirst,
    /// The one started first.
    OldestFirst,
}

/// What happens to an instance whose agent cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    /// It is waited for, however long that takes.
    Disabled,
    /// It is replaced after some time, and forgotten after some more.
    Enabled {
        /// Until a replacement is started.
        inactive_after: Duration,
        /// Until it is forgotten, counted from the same moment.
        expunge_after: Duration,
    },
}

impl UnreachableStrategy {
    /// Replaced and forgotten at once: what services without volumes get (rule 171).
    pub const DEFAULT: Self = Self::Enabled { inactive_after: Duration::ZERO, expunge_after: Duration::ZERO };
}
