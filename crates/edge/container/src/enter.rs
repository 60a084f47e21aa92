//! Entering a container that runs: a session sees what its parent sees, and may do no more (attack A030).

use std::{ffi::CString, fs, io, os::fd::AsFd, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags},
    thread::ThreadNameSpaceType,
};

use crate::{
    confinement::{Capabilities, EnteredRef, Privileges},
    filter::Filter,
    kernel, layout,
};

/// Those of its namespaces that a process joins; of the process namespace its children become members.
pub(crate) const NAMESPACES: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::NETWORK)
    .union(ThreadNameSpaceType::CONTROL_GROUP);

/// Whether a program sees other files than this process, or other processes.
pub(crate) fn is_apart(pid: u32) -> io::Result<bool> {
    for name in ["mnt", "pid"] {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        if fs::read_link(format!("/proc/{pid}/ns/{name}"))? != own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a program may do, as the kernel tells it, so that it is known of containers of an earlier agent too.
/// A filter cannot be read; where there is one, ours for the same capabilities takes its place.
pub(crate) fn privileges_of(pid: u32) -> io::Result<Privileges> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let missing = || io::Error::from(io::ErrorKind::InvalidData);
    let bounding = field("CapBnd").and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or_else(missing)?;
    let filter = match field("Seccomp") {
        Some("2") => Some(Filter::standard(bounding).map_err(io::Error::other)?.into()),
        _ => None,
    };
    Ok(Privileges {
        capabilities: Some(Capabilities { effective: bounding, bounding }),
        no_new_privileges: field("NoNewPrivs") == Some("1"),
        filter,
    })
}

/// The first process of what is entered, and the directory it works in.
pub(crate) struct Target {
    pub(crate) process: OwnedFd,
    pub(crate) directory: OwnedFd,
}

/// Opens a program for its namespaces, and lets this process's children become members of its process
/// namespace. The number is the program's for certain while its supervisor holds its lock and has written
/// down no end: until then nobody has reaped it (attack A044).
pub(crate) fn open(entered: &EnteredRef<'_>) -> rustix::io::Result<Target> {
    let pid = i32::try_from(entered.pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = CString::new(format!("/proc/{}/cwd", entered.pid)).unwrap_or_default();
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    if !is_running(Path::new(&*entered.directory.to_string_lossy())) {
        return Err(Errno::SRCH);
    }
    rustix::thread::move_into_thread_name_spaces(process.as_fd(), ThreadNameSpaceType::PROCESS_ID)?;
    Ok(Target { process, directory })
}

fn is_running(directory: &Path) -> bool {
    let Ok(file) = fs::File::open(directory.join(layout::PID)) else { return false };
    matches!(kernel::record_holder(file.as_fd()), Ok(Some(_))) && !directory.join(layout::STATUS).exists()
}
