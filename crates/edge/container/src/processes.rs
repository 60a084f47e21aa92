//! What `/proc` says about processes. Read only when asked for, or when something is left behind:
//! a pass over the whole table is far too slow to be part of an ordinary launch.

use std::{collections::BTreeMap, fs, path::Path};

use nix::libc;

use crate::kernel;

/// One process, from `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Clock ticks, its reaped children included.
    pub(crate) user_ticks: u64,
    /// Clock ticks, its reaped children included.
    pub(crate) system_ticks: u64,
    pub(crate) threads: u32,
    pub(crate) resident_pages: u64,
}

/// All processes of the host.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| read(Path::new("/proc"), pid))
        .collect()
}

fn read(proc: &Path, pid: i32) -> Option<Process> {
    parse(&fs::read(proc.join(format!("{pid}/stat"))).ok()?)
}

fn parse(stat: &[u8]) -> Option<Process> {
    // The second field is the program's own choice of name in parentheses; it may contain anything,
    // so fields are counted from the last closing parenthesis.
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<i64>().ok();
    let count = |n: usize| number(n).and_then(|value| u64::try_from(value).ok());
    Some(Process {
        pid,
        parent: i32::try_from(number(1)?).ok()?,
        session: i32::try_from(number(3)?).ok()?,
        user_ticks: count(11)? + count(13)?,
        system_ticks: count(12)? + count(14)?,
        threads: u32::try_from(count(17)?).ok()?,
        resident_pages: count(21)?,
    })
}

/// The descendants of a process, itself not included, parents before children.
pub(crate) fn descendants(table: &[Process], root: i32) -> Vec<Process> {
    let mut children = BTreeMap::<i32, Vec<&Process>>::new();
    for process in table {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found: Vec<Process> = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        // Removing what was visited ends the walk even if the table, which is not read at one
        // instant, shows a circle.
        found.extend(children.remove(&parent).unwrap_or_default().into_iter().copied());
        let Some(process) = found.get(next) else { return found };
        parent = process.pid;
        next += 1;
    }
}

/// Kills all descendants of a process: first they are stopped, so that none can go on forking.
pub(crate) fn kill_descendants(root: i32) {
    let found = descendants(&all(), root);
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        for process in &found {
            let _ = kernel::signal_process(process.pid, signal);
        }
    }
}

/// Kills all members of a session and their descendants, for a container without supervisor.
pub(crate) fn kill_session(session: i32) {
    let table = all();
    for process in table.iter().filter(|process| process.session == session) {
        for descendant in descendants(&table, process.pid) {
            let _ = kernel::signal_process(descendant.pid, libc::SIGKILL);
        }
        let _ = kernel::signal_process(process.pid, libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_move_the_fields() {
        let line = b"12 (a) b) 1 (x) S 3 12 11 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 5 0 99 1000 77 1";
        let process = parse(line).unwrap();
        assert_eq!(process.pid, 12);
        assert_eq!((process.parent, process.session), (3, 11));
        assert_eq!((process.user_ticks, process.system_ticks), (40, 60));
        assert_eq!((process.threads, process.resident_pages), (5, 77));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"12 )("), None);
    }

    #[test]
    fn descendants_are_found_whatever_the_order_of_the_table() {
        let process = |pid, parent| Process {
            pid,
            parent,
            session: 0,
            user_ticks: 0,
            system_ticks: 0,
            threads: 1,
            resident_pages: 0,
        };
        let table = [process(5, 4), process(4, 2), process(3, 2), process(9, 1), process(2, 1)];
        let pids: Vec<i32> = descendants(&table, 2).iter().map(|found| found.pid).collect();
        assert_eq!(pids, [4, 3, 5]);
        let circle = [process(2, 3), process(3, 2)];
        assert_eq!(descendants(&circle, 2).len(), 2);
    }

    #[test]
    fn this_process_is_in_the_table() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all().iter().any(|process| process.pid == own && process.resident_pages > 0));
    }
}
