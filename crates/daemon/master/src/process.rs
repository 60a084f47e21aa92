//! What an operator can ask of the process itself: version, flags, log level, load.

use std::time::Duration;

use mezzo_mesos::v1;
use mezzo_mesos_v0::Build;

use crate::config::{Config, Verbosity};

/// The version of Mesos whose API this is; clients compare it.
pub(crate) use mezzo_mesos_v0::names::API_VERSION as VERSION;

/// State of the process that is not the core's.
#[derive(Debug)]
pub(crate) struct Process {
    verbosity: Verbosity,
    flags: Vec<v1::Flag>,
}

impl Process {
    pub(crate) fn new(config: &Config) -> Self {
        let flag =
            |(name, value): (&String, &String)| v1::Flag { name: name.clone(), value: Some(value.clone()) };
        Self { verbosity: config.verbosity, flags: config.flags.iter().map(flag).collect() }
    }

    /// The effective flags by name.
    pub(crate) fn flags(&self) -> &[v1::Flag] {
        &self.flags
    }

    /// How much is logged beyond the start level, in Mesos' numbers.
    pub(crate) fn verbosity(&self) -> u32 {
        (self.verbosity.get)()
    }

    /// Logs this much for a while (rule 24).
    pub(crate) fn set_verbosity(&self, level: u32, duration: Duration) {
        (self.verbosity.set)(level, duration);
    }
}

/// What was built, when, by whom.
pub(crate) fn build() -> Build<'static> {
    Build {
        version: VERSION,
        date: BUILD_DATE,
        time: 0.0,
        user: "mezzo",
        git_sha: BUILD_GIT_SHA,
        ..Build::default()
    }
}

/// The same as a message.
pub(crate) fn version_info() -> v1::VersionInfo {
    v1::VersionInfo {
        version: VERSION.into(),
        build_date: Some(BUILD_DATE.into()),
        build_time: Some(0.0),
        build_user: Some("mezzo".into()),
        git_sha: BUILD_GIT_SHA.map(Into::into),
        ..Default::default()
    }
}

/// Builds are reproducible, so they do not know when they were made.
const BUILD_DATE: &str = "1970-01-01 00:00:00 UTC";

/// The commit, where whoever built this set MEZZO_GIT_SHA. Without it the field is left out, as in a
/// Mesos that was built from a release's sources.
const BUILD_GIT_SHA: Option<&str> = option_env!("MEZZO_GIT_SHA");

/// Load and memory of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemStats {
    /// Over 1, 5 and 15 minutes.
    pub(crate) load: [f64; 3],
    pub(crate) cpus: usize,
    pub(crate) mem_total_bytes: u64,
    pub(crate) mem_free_bytes: u64,
}

/// Reads them; what cannot be read is zero.
pub(crate) fn system_stats() -> SystemStats {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut load = text.split(' ').map_while(|number| number.parse().ok());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    SystemStats {
        load: std::array::from_fn(|_| load.next().unwrap_or(0.0)),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        mem_total_bytes: kilobytes("MemTotal:").unwrap_or(0) * 1024,
        mem_free_bytes: kilobytes("MemFree:").unwrap_or(0) * 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        let stats = system_stats();
        assert!(stats.mem_total_bytes > 0 && stats.cpus > 0);
    }
}
