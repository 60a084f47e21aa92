//! cgroups/mem (rules 363 and 364).

use std::os::fd::OwnedFd;

use rustix::{
    event::{EventfdFlags, epoll},
    fs::{Mode, OFlags},
};

use super::{
    IsolationError, MIB, Resources, Statistics,
    cgroup::{Group, Host, Version, field},
};
use crate::event::Limitation;

const NAME: &str = "cgroups/mem";
/// Less than this starts nothing.
const BYTES_MIN: u64 = 32 * MIB;

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) root: Group,
    limit_swap: bool,
}

/// Tells that a container ran out of memory.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) descriptor: OwnedFd,
    pub(crate) events: epoll::EventFlags,
}

impl Memory {
    pub(super) fn start(host: &Host, limit_swap: bool) -> Result<Self, IsolationError> {
        let root = host.controller(NAME, "memory")?;
        if limit_swap && root.version == Version::V1 && root.number("memory.memsw.limit_in_bytes").is_none() {
            let reason = "this kernel does not account swap, which --cgroups_limit_swap needs".to_owned();
            return Err(IsolationError::Host { name: NAME, reason });
        }
        Ok(Self { root, limit_swap })
    }

    pub(super) fn prepare(&self, id: &str, resources: &Resources) -> Result<(), IsolationError> {
        let group = self.root.child(id);
        let hard = hard_bytes(resources);
        match group.version {
            Version::V1 => {
                group.write("memory.soft_limit_in_bytes", soft_bytes(resources))?;
                group.write("memory.limit_in_bytes", text(hard, "-1"))?;
                if self.limit_swap {
                    group.write("memory.memsw.limit_in_bytes", text(hard, "-1"))?;
                }
            }
            Version::V2 => {
                group.write("memory.low", soft_bytes(resources))?;
                group.write("memory.max", text(hard, "max"))?;
                if self.limit_swap {
                    group.write("memory.swap.max", 0)?;
                }
            }
        }
        Ok(())
    }

    /// The hard limit only grows: lowering it below what is used would kill.
    pub(super) fn update(&self, id: &str, resources: &Resources) -> Result<(), IsolationError> {
        let group = self.root.child(id);
        let hard = hard_bytes(resources);
        let (soft_file, hard_file) = match group.version {
            Version::V1 => ("memory.soft_limit_in_bytes", "memory.limit_in_bytes"),
            Version::V2 => ("memory.low", "memory.max"),
        };
        group.write(soft_file, soft_bytes(resources))?;
        if group.number(hard_file).is_some_and(|current| current >= hard) {
            return Ok(());
        }
        match group.version {
            Version::V1 => {
                if self.limit_swap {
                    // Never below the limit without swap, so it has to grow first.
                    group.write("memory.memsw.limit_in_bytes", text(hard, "-1"))?;
                }
                group.write(hard_file, text(hard, "-1"))
            }
            Version::V2 => group.write(hard_file, text(hard, "max")),
        }
    }

