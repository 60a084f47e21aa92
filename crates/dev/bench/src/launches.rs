//! Launches a second through the v1 scheduler API of a real master, with agents simulated here.

use std::{thread, time::Instant};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1::TaskState;
use mezzo_protocol::link::{ToAgent, to_agent, to_master};
use rustix::event::epoll;

use crate::{
    agents::{Link, description, update},
    client::{Scheduler, amount, command_task, parts},
    daemons::{Daemon, Folder, memory_mib},
    table::Table,
};

const AGENTS: usize = 200;
const LAUNCHES: usize = 200_000;
/// Cpus of a task: 640 fit on an agent, so that what is measured is launching, not waiting for offers.
const BATCH: f64 = 0.1;

pub(crate) fn launches(table: &mut Table) -> Result<()> {
    let (rate, memory) = rate(&["--registry=in_memory"])?;
    let (judged, _) = self::rate(&["--registry=in_memory", "--check_allocations"])?;
    table.row(
        "launches through the v1 API, 200 simulated agents",
        &format!("{rate:.0}/s"),
        &format!(
            "client and agents on the same 2 cores; master then {memory:.0} MiB; with --check_allocations {judged:.0}/s"
        ),
        ">= 30,000/s (100,000)",
    );
    Ok(())
}

/// Launches a second, and the master's MiB afterwards. The scheduler launches as offers come; agents answer
/// RUNNING then FINISHED; everything is acknowledged.
fn rate(flags: &[&str]) -> Result<(f64, f64)> {
    let folder = Folder::new("launches")?;
    let master = Daemon::master(folder.path(), flags)?;
    let mut links = Vec::new();
    for n in 0..AGENTS {
        let mut link = Link::open(master.port)?;
        link.register(description(n))?;
        links.push(link);
    }
    // It ends with the master.
    thread::spawn(move || agents(links));
    let mut scheduler = Scheduler::subscribe(master.port, "bench launches")?;
    let (mut launched, mut ended) = (0, 0);
    let mut start = None;
    while ended < LAUNCHES {
        let event =
            scheduler.next_flushing().with_context(|| format!("{launched} launched, {ended} ended"))?;
        let (status, offers) = parts(event);
        if let Some(status) = status {
            match status.state() {
                TaskState::TaskRunning => {}
                TaskState::TaskFinished => ended += 1,
                other => bail!(
                    "task {} became {}: {}",
                    status.task_id.value,
                    other.as_str_name(),
                    status.message()
                ),
            }
            scheduler.acknowledge(&status);
        }
        for offer in offers {
            start.get_or_insert_with(Instant::now);
            let room = ((amount(&offer, "cpus") / BATCH).floor() as usize).min(LAUNCHES - launched);
            let tasks = (launched..launched + room)
                .map(|n| command_task(&offer.agent_id, format!("t{n}"), "/bin/true", BATCH, 32.0))
                .collect();
            launched += room;
            scheduler.launch(vec![offer.id], tasks, 0.0);
        }
    }
    let rate = LAUNCHES as f64 / start.context("no offer came")?.elapsed().as_secs_f64();
    let memory = memory_mib(master.pid(), "status", &["VmRSS"])?;
    Ok((rate, memory))
}

/// Plays all agents until a link breaks.
fn agents(mut links: Vec<Link>) -> Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, link) in links.iter().enumerate() {
        epoll::add(&poll, &link.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
    }
    let mut sequence = 0;
    let mut ready = Vec::with_capacity(AGENTS);
    loop {
        ready.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), None)?;
        for event in &ready {
            let link = &mut links[event.data.u64() as usize];
            link.read()?;
            while let Some(message) = link.buffered()? {
                answer(link, message, &mut sequence)?;
            }
            link.flush()?;
        }
    }
}

fn answer(link: &mut Link, message: ToAgent, sequence: &mut u64) -> Result<()> {
    match message.message {
        Some(to_agent::Message::Run(run)) => {
            let framework = run.framework.and_then(|info| info.id).unwrap_or_default();
            for task in &run.tasks {
                for state in [TaskState::TaskRunning, TaskState::TaskFinished] {
                    *sequence += 1;
                    link.queue(update(&framework, task, state, *sequence))?;
                }
            }
        }
        Some(to_agent::Message::Ping(_)) => link.queue(to_master::Message::Pong(Default::default()))?,
        _ => {}
    }
    Ok(())
}
