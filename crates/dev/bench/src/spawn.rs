//! Real tasks on one real agent: how many a second, and how soon one runs.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1::{self, TaskState};

use crate::{
    client::{Scheduler, amount, command_task, parts},
    daemons::{Daemon, Folder},
    table::{Table, percentile},
};

/// In each round.
const TASKS: usize = 2_000;
const ROUNDS: usize = 5;
/// Bare ones before and after each round.
const BARE: usize = 1_000;
const SINGLE_TASKS: usize = 200;
const RESOURCES: &str = "--resources=cpus:64;mem:65536;disk:1024;ports:[31000-31001]";

/// 10,000 `/bin/true` command tasks through one checkpointing agent, beside bare spawning by two callers.
///
/// In rounds, each between two of bare spawning: what else happens on the host changes from second to
/// second, and the median of the rounds' ratios does not follow it.
pub(crate) fn tasks(table: &mut Table) -> Result<()> {
    let folder = Folder::new("tasks")?;
    let master = Daemon::master(folder.path(), &[])?;
    let _agent = Daemon::agent(folder.path(), &master, &[RESOURCES])?;
    let mut scheduler = Scheduler::subscribe(master.port, "bench tasks")?;
    let mut offers = Vec::new();
    let (mut rates, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = bare_rate()?;
    for round in 0..ROUNDS {
        let rate = TASKS as f64 / run_tasks(&mut scheduler, &mut offers, round)?;
        let after = bare_rate()?;
        let bare = (before + after) / 2.0;
        ratios.push(100.0 * rate / bare);
        rates.push(rate);
        bares.push(bare);
        before = after;
    }
    let [rate, bare, ratio] = [&mut rates, &mut bares, &mut ratios].map(|samples| percentile(samples, 0.5));
    table.row(
        "10,000 /bin/true tasks, one checkpointing agent",
        &format!("{rate:.0}/s, {ratio:.0} %"),
        &format!(
            "posix_spawn + wait by two callers: {bare:.0}/s; {ROUNDS} rounds of {:.0} to {:.0} %",
            percentile(&mut ratios, 0.0),
            percentile(&mut ratios, 1.0)
        ),
        ">= 50 % (80 %)",
    );
    Ok(())
}

/// Seconds for one round of tasks, from the first launch to the last end that was told. `offers` are those
/// at hand, before and after.
fn run_tasks(scheduler: &mut Scheduler, offers: &mut Vec<v1::Offer>, round: usize) -> Result<f64> {
    let (mut launched, mut ended) = (0, 0);
    let mut start = None;
    while ended < TASKS {
        for offer in std::mem::take(offers) {
            let room = ((amount(&offer, "cpus") / 0.5).floor() as usize).min(TASKS - launched);
            if room == 0 {
                offers.push(offer);
                continue;
            }
            start.get_or_insert_with(Instant::now);
            let name = |n| format!("task-{round}-{n}");
            let tasks = (launched..launched + room)
                .map(|n| command_task(&offer.agent_id, name(n), "/bin/true", 0.5, 32.0))
                .collect();
            launched += room;
            scheduler.launch(vec![offer.id], tasks, 0.0);
        }
        let event =
            scheduler.next_flushing().with_context(|| format!("{launched} launched, {ended} ended"))?;
        let (status, more) = parts(event);
        offers.extend(more);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            match status.state() {
                TaskState::TaskFinished => ended += 1,
                TaskState::TaskStarting | TaskState::TaskRunning => {}
                other => bail!("a task became {other:?}: {}", status.message()),
            }
        }
    }
    Ok(start.context("no offer came")?.elapsed().as_secs_f64())
}

/// `/bin/true` spawned and waited for by two threads, per second.
fn bare_rate() -> Result<f64> {
    let start = Instant::now();
    let callers: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(|| -> std::io::Result<()> {
                for _ in 0..BARE / 2 {
                    Command::new("/bin/true").status()?;
                }
                Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
    }
    Ok(BARE as f64 / start.elapsed().as_secs_f64())
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
