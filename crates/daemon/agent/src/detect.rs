//! What this host has and is called.

use std::path::Path;

use mezzo_mesos::v1;
use mezzo_resources::{Form, Resources, parse_resources};

/// Kept for the system when memory is detected, in megabytes (rule 445).
const MEM_HEADROOM: u64 = 1024;
/// Kept for the system when the disk is detected, in megabytes (rule 445).
const DISK_HEADROOM: u64 = 5 * 1024;
/// Used when a size cannot be found out, in megabytes (rule 445).
const MEM_UNKNOWN: u64 = 1024;
/// Used when a size cannot be found out, in megabytes (rule 445).
const DISK_UNKNOWN: u64 = 10 * 1024;
/// Offered when no ports are given (rule 445).
const PORTS: &str = "[31000-32000]";

/// The host's sizes; `None` for what cannot be found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Processors.
    pub cpus: Option<usize>,
    /// Memory in bytes.
    pub mem_bytes: Option<u64>,
    /// Size of the file system of the work directory in bytes.
    pub disk_bytes: Option<u64>,
    /// Gpus that the isolator has found.
    pub gpus: usize,
}

impl Host {
    /// Asks the kernel.
    pub fn detect(work_dir: &Path) -> Self {
        let memory = rustix::system::sysinfo();
        let disk = rustix::fs::statvfs(work_dir).ok();
        Self {
            cpus: std::thread::available_parallelism().ok().map(usize::from),
            mem_bytes: memory.totalram.checked_mul(u64::from(memory.mem_unit)),
            disk_bytes: disk.and_then(|disk| disk.f_blocks.checked_mul(disk.f_frsize)),
            gpus: 0,
        }
    }

    /// The agent's total: what is given, and for names that are not given what the host has (rule 445).
    ///
    /// Gpus come from their isolator alone: without it none are offered, also when some are given. With it there
    /// may be given fewer than it has, unless these were chosen one by one.
    pub fn total(
        self,
        given: Option<&str>,
        default_role: &str,
        gpus_chosen: bool,
    ) -> Result<Vec<v1::Resource>, String> {
        let given = given.unwrap_or_default();
        let mut total = parse_resources(given, default_role)
            .map_err(|error| error.to_string())?
            .to_proto(Form::PostRefinement);
        if self.gpus == 0 {
            total.retain(|resource| resource.name != "gpus");
        }
        let wanted: f64 = total
            .iter()
            .filter(|resource| resource.name == "gpus")
            .filter_map(|resource| Some(resource.scalar.as_ref()?.value))
            .sum();
        let has = self.gpus as f64;
        if wanted > has || wanted.fract() != 0.0 {
            return Err(format!("{wanted} gpus are given, but there are {has}"));
        }
        if gpus_chosen && wanted > 0.0 && wanted != has {
            return Err(format!("{wanted} gpus are given, but --nvidia_gpu_devices names {has}"));
        }
        let detected = [
            ("cpus", self.cpus.unwrap_or(1).to_string()),
            ("mem", megabytes(self.mem_bytes, MEM_HEADROOM, MEM_UNKNOWN).to_string()),
            ("disk", megabytes(self.disk_bytes, DISK_HEADROOM, DISK_UNKNOWN).to_string()),
            ("ports", PORTS.to_owned()),
            ("gpus", self.gpus.to_string()),
        ];
        for (name, value) in detected {
            if !names(given).any(|given| given == name) && !total.iter().any(|resource| resource.name == name)
            {
                let text = format!("{name}:{value}");
                let parsed: Resources =
                    parse_resources(&text, default_role).map_err(|error| error.to_string())?;
                total.extend(parsed.to_proto(Form::PostRefinement));
            }
        }
        Ok(total)
    }
}

/// Names of the text form, also those whose value is zero and that therefore vanish when read.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(';')
        .filter_map(|part| part.split(':').next())
        .map(|name| name.split('(').next().unwrap_or(name).trim())
}

fn megabytes(bytes: Option<u64>, headroom: u64, unknown: u64) -> u64 {
    match bytes.map(|bytes| bytes >> 20) {
        None => unknown,
        Some(all) if all < 2 * headroom => all / 2,
        Some(all) => all - headroom,
    }
}

/// The name of this host.
pub(crate) fn hostname() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned).filter(|name| !name.is_empty())
}

/// The name of this boot; the same until the machine restarts (rule 404).
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(host: Host, given: Option<&str>) -> Vec<(String, f64)> {
        let total = host.total(given, "*", false).expect("total");
        total.into_iter().filter_map(|r| Some((r.name, r.scalar?.value))).collect()
    }

    fn amounts(host: Host, given: Option<&str>) -> Vec<(String, f64)> {
        scalars(host, given)
    }

    #[test]
    fn rule_445_missing_resources_are_detected() {
        let big = Host { cpus: Some(8), mem_bytes: Some(16 << 30), disk_bytes: Some(100 << 30), gpus: 0 };
        let all = [("cpus", 8.0), ("mem", 15_360.0), ("disk", 97_280.0)].map(|(n, v)| (n.to_owned(), v));
        assert_eq!(amounts(big, None), all);
        let small = Host { cpus: None, mem_bytes: Some(1 << 30), disk_bytes: Some(8 << 30), gpus: 0 };
        let halves = [("cpus", 1.0), ("mem", 512.0), ("disk", 4096.0)].map(|(n, v)| (n.to_owned(), v));
        assert_eq!(amounts(small, None), halves);
        let unknown = Host::default();
        let given = [("cpus", 2.0), ("mem", 1024.0), ("disk", 10_240.0)].map(|(n, v)| (n.to_owned(), v));
        assert_eq!(amounts(unknown, Some("cpus:2")), given);
        assert!(!amounts(big, Some("mem:0")).iter().any(|(name, _)| name == "mem"));
        let ports = unknown.total(None, "*", false).expect("total").into_iter().find(|r| r.name == "ports");
        assert_eq!(
            ports.and_then(|p| p.ranges).map(|r| (r.range[0].begin, r.range[0].end)),
            Some((31_000, 32_000))
        );
    }

    #[test]
    fn rule_445_gpus_come_from_their_isolator_alone() {
        let gpus = |host: Host, given: Option<&str>, chosen| {
            let total = host.total(given, "*", chosen)?;
            let gpus = total.into_iter().filter(|resource| resource.name == "gpus");
            Ok::<_, String>(gpus.filter_map(|resource| Some(resource.scalar?.value)).collect::<Vec<_>>())
        };
        let (none, four) = (Host::default(), Host { gpus: 4, ..Host::default() });
        assert_eq!(gpus(none, Some("gpus:2"), false).unwrap(), Vec::<f64>::new());
        assert_eq!(gpus(four, None, false).unwrap(), [4.0]);
        assert_eq!(gpus(four, Some("gpus:3"), false).unwrap(), [3.0]);
        assert_eq!(gpus(four, Some("gpus:0"), false).unwrap(), Vec::<f64>::new());
        for (given, chosen) in [("gpus:5", false), ("gpus:1.5", false), ("gpus:3", true)] {
            assert!(gpus(four, Some(given), chosen).is_err(), "{given}");
        }
    }

    #[test]
    fn rule_446_the_default_role_is_taken() {
        let total = Host::default().total(Some("cpus:2;mem(ads):64"), "web", false).expect("total");
        let role = |name: &str| {
            let found = total.iter().find(|r| r.name == name)?;
            found.reservations.first().and_then(|r| r.role.clone())
        };
        assert_eq!(role("cpus").as_deref(), Some("web"));
        assert_eq!(role("mem").as_deref(), Some("ads"));
    }
}
