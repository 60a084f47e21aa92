//! Sums of requests and limits, and conversions of small message types.

use std::time::Duration;

use mezzo_mesos::v1;

use crate::{
    config::{COMMAND_EXECUTOR_CPUS, COMMAND_EXECUTOR_MEM},
    effect::Limits,
};

/// A message's duration; a negative one is none at all.
pub(crate) fn duration(info: &v1::DurationInfo) -> Duration {
    Duration::from_nanos(u64::try_from(info.nanoseconds).unwrap_or(0))
}

/// Seconds of a message; negative and not finite ones are zero, huge ones a century.
pub(crate) fn seconds(value: f64) -> Duration {
    const CENTURY: f64 = 100.0 * 365.0 * 86_400.0;
    if value > 0.0 { Duration::from_secs_f64(value.min(CENTURY)) } else { Duration::ZERO }
}

/// Sum of the scalars of this name, rounded to thousandths (rule 432).
pub(crate) fn scalar_sum(resources: &[v1::Resource], name: &str, revocable: bool) -> f64 {
    let thousandths: i64 = resources
        .iter()
        .filter(|r| r.name == name && r.revocable.is_some() == revocable)
        .filter_map(|r| r.scalar.as_ref())
        .map(|s| (s.value * 1000.0).round() as i64)
        .sum();
    thousandths as f64 / 1000.0
}

/// A scalar resource with the given allocation role.
pub(crate) fn scalar(name: &str, value: f64, role: Option<&str>) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        allocation_info: role.map(|role| v1::resource::AllocationInfo { role: Some(role.into()) }),
        ..Default::default()
    }
}

/// What a command task's executor takes on top of the task (rule 300).
pub(crate) fn command_executor(task: &v1::TaskInfo) -> Vec<v1::Resource> {
    let role = task.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.as_deref());
    vec![scalar("cpus", COMMAND_EXECUTOR_CPUS, role), scalar("mem", COMMAND_EXECUTOR_MEM, role)]
}

/// Limits of a container: per task the limit or else the request; an infinite one makes the sum
/// infinite; none at all when no task has a limit (rule 430).
pub(crate) fn limits<'a>(
    executor: &[v1::Resource],
    tasks: impl Iterator<Item = &'a v1::TaskInfo> + Clone,
) -> Limits {
    let sum = |name: &str| {
        if !tasks.clone().any(|t| t.limits.contains_key(name)) {
            return None;
        }
        let own = scalar_sum(executor, name, false) + scalar_sum(executor, name, true);
        Some(own + tasks.clone().map(|task| task_limit(task, name)).sum::<f64>())
    };
    Limits { cpus: sum("cpus"), mem: sum("mem") }
}

fn task_limit(task: &v1::TaskInfo, name: &str) -> f64 {
    match task.limits.get(name) {
        Some(limit) => limit.value,
        None => scalar_sum(&task.resources, name, false) + scalar_sum(&task.resources, name, true),
    }
}

/// Adds up what can be added: scalars of the same kind become one entry. What is asked of a container
/// needs no exact algebra, so reservations are left out of the comparison.
pub(crate) fn merged<'a>(resources: impl Iterator<Item = &'a v1::Resource>) -> Vec<v1::Resource> {
    let mut merged: Vec<v1::Resource> = Vec::new();
    for resource in resources {
        let same = merged.iter_mut().find(|m| {
            m.name == resource.name
                && m.revocable == resource.revocable
                && m.disk.is_none()
                && resource.disk.is_none()
                && m.shared.is_none()
        });
        match (same, &resource.scalar) {
            (Some(v1::Resource { scalar: Some(sum), .. }), Some(more)) => {
                sum.value = ((sum.value + more.value) * 1000.0).round() / 1000.0;
            }
            (Some(v1::Resource { ranges: Some(all), .. }), None) => {
                all.range.extend(resource.ranges.iter().flat_map(|r| r.range.iter().copied()));
            }
            _ => merged.push(resource.clone()),
        }
    }
    merged
}
