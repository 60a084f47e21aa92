//! A scenario as the engine takes it, under one policy.

use std::time::Duration;

use mezzo_allocator::AgentPreference;
use mezzo_sim_cluster::{
    Amounts as Needs, Direction as Way, Fault as Planned, FaultKind as Planning, FrameworkSetup, MasterSetup,
    NodeGroup as Nodes, RoleSetup, Setup, TaskPlan, Victim,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    events::{Direction, Fault, FaultKind, Target, When},
    scenario::{Amounts, Behaviour, Framework, Policy, Preference, Scenario, Sorter, Workload, WorkloadKind},
};

/// Above this many nodes, links are plain messages: encoding frames would be most of the work.
const FRAMED_NODES_MAX: u64 = 200;
/// Above this many nodes times frameworks, offers are not judged by the allocator's checker.
const JUDGED_MAX: u64 = 2_000;
/// Samples of a run.
const SAMPLES: u32 = 400;
/// Calls a second of a flooder.
const FLOOD: u32 = 200;
/// Faults of one line of a scenario; chance stops there.
const FAULTS_MAX: usize = 100_000;

/// What the engine plays: the same scenario, policy and seed give the same setup.
pub fn setup(scenario: &Scenario, policy: &Policy, seed: u64) -> Setup {
    let nodes: u64 = scenario.nodes.iter().map(|group| group.count).sum();
    let frameworks: u64 = scenario.frameworks.iter().map(|framework| framework.count).sum();
    let mut chance = ChaCha8Rng::seed_from_u64(seed ^ FAULTS);
    let mut faults: Vec<Planned> = Vec::new();
    for fault in &scenario.faults {
        plan(fault, nodes as usize, frameworks as usize, &mut chance, &mut faults);
    }
    faults.sort_by_key(|fault| fault.at_ms);
    Setup {
        seed,
        load: scenario.duration,
        settle: scenario.settle,
        nodes: scenario.nodes.iter().map(nodes_of).collect(),
        roles: scenario.roles.iter().map(role_of).collect(),
        frameworks: scenario.frameworks.iter().flat_map(|one| frameworks_of(one, seed)).collect(),
        faults,
        master: master_of(scenario, policy),
        framed_links: nodes <= FRAMED_NODES_MAX,
        judge_offers: nodes * frameworks <= JUDGED_MAX,
        sample_every: (scenario.duration / SAMPLES).max(Duration::from_millis(100)),
        ..Setup::default()
    }
}

/// Distinguishes the chance of faults from that of work.
const FAULTS: u64 = 0xfa17;

fn needs(amounts: &Amounts) -> Needs {
    Needs { cpus: amounts.cpus, mem: amounts.memory, disk: amounts.disk, gpus: amounts.gpus }
}

fn nodes_of(group: &crate::NodeGroup) -> Nodes {
    Nodes {
        name: group.name.clone(),
        count: group.count as usize,
        resources: needs(&group.resources),
        attributes: group.attributes.clone(),
        domain: group.domain.clone(),
    }
}

fn role_of(role: &crate::Role) -> RoleSetup {
    let guarantee = role.guarantee.iter().flat_map(|amounts| amounts.named());
    RoleSetup {
        name: role.name.clone(),
        weight: role.weight,
        guarantee: guarantee
            .filter(|(_, amount)| *amount > 0.0)
            .map(|(name, amount)| (name.to_owned(), amount))
            .collect(),
        limit: role.limit.iter().cloned().collect(),
    }
}

fn master_of(scenario: &Scenario, policy: &Policy) -> MasterSetup {
    let flags = &scenario.master;
    let usual = MasterSetup::default();
    MasterSetup {
        agent_ping_timeout: flags.agent_ping_timeout.unwrap_or(usual.agent_ping_timeout),
        agent_ping_timeouts_max: flags
            .agent_ping_timeouts_max
            .map_or(usual.agent_ping_timeouts_max, |max| max as u32),
        agent_reregister_timeout: flags.agent_reregister_timeout.unwrap_or(usual.agent_reregister_timeout),
        agent_removal_every: flags.agent_removal_every.or(usual.agent_removal_every),
        offer_timeout: flags.offer_timeout.or(usual.offer_timeout),
        allocation_interval: flags.allocation_interval.unwrap_or(usual.allocation_interval),
        sorter: match policy.sorter {
            Sorter::FairShare => mezzo_allocator::Sorter::FairShare,
            Sorter::Random => mezzo_allocator::Sorter::Random,
        },
        preference: match &policy.preference {
            Preference::Any => AgentPreference::Random,
            Preference::Spread => AgentPreference::Spread,
            Preference::Pack => AgentPreference::Pack,
            Preference::MostFree(name) => AgentPreference::MostFree(name.as_str().into()),
        },
    }
}

