//! Mounts by descriptor: made, changed while nobody sees them, and only then put in their place.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::libc;
use rustix::{
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

/// A mount's limits, all of which only ever take away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) read_only: bool,
    pub(crate) no_set_user_id: bool,
    pub(crate) no_devices: bool,
    pub(crate) no_execution: bool,
}

impl Limits {
    /// Everything but writing.
    pub(crate) const INERT: Self =
        Self { read_only: false, no_set_user_id: true, no_devices: true, no_execution: true };
    /// Everything.
    pub(crate) const ALL: Self = Self { read_only: true, ..Self::INERT };

    fn attributes(self) -> MountAttrFlags {
        let mut attributes = MountAttrFlags::empty();
        attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.read_only);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.no_set_user_id);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.no_devices);
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.no_execution);
        attributes
    }
}

/// A file system of the kernel's own, mounted nowhere yet. Options without a value are flags.
pub(crate) fn fresh(
    kind: &CStr,
    options: &[(&CStr, Option<&CStr>)],
    limits: Limits,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), *name, *value)?,
            None => fsconfig_set_flag(context.as_fd(), *name)?,
        }
    }
    mount(context.as_fd(), limits)
}

/// The mount of a file system that was described in full.
pub(crate) fn mount(context: BorrowedFd<'_>, limits: Limits) -> rustix::io::Result<OwnedFd> {
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, limits.attributes())
}

/// A second mount of a file or folder, with what is mounted below it if asked for, in no place yet.
pub(crate) fn clone(source: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(source, c"", flags)
}

/// Puts a mount that has no place yet over a file or folder.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Whether this kernel has all of these calls; the youngest is the one that takes from mounts.
#[expect(unsafe_code, reason = "mount_setattr is in neither crate")]
pub(crate) fn is_there() -> bool {
    // SAFETY: the kernel looks at the length before it reads anything, and refuses this one.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null::<libc::mount_attr>(), 0)
    };
    result == 0 || crate::kernel::last_errno() != libc::ENOSYS
}

/// Takes from a mount, and from those below it if asked for.
pub(crate) fn limit(mount: BorrowedFd<'_>, limits: Limits, recursive: bool) -> rustix::io::Result<()> {
    let attr_set = u64::from(limits.attributes().bits());
    set(mount, libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 }, recursive)
}

/// Lets a mount and those below it hear of mounts at their origin, but tell it of none: what the host unmounts
/// is unmounted there as well, or its disks would stay busy.
pub(crate) fn follow(mount: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let propagation = u64::from(MountPropagationFlags::DOWNSTREAM.bits());
    set(mount, libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 }, true)
}

#[expect(unsafe_code, reason = "mount_setattr is in neither crate")]
fn set(mount: BorrowedFd<'_>, attributes: libc::mount_attr, recursive: bool) -> rustix::io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads a path, which is empty, and as many bytes of attributes as it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(crate::kernel::last_errno())) }
}
