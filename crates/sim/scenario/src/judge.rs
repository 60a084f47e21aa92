//! Whether a run did what its scenario expects.

use std::time::Duration;

use mezzo_sim_cluster::{Outcome, Setup, TaskOutcome};

use crate::{expect::Bounds, scenario::Scenario};
use mezzo_document::units::duration_text;

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was expected, and what was found where that differs.
    pub what: String,
    /// Whether it held.
    pub held: bool,
}

/// Every expectation of a scenario against what happened.
pub fn judge(scenario: &Scenario, setup: &Setup, outcome: &Outcome) -> Vec<Check> {
    let mut checks = vec![Check {
        what: match outcome.violations.first() {
            None => "no promise broken".into(),
            Some(violation) => format!("no promise broken, and found: {violation}"),
        },
        held: outcome.violations.is_empty(),
    }];
    if !setup.settle.is_zero() {
        checks.push(Check {
            what: format!("everything at rest {} after the load", duration_text(setup.settle)),
            held: outcome.settled,
        });
    }
    within("evictions", outcome.evictions, scenario.expect.evictions, &mut checks);
    let all = (0..setup.frameworks.len()).collect::<Vec<_>>();
    bounds("", &scenario.expect.all, &all, setup, outcome, &mut checks);
    for (name, wanted) in &scenario.expect.frameworks {
        let numbers = numbers(scenario, name);
        bounds(&format!("{name}: "), wanted, &numbers, setup, outcome, &mut checks);
    }
    for wanted in &scenario.expect.tasks {
        let first = numbers(scenario, &wanted.framework).first().copied().unwrap_or(usize::MAX);
        let task = outcome.tasks.get(first).and_then(|tasks| tasks.get(wanted.number - 1));
        let found = task.map_or("not there", |task| state(task, wanted.at));
        checks.push(Check {
            what: format!(
                "task {} of {} {} at {}{}",
                wanted.number,
                wanted.framework,
                wanted.state,
                duration_text(wanted.at),
                if found == wanted.state { String::new() } else { format!(", and found it {found}") },
            ),
            held: found == wanted.state,
        });
    }
    checks
}

/// Numbers of the copies of a framework.
fn numbers(scenario: &Scenario, name: &str) -> Vec<usize> {
    let mut first = 0;
    for framework in &scenario.frameworks {
        let count = framework.count as usize;
        if framework.name == name {
            return (first..first + count).collect();
        }
        first += count;
    }
    Vec::new()
}

fn state(task: &TaskOutcome, at: Duration) -> &'static str {
    match (task.started, task.ended) {
        (_, Some(ended)) if ended <= at => "ended",
        (Some(started), _) if started <= at => "running",
        _ => "waiting",
    }
}

fn within(what: &str, found: u64, (least, most): (Option<u64>, Option<u64>), checks: &mut Vec<Check>) {
    for (bound, held, word) in [
        (least, least.is_none_or(|least| found >= least), "at least"),
        (most, most.is_none_or(|most| found <= most), "at most"),
    ] {
        let Some(bound) = bound else { continue };
        let but = if held { String::new() } else { format!(", and found {found}") };
        checks.push(Check { what: format!("{what} {word} {bound}{but}"), held });
    }
}

fn bounds(
    who: &str,
    wanted: &Bounds,
    frameworks: &[usize],
    setup: &Setup,
    outcome: &Outcome,
    checks: &mut Vec<Check>,
) {
    let tasks = || frameworks.iter().filter_map(|number| outcome.tasks.get(*number)).flatten();
    let count = |matching: fn(&TaskOutcome) -> bool| tasks().filter(|task| matching(task)).count() as u64;
    within(&format!("{who}done"), count(|task| task.done), wanted.done, checks);
    within(&format!("{who}failed"), count(|task| task.failed), wanted.failed, checks);
    let running = count(|task| task.started.is_some() && task.ended.is_none());
    within(&format!("{who}running"), running, wanted.running, checks);
    within(
        &format!("{who}waiting"),
        count(|task| task.started.is_none() && !task.failed),
        wanted.waiting,
        checks,
    );
    let relaunched = tasks().map(|task| u64::from(task.attempts.saturating_sub(1))).sum();
    within(&format!("{who}relaunched"), relaunched, wanted.relaunched, checks);
    let mut waits: Vec<Duration> = Vec::new();
    for number in frameworks {
        let (Some(plans), Some(tasks)) = (setup.frameworks.get(*number), outcome.tasks.get(*number)) else {
            continue;
        };
        // One that never ran has waited until the end.
        let wait = |(plan, task): (&mezzo_sim_cluster::TaskPlan, &TaskOutcome)| {
            task.started.unwrap_or(outcome.lasted).saturating_sub(plan.submit)
        };
        waits.extend(plans.tasks.iter().zip(tasks).map(wait));
    }
    waits.sort_unstable();
    let half = waits.get(waits.len().div_ceil(2).max(1) - 1).copied();
    for (most, found, what) in [
        (wanted.wait_max, waits.last().copied(), "longest wait"),
        (wanted.wait_p50, half, "half of all waits"),
    ] {
        let (Some(most), Some(found)) = (most, found) else { continue };
        let held = found <= most;
        let but = if held { String::new() } else { format!(", and found {}", duration_text(found)) };
        checks.push(Check { what: format!("{who}{what} at most {}{but}", duration_text(most)), held });
    }
}