fn frameworks_of(framework: &Framework, seed: u64) -> impl Iterator<Item = FrameworkSetup> {
    (0..framework.count).map(move |copy| {
        let name = match framework.count {
            1 => framework.name.clone(),
            _ => format!("{}-{}", framework.name, copy + 1),
        };
        // From its name, so that a framework more in the file does not change the work of the others.
        let own =
            name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut chance = ChaCha8Rng::seed_from_u64(own);
        let mut tasks = Vec::new();
        let mut pods = 0;
        for workload in &framework.workloads {
            work(workload, &mut chance, &mut pods, &mut tasks);
        }
        tasks.sort_by_key(|task: &TaskPlan| task.submit);
        FrameworkSetup {
            name,
            roles: framework.roles.clone(),
            behaviour: match framework.behaviour {
                Behaviour::Polite => mezzo_sim_cluster::Behaviour::Polite,
                Behaviour::Hoarder => mezzo_sim_cluster::Behaviour::Hoarder,
                Behaviour::Flooder => mezzo_sim_cluster::Behaviour::Flooder(FLOOD),
                Behaviour::NeverAcknowledges => mezzo_sim_cluster::Behaviour::NeverAcknowledges,
                Behaviour::DeclinesAll => mezzo_sim_cluster::Behaviour::DeclinesAll,
                Behaviour::KillsAtRandom => mezzo_sim_cluster::Behaviour::KillsAtRandom,
                Behaviour::Absurd => mezzo_sim_cluster::Behaviour::Absurd,
            },
            partition_aware: framework.partition_aware,
            gpus: framework.gpus,
            region_aware: framework.region_aware,
            failover_timeout: framework.failover_timeout,
            refuse: framework.refuse,
            suppresses: framework.suppresses,
            joins: framework.joins,
            tasks,
        }
    })
}

/// The tasks of one workload; a pod's tasks are submitted together.
fn work(workload: &Workload, chance: &mut ChaCha8Rng, pods: &mut u32, tasks: &mut Vec<TaskPlan>) {
    if let WorkloadKind::Trace { trace, owner } = &workload.kind {
        for one in trace.submissions.iter().filter(|one| one.owner == *owner) {
            let plan = TaskPlan {
                submit: one.submit,
                run: Some(one.duration),
                kill_after: None,
                exit: u8::from(one.fails),
                stubborn: false,
                needs: needs(&one.resources),
                retries: workload.retries,
                group: 0,
            };
            tasks.extend(std::iter::repeat_n(plan, one.count as usize));
        }
        return;
    }
    for (number, submit) in submissions(&workload.kind, chance).into_iter().enumerate() {
        let run = workload.runtime.map(|(low, high)| between(chance, low, high));
        let fails = fraction(chance) < workload.fails;
        if workload.pod > 1 && (number as u64).is_multiple_of(workload.pod) {
            *pods += 1;
        }
        tasks.push(TaskPlan {
            submit,
            run,
            kill_after: workload.kill_after,
            exit: u8::from(fails),
            stubborn: workload.stubborn,
            needs: needs(&workload.resources),
            retries: workload.retries,
            group: if workload.pod > 1 { *pods } else { 0 },
        });
    }
}

fn submissions(kind: &WorkloadKind, chance: &mut ChaCha8Rng) -> Vec<Duration> {
    match kind {
        WorkloadKind::Service { tasks, start } => vec![*start; *tasks as usize],
        WorkloadKind::Batch { tasks, waves, every, start } => {
            let wave = |wave: u64| {
                let at = *start + Duration::from_secs_f64(every.as_secs_f64() * wave as f64);
                std::iter::repeat_n(at, *tasks as usize)
            };
            (0..*waves).flat_map(wave).collect()
        }
        WorkloadKind::Short { rate, start, end } => {
            let mut times = Vec::new();
            let mut at = *start + waiting_time(chance, 1.0 / rate);
            while at < *end {
                times.push(at);
                at += waiting_time(chance, 1.0 / rate);
            }
            times
        }
        WorkloadKind::Trace { .. } => Vec::new(),
    }
}

