//! A mount namespace with nothing in it, which containers with a root of their own begin with a copy of.
//!
//! The way to a root of one's own is otherwise `pivot_root`, for which the kernel looks at every process of the
//! host whether it works below the old root: milliseconds on a host with ten thousand. Here the root is put
//! over an empty folder that nobody can write to, so there is no old root to be moved away, and whoever has
//! the right to take mounts off finds that folder and nothing of the host. Nor is there a copy of the host's
//! mounts to be let go of, for which the kernel waits until no processor looks at it.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags},
    pipe::PipeFlags,
    thread::{LinkNameSpaceType, UnshareFlags},
};

use crate::{
    kernel,
    mount_api::{self, Limits},
};

/// Makes the namespace, which lives as long as somebody holds it. `folder` is the agent's own; only the process
/// that ends here sees anything in its place. Not without root.
pub(crate) fn make(folder: &CStr) -> rustix::io::Result<OwnedFd> {
    let (said, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (held, holding) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let pid = match kernel::fork() {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            drop((said, holding));
            if empty(folder).is_ok() && rustix::io::write(&writing, &[1]).is_ok() {
                // Until it was opened, or nobody is there to do it.
                let _ = rustix::io::read(&held, &mut [0; 1]);
            }
            kernel::exit_now(0)
        }
        Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
    };
    drop((writing, held));
    let made = match rustix::io::retry_on_intr(|| rustix::io::read(&said, &mut [0; 1])) {
        Ok(1) => {
            rustix::fs::open(format!("/proc/{pid}/ns/mnt"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        }
        Ok(_) => Err(Errno::PERM),
        Err(errno) => Err(errno),
    };
    drop(holding);
    kernel::await_end(pid);
    made
}

fn empty(folder: &CStr) -> rustix::io::Result<()> {
    kernel::separate(UnshareFlags::NEWNS)?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // All containers have it, so it is read-only also for who changes its own mount of it.
    let options: [(&CStr, Option<&CStr>); 3] =
        [(c"mode", Some(c"0555")), (c"nr_inodes", Some(c"1")), (c"ro", None)];
    let nothing = mount_api::fresh(c"tmpfs", &options, Limits::ALL)?;
    let place = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mount_api::attach(nothing.as_fd(), place.as_fd())?;
    pivot(nothing.as_fd())
}

/// Makes a mount the root, and lets go of the one before.
pub(crate) fn pivot(top: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::process::fchdir(top)?;
    // The old root is put over the new one, where no name leads to it, and is then taken off.
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// Makes a mount that has no place yet the root of this process, in a namespace of its own, which has nothing
/// else. Returns the empty folder below it.
pub(crate) fn enter(stage: BorrowedFd<'_>, top: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::thread::move_into_link_name_space(stage, Some(LinkNameSpaceType::Mount))?;
    kernel::separate(UnshareFlags::NEWNS)?;
    let nothing = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mount_api::attach(top, nothing.as_fd())?;
    rustix::process::fchdir(top)?;
    rustix::process::chroot(c".")?;
    Ok(nothing)
}
