//! How much memory the master's core takes for a large cluster, its allocator included: fed as a driver
//! feeds it, without connections.

use std::time::Duration;

use anyhow::{Context, Result};
use mezzo_ids::MasterId;
use mezzo_master::{Config, Input, LinkId, Master};
use mezzo_mesos::v1;
use mezzo_protocol::link::{Reregister, ToMaster, to_master};
use mezzo_time::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::{
    agents::description,
    allocator::{LARGE, resident_mib},
    reregister::running,
    table::Table,
};

fn config() -> Config {
    Config {
        id: MasterId::from("9f4e1c7a-5f0a-4b4e-9d0c-0242ac120002"),
        info: v1::MasterInfo { id: "9f4e1c7a".into(), port: 5050, ..Default::default() },
        // Nobody answers pings here.
        agent_ping_timeout: Duration::from_secs(100_000),
        agent_ping_timeouts_max: 5,
        agent_reregister_timeout: Duration::from_secs(600),
        recovery_agent_removal_limit: 1.0,
        agent_removal_rate_limit: None,
        offer_timeout: None,
        root_submissions: true,
        roles: None,
        require_agent_domain: false,
        completed_frameworks_max: 50,
        completed_tasks_max: 1000,
        unreachable_tasks_max: 1000,
        registry_agent_age_max: Duration::from_secs(14 * 24 * 3600),
        registry_agent_count_max: 102_400,
        registry_gc_interval: Duration::from_secs(900),
        agent_url_path: "/slave(1)".into(),
        constraint_limits: Default::default(),
        allocator: Default::default(),
    }
}

/// Agents come back with tasks of many frameworks.
pub(crate) fn master_memory(table: &mut Table) -> Result<()> {
    let (agents, frameworks, tasks) = LARGE;
    let before = resident_mib()?;
    let mut now = Timestamp::from_nanos(1_000_000_000_000);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut master = Master::new(config(), now, Vec::new());
    let framework = |i: usize| v1::FrameworkInfo {
        id: Some(v1::FrameworkId { value: format!("9f4e1c7a-5f0a-4b4e-9d0c-0242ac120002-{i:04}") }),
        user: "root".into(),
        name: format!("bench {i}"),
        checkpoint: Some(true),
        failover_timeout: Some(1e9),
        ..Default::default()
    };
    for n in 0..agents {
        let id = v1::AgentId { value: format!("9f4e1c7a-5f0a-4b4e-9d0c-0242ac120002-S{n}") };
        let mut agent = description(n);
        agent.info.get_or_insert_default().id = Some(id.clone());
        let owners: Vec<_> = (0..tasks / agents).map(|k| framework((n + k * 37) % frameworks)).collect();
        let tasks = owners.iter().zip(0..).map(|(owner, k)| running(owner, &id, n, k)).collect();
        let message = Reregister { agent: Some(agent), frameworks: owners, executors: Vec::new(), tasks };
        let message = Box::new(ToMaster { message: Some(to_master::Message::Reregister(message)) });
        now = now + Duration::from_millis(1);
        master.step(now, &mut rng, Input::FromAgent { link: LinkId(n as u64), message });
    }
    let mib = resident_mib()? - before;
    let snapshot = master.snapshot();
    let there: usize = snapshot.agents.values().map(|agent| agent.tasks.len()).sum();
    (there == tasks && snapshot.agents.len() == agents)
        .then_some(())
        .with_context(|| format!("{there} tasks on {} agents", snapshot.agents.len()))?;
    table.row(
        &format!("the master's memory with its allocator, {agents} agents with {tasks} tasks"),
        &format!("{mib:.0} MiB"),
        &format!("of {frameworks} frameworks"),
        "<= 2048 MiB",
    );
    Ok(())
}
