//! The numbers of docs/performance.md: `cargo xtask bench kernel [NAME ...]` and
//! `cargo xtask bench allocator`, `bench sim`, `bench services` and `bench container`.
//!
//! Each measurement but the allocator's starts the release binary as an operator would, drives it over
//! its public APIs, and stands beside what it is compared with, taken in the same run. Nothing here
//! asserts a timing.

mod agents;
mod allocator;
mod client;
mod container;
mod daemons;
mod footprint;
mod launches;
mod memory;
mod reregister;
mod services;
mod sim;
mod spawn;
mod state;
mod table;

use anyhow::{Result, bail};
use table::Table;

/// The same as the daemons have, of which parts are measured here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Measurement = fn(&mut Table) -> Result<()>;

const MEASUREMENTS: [(&str, Measurement); 25] = [
    ("tasks", spawn::tasks),
    ("latency", spawn::latency),
    ("launches", launches::launches),
    ("reregister", reregister::reregister),
    ("state", state::state),
    ("dev", footprint::dev),
    ("idle", footprint::idle),
    // First of its kind, while nothing that was freed is used again.
    ("allocator-memory", allocator::memory),
    ("master-memory", memory::master_memory),
    ("allocator-20000", allocator::smaller),
    ("allocator-50000", allocator::larger),
    ("allocator-hostile", allocator::hostile),
    ("sim-events", sim::events),
    ("sim-seeds", sim::seeds),
    ("sim-day", sim::day),
    ("services-placement", services::placement),
    ("services-api", services::api),
    ("services-events", services::events),
    ("services-thousand", services::thousand),
    ("services-simulated", services::simulated),
    ("container-exec", container::exec),
    ("container-network", container::network),
    ("container-thousand", container::thousand),
    ("container-many", container::many),
    ("container-unpack", container::unpack),
];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| !MEASUREMENTS.iter().any(|(known, _)| known == name)) {
        bail!("no measurement '{unknown}'; there are: {}", MEASUREMENTS.map(|(name, _)| name).join(", "));
    }
    let mut table = Table::default();
    for (name, measure) in MEASUREMENTS {
        if wanted.is_empty() || wanted.iter().any(|chosen| chosen == name) {
            eprintln!("measuring {name} ...");
            if let Err(error) = measure(&mut table) {
                table.row(name, &format!("failed: {error:#}"), "", "");
            }
        }
    }
    print!("{table}");
    Ok(())
}
