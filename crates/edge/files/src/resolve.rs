//! Opening below a directory without ever leaving it.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::FilesError;

/// Absolute links that are followed in one path; as many as the kernel follows of any kind.
const LINKS_MAX: usize = 40;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Anything,
    Directory,
}

/// Opens `below` beneath `root`, or `root` itself. `None` when a directory is wanted and it is none.
///
/// NONBLOCK keeps a pipe without a writer from blocking the opening; what was opened is looked at by
/// its descriptor afterwards.
pub(crate) fn open(root: &Path, below: &str, want: Want) -> Result<Option<OwnedFd>, FilesError> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if want == Want::Directory {
        flags |= OFlags::DIRECTORY;
    }
    let result = if below.is_empty() {
        rustix::fs::openat(CWD, root, flags, Mode::empty())
    } else {
        open_below(root, Path::new(below), flags)
    };
    match result {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOTDIR) if want == Want::Directory => Ok(None),
        // Names that no file can have are names that no file has.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ) => {
            Err(FilesError::NotFound)
        }
        Err(Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM) => Err(FilesError::Forbidden),
        // A socket.
        Err(Errno::NXIO) => Err(FilesError::BadRequest("Cannot read a special file.\n".to_owned())),
        Err(errno) => Err(FilesError::Failed { path: below.to_owned(), source: io::Error::from(errno) }),
    }
}

fn open_below(root: &Path, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let directory =
        rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut path = below.to_path_buf();
    for _ in 0..LINKS_MAX {
        match open_beneath(&directory, &path, flags) {
            // The kernel refuses absolute links even when they lead to where they start. The ones
            // that the agent makes (tasks/<id>) do, and get another try as what they lead to.
            Err(Errno::XDEV) => match replace_absolute_link(&directory, root, &path)? {
                Some(replaced) => path = replaced,
                None => return Err(Errno::XDEV),
            },
            result => return result,
        }
    }
    Err(Errno::LOOP)
}

fn open_beneath(directory: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            // The kernel's answer to a rename that raced with it.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Replaces the first component that is an absolute link to below `root`.
fn replace_absolute_link(
    directory: &OwnedFd,
    root: &Path,
    path: &Path,
) -> rustix::io::Result<Option<PathBuf>> {
    let mut prefix = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        prefix.push(component);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open_beneath(directory, &prefix, flags)?;
        let Ok(target) = rustix::fs::readlinkat(&opened, c"", Vec::new()) else { continue };
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if !target.is_absolute() {
            continue;
        }
        return Ok(match target.strip_prefix(root) {
            Ok(inside) => Some(inside.join(components.as_path())),
            Err(_) => None,
        });
    }
    Ok(None)
}
