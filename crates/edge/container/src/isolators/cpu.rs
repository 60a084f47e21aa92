//! cgroups/cpu (rule 362).

use super::{
    IsolationError, Resources, Statistics,
    cgroup::{Group, Host, Version},
};

const NAME: &str = "cgroups/cpu";
const SHARES_PER_CPU: u64 = 1024;
const SHARES_PER_REVOCABLE_CPU: u64 = 10;
const SHARES_MIN: u64 = 2;
/// v2 weighs from 1 to 10,000 with 100 as its default, where v1 has 1024.
const WEIGHT_PER_CPU: u64 = 100;
const WEIGHT_MAX: u64 = 10_000;
const PERIOD_MICROS: u64 = 100_000;
const QUOTA_MIN_MICROS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Cpu {
    pub(super) root: Group,
    /// v1 accounts in a hierarchy of its own.
    pub(super) accounting: Option<Group>,
    enable_cfs: bool,
}

impl Cpu {
    pub(super) fn start(host: &Host, enable_cfs: bool) -> Result<Self, IsolationError> {
        let root = host.controller(NAME, "cpu")?;
        let accounting = match root.version {
            Version::V1 => Some(host.controller(NAME, "cpuacct")?),
            Version::V2 => None,
        };
        Ok(Self { root, accounting, enable_cfs })
    }

    pub(super) fn apply(&self, id: &str, resources: &Resources) -> Result<(), IsolationError> {
        let group = self.root.child(id);
        let quota = self.quota_micros(resources);
        match group.version {
            Version::V1 => {
                group.write("cpu.shares", shares(resources))?;
                if let Some(quota) = quota {
                    group.write("cpu.cfs_period_us", PERIOD_MICROS)?;
                    group.write("cpu.cfs_quota_us", quota.map_or("-1".to_owned(), |q| q.to_string()))?;
                }
            }
            Version::V2 => {
                group.write("cpu.weight", weight(resources))?;
                if let Some(quota) = quota {
                    let quota = quota.map_or("max".to_owned(), |q| q.to_string());
                    group.write("cpu.max", format!("{quota} {PERIOD_MICROS}"))?;
                }
            }
        }
        Ok(())
    }

    /// `None` to leave the quota alone, `Some(None)` for none.
    fn quota_micros(&self, resources: &Resources) -> Option<Option<u64>> {
        let milli = match resources.cpus_limit_milli {
            Some(u64::MAX) => return Some(None),
            Some(limit) => limit,
            None if self.enable_cfs => resources.cpus_milli,
            None => return None,
        };
        Some(Some(quota_micros(milli)))
    }

    /// Fills what the kernel counted; false when it says nothing.
    pub(super) fn measure(&self, id: &str, statistics: &mut Statistics) -> bool {
        let group = self.root.child(id);
        let Some(stat) = group.read("cpu.stat") else { return false };
        let value = |name| super::cgroup::field(&stat, name);
        let count = |name| value(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        if let Some(accounting) = &self.accounting {
            let ticks = rustix::param::clock_ticks_per_second() as f64;
            let Some(used) = accounting.child(id).read("cpuacct.stat") else { return false };
            let seconds = |name| super::cgroup::field(&used, name).map(|n| n as f64 / ticks);
            statistics.cpus_user_time_secs = seconds("user");
            statistics.cpus_system_time_secs = seconds("system");
        } else {
            let seconds = |name| value(name).map(|n| n as f64 / 1e6);
            statistics.cpus_user_time_secs = seconds("user_usec");
            statistics.cpus_system_time_secs = seconds("system_usec");
        }
        if self.enable_cfs {
            statistics.cpus_nr_periods = count("nr_periods");
            statistics.cpus_nr_throttled = count("nr_throttled");
            statistics.cpus_throttled_time_secs = value("throttled_time")
                .map(|nanos| nanos as f64 / 1e9)
                .or_else(|| value("throttled_usec").map(|micros| micros as f64 / 1e6));
        }
        true
    }
}

fn shares(resources: &Resources) -> u64 {
    let per_cpu = if resources.cpus_revocable { SHARES_PER_REVOCABLE_CPU } else { SHARES_PER_CPU };
    (resources.cpus_milli.saturating_mul(per_cpu) / 1000).max(SHARES_MIN)
}

fn weight(resources: &Resources) -> u64 {
    // The two versions keep the same proportion between revocable and other cpus.
    let full = resources.cpus_milli.saturating_mul(WEIGHT_PER_CPU) / 1000;
    let weight = if resources.cpus_revocable {
        full.saturating_mul(SHARES_PER_REVOCABLE_CPU) / SHARES_PER_CPU
    } else {
        full
    };
    weight.clamp(1, WEIGHT_MAX)
}

fn quota_micros(cpus_milli: u64) -> u64 {
    (cpus_milli.saturating_mul(PERIOD_MICROS) / 1000).max(QUOTA_MIN_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(cpus_milli: u64, cpus_revocable: bool) -> Resources {
        Resources { cpus_milli, cpus_revocable, ..Resources::default() }
    }

    #[test]
    fn rule_362_shares_and_quota() {
        assert_eq!(shares(&cpus(1000, false)), 1024);
        assert_eq!(shares(&cpus(500, false)), 512);
        assert_eq!(shares(&cpus(1, false)), 2);
        assert_eq!(shares(&cpus(2000, true)), 20);
        assert_eq!(quota_micros(500), 50_000);
        assert_eq!(quota_micros(1), 1_000);
    }

    #[test]
    fn weights_stay_in_the_range_of_v2() {
        assert_eq!(weight(&cpus(1000, false)), 100);
        assert_eq!(weight(&cpus(1, false)), 1);
        assert_eq!(weight(&cpus(1_000_000, false)), 10_000);
        assert_eq!(weight(&cpus(2000, true)), 1);
    }
}
