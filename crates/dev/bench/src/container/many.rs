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

/// Containers that run in the end.
const MANY: usize = 4000;
/// Started at a time where nobody looks.
const FLOCK: usize = 20;
/// Before somebody looks again.
const PAUSE: Duration = Duration::from_secs(3);
/// How many around the 10th and the 4,000th are looked at.
const AROUND: usize = 20;

pub(crate) fn many(table: &mut Table) -> Result<()> {
    let bench = Bench::start("many")?;
    let mut times = Times::default();
    let mut pids = Vec::with_capacity(MANY);
    let measured = start(&bench, &mut times, &mut pids);
    let private = private_mib(pids.iter().take(100).copied());
    for n in 0..pids.len() {
        bench.containers.destroy(&id(n))?;
    }
    for n in 0..pids.len() {
        match bench.next()? {
            ContainerEvent::Exited { id, .. } => bench.containers.remove(&id),
            other => bail!("{n} have ended, then {other:?}"),
        }
    }
    measured?;
    let medians =
        |times: &mut [f64]| (percentile(&mut times[..AROUND], 0.5), percentile(&mut times[AROUND..], 0.5));
    let (first, last) = medians(&mut times.ours);
    let (bare_first, bare_last) = medians(&mut times.bare);
    table.row(
        "launch latency of the 4,000th running container",
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
    let mut n = 0;
    while n < MANY {
        let between = (AROUND..MANY - AROUND).contains(&n);
        let flock = if between { FLOCK.min(MANY - AROUND - n) } else { 1 };
        if n == AROUND || n == MANY - AROUND {
            // What was started last has settled.
            thread::sleep(PAUSE);
        }
        let begun = Instant::now();
        for n in n..n + flock {
            bench.containers.launch(&bench.request(&id(n), &["/bin/sleep", "100000"]));
        }
        for _ in 0..flock {
            let (pid, took) = bench.next_started(begun)?;
            if !between {
                times.ours.push(took.as_secs_f64() * 1e3);
                times.bare.push(bare.run(n)?);
            }
            pids.push(pid);
        }
        n += flock;
    }
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
