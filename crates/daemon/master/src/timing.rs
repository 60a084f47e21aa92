//! How long something takes, as Mesos' metrics show it: the last one, and the spread of recent ones.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Recent durations that are kept, as many as Mesos keeps.
const KEPT_MAX: usize = 1000;

/// Of one kind of work.
#[derive(Debug, Default)]
pub(crate) struct Timing(Mutex<VecDeque<f64>>);

impl Timing {
    /// It took this long.
    pub(crate) fn record(&self, took: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(took.as_secs_f64() * 1000.0);
    }

    /// `name` in milliseconds with its statistics below it, or nothing when it never happened.
    pub(crate) fn values(&self, name: &str) -> Vec<(String, f64)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(last) = kept.back().copied() else { return Vec::new() };
        let mut sorted = Vec::from(kept);
        sorted.sort_by(f64::total_cmp);
        let statistics = [
            ("count", sorted.len() as f64),
            ("min", percentile(&sorted, 0.0)),
            ("max", percentile(&sorted, 1.0)),
            ("p50", percentile(&sorted, 0.5)),
            ("p90", percentile(&sorted, 0.9)),
            ("p95", percentile(&sorted, 0.95)),
            ("p99", percentile(&sorted, 0.99)),
            ("p999", percentile(&sorted, 0.999)),
            ("p9999", percentile(&sorted, 0.9999)),
        ];
        let below = statistics.into_iter().map(|(statistic, value)| (format!("{name}/{statistic}"), value));
        std::iter::once((name.to_owned(), last)).chain(below).collect()
    }
}

/// Between the two values that the share falls between.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * sorted.len().saturating_sub(1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let value = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or_default();
    value(below) + part * (value(below + 1) - value(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_of_what_never_happened() {
        assert_eq!(Timing::default().values("x_ms"), []);
    }

    #[test]
    fn statistics_are_of_recent_ones() {
        let timing = Timing::default();
        for ms in 0..=KEPT_MAX as u64 {
            timing.record(Duration::from_millis(ms));
        }
        let values = timing.values("x_ms");
        assert_eq!(values[0], ("x_ms".to_owned(), 1000.0));
        assert_eq!(values[1], ("x_ms/count".to_owned(), 1000.0));
        assert_eq!(values[2], ("x_ms/min".to_owned(), 1.0));
        assert_eq!(values[4], ("x_ms/p50".to_owned(), 500.5));
    }
}
