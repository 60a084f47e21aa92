//! The control groups of a measurement, by which whatever is left of it is found.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::wait::PATIENCE;

/// Between two looks at groups whose members were killed.
const PAUSE: Duration = Duration::from_millis(10);

/// Ends what is in the groups of this name, which is nothing when all went well, and removes them.
pub(super) fn clear(name: &str) {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let groups: Vec<PathBuf> = hierarchies
        .chain([top.to_path_buf()])
        .map(|hierarchy| hierarchy.join(name))
        .filter(|group| group.is_dir())
        .collect();
    let deadline = Instant::now() + PATIENCE;
    for group in groups {
        while let Err(error) = remove(&group) {
            if Instant::now() > deadline {
                eprintln!("  {} is left: {error}", group.display());
                break;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Kills the members of a group and of those below it, and removes those that are empty already.
fn remove(group: &Path) -> io::Result<()> {
    for child in
        fs::read_dir(group)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        // What is wrong is told for the group around it.
        drop(remove(&child.path()));
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    fs::remove_dir(group)
}
