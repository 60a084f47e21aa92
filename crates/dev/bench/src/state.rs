//! The whole state of a big cluster in one answer, and what everything else feels of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use mezzo_mesos::v1::{
    self,
    master::{Call, call},
    scheduler,
};

use crate::{
    agents::{Link, description},
    client::{self, Scheduler, parts},
    daemons::{Daemon, Folder, memory_mib},
    reregister::populate,
    table::{Table, percentile},
};

const ROUNDS: usize = 5;
/// Times that /health is asked for before anybody reads.
const ALONE: usize = 500;

/// GET /state and GET_STATE with 20,000 agents and 400,000 tasks, with /health asked and offers declined
/// all the while.
pub(crate) fn state(table: &mut Table) -> Result<()> {
    let folder = Folder::new("state")?;
    let master = Daemon::master(folder.path(), &["--registry=in_memory", "--agent_ping_timeout=10mins"])?;
    populate(&master, 20_000, 20)?;
    let mut alone = (0..ALONE).map(|_| health(master.port)).collect::<Result<Vec<_>>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let (stop, port) = (Arc::clone(&stop), master.port);
        thread::spawn(move || -> Result<Vec<f64>> {
            let mut samples = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                samples.push(health(port)?);
            }
            Ok(samples)
        })
    };
    let mut free_agent = Link::open(master.port)?;
    free_agent.register(description(20_000))?;
    let declining = {
        let (stop, port) = (Arc::clone(&stop), master.port);
        thread::spawn(move || offers(port, &stop))
    };
    let v0 = timed(|| client::get(master.port, "/state"))?;
    let call = Call { r#type: Some(call::Type::GetState.into()), ..Default::default() };
    let v1 = timed(|| client::operator(master.port, &call))?;
    stop.store(true, Ordering::Relaxed);
    let mut asked = asking.join().map_err(|_| anyhow::anyhow!("the asker of /health panicked"))??;
    let mut offered = declining.join().map_err(|_| anyhow::anyhow!("the decliner panicked"))??;
    let memory = memory_mib(master.pid(), "status", &["VmRSS"])?;
    for (name, (millis, first, size)) in [("GET /state", v0), ("GET_STATE (protobuf)", v1)] {
        table.row(
            &format!("{name}, 20,000 agents, 400,000 tasks"),
            &format!("{millis:.0} ms"),
            &format!("first time {first:.0} ms; {:.0} MB; master {memory:.0} MiB", size as f64 / 1e6),
            "<= 500 ms (250)",
        );
    }
    table.row(
        "/health meanwhile",
        &format!("p99 {:.1} ms", percentile(&mut asked, 0.99)),
        &format!(
            "{} answers, fresh connections; alone p99 {:.1} ms",
            asked.len(),
            percentile(&mut alone, 0.99)
        ),
        "p99 <= 5 ms (2)",
    );
    table.row(
        "DECLINE and REVIVE to the next offer meanwhile",
        &format!("p99 {:.1} ms", percentile(&mut offered, 0.99)),
        &format!("{} offers", offered.len()),
        "offers keep flowing",
    );
    Ok(())
}

/// Asks for /health over a connection of its own, after a pause; milliseconds until the answer.
fn health(port: u16) -> Result<f64> {
    thread::sleep(Duration::from_millis(2));
    let start = Instant::now();
    let (status, _) = client::get(port, "/health")?;
    if status != 200 {
        bail!("/health answered {status}");
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Declines the offers of the one agent that is there and revives, which is answered at once; milliseconds
/// until they come again.
fn offers(port: u16, stop: &AtomicBool) -> Result<Vec<f64>> {
    let mut scheduler = Scheduler::subscribe(port, "bench offers")?;
    let mut samples = Vec::new();
    let mut declined: Option<Instant> = None;
    while !stop.load(Ordering::Relaxed) {
        let (_, offers) = parts(scheduler.next()?);
        if offers.is_empty() {
            continue;
        }
        samples.extend(declined.map(|at| at.elapsed().as_secs_f64() * 1e3));
        thread::sleep(Duration::from_millis(2));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let decline = scheduler::call::Decline {
            offer_ids: offers.into_iter().map(|offer| offer.id).collect(),
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        };
        scheduler.queue(scheduler::call::Type::Decline, |call| call.decline = Some(decline));
        scheduler.queue(scheduler::call::Type::Revive, |_| {});
        declined = Some(Instant::now());
        scheduler.flush()?;
    }
    Ok(samples)
}

/// The median and the first of the rounds in milliseconds, and the size of the answer. The first reader
/// pays for what the next ones find written.
fn timed(ask: impl Fn() -> Result<(u16, usize)>) -> Result<(f64, f64, usize)> {
    let mut samples = Vec::new();
    let mut size = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (status, bytes) = ask()?;
        if status != 200 {
            bail!("answered {status}");
        }
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        size = bytes;
    }
    let first = samples[0];
    Ok((percentile(&mut samples, 0.5), first, size))
}
