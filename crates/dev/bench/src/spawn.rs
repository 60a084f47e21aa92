//! Real tasks on one real agent: how many a second, and how soon one runs.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1::TaskState;

use crate::{
    client::{Scheduler, amount, command_task, parts},
    daemons::{Daemon, Folder},
    table::{Table, percentile},
};

const TASKS: usize = 10_000;
const SINGLE_TASKS: usize = 200;
const RESOURCES: &str = "--resources=cpus:64;mem:65536;disk:1024;ports:[31000-31001]";

/// 10,000 `/bin/true` command tasks through one checkpointing agent, beside bare spawning by two callers.
pub(crate) fn tasks(table: &mut Table) -> Result<()> {
    let before = bare_rate()?;
    let folder = Folder::new("tasks")?;
    let master = Daemon::master(folder.path(), &[])?;
    let _agent = Daemon::agent(folder.path(), &master, &[RESOURCES])?;
    let mut scheduler = Scheduler::subscribe(master.port, "bench tasks")?;
    let (mut launched, mut ended) = (0, 0);
    let mut start = None;
    while ended < TASKS {
        let event =
            scheduler.next_flushing().with_context(|| format!("{launched} launched, {ended} ended"))?;
        let (status, offers) = parts(event);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            match status.state() {
                TaskState::TaskFinished => ended += 1,
                TaskState::TaskStarting | TaskState::TaskRunning => {}
                other => bail!("a task became {other:?}: {}", status.message()),
            }
        }
        for offer in offers {
            start.get_or_insert_with(Instant::now);
            let room = ((amount(&offer, "cpus") / 0.5).floor() as usize).min(TASKS - launched);
            let tasks = (launched..launched + room)
                .map(|n| command_task(&offer.agent_id, format!("task-{n}"), "/bin/true", 0.5, 32.0))
                .collect();
            launched += room;
            scheduler.launch(vec![offer.id], tasks, 0.0);
        }
    }
    let seconds = start.context("no offer came")?.elapsed().as_secs_f64();
    let rate = TASKS as f64 / seconds;
    let bare = (before + bare_rate()?) / 2.0;
    table.row(
        "10,000 /bin/true tasks, one checkpointing agent",
        &format!("{rate:.0}/s = {:.0} %", 100.0 * rate / bare),
        &format!("posix_spawn + wait by two callers: {bare:.0}/s"),
        ">= 50 % (80 %)",
    );
    Ok(())
}

/// `/bin/true` spawned and waited for by two threads, per second.
fn bare_rate() -> Result<f64> {
    let start = Instant::now();
    let callers: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(|| -> std::io::Result<()> {
                for _ in 0..TASKS / 4 {
                    Command::new("/bin/true").status()?;
                }
                Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
    }
    Ok((TASKS / 2) as f64 / start.elapsed().as_secs_f64())
}

/// From the ACCEPT call to TASK_RUNNING, one task at a time on an idle cluster.
pub(crate) fn latency(table: &mut Table) -> Result<()> {
    let folder = Folder::new("latency")?;
    let master = Daemon::master(folder.path(), &[])?;
    let _agent = Daemon::agent(folder.path(), &master, &[RESOURCES])?;
    let mut scheduler = Scheduler::subscribe(master.port, "bench latency")?;
    let mut samples = Vec::new();
    let mut launched = Instant::now();
    let mut busy = false;
    // Resources may come back before the news of the end, which waits for earlier acknowledgements.
    let mut waiting = None;
    while samples.len() < SINGLE_TASKS {
        let (status, offers) = parts(scheduler.next()?);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            match status.state() {
                TaskState::TaskRunning => samples.push(launched.elapsed().as_secs_f64() * 1e3),
                TaskState::TaskFinished => busy = false,
                _ => {}
            }
            scheduler.flush()?;
        }
        waiting = offers.into_iter().next().or(waiting);
        if !busy && let Some(offer) = waiting.take() {
            thread::sleep(Duration::from_millis(5));
            busy = true;
            let task =
                command_task(&offer.agent_id, format!("one-{}", samples.len()), "/bin/true", 64.0, 65536.0);
            launched = Instant::now();
            scheduler.launch(vec![offer.id], vec![task], 0.0);
            scheduler.flush()?;
        }
    }
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut samples, share));
    table.row(
        "one task, ACCEPT to TASK_RUNNING, idle cluster",
        &format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
        &format!("posix_spawn + wait: {:.1} ms", 2e3 / bare_rate()?),
        "p50 <= 5 (3), p99 <= 15 (10) ms",
    );
    Ok(())
}
