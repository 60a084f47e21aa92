//! cgroups/blkio: what containers read from disks and write to them.

use std::collections::BTreeMap;

use mezzo_mesos::v1::{
    cgroup_info::blkio::{Operation, Statistics as Counted, Value, throttling},
    device::Number,
};

use super::{
    IsolationError, Statistics,
    cgroup::{Group, Host, Version},
};

pub(super) const NAME: &str = "cgroups/blkio";

#[derive(Debug)]
pub(super) struct Blkio {
    pub(super) root: Group,
}

/// The counts of one device.
type Counts = throttling::Statistics;

impl Blkio {
    pub(super) fn start(host: &Host) -> Result<Self, IsolationError> {
        // The two versions have different names for it.
        let root = host.controller(NAME, "blkio").or_else(|error| match &error {
            IsolationError::Host { .. } => host.controller(NAME, "io").map_err(|_| error),
            _ => Err(error),
        })?;
        Ok(Self { root })
    }

    /// Fills what the kernel counted.
    pub(super) fn measure(&self, id: &str, statistics: &mut Statistics) {
        let group = self.root.child(id);
        let text = |file: &str| group.read(file).unwrap_or_default();
        let throttling = match group.version {
            Version::V1 => older(
                &text("blkio.throttle.io_serviced_recursive"),
                &text("blkio.throttle.io_service_bytes_recursive"),
            ),
            Version::V2 => newer(&text("io.stat")),
        };
        statistics.blkio_statistics = Some(Counted { throttling, ..Counted::default() });
    }
}

/// Lines `8:0 Read 12` per device, and a `Total 12` for all.
fn older(serviced: &str, bytes: &str) -> Vec<Counts> {
    let mut devices = BTreeMap::<Option<(u64, u64)>, Counts>::new();
    for (text, is_bytes) in [(serviced, false), (bytes, true)] {
        for line in text.lines() {
            let mut words = line.split_whitespace().rev();
            let (Some(value), Some(operation)) = (words.next(), words.next()) else { continue };
            let value = Value { op: Some(self::operation(operation) as i32), value: value.parse().ok() };
            let counts = devices.entry(words.next().and_then(device)).or_default();
            let list = if is_bytes { &mut counts.io_service_bytes } else { &mut counts.io_serviced };
            list.push(value);
        }
    }
    numbered(devices)
}

/// Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn newer(text: &str) -> Vec<Counts> {
    let mut devices = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().and_then(device) else { continue };
        let mut counts = Counts::default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let Some(value) = value.parse().ok() else { continue };
            let value = |operation| Value { op: Some(operation as i32), value: Some(value) };
            match name {
                "rbytes" => counts.io_service_bytes.push(value(Operation::Read)),
                "wbytes" => counts.io_service_bytes.push(value(Operation::Write)),
                "dbytes" => counts.io_service_bytes.push(value(Operation::Discard)),
                "rios" => counts.io_serviced.push(value(Operation::Read)),
                "wios" => counts.io_serviced.push(value(Operation::Write)),
                "dios" => counts.io_serviced.push(value(Operation::Discard)),
                _ => {}
            }
        }
        devices.insert(Some(device), counts);
    }
    numbered(devices)
}

/// Devices first, as Mesos has it, and the sum of all behind them.
fn numbered(mut devices: BTreeMap<Option<(u64, u64)>, Counts>) -> Vec<Counts> {
    let total = devices.remove(&None);
    let named = devices.into_iter().map(|(device, counts)| Counts {
        device: device.map(|(major_number, minor_number)| Number { major_number, minor_number }),
        ..counts
    });
    named.chain(total).collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn operation(name: &str) -> Operation {
    match name {
        "Total" => Operation::Total,
        "Read" => Operation::Read,
        "Write" => Operation::Write,
        "Sync" => Operation::Sync,
        "Async" => Operation::Async,
        "Discard" => Operation::Discard,
        _ => Operation::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(counts: &[Value], operation: Operation) -> Option<u64> {
        counts.iter().find(|value| value.op() == operation)?.value
    }

    #[test]
    fn both_versions_are_read() {
        let serviced = "254:0 Read 3\n254:0 Write 1\n254:0 Total 4\nTotal 4\n";
        let bytes = "254:0 Read 12288\n254:0 Write 4096\n254:0 Total 16384\nTotal 16384\n";
        let counts = older(serviced, bytes);
        assert_eq!(counts.len(), 2);
        assert_eq!(counts[0].device.map(|d| (d.major_number, d.minor_number)), Some((254, 0)));
        assert_eq!(value(&counts[0].io_serviced, Operation::Read), Some(3));
        assert_eq!(value(&counts[0].io_service_bytes, Operation::Write), Some(4096));
        assert_eq!(counts[1].device, None);
        assert_eq!(value(&counts[1].io_service_bytes, Operation::Total), Some(16384));
        let counts = newer("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\nbroken\n");
        assert_eq!(counts.len(), 1);
        assert_eq!(value(&counts[0].io_serviced, Operation::Write), Some(4));
        assert_eq!(value(&counts[0].io_service_bytes, Operation::Discard), Some(5));
        assert!(older("", "").is_empty() && newer("").is_empty());
    }
}
