//! Canaries: the first new instances of an upgrade, which are looked at before the others follow.

use std::time::Duration;

use mezzo_time::Timestamp;

use crate::{HttpScheme, PathId};

/// How many instances go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanarySize {
    /// So many, at least 1.
    Count(u32),
    /// So many in a hundred of the wanted ones, 1 to 100; rounded up.
    Percent(u32),
}

/// What happens when a canary fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The service goes back to the definition it had; instances of that are kept.
    #[default]
    Rollback,
    /// The deployment stays where it is until a person decides.
    Stop,
}

/// A question of the operator's, asked while canaries hold: an answer of 200 to 299 is good, anything else a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryCheck {
    /// How.
    pub scheme: HttpScheme,
    /// The host or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path with its query; begins with a slash.
    pub path: String,
    /// Between questions.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// How an upgrade is tried on a few instances first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// How many go first.
    pub size: CanarySize,
    /// How long all of them have to be well without a break.
    pub hold: Duration,
    /// How long they may take to become well, each time that one is not.
    pub deadline: Duration,
    /// How many failures are let pass: canaries that end or turn unhealthy, and bad answers to the check.
    pub failures_max: u32,
    /// What is asked besides.
    pub check: Option<CanaryCheck>,
    /// What follows a failure too many.
    pub on_failure: OnFailure,
}

impl Canary {
    /// How many go first when `instances` are wanted: at least one, at most all.
    pub fn count(&self, instances: u32) -> u32 {
        let count = match self.size {
            CanarySize::Count(count) => count,
            CanarySize::Percent(percent) => {
                let parts = u64::from(instances) * u64::from(percent);
                u32::try_from(parts.div_ceil(100)).unwrap_or(u32::MAX)
            }
        };
        count.clamp(1, instances.max(1))
    }
}

/// How far canaries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryPhase {
    /// Not all of them are well yet.
    Waiting,
    /// All are well, and have to stay so for a while.
    Holding,
    /// They have held; the others follow or have followed.
    Passed,
    /// They have failed.
    Failed,
    /// The definition does not ask for them any more: the others follow all the same.
    Waived,
}

impl CanaryPhase {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Holding, Self::Passed, Self::Failed, Self::Waived];

    /// The name as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Holding => "holding",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Waived => "waived",
        }
    }

    /// Whether the others may follow.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Passed | Self::Waived)
    }
}

/// What became of the canaries of one version of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryReport {
    /// The service.
    pub run_spec: PathId,
    /// The version that is tried.
    pub version: Timestamp,
    /// The version to go back to: the last one that was not on trial.
    pub base: Timestamp,
    /// How many instances of that one were wanted, or have been asked for since.
    pub base_instances: u32,
    /// How far they are.
    pub phase: CanaryPhase,
    /// Since when.
    pub since: Timestamp,
    /// Whether the check has answered well since they hold; always with no check.
    pub checked: bool,
    /// Failures until now.
    pub failures: u32,
    /// The last failure in words; empty before the first.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_and_at_most_all_go_first() {
        let canary = |size| Canary {
            size,
            hold: Duration::ZERO,
            deadline: Duration::ZERO,
            failures_max: 0,
            check: None,
            on_failure: OnFailure::Rollback,
        };
        let percent = canary(CanarySize::Percent(10));
        assert_eq!([1, 5, 10, 11, 100].map(|count| percent.count(count)), [1, 1, 1, 2, 10]);
        let three = canary(CanarySize::Count(3));
        assert_eq!([1, 3, 10].map(|count| three.count(count)), [1, 3, 3]);
        assert_eq!(canary(CanarySize::Percent(100)).count(u32::MAX), u32::MAX);
    }
}
