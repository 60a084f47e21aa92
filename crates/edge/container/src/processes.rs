//! What `/proc` says about processes. Read only when asked for, or when something is left behind:
//! a pass over the whole table is far too slow to be part of an ordinary launch.

use std::{collections::BTreeMap, ffi::CStr, fs, mem::MaybeUninit, path::Path};

use nix::libc;
use rustix::fs::{Mode, OFlags, RawDir};

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

/// Descendants that are stopped before the first of them is killed.
const STOPPED_MAX: usize = 1024;

/// Kills descendants of a process: first they are stopped, so that none can go on forking. The caller
/// repeats it while there are any.
///
/// Asks for no memory (see [`crate::crew`]).
pub(crate) fn kill_descendants(root: i32) {
    let mut found = [0; STOPPED_MAX];
    let mut count = 0;
    loop {
        let before = count;
        each_process(|pid, parent| {
            let known = found.get(..count).unwrap_or_default();
            if (parent == root || known.contains(&parent))
                && !known.contains(&pid)
                && let Some(place) = found.get_mut(count)
            {
                let _ = kernel::signal_process(pid, libc::SIGSTOP);
                *place = pid;
                count += 1;
            }
        });
        // What was forked before its parent was stopped is found by the next look.
        if count == before {
            break;
        }
    }
    for pid in found.iter().take(count) {
        let _ = kernel::signal_process(*pid, libc::SIGKILL);
    }
}

/// Calls `seen` with the id and the parent's of every process.
fn each_process(mut seen: impl FnMut(i32, i32)) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(proc) = rustix::fs::open(c"/proc", flags, Mode::empty()) else { return };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&proc, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        let Some(pid) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) else { continue };
        let mut path = [0; 32];
        let Some((start, rest)) = path.split_at_mut_checked(name.len()) else { continue };
        let Some(end) = rest.get_mut(..5) else { continue };
        start.copy_from_slice(name);
        end.copy_from_slice(b"/stat");
        let Ok(path) = CStr::from_bytes_until_nul(&path) else { continue };
        let Ok(file) = rustix::fs::openat(&proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        else {
            continue;
        };
        // Enough for the fields before the third: the name has at most 64 bytes.
        let mut stat = [0; 256];
        let length = rustix::io::read(&file, &mut stat).unwrap_or(0);
        if let Some(parent) = parent(stat.get(..length).unwrap_or_default()) {
            seen(pid, parent);
        }
    }
}

/// The parent in the start of a `stat` file.
fn parent(stat: &[u8]) -> Option<i32> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
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
        assert_eq!(parent(line), Some(3));
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
        let mut found = None;
        each_process(|pid, parent| found = found.or((pid == own).then_some(parent)));
        assert_eq!(found, all().iter().find(|process| process.pid == own).map(|process| process.parent));
    }
}
