//! /proc and /sys of a container with a root of its own.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::Errno;

use super::target::{self, Kind, Links};
use crate::mount_api::{self, Limits};

/// Parts of /proc that change the whole host (attack A019).
pub(crate) const READ_ONLY: [&[u8]; 5] = [b"bus", b"fs", b"irq", b"sys", b"sysrq-trigger"];

/// Parts of /proc that tell too much about the host (attack A021).
pub(crate) const PROC_HIDDEN: [&[u8]; 11] = [
    b"acpi",
    b"asound",
    b"interrupts",
    b"kcore",
    b"keys",
    b"latency_stats",
    b"sched_debug",
    b"scsi",
    b"timer_list",
    b"timer_stats",
    b"kallsyms",
];

/// The same of /sys.
pub(crate) const SYS_HIDDEN: [&[u8]; 2] = [b"firmware", b"devices/virtual/powercap"];

/// The place must be the image's own folder: with a link in its place, what is written to /proc would go
/// elsewhere (attacks A009, A010).
fn place(root: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    target::make(root, name, Kind::Folder, Links::Refused)
}

pub(super) fn mount_proc(root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let place = place(root, b"proc")?;
    let proc = mount_api::fresh(c"proc", &[], Limits::INERT)?;
    mount_api::attach(proc.as_fd(), place.as_fd())?;
    Ok(proc)
}

/// Has no control groups in it: these are mounts of their own, and a container gets none (attacks A017, A018).
pub(super) fn mount_sys(root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let place = place(root, b"sys")?;
    let sys = mount_api::fresh(c"sysfs", &[], Limits::ALL)?;
    mount_api::attach(sys.as_fd(), place.as_fd())?;
    Ok(sys)
}

/// Takes from /proc and /sys what is not a container's business. `devices` is a /dev that was just made, so
/// its `null` is what it seems (attack A004). `nothing` is an empty folder of a mount with all limits: without,
/// each cover is a file system, and the kernel takes longer for one and for a control group the more there are.
pub(super) fn restrict(
    proc: BorrowedFd<'_>,
    sys: BorrowedFd<'_>,
    devices: BorrowedFd<'_>,
    nothing: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<()> {
    for name in READ_ONLY {
        let Some(part) = there(proc, name)? else { continue };
        let again = mount_api::clone(part.as_fd(), false)?;
        mount_api::limit(again.as_fd(), Limits::ALL, false)?;
        mount_api::attach(again.as_fd(), part.as_fd())?;
    }
    for (root, names) in [(proc, PROC_HIDDEN.as_slice()), (sys, SYS_HIDDEN.as_slice())] {
        for name in names {
            let Some(part) = there(root, name)? else { continue };
            let cover = match target::kind(part.as_fd())? {
                Kind::Folder => match nothing {
                    Some(nothing) => mount_api::clone(nothing, false)?,
                    None => {
                        let options: [(&CStr, Option<&CStr>); 1] = [(c"nr_inodes", Some(c"1"))];
                        mount_api::fresh(c"tmpfs", &options, Limits::ALL)?
                    }
                },
                Kind::File => {
                    let null = target::open(devices, b"null", Links::Refused)?;
                    mount_api::clone(null.as_fd(), false)?
                }
            };
            mount_api::attach(cover.as_fd(), part.as_fd())?;
        }
    }
    Ok(())
}

fn there(root: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
    match target::open(root, name, Links::Refused) {
        Ok(part) => Ok(Some(part)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
