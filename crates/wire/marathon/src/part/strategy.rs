//! Strategies of upgrades, of what is unreachable, and of what is killed first.

use std::time::Duration;

use mezzo_services_model::{KillSelection, UnreachableStrategy, UpgradeStrategy};
use serde_json::Value;

use crate::{json::At, verdict::Verdict};

/// The strategy of an app, whose both numbers must be there (rule 66).
pub(crate) fn read_upgrade(at: At<'_>) -> Option<UpgradeStrategy> {
    at.object(|o| {
        let over = o.required("maximumOverCapacity", |at| at.number(0.0, 1.0));
        let healthy = o.required("minimumHealthCapacity", |at| at.number(0.0, 1.0));
        Some(UpgradeStrategy { minimum_health_capacity: healthy?, maximum_over_capacity: over? })
    })
}

pub(crate) fn read_unreachable(at: At<'_>) -> Option<UnreachableStrategy> {
    if matches!(at.value(), Value::String(_)) {
        return at.word(&[("disabled", UnreachableStrategy::Disabled)]);
    }
    at.object(|o| {
        let seconds = |key| o.read(key, |at| at.long()).map(Duration::from_secs).unwrap_or_default();
        Some(UnreachableStrategy::Enabled {
            inactive_after: seconds("inactiveAfterSeconds"),
            expunge_after: seconds("expungeAfterSeconds"),
        })
    })
}

/// Rule 178, for the strategy at `path`.
pub(crate) fn judge_unreachable(verdict: &mut Verdict, path: &str, strategy: UnreachableStrategy) {
    let UnreachableStrategy::Enabled { inactive_after, expunge_after } = strategy else { return };
    if inactive_after > expunge_after {
        let (got, most) = (inactive_after.as_secs(), expunge_after.as_secs());
        verdict.add(
            format!("{path}/inactiveAfterSeconds"),
            format!("got {got} seconds, expected {most} seconds or less"),
        );
    }
}

pub(crate) fn read_kill_selection(at: At<'_>) -> Option<KillSelection> {
    at.word(&[("YOUNGEST_FIRST", KillSelection::YoungestFirst), ("OLDEST_FIRST", KillSelection::OldestFirst)])
}

/// A number as Marathon's messages show it.
pub(crate) fn shown(number: f64) -> String {
    format!("{number:?}")
}
