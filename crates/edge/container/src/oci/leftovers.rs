//! What is to be cleared away when a container of another runtime has ended, by its supervisor or, where that
//! was killed, by the agent.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::libc;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    mount::UnmountFlags,
    process::{Pid, PidfdFlags},
};
use serde::{Deserialize, Serialize};

use super::{PATIENCE_DELETE, command, folder};
use crate::{kernel, recovery};

/// Where it is kept, in the folder of the runtime; removed last.
const FILE: &str = "leftovers.json";
/// Longest wait for a supervisor that is doing the same.
const SUPERVISOR_WAIT: Duration = Duration::from_secs(10);
/// How often members of a group are killed: what forks meanwhile is found by the next look.
const ROUNDS_MAX: usize = 200;
/// Longest wait for the members of a group, which were killed, to end.
const MEMBERS_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for a group to be empty in the kernel's books once its members have ended.
const EMPTY_WAIT: Duration = Duration::from_secs(1);
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// All that is needed to clear away, also for an agent that has another runtime, or none.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Leftovers {
    /// The runtime.
    pub(super) program: PathBuf,
    /// The container's name with the runtime.
    pub(super) id: String,
    pub(super) hierarchy: PathBuf,
    /// Below each hierarchy, without the first slash.
    pub(super) cgroup: PathBuf,
    /// Groups that are the agent's to remove, once it has read what is in them.
    pub(super) kept: Vec<PathBuf>,
}

impl Leftovers {
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(FILE), serde_json::to_vec(self)?)
    }

    fn read(folder: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(folder.join(FILE))?;
        io::Read::read_to_end(&mut io::Read::take(file, FILE_BYTES_MAX), &mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// A command of the runtime's about containers of this folder.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(folder.join("state"));
        command.arg("--log").arg(folder.join("log")).args(["--log-format", "json"]);
        command.current_dir(folder);
        command
    }

    /// Ends what may run, lets the runtime forget it, and removes everything. What cannot be removed is told
    /// in words.
    pub(super) fn clear(&self, folder: &Path) -> Result<(), String> {
        let mut result = Ok(());
        let knows_any = fs::read_dir(folder.join("state")).is_ok_and(|mut found| found.next().is_some());
        if knows_any {
            let mut command = self.command(folder);
            command.args(["delete", "--force", &self.id]);
            let ended = command::run(command, PATIENCE_DELETE, command::Said::Kept);
            result = match ended {
                Ok(ended) if ended.status.is_some_and(|status| status.success()) => Ok(()),
                Ok(ended) => Err(format!(
                    "'{} delete --force' {}: {}",
                    self.program.display(),
                    command::ending(ended.status, PATIENCE_DELETE),
                    ended.said
                )),
                Err(error) => Err(format!("run '{}': {error}", self.program.display())),
            };
        }
        self.end_members();
        self.remove_groups();
        remove_folder(folder);
        result
    }

    /// The container's group in every hierarchy that may have one.
    fn groups(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.hierarchy).into_iter().flatten().flatten();
        let hierarchies = names.map(|entry| entry.path()).chain([self.hierarchy.clone()]);
        let groups = hierarchies.map(|hierarchy| hierarchy.join(&self.cgroup));
        groups.filter(|group| group.parent().is_some_and(Path::is_dir)).collect()
    }

    /// Ends what a runtime did not, as one that is not there any more: the group is this container's alone.
    fn end_members(&self) {
        for group in self.groups() {
            let deadline = Instant::now() + MEMBERS_WAIT;
            for _ in 0..ROUNDS_MAX {
                let members = members(&group);
                if members.is_empty() {
                    break;
                }
                let ends: Vec<_> = members.iter().filter_map(|pid| open_process(*pid)).collect();
                for pid in members {
                    let _ = kernel::signal_process(pid, libc::SIGKILL);
                }
                if !ends.iter().all(|end| await_event(end.as_fd(), PollFlags::IN, deadline)) {
                    break;
                }
            }
        }
    }

    /// Removes the container's group from every hierarchy, and the one above it where that is not the agent's.
    fn remove_groups(&self) {
        for group in self.groups() {
            remove_group(&group);
            if let Some(parent) = group.parent().filter(|parent| !self.kept.iter().any(|kept| kept == parent))
            {
                // Not while another container of the same group is below it.
                let _ = fs::remove_dir(parent);
            }
        }
    }
}

/// The processes of a group that can be ended.
fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 1).collect()
}

fn open_process(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Removes a group whose members have ended: the kernel counts one a moment longer than its parent sees it.
fn remove_group(group: &Path) {
    let deadline = Instant::now() + EMPTY_WAIT;
    loop {
        // Opened first, so that no change is missed between the attempt and the wait.
        let changes = File::open(group.join("cgroup.events")).ok();
        let populated = changes.as_ref().and_then(|file| io::read_to_string(file).ok());
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {}
            _ => return,
        }
        match changes.filter(|_| populated.is_some_and(|text| text.contains("populated 1"))) {
            Some(changes) => drop(await_event(changes.as_fd(), PollFlags::PRI, deadline)),
            // Nothing of version 1 tells when it is empty.
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Waits for a descriptor until a deadline; whether what was waited for has come.
fn await_event(descriptor: BorrowedFd<'_>, event: PollFlags, deadline: Instant) -> bool {
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(descriptor, event)], left.as_ref()) {
            Err(Errno::INTR) => {}
            result => return result.is_ok_and(|ready| ready > 0),
        }
    }
}

/// Removes the folder of a runtime. Only what a runtime itself has written is looked through: in the mount
/// namespace of a supervisor the host's own files are in one of the other folders.
fn remove_folder(folder: &Path) {
    let _ = fs::remove_dir_all(folder.join("state"));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == FILE {
            continue;
        }
        let _ = rustix::mount::unmount(&path, UnmountFlags::DETACH);
        // Fails where a folder is not empty.
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    let _ = fs::remove_file(folder.join(FILE));
    let _ = fs::remove_dir(folder);
}

/// Whether a container was made by another runtime and something of it may be left.
pub(crate) fn is_there(container_dir: &Path) -> bool {
    folder(container_dir).exists()
}

/// Clears away what is left of a container that does not run any more, or whose supervisor was killed.
pub(crate) fn settle(container_dir: &Path) {
    let folder = folder(container_dir);
    if !folder.exists() {
        return;
    }
    await_supervisor(container_dir);
    match Leftovers::read(&folder) {
        Ok(leftovers) => {
            if let Err(error) = leftovers.clear(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "a container's runtime did not forget it");
            }
        }
        // Killed before the runtime was told anything, or cleared away by its supervisor meanwhile.
        Err(_) => remove_folder(&folder),
    }
}

/// A supervisor that has written down how its container ended goes on to clear away itself.
fn await_supervisor(container_dir: &Path) {
    // One that cannot be waited for has ended, or nothing can be known about it.
    let Ok(Some(supervisor)) = recovery::open_supervisor(container_dir) else { return };
    await_event(supervisor.as_fd(), PollFlags::IN, Instant::now() + SUPERVISOR_WAIT);
}