    pub(super) fn watch(&self, id: &str) -> Option<Watch> {
        let group = self.root.child(id);
        match group.version {
            Version::V1 => {
                use std::os::fd::AsRawFd;
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let descriptor = rustix::event::eventfd(0, flags).ok()?;
                let control = std::fs::File::open(group.path.join("memory.oom_control")).ok()?;
                let line = format!("{} {}", descriptor.as_raw_fd(), control.as_raw_fd());
                group.write("cgroup.event_control", line).ok()?;
                Some(Watch { descriptor, events: epoll::EventFlags::IN })
            }
            Version::V2 => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let descriptor =
                    rustix::fs::open(group.path.join("memory.events"), flags, Mode::empty()).ok()?;
                Some(Watch { descriptor, events: epoll::EventFlags::PRI | epoll::EventFlags::ET })
            }
        }
    }

    /// Whether an event of the watch means that memory ran out.
    pub(super) fn is_out(&self, id: &str) -> bool {
        let group = self.root.child(id);
        match group.version {
            // Told before the kernel chooses whom to kill, so its count may still be zero.
            Version::V1 => true,
            Version::V2 => ["oom", "oom_kill"]
                .iter()
                .any(|name| group.field("memory.events", name).is_some_and(|count| count > 0)),
        }
    }

    /// An end by memory: known from the watch, or from the kernel's own count of killed processes,
    /// which also covers the time when no agent watched.
    pub(super) fn limitation(&self, id: &str, known: bool) -> Option<Limitation> {
        let group = self.root.child(id);
        let (events, peak, limit) = match group.version {
            Version::V1 => ("memory.oom_control", "memory.max_usage_in_bytes", "memory.limit_in_bytes"),
            Version::V2 => ("memory.events", "memory.peak", "memory.max"),
        };
        if !known && group.field(events, "oom_kill").unwrap_or_default() == 0 {
            return None;
        }
        let limit = group.number(limit).unwrap_or_default();
        // Kernels before 5.19 keep no peak on v2; what ran out is the limit.
        let peak_bytes = group.number(peak).unwrap_or(limit);
        let message = format!(
            "Memory limit exceeded: Requested: {}MB Maximum Used: {}MB",
            limit.div_ceil(MIB),
            peak_bytes.div_ceil(MIB)
        );
        Some(Limitation::Memory { message, peak_bytes })
    }

    /// Fills what the kernel counted; false when it says nothing.
    pub(super) fn measure(&self, id: &str, statistics: &mut Statistics) -> bool {
        let group = self.root.child(id);
        let Some(stat) = group.read("memory.stat") else { return false };
        let value = |name| field(&stat, name);
        match group.version {
            Version::V1 => {
                statistics.mem_total_bytes = group.number("memory.usage_in_bytes");
                if self.limit_swap {
                    statistics.mem_total_memsw_bytes = group.number("memory.memsw.usage_in_bytes");
                }
                statistics.mem_kmem_usage_bytes = group.number("memory.kmem.usage_in_bytes");
                statistics.mem_kmem_tcp_usage_bytes = group.number("memory.kmem.tcp.usage_in_bytes");
                let (cache, rss) = (value("total_cache"), value("total_rss"));
                (statistics.mem_file_bytes, statistics.mem_cache_bytes) = (cache, cache);
                (statistics.mem_anon_bytes, statistics.mem_rss_bytes) = (rss, rss);
                statistics.mem_mapped_file_bytes = value("total_mapped_file");
                statistics.mem_swap_bytes = value("total_swap");
                statistics.mem_unevictable_bytes = value("total_unevictable");
            }
            Version::V2 => {
                statistics.mem_total_bytes = group.number("memory.current");
                statistics.mem_kmem_usage_bytes = value("kernel");
                statistics.mem_kmem_tcp_usage_bytes = value("sock");
                let (cache, rss) = (value("file"), value("anon"));
                (statistics.mem_file_bytes, statistics.mem_cache_bytes) = (cache, cache);
                (statistics.mem_anon_bytes, statistics.mem_rss_bytes) = (rss, rss);
                statistics.mem_mapped_file_bytes = value("file_mapped");
                statistics.mem_swap_bytes = group.number("memory.swap.current");
                statistics.mem_unevictable_bytes = value("unevictable");
            }
        }
        true
    }
}

fn soft_bytes(resources: &Resources) -> u64 {
    resources.mem_bytes.max(BYTES_MIN)
}

fn hard_bytes(resources: &Resources) -> u64 {
    resources.mem_limit_bytes.unwrap_or(resources.mem_bytes).max(BYTES_MIN)
}

fn text(bytes: u64, unlimited: &str) -> String {
    if bytes == u64::MAX { unlimited.to_owned() } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_363_limits_are_at_least_32_mb() {
        let small = Resources { mem_bytes: MIB, ..Resources::default() };
        assert_eq!((soft_bytes(&small), hard_bytes(&small)), (32 * MIB, 32 * MIB));
        let limited = Resources { mem_bytes: 64 * MIB, mem_limit_bytes: Some(128 * MIB), ..small };
        assert_eq!((soft_bytes(&limited), hard_bytes(&limited)), (64 * MIB, 128 * MIB));
        let unlimited = Resources { mem_limit_bytes: Some(u64::MAX), ..limited };
        assert_eq!(text(hard_bytes(&unlimited), "max"), "max");
    }
}
