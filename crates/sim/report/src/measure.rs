//! The numbers of a run that people compare.

use serde::Serialize;

use crate::story::{Run, Story};

/// One line of the table, and of results.json.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How the allocator chose.
    pub policy: String,
    /// Seconds that half of the started tasks waited at most.
    pub wait_p50_seconds: Option<f64>,
    /// Seconds that 99 of 100 started tasks waited at most.
    pub wait_p99_seconds: Option<f64>,
    /// Mean over the load of the most used resource of the cluster, 0 to 1.
    pub utilisation: f64,
    /// Which resource that is.
    pub utilisation_of: &'static str,
    /// See [`unfairness`].
    pub unfairness: f64,
    /// Tasks that were ended although nobody asked for it.
    pub preemptions: u64,
    /// Seconds from the first submission to the end of the last task that ended.
    pub makespan_seconds: f64,
    /// Real seconds of the run.
    pub wall_seconds: f64,
    /// All tasks of the plan that were submitted before the end.
    pub tasks: usize,
    /// Ended as planned.
    pub done: usize,
    /// Ended otherwise.
    pub failed: usize,
    /// Never ran.
    pub never_started: usize,
    /// Ran when the simulation ended.
    pub running: usize,
    /// False when somebody stopped it early.
    pub complete: bool,
    /// Everything came to rest after the load.
    pub settled: bool,
    /// What must never happen, and did.
    pub violations: Vec<String>,
    /// Expectations that did not hold.
    pub broken_expectations: Vec<String>,
}

/// Measures one run.
pub fn summary(story: &Story, run: &Run) -> Summary {
    let waits = waits(run);
    let submitted = || run.tasks.iter().filter(|task| task.submit <= run.lasted);
    let (resource, utilisation) = utilisation(story, run);
    let first = submitted().map(|task| task.submit).fold(f64::INFINITY, f64::min);
    let last = submitted().filter_map(|task| task.ended).fold(0.0, f64::max);
    Summary {
        policy: run.policy.clone(),
        wait_p50_seconds: quantile(&waits, 0.5),
        wait_p99_seconds: quantile(&waits, 0.99),
        utilisation,
        utilisation_of: resource,
        unfairness: unfairness(story, run),
        preemptions: run.preemptions,
        makespan_seconds: if first.is_finite() { (last - first).max(0.0) } else { 0.0 },
        wall_seconds: run.wall,
        tasks: submitted().count(),
        done: submitted().filter(|task| task.done).count(),
        failed: submitted().filter(|task| task.failed).count(),
        never_started: submitted().filter(|task| task.started.is_none()).count(),
        running: submitted().filter(|task| task.started.is_some() && task.ended.is_none()).count(),
        complete: run.complete,
        settled: run.settled,
        violations: run.violations.clone(),
        broken_expectations: run
            .checks
            .iter()
            .filter(|(_, held)| !held)
            .map(|(what, _)| what.clone())
            .collect(),
    }
}

/// Seconds from submission to running, of tasks that ran, sorted.
pub fn waits(run: &Run) -> Vec<f64> {
    let wait = |task: &crate::Task| Some((task.started? - task.submit).max(0.0));
    let mut waits: Vec<f64> = run.tasks.iter().filter_map(wait).collect();
    waits.sort_by(f64::total_cmp);
    waits
}

/// The value that a share of a sorted list does not exceed.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Mean use over the load of the resource that is used most, 0 to 1.
fn utilisation(story: &Story, run: &Run) -> (&'static str, f64) {
    let within: Vec<_> = run.samples.iter().filter(|sample| sample.at <= story.load).collect();
    let mean = |resource: usize| {
        within.iter().map(|sample| sample.used[resource]).sum::<f64>() / within.len().max(1) as f64
    };
    let means = [mean(0), mean(1), mean(2)];
    let most = (0..3).fold(0, |most, one| if means[one] > means[most] { one } else { most });
    (crate::RESOURCES[most], means[most])
}

/// How far, on average over the samples at which somebody waits, the best served role is ahead of the
/// worst served role that still waits, in dominant share divided by weight. 0 is fair.
pub fn unfairness(story: &Story, run: &Run) -> f64 {
    let mut waiting = vec![0_i64; story.roles.len()];
    let mut changes: Vec<(f64, usize, i64)> = Vec::new();
    for task in &run.tasks {
        changes.push((task.submit, task.role, 1));
        if let Some(started) = task.started {
            changes.push((started.max(task.submit), task.role, -1));
        }
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut next = changes.into_iter().peekable();
    let (mut sum, mut count) = (0.0, 0);
    for sample in &run.samples {
        while let Some((_, role, change)) = next.next_if(|(at, _, _)| *at <= sample.at) {
            if let Some(waiting) = waiting.get_mut(role) {
                *waiting += change;
            }
        }
        let weighted = |role: usize| {
            let share = sample.shares.get(role).copied().unwrap_or(0.0);
            share / story.roles[role].weight.max(1e-9)
        };
        let worst = (0..story.roles.len()).filter(|role| waiting[*role] > 0).map(weighted);
        let worst = worst.fold(f64::INFINITY, f64::min);
        if worst.is_finite() {
            let best = (0..story.roles.len()).map(weighted).fold(worst, f64::max);
            sum += best - worst;
            count += 1;
        }
    }
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Node, Role, Sample, Task};

    fn story() -> Story {
        let task = |role, submit, started| Task { role, submit, started, ..Task::default() };
        let run = Run {
            policy: "fair-share".into(),
            lasted: 100.0,
            tasks: vec![
                task(0, 0.0, Some(1.0)),
                task(0, 0.0, Some(3.0)),
                task(1, 10.0, Some(50.0)),
                task(1, 90.0, None),
            ],
            samples: vec![
                Sample { at: 5.0, used: [0.5, 0.2, 0.0], shares: vec![0.5, 0.0], ..Sample::default() },
                Sample { at: 20.0, used: [0.7, 0.2, 0.0], shares: vec![0.6, 0.1], ..Sample::default() },
                Sample { at: 60.0, used: [0.9, 0.2, 0.0], shares: vec![0.6, 0.3], ..Sample::default() },
            ],
            ..Run::default()
        };
        Story {
            load: 100.0,
            nodes: vec![Node { has: [8.0, 1024.0, 0.0], ..Node::default() }],
            roles: vec![Role { name: "a".into(), weight: 2.0 }, Role { name: "b".into(), weight: 1.0 }],
            runs: vec![run],
            ..Story::default()
        }
    }

    #[test]
    fn the_numbers_of_a_small_run() {
        let story = story();
        let summary = summary(&story, &story.runs[0]);
        assert_eq!((summary.wait_p50_seconds, summary.wait_p99_seconds), (Some(3.0), Some(40.0)));
        assert_eq!((summary.utilisation_of, summary.never_started), ("cpus", 1));
        assert!((summary.utilisation - 0.7).abs() < 1e-9);
        // Only at 20 s does anybody wait: b, at 0.1, while a is at 0.6 / 2.
        assert!((summary.unfairness - 0.2).abs() < 1e-9, "{}", summary.unfairness);
    }

    #[test]
    fn nothing_measures_as_nothing() {
        let story = Story::default();
        let summary = summary(&story, &Run::default());
        assert_eq!(
            (summary.wait_p50_seconds, summary.unfairness, summary.makespan_seconds),
            (None, 0.0, 0.0)
        );
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0], 0.99), Some(1.0));
    }
}
