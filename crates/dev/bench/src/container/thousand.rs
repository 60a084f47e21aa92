//! A thousand containers of one image on one agent, through a master, as a scheduler sees it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mezzo_mesos::v1::{self, TaskState, scheduler::call};

use super::{groups, image, layout};
use crate::{
    client::{Scheduler, command_task, parts},
    daemons::{Daemon, Folder},
    table::Table,
};

const COUNT: usize = 1000;
/// Longest wait until all of them run, and until all of them have ended.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn thousand(table: &mut Table) -> Result<()> {
    let folder = Folder::new("thousand")?;
    let cgroups = format!("mezzo-bench-{}", std::process::id());
    let measured = run(folder.path(), &cgroups);
    groups::clear(&cgroups);
    let (started, ended) = measured?;
    table.row(
        "1,000 containers of one image on one agent, until all run",
        &format!("{started:.2} s"),
        "checkpointed; from the first ACCEPT to the last TASK_RUNNING at the scheduler",
        "<= 5 s (2.5)",
    );
    table.row(
        "the same, until all were killed",
        &format!("{ended:.2} s"),
        "from the first KILL to the last TASK_KILLED",
        "<= 5 s (2.5)",
    );
    Ok(())
}

fn run(path: &std::path::Path, cgroups: &str) -> Result<(f64, f64)> {
    image(&path.join("image"))?;
    layout::write(&path.join("registry"), "bench", &[path.join("image")])?;
    let master = Daemon::master(path, &[])?;
    let flags = [
        "--isolation=cgroups/all,filesystem/linux,docker/runtime,namespaces/pid,namespaces/ipc".to_owned(),
        "--image_providers=docker".to_owned(),
        format!("--docker_registry={}", path.join("registry").display()),
        format!("--docker_store_dir={}", path.join("store").display()),
        format!("--cgroups_root={cgroups}"),
        "--resources=cpus:2000;mem:100000;disk:100000".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = Daemon::agent(path, &master, &flags)?;
    let mut scheduler = Scheduler::subscribe(master.port, "bench containers")?;
    // The first one brings the image.
    let offer = offer(&mut scheduler)?;
    launch(&mut scheduler, offer, 0..1)?;
    end(&mut scheduler, 0..1)?;
    let offer = self::offer(&mut scheduler)?;
    eprintln!("  the image is there");
    let begun = Instant::now();
    let measured = launch(&mut scheduler, offer, 1..COUNT + 1)
        .map(|()| begun.elapsed().as_secs_f64())
        .and_then(|started| {
            eprintln!("  all run after {started:.1} s");
            let begun = Instant::now();
            end(&mut scheduler, 1..COUNT + 1)?;
            Ok((started, begun.elapsed().as_secs_f64()))
        });
    // Containers outlive it; those that are left are ended by their groups.
    drop(agent);
    measured
}

fn offer(scheduler: &mut Scheduler) -> Result<v1::Offer> {
    let deadline = Instant::now() + LIMIT;
    loop {
        in_time(deadline, 1)?;
        let (status, offers) = parts(scheduler.next_flushing().context("wait for an offer")?);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
        }
        if let Some(offer) = offers.into_iter().next() {
            return Ok(offer);
        }
    }
}

fn launch(scheduler: &mut Scheduler, offer: v1::Offer, numbers: std::ops::Range<usize>) -> Result<()> {
    let (mut left, deadline) = (numbers.len(), Instant::now() + LIMIT);
    let tasks = numbers
        .map(|n| {
            let mut task = command_task(&offer.agent_id, format!("c{n}"), "/bin/sleep", 0.1, 32.0);
            let command = task.command.get_or_insert_default();
            command.arguments = vec!["sleep".into(), "100000".into()];
            task.container = Some(Box::new(container()));
            task
        })
        .collect();
    scheduler.launch(vec![offer.id], tasks, 0.0);
    while left > 0 {
        in_time(deadline, left)?;
        let (status, offers) = parts(scheduler.next_flushing().with_context(|| format!("{left} to come"))?);
        for offer in offers {
            // What is left over; declined for as long as this takes.
            scheduler.launch(vec![offer.id], Vec::new(), 5.0);
        }
        let Some(status) = status else { continue };
        scheduler.acknowledge(&status);
        match status.state() {
            TaskState::TaskStarting => {}
            TaskState::TaskRunning => left -= 1,
            other => bail!("task {} became {other:?}: {}", status.task_id.value, status.message()),
        }
    }
    scheduler.flush()
}

fn container() -> v1::ContainerInfo {
    let image = v1::Image {
        r#type: v1::image::Type::Docker.into(),
        docker: Some(v1::image::Docker { name: "bench".into(), ..Default::default() }),
        ..Default::default()
    };
    v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        mesos: Some(v1::container_info::MesosInfo { image: Some(image) }),
        ..Default::default()
    }
}

fn end(scheduler: &mut Scheduler, numbers: std::ops::Range<usize>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut left: BTreeSet<String> = numbers.map(|n| format!("c{n}")).collect();
    for name in &left {
        let kill = call::Kill { task_id: v1::TaskId { value: name.clone() }, ..Default::default() };
        scheduler.queue(call::Type::Kill, |call| call.kill = Some(kill));
    }
    while !left.is_empty() {
        in_time(deadline, left.len())?;
        let (status, offers) =
            parts(scheduler.next_flushing().with_context(|| format!("{} to end", left.len()))?);
        for offer in offers {
            scheduler.launch(vec![offer.id], Vec::new(), 1.0);
        }
        let Some(status) = status else { continue };
        scheduler.acknowledge(&status);
        if !matches!(status.state(), TaskState::TaskStarting | TaskState::TaskRunning) {
            left.remove(&status.task_id.value);
        }
    }
    scheduler.flush()
}

/// Heartbeats come for ever, so waiting for events has an end of its own.
fn in_time(deadline: Instant, left: usize) -> Result<()> {
    if Instant::now() > deadline {
        bail!("{left} are still to come after {} s", LIMIT.as_secs());
    }
    Ok(())
}
