//! What a new master pays for a whole cluster coming back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1;
use mezzo_protocol::link::{Reregister, to_master};

use crate::{
    agents::{Link, Opening, description},
    client::scalar,
    daemons::{Daemon, Folder},
    table::Table,
};

/// How much of a second of two cores one process had so far, user and system.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

/// Agents that come back at the same time: after a failover they do not wait for each other.
const TOGETHER: usize = 64;

/// 40,000 agents with 10 tasks each, over one connection each.
pub(crate) fn reregister(table: &mut Table) -> Result<()> {
    const AGENTS: usize = 40_000;
    let folder = Folder::new("reregister")?;
    let master = Daemon::master(folder.path(), &["--registry=in_memory", "--agent_ping_timeout=10mins"])?;
    let before = cpu_seconds(master.pid())?;
    let start = Instant::now();
    let connect = populate(master.port, AGENTS, 10)?;
    let wall = start.elapsed();
    let work = cpu_seconds(master.pid())? - before;
    table.row(
        "40,000 agents x 10 tasks re-register, master's CPU time",
        &format!("{work:.1} s"),
        &format!(
            "wall {:.1} s, of which opening connections {:.1} s",
            wall.as_secs_f64(),
            connect.as_secs_f64()
        ),
        "<= 6 s (3)",
    );
    Ok(())
}

/// Fills a master with agents and running tasks. Links are closed again: a process may hold 20,000
/// descriptors, and a disconnected agent is remembered with its tasks. Gives the time spent on connecting.
pub(crate) fn populate(port: u16, agents: usize, tasks: usize) -> Result<Duration> {
    let framework = v1::FrameworkInfo {
        id: Some(v1::FrameworkId { value: "bench-framework-0000".into() }),
        user: "root".into(),
        name: "bench".into(),
        checkpoint: Some(true),
        failover_timeout: Some(3600.0),
        ..Default::default()
    };
    let mut connecting = Duration::ZERO;
    for first in (0..agents).step_by(TOGETHER) {
        let numbers = first..agents.min(first + TOGETHER);
        let start = Instant::now();
        let mut opening: Vec<_> = numbers.clone().map(|_| Opening::ask(port)).collect::<Result<_>>()?;
        opening.iter_mut().try_for_each(Opening::greet)?;
        let mut links: Vec<Link> = opening.into_iter().map(Opening::finish).collect::<Result<_>>()?;
        connecting += start.elapsed();
        for (n, link) in numbers.clone().zip(&mut links) {
            let id = v1::AgentId { value: format!("bench-S{n}") };
            let mut agent = description(n);
            agent.info.get_or_insert_default().id = Some(id.clone());
            let tasks = (0..tasks).map(|task| running(&framework, &id, n, task)).collect();
            link.send(to_master::Message::Reregister(Reregister {
                agent: Some(agent),
                frameworks: vec![framework.clone()],
                executors: Vec::new(),
                tasks,
            }))?;
        }
        for (n, link) in numbers.zip(&mut links) {
            let id = link.registered().with_context(|| format!("agent {n}"))?;
            if id.value != format!("bench-S{n}") {
                bail!("agent {n} was given another id");
            }
        }
    }
    Ok(connecting)
}

fn running(framework: &v1::FrameworkInfo, agent: &v1::AgentId, n: usize, task: usize) -> v1::Task {
    let task_id = v1::TaskId { value: format!("task-{n}-{task}") };
    let mut resources = vec![scalar("cpus", 0.1), scalar("mem", 32.0)];
    for resource in &mut resources {
        resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some("*".into()) });
    }
    let status = v1::TaskStatus {
        task_id: task_id.clone(),
        state: v1::TaskState::TaskRunning.into(),
        source: Some(v1::task_status::Source::Executor.into()),
        agent_id: Some(agent.clone()),
        timestamp: Some(1_795_257_512.25),
        uuid: Some(vec![3; 16]),
        ..Default::default()
    };
    v1::Task {
        name: format!("bench task {task}"),
        task_id,
        framework_id: framework.id.clone().unwrap_or_default(),
        agent_id: agent.clone(),
        state: v1::TaskState::TaskRunning.into(),
        resources,
        statuses: vec![status],
        status_update_state: Some(v1::TaskState::TaskRunning.into()),
        status_update_uuid: Some(vec![3; 16]),
        ..Default::default()
    }
}
