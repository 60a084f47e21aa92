//! Files and folders of the host that appear in a container (rules 366 and 367).

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};

use super::{
    Part, Problem, View, at, overlay,
    target::{self, Kind},
};
use crate::{
    confinement::{Confined, SourceRef},
    mount_api::{self, Limits},
};

/// A mount of something, in no place yet.
pub(super) struct Origin {
    pub(super) tree: OwnedFd,
    pub(super) kind: Kind,
}

/// Opens everything that is mounted while the host's files are still there. What is opened here is what is
/// mounted, whatever happens to its path meanwhile (attack A035).
///
/// `passage` is a folder of the agent's own.
pub(super) fn open_all(
    confined: &Confined<'_>,
    passage: &CStr,
    view: &mut View,
) -> Result<Vec<Origin>, Problem> {
    let mut origins = Vec::with_capacity(confined.mounts.len());
    for (n, mount) in confined.mounts.iter().enumerate() {
        let part = Part::Mount(n);
        let opened = |path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let file = match mount.source {
            SourceRef::Host(path) => {
                let file = opened(path).map_err(at(part))?;
                if is_protected(file.as_fd(), &confined.protected).map_err(at(part))? {
                    return Err(Problem { part: Part::Protected(n), errno: Errno::ACCESS });
                }
                file
            }
            SourceRef::Volume(path) => opened(path).map_err(at(part))?,
            SourceRef::Sandbox { sandbox, path, owner } => own(sandbox, path, owner).map_err(at(part))?,
            SourceRef::Image(number) => {
                let missing = Problem { part, errno: Errno::INVAL };
                let tree = overlay::volume(confined.images.get(number).ok_or(missing)?, view)?;
                if mount.read_only {
                    let limits = Limits { read_only: true, ..Limits::default() };
                    mount_api::limit(tree.as_fd(), limits, false).map_err(at(part))?;
                }
                origins.push(Origin { tree, kind: Kind::Folder });
                continue;
            }
            SourceRef::Content { bytes, owner } => {
                view.separate().map_err(at(part))?;
                let tree = content(bytes, owner, passage).map_err(at(part))?;
                origins.push(Origin { tree, kind: Kind::File });
                continue;
            }
        };
        origins.push(origin(file.as_fd(), mount.read_only).map_err(at(part))?);
    }
    Ok(origins)
}

/// A file of a file system in memory that has no other place and is never written to a disk, also not when
/// memory is short.
fn content(bytes: &[u8], owner: Option<(u32, u32)>, passage: &CStr) -> rustix::io::Result<OwnedFd> {
    const NAME: &CStr = c"content";
    let memory = mount_api::fresh(c"ramfs", &[(c"mode", Some(c"0755"))], Limits::INERT)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&memory, NAME, flags, Mode::RUSR)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    if let Some((user, group)) = owner {
        rustix::fs::fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    // Kernels clone only mounts that have a place; only this process sees it there, for this moment.
    let place = open_without_links(passage)?;
    mount_api::attach(memory.as_fd(), place.as_fd())?;
    let path = rustix::fs::openat(&memory, NAME, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let tree = mount_api::clone(path.as_fd(), false);
    rustix::mount::unmount(passage, rustix::mount::UnmountFlags::DETACH)?;
    let tree = tree?;
    mount_api::limit(tree.as_fd(), Limits::ALL, false)?;
    Ok(tree)
}

fn origin(file: BorrowedFd<'_>, read_only: bool) -> rustix::io::Result<Origin> {
    let kind = target::kind(file)?;
    let tree = mount_api::clone(file, true)?;
    mount_api::follow(tree.as_fd())?;
    if read_only {
        // Before anybody sees it, and with all that is mounted below (attack A014).
        mount_api::limit(tree.as_fd(), Limits { read_only, ..Limits::default() }, true)?;
    }
    Ok(Origin { tree, kind })
}

/// The mount of a sandbox: its task's user made what is in it, which must not help anybody to more rights
/// (attack A027).
pub(super) fn open_sandbox(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let sandbox = open_without_links(path)?;
    let tree = mount_api::clone(sandbox.as_fd(), false)?;
    mount_api::follow(tree.as_fd())?;
    let limits = Limits { no_set_user_id: true, no_devices: true, ..Limits::default() };
    mount_api::limit(tree.as_fd(), limits, false)?;
    Ok(tree)
}

/// A sandbox of a child lies in its parent's, whose processes may put links on the way to it.
fn open_without_links(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// A folder below a sandbox, which is made for its owner when it is missing.
fn own(sandbox: &CStr, path: &CStr, owner: Option<(u32, u32)>) -> rustix::io::Result<OwnedFd> {
    let sandbox = open_without_links(sandbox)?;
    target::make_owned(sandbox.as_fd(), path.to_bytes(), owner)
}

/// Whether a file is what no container may have: the host's root, kernel interfaces, what belongs to the
/// agent, or a folder around these. Asked of what was opened, not of its path, which may have had links in
/// it (attack A034).
fn is_protected(file: BorrowedFd<'_>, protected: &[&CStr]) -> rustix::io::Result<bool> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link, Vec::new())?;
    Ok(protects(path.to_bytes(), protected))
}

fn protects(path: &[u8], protected: &[&CStr]) -> bool {
    let below = |path: &[u8], folder: &[u8]| {
        folder == b"/"
            || path == folder
            || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
    };
    path == b"/"
        || path == b"/dev"
        || [b"/proc".as_slice(), b"/sys"].iter().any(|folder| below(path, folder))
        || protected.iter().any(|folder| below(path, folder.to_bytes()) || below(folder.to_bytes(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a034_what_belongs_to_the_host_or_the_agent_is_refused() {
        let protected = [c"/var/lib/mezzo", c"/run/mezzo"];
        for path in [
            "/",
            "/proc",
            "/proc/1/root",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/var",
            "/var/lib",
            "/run",
            "/var/lib/mezzo",
            "/var/lib/mezzo/meta",
            "/run/mezzo/containers",
        ] {
            assert!(protects(path.as_bytes(), &protected), "{path}");
        }
        for path in ["/dev/null", "/var/lib/other", "/var/lib/mezzo2", "/etc", "/process", "/srv/data"] {
            assert!(!protects(path.as_bytes(), &protected), "{path}");
        }
    }
}
