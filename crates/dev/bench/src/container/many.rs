//! What containers cost that run: memory, and time for those that come after.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use mezzo_container::ContainerEvent;

use super::{Bench, exec::Bare};
use crate::{
    daemons::{children, memory_mib},
    table::{Table, percentile},
};

/// Containers that run in the end, where there is time.
const MANY: usize = 4000;
/// Started at a time where nobody looks.
const FLOCK: usize = 20;
/// Before somebody looks again.
const PAUSE: Duration = Duration::from_secs(3);
/// How many of the first and of the last are looked at.
const AROUND: usize = 20;
/// Longest time for those in between: on a host that is slower there are fewer, which the row tells.
const LIMIT: Duration = Duration::from_secs(120);
/// After how many it is told how far it is.
const STEP: usize = 500;

pub(crate) fn many(table: &mut Table) -> Result<()> {
    let bench = Bench::start("many")?;
    let mut times = Times::default();
    let mut pids = Vec::with_capacity(MANY);
    start(&bench, &mut times, &mut pids)?;
    let private = private_mib(pids.iter().take(100).copied());
    eprintln!("  ending {}", pids.len());
    for n in 0..pids.len() {
        bench.containers.destroy(&id(n))?;
    }
    for n in 0..pids.len() {
        match bench.next()? {
            ContainerEvent::Exited { id, .. } => bench.containers.remove(&id),
            other => bail!("{n} have ended, then {other:?}"),
        }
    }
    let medians =
        |times: &mut [f64]| (percentile(&mut times[..AROUND], 0.5), percentile(&mut times[AROUND..], 0.5));
    let (first, last) = medians(&mut times.ours);
    let (bare_first, bare_last) = medians(&mut times.bare);
    table.row(
        &format!("launch latency of the {}th running container", pids.len()),
        &format!("{last:.2} ms, {:.2}x", last / first),
        &format!(
            "the 10th: {first:.2} ms; medians of {AROUND} around each; the same calls bare: {bare_last:.2} ms, \
             {:.2}x of {bare_first:.2} ms",
            bare_last / bare_first
        ),
        "<= 1.3x",
    );
    table.row(
        "private memory per running container with a root",
        &format!("{private:.2} MiB"),
        "its supervisor and its first process, mean of 100",
        "<= 1 MiB",
    );
    Ok(())
}

/// Milliseconds of those that are looked at, and of the system calls that do the same, in turn with them.
#[derive(Default)]
struct Times {
    ours: Vec<f64>,
    bare: Vec<f64>,
}

fn id(n: usize) -> mezzo_ids::ContainerId {
    format!("m{n}").as_str().into()
}

/// The first and the last ones one after another, those in between many at a time: they are only to be there.
fn start(bench: &Bench, times: &mut Times, pids: &mut Vec<u32>) -> Result<()> {
    let mut bare = Bare::start(bench.path(), false)?;
    for n in 0..AROUND {
        one(bench, n, &mut bare, times, pids)?;
    }
    let begun = Instant::now();
    while pids.len() < MANY - AROUND && begun.elapsed() < LIMIT {
        let flock = pids.len()..(MANY - AROUND).min(pids.len() + FLOCK);
        for n in flock.clone() {
            bench.containers.launch(&bench.request(&id(n), &["/bin/sleep", "100000"]));
        }
        for n in flock {
            pids.push(bench.next_started(begun)?.0);
            if n % STEP == 0 {
                eprintln!("  {n} of {MANY} run after {:.0} s", begun.elapsed().as_secs_f64());
            }
        }
    }
    // What was started last has settled.
    thread::sleep(PAUSE);
    for n in pids.len()..pids.len() + AROUND {
        one(bench, n, &mut bare, times, pids)?;
    }
    Ok(())
}

/// Starts one, and the same bare.
fn one(bench: &Bench, n: usize, bare: &mut Bare, times: &mut Times, pids: &mut Vec<u32>) -> Result<()> {
    let begun = Instant::now();
    bench.containers.launch(&bench.request(&id(n), &["/bin/sleep", "100000"]));
    let (pid, took) = bench.next_started(begun)?;
    pids.push(pid);
    times.ours.push(took.as_secs_f64() * 1e3);
    times.bare.push(bare.run(n)?);
    Ok(())
}

/// Of all that stays of ours for each of these programs.
fn private_mib(pids: impl Iterator<Item = u32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for pid in pids {
        count += 1;
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let Some(supervisor) = parent else { continue };
        let first = children(supervisor).into_iter().filter(|child| *child != pid);
        for ours in first.chain([supervisor]) {
            sum += memory_mib(ours, "smaps_rollup", &["Private_Clean", "Private_Dirty"]).unwrap_or(f64::NAN);
        }
    }
    sum / f64::from(count)
}
