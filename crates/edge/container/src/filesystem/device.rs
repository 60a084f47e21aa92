//! /dev of a container with a root of its own.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, Uid},
    io::Errno,
};

use super::target::{self, Kind, Links};
use crate::{
    confinement::{Confined, DeviceRef},
    mount_api::{self, Limits},
};

/// Devices without which programs do not work: name, and the kernel's two numbers.
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// Nothing but device nodes belongs here, so this is plenty.
const DEV_OPTIONS: [(&CStr, Option<&CStr>); 2] = [(c"mode", Some(c"755")), (c"size", Some(c"64k"))];

/// Group 5 owns terminals in every distribution.
const PTS_OPTIONS: [(&CStr, Option<&CStr>); 4] =
    [(c"newinstance", None), (c"ptmxmode", Some(c"0666")), (c"mode", Some(c"0620")), (c"gid", Some(c"5"))];

/// Mounts a /dev that holds nothing of the image's (attacks A004 to A008).
pub(super) fn mount(root: BorrowedFd<'_>, confined: &Confined<'_>) -> rustix::io::Result<OwnedFd> {
    let place = target::make(root, b"dev", Kind::Folder, Links::Refused)?;
    // The one place where devices work.
    let limits = Limits { no_devices: false, ..Limits::INERT };
    let dev = mount_api::fresh(c"tmpfs", &DEV_OPTIONS, limits)?;
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, rustix::fs::makedev(major, minor))?;
    }
    for (to, name) in LINKS {
        rustix::fs::symlinkat(to, &dev, name)?;
    }
    for node in &confined.devices {
        given(dev.as_fd(), node)?;
    }
    mount_api::attach(dev.as_fd(), place.as_fd())?;
    let folder = |name: &[u8]| target::make(dev.as_fd(), name, Kind::Folder, Links::Refused);
    let pts = mount_api::fresh(c"devpts", &PTS_OPTIONS, limits)?;
    mount_api::attach(pts.as_fd(), folder(b"pts")?.as_fd())?;
    folder(b"shm")?;
    shared_memory(dev.as_fd(), b"shm", confined.shm_bytes)?;
    if confined.ipc {
        message_queues(folder(b"mqueue")?.as_fd())?;
    }
    Ok(dev)
}

/// Makes the node of a device that the container was given. One that everybody has is there already.
fn given(dev: BorrowedFd<'_>, node: &DeviceRef<'_>) -> rustix::io::Result<()> {
    let path = node.path.to_bytes().strip_prefix(b"/dev/").ok_or(Errno::INVAL)?;
    let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => path.split_at(at + 1),
        None => (&b""[..], path),
    };
    let made;
    let folder = match folder {
        b"" => dev,
        folder => {
            made = target::make(dev, folder, Kind::Folder, Links::Refused)?;
            made.as_fd()
        }
    };
    let kind = if node.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let (mode, number) =
        (Mode::from_raw_mode(node.mode & 0o777), rustix::fs::makedev(node.major, node.minor));
    match rustix::fs::mknodat(folder, name, kind, mode, number) {
        Err(Errno::EXIST) => return Ok(()),
        result => result?,
    }
    let (user, group) = (Some(Uid::from_raw(node.owner.0)), Some(Gid::from_raw(node.owner.1)));
    rustix::fs::chownat(folder, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
}

/// Mounts memory that its processes share by name.
pub(super) fn shared_memory(root: BorrowedFd<'_>, path: &[u8], bytes: u64) -> rustix::io::Result<()> {
    let place = target::open(root, path, Links::Inside)?;
    let size = CString::new(bytes.to_string()).unwrap_or_default();
    let options = [(c"mode", Some(c"1777")), (c"size", Some(size.as_c_str()))];
    let memory = mount_api::fresh(c"tmpfs", &options, Limits::INERT)?;
    mount_api::attach(memory.as_fd(), place.as_fd())
}

pub(super) fn message_queues(place: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let queues = mount_api::fresh(c"mqueue", &[], Limits::INERT)?;
    mount_api::attach(queues.as_fd(), place)
}
