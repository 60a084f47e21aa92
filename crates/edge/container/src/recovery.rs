//! What a restarted agent finds.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use mezzo_ids::ContainerId;
use rustix::process::{Pid, PidfdFlags};

use crate::{kernel, launcher, layout};

/// A container of an earlier agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Which.
    pub id: ContainerId,
    /// What is known of it.
    pub state: RecoveredState,
    /// It was inside another one for a look, and has to end (rule 360).
    pub debug: bool,
    pub(crate) supervisor: u32,
}

/// What is known of a recovered container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveredState {
    /// Its supervisor lives; [`crate::ContainerEvent::Exited`] will come. The process id is missing
    /// only when the supervisor could not write it.
    Running {
        /// Of the program.
        pid: Option<u32>,
    },
    /// It ended with this wait status.
    Ended(i32),
    /// It was never started, for this reason.
    LaunchFailed(String),
    /// Nothing runs and nobody knows how it ended.
    Unknown,
}

/// How long an earlier launcher gets to work off what the earlier agent had asked for: a thousand
/// launches take it about a second.
const EARLIER_LAUNCHER_WAIT: Duration = Duration::from_secs(30);

/// Waits until every launch of an earlier agent is on disk, so that none appears later.
pub(crate) fn await_earlier_launcher(runtime_dir: &Path) -> io::Result<()> {
    let lock = launcher::open_launcher_lock(runtime_dir)?;
    let deadline = Instant::now() + EARLIER_LAUNCHER_WAIT;
    loop {
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reads all containers, parents before children.
pub(crate) fn read(runtime_dir: &Path) -> io::Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    read_below(runtime_dir, "", &mut recovered)?;
    Ok(recovered)
}

fn read_below(directory: &Path, parent: &str, recovered: &mut Vec<Recovered>) -> io::Result<()> {
    let entries = match fs::read_dir(directory.join(layout::CONTAINERS)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_dir() || name.contains('.') {
            continue;
        }
        let id = if parent.is_empty() { name } else { format!("{parent}.{name}") };
        if !layout::is_valid_id(&id) {
            continue;
        }
        let path = entry.path();
        if let Some((state, supervisor)) = read_container(&path)? {
            let debug = path.join(layout::DEBUG).exists();
            recovered.push(Recovered { id: ContainerId::from(id.as_str()), state, debug, supervisor });
        }
        read_below(&path, &id, recovered)?;
    }
    Ok(())
}

/// `None` for a directory that only holds children.
fn read_container(directory: &Path) -> io::Result<Option<(RecoveredState, u32)>> {
    let pid_file = match File::open(directory.join(layout::PID)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(read_failure(directory)
                .map(|message| (RecoveredState::LaunchFailed(message), 0))
                .or_else(|| {
                    let only_children = directory.join(layout::CONTAINERS).exists();
                    (!only_children).then_some((RecoveredState::Unknown, 0))
                }));
        }
        Err(error) => return Err(error),
    };
    // The holder is asked first: one that ends meanwhile has written its status by then.
    let holder = kernel::record_holder(pid_file.as_fd())?.and_then(|pid| u32::try_from(pid).ok());
    if let Some(status) = read_status(directory) {
        return Ok(Some((RecoveredState::Ended(status), 0)));
    }
    if let Some(message) = read_failure(directory) {
        return Ok(Some((RecoveredState::LaunchFailed(message), 0)));
    }
    Ok(Some(match holder {
        Some(supervisor) => {
            let pid =
                fs::read_to_string(directory.join(layout::PID)).ok().and_then(|t| t.trim().parse().ok());
            (RecoveredState::Running { pid }, supervisor)
        }
        None => (RecoveredState::Unknown, 0),
    }))
}

fn read_failure(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join(layout::FAILED)).ok()
}

/// The wait status a supervisor left; `None` also for a file without content.
pub(crate) fn read_status(directory: &Path) -> Option<i32> {
    fs::read_to_string(directory.join(layout::STATUS)).ok()?.trim().parse().ok()
}

/// A descriptor of the supervisor that holds the lock of this container's directory; `None` when
/// there is none. It cannot be another process: the lock is asked for again once the descriptor
/// fixes the process (attack A044).
pub(crate) fn open_supervisor(directory: &Path) -> io::Result<Option<OwnedFd>> {
    let file = match File::open(directory.join(layout::PID)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(holder) = kernel::record_holder(file.as_fd())? else { return Ok(None) };
    let Some(pid) = Pid::from_raw(holder) else { return Ok(None) };
    let descriptor = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    Ok((kernel::record_holder(file.as_fd())? == Some(holder)).then_some(descriptor))
}
