//! How soon a cluster is there, and what it costs when nothing happens.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1::{self, TaskState, scheduler::call};

use crate::{
    client::{Scheduler, command_task, parts},
    daemons::{Daemon, Folder, binary, children, free_port, memory_mib, sleeps},
    table::{Table, percentile},
};

/// `mezzo dev` on an empty disk until a scheduler sees TASK_RUNNING.
pub(crate) fn dev(table: &mut Table) -> Result<()> {
    let mut samples = Vec::new();
    for _ in 0..5 {
        let port = free_port()?;
        let start = Instant::now();
        let mut dev = Command::new(binary()?)
            .args(["dev", "--agents=1", &format!("--port={port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let measured = first_running(port, start);
        // SIGINT is how a person leaves; it may have ended by itself.
        drop(Command::new("kill").args(["-INT", &dev.id().to_string()]).status());
        drop(dev.wait());
        samples.push(measured?);
    }
    table.row(
        "mezzo dev, empty disk to first TASK_RUNNING",
        &format!("median {:.0} ms", percentile(&mut samples, 0.5)),
        &format!("worst of {}: {:.0} ms", samples.len(), percentile(&mut samples, 1.0)),
        "<= 300 ms (100)",
    );
    Ok(())
}

/// Milliseconds until the first task runs. Returns after its end, so that nothing is left to wait for.
fn first_running(port: u16, start: Instant) -> Result<f64> {
    let mut launched = false;
    let mut running = None;
    let mut scheduler = loop {
        match Scheduler::subscribe(port, "bench dev") {
            Ok(scheduler) => break scheduler,
            Err(error) if start.elapsed() > Duration::from_secs(20) => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    loop {
        let (status, offers) = parts(scheduler.next().context("wait for the first task")?);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            scheduler.flush()?;
            match status.state() {
                TaskState::TaskStarting => {}
                TaskState::TaskRunning => running = Some(start.elapsed().as_secs_f64() * 1e3),
                TaskState::TaskFinished => return running.context("finished without running"),
                other => bail!("the task became {other:?}: {}", status.message()),
            }
        }
        if let Some(offer) = offers.into_iter().next().filter(|_| !launched) {
            launched = true;
            let task = command_task(&offer.agent_id, "first".into(), "/bin/true", 0.1, 32.0);
            scheduler.launch(vec![offer.id], vec![task], 0.0);
            scheduler.flush()?;
        }
    }
}

/// Memory and wake-ups of an idle master and agent, and of running tasks.
pub(crate) fn idle(table: &mut Table) -> Result<()> {
    const TASKS: usize = 20;
    const WATCH: Duration = Duration::from_secs(20);
    let folder = Folder::new("idle")?;
    let master = Daemon::master(folder.path(), &[])?;
    let agent = Daemon::agent(folder.path(), &master, &["--resources=cpus:64;mem:65536;disk:1024"])?;
    thread::sleep(Duration::from_secs(3));
    for (name, daemon, target) in [("master", &master, "<= 25 MiB"), ("agent", &agent, "<= 15 MiB (12)")] {
        let before = sleeps(daemon.pid())?;
        thread::sleep(WATCH / 2);
        let after = sleeps(daemon.pid())?;
        let count: u64 = after
            .iter()
            .map(|(thread, count)| count.saturating_sub(before.get(thread).copied().unwrap_or(0)))
            .sum();
        let rate = count as f64 / (WATCH / 2).as_secs_f64();
        table.row(
            &format!("idle {name}, RSS"),
            &format!("{:.1} MiB", memory_mib(daemon.pid(), "status", &["VmRSS"])?),
            &format!("{rate:.1} wake-ups a second, all threads"),
            &format!("{target}; <= 1 Hz"),
        );
    }
    let mut scheduler = Scheduler::subscribe(master.port, "bench idle")?;
    let mut running = 0;
    while running < TASKS {
        let (status, offers) = parts(scheduler.next()?);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            running += usize::from(status.state() == TaskState::TaskRunning);
        }
        if let Some(offer) = offers.into_iter().next().filter(|_| running == 0) {
            let tasks = (0..TASKS)
                .map(|n| {
                    let mut task = command_task(&offer.agent_id, format!("sleep-{n}"), "sleep", 0.1, 32.0);
                    let command = task.command.get_or_insert_default();
                    command.arguments = vec!["sleep".into(), "1000".into()];
                    command.value = Some("/bin/sleep".into());
                    task
                })
                .collect();
            scheduler.launch(vec![offer.id], tasks, 3600.0);
        }
        scheduler.flush()?;
    }
    thread::sleep(Duration::from_secs(1));
    let measured = running_row(table, &agent, TASKS);
    // Tasks outlive their agent, so whoever starts some has to end them.
    end_tasks(&mut scheduler, TASKS)?;
    measured
}

/// What running tasks take beside the agent.
fn running_row(table: &mut Table, agent: &Daemon, tasks: usize) -> Result<()> {
    let launchers = children(agent.pid());
    let supervisors: Vec<u32> = launchers.iter().flat_map(|pid| children(*pid)).collect();
    // Processes that share their memory with the launcher show the same sizes, to the page, and count
    // once, as the launcher.
    let sizes = |pid: u32| fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let shared: Vec<String> = launchers.iter().map(|pid| sizes(*pid)).collect();
    let own = supervisors.iter().filter(|pid| !shared.contains(&sizes(**pid)));
    let private: f64 = launchers
        .iter()
        .chain(own)
        .filter_map(|pid| memory_mib(*pid, "smaps_rollup", &["Private_Clean", "Private_Dirty"]).ok())
        .sum();
    table.row(
        "private memory per running command task",
        &format!("{:.2} MiB", private / tasks as f64),
        &format!(
            "{} supervisors and their launcher; agent then {:.1} MiB",
            supervisors.len(),
            memory_mib(agent.pid(), "status", &["VmRSS"])?
        ),
        "<= 1 MiB",
    );
    Ok(())
}

/// Kills the tasks of [`idle`] and waits until all have ended.
fn end_tasks(scheduler: &mut Scheduler, tasks: usize) -> Result<()> {
    for n in 0..tasks {
        let kill = call::Kill { task_id: v1::TaskId { value: format!("sleep-{n}") }, ..Default::default() };
        scheduler.queue(call::Type::Kill, |call| call.kill = Some(kill));
    }
    let mut ended = 0;
    while ended < tasks {
        let (status, _) = parts(scheduler.next_flushing().context("wait for the end of the tasks")?);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            ended += usize::from(status.state() == TaskState::TaskKilled);
        }
    }
    scheduler.flush()
}