/// Every fault of one line of the scenario.
fn plan(fault: &Fault, nodes: usize, frameworks: usize, chance: &mut ChaCha8Rng, planned: &mut Vec<Planned>) {
    let mut times = Vec::new();
    match fault.when {
        When::At(at) => times.push(at),
        When::Random { every, from, until } => {
            let mut at = from + waiting_time(chance, every.as_secs_f64());
            while at < until && times.len() < FAULTS_MAX {
                times.push(at);
                at += waiting_time(chance, every.as_secs_f64());
            }
        }
    }
    let random = matches!(fault.when, When::Random { .. });
    for at in times {
        let victims: Vec<Victim> = match &fault.target {
            Target::Cluster => vec![Victim::Master],
            Target::Nodes(all) if random => vec![Victim::Agent(all[below(chance, all.len())])],
            Target::Frameworks(all) if random => vec![Victim::Scheduler(all[below(chance, all.len())])],
            Target::Nodes(all) => all.iter().map(|node| Victim::Agent(*node)).collect(),
            Target::Frameworks(all) => all.iter().map(|one| Victim::Scheduler(*one)).collect(),
            Target::AnyNode => vec![Victim::Agent(below(chance, nodes))],
            Target::AnyFramework => vec![Victim::Scheduler(below(chance, frameworks))],
        };
        for victim in victims {
            if let Some(kind) = kind_of(fault, victim) {
                planned.push(Planned { at_ms: millis(at), kind });
            }
        }
    }
}

fn kind_of(fault: &Fault, victim: Victim) -> Option<Planning> {
    let length = millis(fault.lasts);
    let by_ms = (fault.seconds * 1000.0).round() as i64;
    let percent = (fault.share * 100.0).round().clamp(0.0, 100.0) as u8;
    let agent = || match victim {
        Victim::Agent(agent) => Some(agent),
        _ => None,
    };
    let scheduler = || match victim {
        Victim::Scheduler(scheduler) => Some(scheduler),
        _ => None,
    };
    Some(match fault.kind {
        FaultKind::Crash => Planning::Crash { victim, down_ms: length },
        FaultKind::Reboot => Planning::Reboot { agent: agent()?, down_ms: length },
        FaultKind::Pause => Planning::Pause { victim, for_ms: length },
        FaultKind::Partition => {
            let direction = match fault.direction {
                Direction::Both => Way::Both,
                Direction::FromMaster => Way::FromMaster,
                Direction::ToMaster => Way::ToMaster,
            };
            Planning::Partition { victim, direction, for_ms: length }
        }
        FaultKind::Break => Planning::Break { victim },
        FaultKind::LoseCalls => Planning::LoseCalls { scheduler: scheduler()?, percent, for_ms: length },
        FaultKind::ReorderCalls => {
            Planning::Reorder { scheduler: scheduler()?, by_ms: by_ms.unsigned_abs(), for_ms: length }
        }
        FaultKind::SlowNetwork => Planning::SlowNetwork { factor: fault.factor, for_ms: length },
        FaultKind::ClockJump => Planning::ClockJump { victim, by_ms },
        FaultKind::DiskFull => Planning::DiskFull { victim, for_ms: length },
        FaultKind::SlowDisk => Planning::SlowDisk { victim, sync_ms: by_ms.unsigned_abs(), for_ms: length },
        FaultKind::LaunchFailures => Planning::LaunchFailures { agent: agent()?, percent, for_ms: length },
        FaultKind::Drain => Planning::Drain { agent: agent()?, for_ms: length },
        FaultKind::Gone => Planning::Gone { agent: agent()?, down_ms: length },
        FaultKind::Teardown => Planning::Teardown { framework: scheduler()? },
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// From 0 to 1, 1 excluded.
fn fraction(chance: &mut ChaCha8Rng) -> f64 {
    (chance.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn below(chance: &mut ChaCha8Rng, limit: usize) -> usize {
    (chance.next_u64() % limit.max(1) as u64) as usize
}

fn between(chance: &mut ChaCha8Rng, low: Duration, high: Duration) -> Duration {
    low + Duration::from_millis((fraction(chance) * high.saturating_sub(low).as_millis() as f64) as u64)
}

/// Until the next of events that come on average so many seconds apart; at least a microsecond.
fn waiting_time(chance: &mut ChaCha8Rng, mean: f64) -> Duration {
    let seconds = -(1.0 - fraction(chance)).ln() * mean;
    Duration::from_micros((seconds * 1e6).clamp(1.0, 1e15) as u64)
}

#[cfg(test)]
mod tests;
