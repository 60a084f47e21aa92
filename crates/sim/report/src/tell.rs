//! Fills a story from what the engine gives.

use std::time::Duration;

use mezzo_scenario::{Check, Scenario};
use mezzo_sim_cluster::{Amounts, Outcome, Setup};

use crate::story::{Node, Role, Run, Sample, Story, Task};

impl Story {
    /// The scenario without any run. `setup` is that of any of its policies.
    pub fn new(scenario: &Scenario, setup: &Setup, command: String) -> Self {
        let mut roles: Vec<Role> = Vec::new();
        for framework in &setup.frameworks {
            for role in &framework.roles {
                if !roles.iter().any(|known| known.name == *role) {
                    let weight = setup.roles.iter().find(|known| known.name == *role);
                    roles.push(Role { name: role.clone(), weight: weight.map_or(1.0, |known| known.weight) });
                }
            }
        }
        let node = |group: &mezzo_sim_cluster::NodeGroup, number: usize| Node {
            name: format!("{}-{number}", group.name),
            group: group.name.clone(),
            has: three(&group.resources),
        };
        let nodes =
            setup.nodes.iter().flat_map(|group| (0..group.count).map(move |number| node(group, number)));
        let fault = |fault: &mezzo_sim_cluster::Fault| (fault.at_ms as f64 / 1000.0, fault.to_string());
        Self {
            title: scenario.title.clone(),
            command,
            seed: setup.seed,
            load: setup.load.as_secs_f64(),
            nodes: nodes.collect(),
            roles,
            faults: setup.faults.iter().map(fault).collect(),
            runs: Vec::new(),
        }
    }

    /// Adds what happened under one policy.
    pub fn add(
        &mut self,
        policy: &str,
        setup: &Setup,
        outcome: &Outcome,
        checks: &[Check],
        wall: Duration,
        complete: bool,
    ) {
        let capacity = three(&outcome.capacity);
        let sample = |sample: &mezzo_sim_cluster::Sample| Sample {
            at: sample.at.as_secs_f64(),
            used: parts(three(&sample.used), capacity),
            shares: self
                .roles
                .iter()
                .map(|role| sample.shares.get(&role.name).copied().unwrap_or(0.0))
                .collect(),
            running: sample.running,
            waiting: sample.waiting,
        };
        let mut tasks = Vec::new();
        for (framework, outcomes) in setup.frameworks.iter().zip(&outcome.tasks) {
            let first = framework.roles.first();
            let role =
                first.and_then(|role| self.roles.iter().position(|known| known.name == *role)).unwrap_or(0);
            for (plan, outcome) in framework.tasks.iter().zip(outcomes) {
                tasks.push(Task {
                    role,
                    needs: three(&plan.needs),
                    submit: plan.submit.as_secs_f64(),
                    started: outcome.started.map(|at| at.as_secs_f64()),
                    ended: outcome.ended.map(|at| at.as_secs_f64()),
                    node: outcome.agent.map(|agent| agent as usize),
                    done: outcome.done,
                    failed: outcome.failed,
                });
            }
        }
        let run = Run {
            policy: policy.to_owned(),
            wall: wall.as_secs_f64(),
            lasted: outcome.lasted.as_secs_f64(),
            complete,
            settled: outcome.settled || setup.settle.is_zero(),
            violations: outcome.violations.iter().map(ToString::to_string).collect(),
            checks: checks.iter().map(|check| (check.what.clone(), check.held)).collect(),
            tasks,
            samples: outcome.samples.iter().map(sample).collect(),
            preemptions: outcome.evictions,
            retries: outcome.retries,
            events: outcome.events,
        };
        self.runs.push(run);
    }
}

fn three(amounts: &Amounts) -> [f64; 3] {
    [amounts.cpus, amounts.mem, amounts.gpus]
}

fn parts(used: [f64; 3], of: [f64; 3]) -> [f64; 3] {
    let mut parts = [0.0; 3];
    for ((part, used), of) in parts.iter_mut().zip(used).zip(of) {
        *part = if of > 0.0 { used / of } else { 0.0 };
    }
    parts
}
