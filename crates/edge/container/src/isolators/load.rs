//! What the API's messages have no field for: how many processes a container has, and how long they wait for
//! what they share with others.

use mezzo_ids::ContainerId;
use serde::Serialize;

use super::{Isolators, cgroup::Version, posix};

/// A container's processes and waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Load {
    /// Processes and threads with cgroups/pids; otherwise processes.
    pub processes: Option<u64>,
    /// Where control groups of version 2 tell it.
    pub pressure: Option<Pressure>,
}

/// Waits for each of what is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Processors.
    pub cpu: Waits,
    /// Memory.
    pub memory: Waits,
    /// Disks.
    pub io: Waits,
}

/// Parts of the time, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    /// At least one process waited.
    pub some: Shares,
    /// All waited that could have run.
    pub full: Shares,
}

/// Parts of the latest time, in percent, and all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Of ten seconds.
    pub avg10: f64,
    /// Of a minute.
    pub avg60: f64,
    /// Of five minutes.
    pub avg300: f64,
    /// Microseconds since there is the container.
    pub total: u64,
}

impl Isolators {
    /// The load of a running container. `pid` is its program's.
    pub(crate) fn load(&self, id: &ContainerId, pid: u32) -> Load {
        let counted = self.pids.as_ref().and_then(|pids| pids.root.child(id).number("pids.current"));
        let processes = counted.unwrap_or_else(|| posix::measure(pid).processes.into());
        let unified = self.roots().into_iter().find(|root| root.version == Version::V2);
        let pressure = unified.and_then(|root| {
            let group = root.child(id);
            let waits = |file: &str| Some(waits(&group.read(file)?));
            Some(Pressure {
                cpu: waits("cpu.pressure")?,
                memory: waits("memory.pressure")?,
                io: waits("io.pressure")?,
            })
        });
        Load { processes: Some(processes), pressure }
    }
}

/// Lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn waits(text: &str) -> Waits {
    let shares = |kind: &str| {
        let mut shares = Shares::default();
        let line = text.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
        for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
            let share = value.parse().unwrap_or_default();
            match name {
                "avg10" => shares.avg10 = share,
                "avg60" => shares.avg60 = share,
                "avg300" => shares.avg300 = share,
                "total" => shares.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        shares
    };
    Waits { some: shares("some "), full: shares("full ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_as_the_kernel_tells_them() {
        let read = waits(
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.50 avg60=0 new=1 total=7\n",
        );
        assert_eq!(read.some, Shares { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 1234 });
        assert_eq!((read.full.avg10, read.full.total), (0.5, 7));
        // Older kernels have one line for processors.
        assert_eq!(waits("some avg10=2.00\n").full, Shares::default());
        assert_eq!(waits("broken"), Waits::default());
    }
}
