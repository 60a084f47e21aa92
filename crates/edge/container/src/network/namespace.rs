//! Network namespaces that are there without a process: each is held by a mount of a file, as `ip netns` does it.
//!
//! The files lie in a folder that is a mount of its own and shared: what is unmounted there is unmounted in the
//! containers that see a copy of it, too, and so no container keeps another's network alive.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use nix::libc;
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags},
    net::{AddressFamily, SocketFlags, SocketType},
    thread::{LinkNameSpaceType, UnshareFlags},
};

use crate::kernel;

/// The kernel's number for the file system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Makes a namespace whose loopback interface is up, and a file that holds it.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    if !is_mount(folder)? {
        rustix::mount::mount_bind(folder, folder)?;
    }
    rustix::mount::mount_change(folder, MountPropagationFlags::SHARED)?;
    fs::File::options().write(true).create_new(true).open(path)?;
    let path = path.to_owned();
    // A thread of its own, as it leaves its namespace.
    aside(move || {
        kernel::separate(UnshareFlags::NEWNET)?;
        raise_loopback()?;
        rustix::mount::mount_bind("/proc/thread-self/ns/net", &path)?;
        Ok(())
    })
}

/// Lets a namespace go, and with the last one the folder's mount. One that is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    // More than one mount is there only if somebody else made it.
    for _ in 0..8 {
        match rustix::mount::unmount(path, UnmountFlags::DETACH) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    release(path.parent().ok_or(io::ErrorKind::InvalidInput)?)
}

/// Unmounts a folder in which there are no namespaces.
pub(super) fn release(folder: &Path) -> io::Result<()> {
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if is_empty && is_mount(folder)? {
        rustix::mount::unmount(folder, UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// Whether a file holds a namespace; it holds none after a reboot.
pub(super) fn is_there(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(NSFS_MAGIC))
}

/// Does something inside a network namespace, in a thread of its own.
pub(super) fn within<T: Send>(path: &Path, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    let namespace = open(path)?;
    aside(move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(act())
    })
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn aside<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn_scoped(scope, act)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread has panicked")))
    })
}

fn is_mount(path: &Path) -> io::Result<bool> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let found = rustix::fs::statx(CWD, path, flags, rustix::fs::StatxFlags::BASIC_STATS)?;
    Ok(found.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

#[expect(unsafe_code, reason = "interfaces are raised by ioctl, which is in neither crate")]
fn raise_loopback() -> io::Result<()> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: a struct of numbers, for which zeroes are valid; its name is as long as its field, and ends in a
    // zero. Both calls read and write this struct alone, and the flags are the part of the union that the
    // first of them has filled.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::try_from(*from).unwrap_or_default();
        }
        for call in [libc::SIOCGIFFLAGS, libc::SIOCSIFFLAGS] {
            if libc::ioctl(socket.as_raw_fd(), call as _, &raw mut request) != 0 {
                return Err(io::Error::last_os_error());
            }
            request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
        }
    }
    Ok(())
}
