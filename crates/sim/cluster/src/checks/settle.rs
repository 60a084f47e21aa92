//! Faults have stopped: everything has to come to rest, and all sides have to agree.

use std::collections::BTreeMap;

use super::{Vector, add, vector};
use crate::{scheduler::Stage, services::serving::NEEDS, setup::Amounts, world::World};

/// Things that are missing are told up to here.
const TOLD_MAX: usize = 12;

impl World<'_> {
    /// Ends the run when everything has settled.
    pub(crate) fn look(&mut self) {
        if self.setup.settle.is_zero() {
            return self.stop();
        }
        self.tear_down_again();
        self.give_up_strangers();
        if self.unsettled().is_none() {
            self.outcome.settled = true;
            self.log(|| "everything has settled".to_owned());
            return self.stop();
        }
        self.look_again();
    }

    /// A master that has just started refuses to end a framework that it has not heard of yet, and one that
    /// starts later learns of ended ones from agents that were away (rule 65). An operator who sees the
    /// framework again ends it again.
    fn tear_down_again(&mut self) {
        let Some(core) = self.master.core.as_ref().filter(|_| self.checks.torn.contains(&true)) else {
            return;
        };
        let listed = core.state().frameworks.clone();
        for framework in (0..self.schedulers.len()).filter(|at| self.checks.torn[*at]).collect::<Vec<_>>() {
            let id = self.schedulers[framework].framework_id.clone();
            if let Some(id) = id.filter(|id| listed.contains_key(id.value.as_str())) {
                self.log(|| format!("framework {framework} is seen again and ended again"));
                self.tear_down(id);
            }
        }
    }

    /// What is missing until everything has settled, with the promise that is about it.
    pub(crate) fn unsettled(&mut self) -> Option<(&'static str, Vec<String>)> {
        let some = |rule, what: Vec<String>| (!what.is_empty()).then_some((rule, what));
        some("everything settles after the last fault", self.restless())
            .or_else(|| some("apps are as they are wanted", self.services_unsettled()))
            .or_else(|| some("schedulers know what runs", self.mistaken()))
            .or_else(|| some("resources sum up", self.miscounted()))
            .or_else(|| some("nobody is overlooked", self.judge_rest(self.master.clock.at(self.now))))
    }

    /// What has not come to rest.
    fn restless(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.master.core.is_none() {
            missing.push("the master is down".to_owned());
        }
        for agent in 0..self.agents.len() {
            let registered = self.agent_state(agent).is_some_and(|state| state.registered);
            if !registered {
                missing.push(format!("agent {agent} is not registered"));
            }
        }
        for scheduler in &self.schedulers {
            if scheduler.is_over || !scheduler.setup.behaviour.is_polite() {
                continue;
            }
            if !scheduler.is_subscribed {
                missing.push(format!("scheduler {} is not subscribed", scheduler.number));
            } else if !scheduler.is_content() {
                let restless: Vec<String> = scheduler
                    .restless()
                    .filter(|(_, stage)| *stage != Stage::Running)
                    .take(TOLD_MAX)
                    .map(|(key, stage)| format!("{} {stage:?}", key.text()))
                    .collect();
                missing.push(format!("scheduler {}: {}", scheduler.number, restless.join(", ")));
            }
        }
        for (key, attempt) in self.checks.open() {
            let scheduler = &self.schedulers[key.framework as usize];
            if missing.len() > TOLD_MAX {
                break;
            }
            if scheduler.setup.behaviour.is_polite() && !scheduler.is_over && attempt.lacks() > 0 {
                missing.push(format!("{} lacks {} updates", key.text(), attempt.lacks()));
            }
        }
        missing
    }

    /// What schedulers believe to run and does not, and the other way round.
    fn mistaken(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, attempt) in self.checks.open() {
            let scheduler = &self.schedulers[key.framework as usize];
            let Some(agent) = attempt.running_on else { continue };
            let plan = &scheduler.plans[key.plan as usize];
            let believed = plan.attempt == key.attempt
                && matches!(plan.stage, Stage::Launched | Stage::Running | Stage::Unreachable);
            if scheduler.is_over {
                wrong.push(format!("{} runs on agent {agent}, but its framework has ended", key.text()));
            } else if scheduler.setup.behaviour.is_polite() && !believed {
                wrong.push(format!("{} runs on agent {agent}, but its scheduler gave it up", key.text()));
            }
        }
        for scheduler in self.schedulers.iter().filter(|s| !s.is_over && s.setup.behaviour.is_polite()) {
            for (key, stage) in scheduler.restless() {
                let runs = self.checks.attempts_of(key).is_some_and(|attempt| attempt.running_on.is_some());
                if stage == Stage::Running && !runs {
                    wrong.push(format!("{} does not run, but its scheduler believes so", key.text()));
                }
            }
        }
        wrong
    }

    /// What the master holds to be used is what runs. Impolite frameworks do not count: theirs need not be
    /// at rest, and who does not acknowledge may keep the master from hearing of an end for as long as the
    /// agent waits between two attempts to tell it.
    pub(crate) fn miscounted(&self) -> Vec<String> {
        let Some(core) = &self.master.core else { return Vec::new() };
        let snapshot = core.state();
        let keeps_order = |scheduler: &&crate::scheduler::Scheduler| {
            !scheduler.is_over && scheduler.setup.behaviour.is_polite()
        };
        let orderly: Vec<&str> = self
            .schedulers
            .iter()
            .filter(keeps_order)
            .filter_map(|scheduler| Some(scheduler.framework_id.as_ref()?.value.as_str()))
            .collect();
        let mut running = vec![Vector::default(); self.agents.len()];
        for (key, attempt) in self.checks.open() {
            let scheduler = &self.schedulers[key.framework as usize];
            if let Some(agent) = attempt.running_on.filter(|_| keeps_order(&scheduler)) {
                add(
                    &mut running[agent as usize],
                    &vector(&scheduler.setup.tasks[key.plan as usize].needs),
                    1,
                );
            }
        }
        if let Some(host) =
            self.services.as_ref().filter(|host| keeps_order(&&self.schedulers[host.scheduler]))
        {
            let _ = host;
            for (agent, running) in running.iter_mut().enumerate() {
                for _ in 0..self.checks.services.on_agent(agent) {
                    add(running, &vector(&NEEDS), 1);
                }
            }
        }
        let by_name: BTreeMap<&str, usize> = self
            .agents
            .iter()
            .enumerate()
            .map(|(at, host)| (host.config.info.hostname.as_str(), at))
            .collect();
        let mut wrong = Vec::new();
        for (id, agent) in &snapshot.agents {
            let Some(index) = by_name.get(agent.info.hostname.as_str()).copied() else { continue };
            let mut used = Vector::default();
            for ((framework, _), task) in agent.tasks.iter().filter(|(_, task)| !task.recovered) {
                if orderly.contains(&framework.as_str()) {
                    let [cpus, mem, disk, gpus] =
                        ["cpus", "mem", "disk", "gpus"].map(|name| task.resources.scalar(name).as_f64());
                    add(&mut used, &vector(&Amounts { cpus, mem, disk, gpus }), 1);
                }
            }
            if used != running[index] {
                wrong.push(format!(
                    "{id} (agent {index}) uses {used:?} in the master's books, but {:?} runs",
                    running[index]
                ));
            }
        }
        wrong
    }
}
