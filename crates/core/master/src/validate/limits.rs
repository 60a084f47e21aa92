//! Limits of a task above its requests (rules 165 and 166).

use mezzo_mesos::v1;
use mezzo_resources::{Resources, Scalar};

pub(super) fn limits(task: &v1::TaskInfo, requests: &Resources, capable: bool) -> Result<(), String> {
    if task.limits.is_empty() {
        return Ok(());
    }
    if !capable {
        return Err("Task has resource limits, but the agent is not capable of TASK_RESOURCE_LIMITS".into());
    }
    for (name, limit) in &task.limits {
        if name != "cpus" && name != "mem" {
            return Err(format!("Setting resource limit for '{name}' is not supported"));
        }
        let request = requests.scalar(name);
        if request == Scalar::ZERO {
            return Err(format!("Task has a limit for '{name}' but does not request it"));
        }
        // Infinity is a limit too: none at all. NaN is not.
        if limit.value.is_nan() || limit.value < request.as_f64() {
            return Err(format!("Limit of '{name}' ({}) is below its request ({request})", limit.value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_165_and_166_limits() {
        let requests = mezzo_resources::parse_resources("cpus:1;mem:64", "*").expect("a text of this test");
        let with = |name: &str, value| v1::TaskInfo {
            limits: [(name.to_owned(), v1::value::Scalar { value })].into(),
            ..Default::default()
        };
        assert_eq!(limits(&with("cpus", 1.0), &requests, true), Ok(()));
        assert_eq!(limits(&with("mem", f64::INFINITY), &requests, true), Ok(()));
        assert!(limits(&with("cpus", 0.5), &requests, true).is_err());
        assert!(limits(&with("cpus", f64::NAN), &requests, true).is_err());
        assert!(limits(&with("disk", 1.0), &requests, true).is_err());
        assert!(limits(&with("cpus", 2.0), &Resources::default(), true).is_err());
        assert!(limits(&with("cpus", 2.0), &requests, false).is_err());
    }
}
