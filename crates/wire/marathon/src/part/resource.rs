//! Limits of resources and what executors need.

use mezzo_services_model::{ExecutorResources, Limit, ResourceLimits, Resources};
use serde_json::Value;

use crate::{json::At, verdict::Verdict};

pub(crate) fn read_executor_resources(at: At<'_>) -> Option<ExecutorResources> {
    let default = ExecutorResources::default();
    at.object(|o| {
        Some(ExecutorResources {
            cpus: o.read("cpus", |at| at.number(default.cpus, f64::MAX)).unwrap_or(default.cpus),
            mem: o.read("mem", |at| at.number(default.mem, f64::MAX)).unwrap_or(default.mem),
            disk: o.read("disk", |at| at.number(default.disk, f64::MAX)).unwrap_or(default.disk),
        })
    })
}

pub(crate) fn read_limits(at: At<'_>) -> Option<ResourceLimits> {
    let limit = |at: At<'_>| match at.value() {
        Value::String(_) => at.word(&[("unlimited", Limit::Unlimited)]),
        _ => at.number(0.0, f64::MAX).map(Limit::Value),
    };
    at.object(|o| Some(ResourceLimits { cpus: o.read("cpus", limit), mem: o.read("mem", limit) }))
}

/// Rule 291 for limits at `path`.
pub(crate) fn judge_limits(verdict: &mut Verdict, path: &str, limits: &ResourceLimits, wanted: &Resources) {
    for (name, limit, wanted) in [("cpus", limits.cpus, wanted.cpus), ("mem", limits.mem, wanted.mem)] {
        if matches!(limit, Some(Limit::Value(limit)) if limit < wanted) {
            verdict.add(
                format!("{path}/{name}"),
                format!("resource limit must be greater than or equal to requested resource ({wanted:?})"),
            );
        }
    }
}
