//! posix/cpu and posix/mem: measuring without limiting.

use crate::processes;

/// What the processes of a container use together.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) processes: u32,
    pub(super) threads: u32,
    pub(super) user_seconds: f64,
    pub(super) system_seconds: f64,
    pub(super) resident_bytes: u64,
}

/// Adds up the program, its descendants, and whatever else is in its session.
pub(super) fn measure(pid: u32) -> Usage {
    let Ok(pid) = i32::try_from(pid) else { return Usage::default() };
    let table = processes::all();
    let mut members: Vec<_> =
        table.iter().filter(|process| process.pid == pid || process.session == pid).copied().collect();
    for process in processes::descendants(&table, pid) {
        if members.iter().all(|member| member.pid != process.pid) {
            members.push(process);
        }
    }
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    let mut usage = Usage::default();
    for process in members {
        usage.processes += 1;
        usage.threads += process.threads;
        usage.user_seconds += process.user_ticks as f64 / ticks;
        usage.system_seconds += process.system_ticks as f64 / ticks;
        usage.resident_bytes += process.resident_pages * page;
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_a_missing_one_nothing() {
        let usage = measure(std::process::id());
        assert!(usage.processes >= 1 && usage.threads >= 1 && usage.resident_bytes > 0);
        assert_eq!(measure(u32::MAX), Usage::default());
    }
}
