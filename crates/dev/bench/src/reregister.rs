//! What a new master pays for a whole cluster coming back.

use std::{thread, time::Duration};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1;
use mezzo_protocol::link::{Reregister, to_master};

use crate::{
    agents::{Link, Opening, description},
    client::scalar,
    daemons::{Daemon, Folder, cpu_time},
    table::Table,
};

/// Waits until a process has nothing to do any more.
fn settled(pid: u32) -> Result<()> {
    let mut before = cpu_time(pid)?;
    loop {
        thread::sleep(Duration::from_millis(2));
        let now = cpu_time(pid)?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
}

/// Agents that come back at the same time: after a failover they do not wait for each other.
const TOGETHER: usize = 1024;

/// 40,000 agents with 10 tasks each, over one connection each.
pub(crate) fn reregister(table: &mut Table) -> Result<()> {
    const AGENTS: usize = 40_000;
    let folder = Folder::new("reregister")?;
    let master = Daemon::master(folder.path(), &["--registry=in_memory", "--agent_ping_timeout=10mins"])?;
    let Spent { opening, work, closing } = populate(&master, AGENTS, 10)?;
    table.row(
        "40,000 agents x 10 tasks re-register, master's CPU time",
        &format!("{:.1} s", work.as_secs_f64()),
        &format!(
            "opening the connections {:.1} s more, closing them again {:.1} s",
            opening.as_secs_f64(),
            closing.as_secs_f64()
        ),
        "<= 6 s (3)",
    );
    Ok(())
}

/// The processor time that the master spent.
#[derive(Default)]
pub(crate) struct Spent {
    /// On accepting connections and opening links over them.
    opening: Duration,
    /// On agents that come back: from their first word on an open link to the last answer.
    work: Duration,
    /// On connections that this program closes, which agents do not do.
    closing: Duration,
}

/// Fills a master with agents and running tasks. Links are closed again: a process may hold 20,000
/// descriptors, and a disconnected agent is remembered with its tasks.
pub(crate) fn populate(master: &Daemon, agents: usize, tasks: usize) -> Result<Spent> {
    let (port, pid) = (master.port, master.pid());
    let framework = v1::FrameworkInfo {
        id: Some(v1::FrameworkId { value: "bench-framework-0000".into() }),
        user: "root".into(),
        name: "bench".into(),
        checkpoint: Some(true),
        failover_timeout: Some(3600.0),
        ..Default::default()
    };
    let mut spent = Spent::default();
    for first in (0..agents).step_by(TOGETHER) {
        let numbers = first..agents.min(first + TOGETHER);
        let begun = cpu_time(pid)?;
        let opening: Vec<_> = numbers.clone().map(|_| Opening::ask(port)).collect::<Result<_>>()?;
        let mut links: Vec<Link> = opening.into_iter().map(Opening::finish).collect::<Result<_>>()?;
        settled(pid)?;
        let open = cpu_time(pid)?;
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
        settled(pid)?;
        let back = cpu_time(pid)?;
        drop(links);
        settled(pid)?;
        spent.opening += open.saturating_sub(begun);
        spent.work += back.saturating_sub(open);
        spent.closing += cpu_time(pid)?.saturating_sub(back);
    }
    Ok(spent)
}

pub(crate) fn running(framework: &v1::FrameworkInfo, agent: &v1::AgentId, n: usize, task: usize) -> v1::Task {
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
