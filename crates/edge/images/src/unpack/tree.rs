//! The directory a layer is unpacked into. Everything in it is reached by descriptors from its top.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    },
    io::Errno,
};

use super::{Options, UnpackError, headers::Attributes, readable, too_large};

/// Moved at once between an entry and its file.
const CHUNK_BYTES: usize = 128 << 10;
const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Marks a directory that has no entry: set by root, and by others.
const IMPLIED: [&str; 2] = ["trusted.mezzo.implied", "user.mezzo.implied"];

impl Options {
    fn implied(&self) -> &'static str {
        IMPLIED[usize::from(!self.root)]
    }
}

pub(super) struct Tree<'o> {
    root: OwnedFd,
    options: &'o Options,
    /// The directory entered last: most entries lie beside the one before.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Times of directories, which change with every entry made in them and so are set at the end.
    times: Vec<(Vec<u8>, Timespec)>,
    opaque: bool,
    /// Whether some directory has no entry of its own.
    implied: bool,
    chunk: Vec<u8>,
}

/// Why a place in the tree was not reached.
enum Miss {
    Why(&'static str),
    Errno(Errno),
}

impl From<Errno> for Miss {
    fn from(errno: Errno) -> Self {
        Miss::Errno(errno)
    }
}

fn failed(name: &[u8]) -> impl Fn(Miss) -> UnpackError {
    move |miss| match miss {
        Miss::Why(why) => UnpackError::Entry { name: readable(name), why },
        Miss::Errno(errno) => UnpackError::Write { name: readable(name), source: errno.into() },
    }
}

impl<'o> Tree<'o> {
    pub(super) fn new(root: OwnedFd, options: &'o Options) -> Self {
        let (last, times, chunk) = (None, Vec::new(), vec![0; CHUNK_BYTES]);
        Self { root, options, last, times, opaque: false, implied: false, chunk }
    }

    pub(super) fn file(
        &mut self,
        name: &[u8],
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let mut file = self.create(name).map_err(failed(name))?;
        loop {
            match content.read(&mut self.chunk) {
                Ok(0) => break,
                Ok(count) => file
                    .write_all(&self.chunk[..count])
                    .map_err(|source| UnpackError::Write { name: readable(name), source })?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(too_large(error)),
            }
        }
        self.dress(file.as_fd(), attributes).map_err(failed(name))?;
        rustix::fs::futimens(&file, &times(attributes.modified)).map_err(|errno| failed(name)(errno.into()))
    }

    pub(super) fn directory(&mut self, name: &[u8], attributes: &Attributes) -> Result<(), UnpackError> {
        let make = |tree: &mut Self| {
            let directory = match split(name) {
                None => rustix::io::fcntl_dupfd_cloexec(&tree.root, 0)?,
                Some((parent, last)) => {
                    let parent = tree.enter(parent)?;
                    tree.make_directory(&parent, last)?
                }
            };
            if tree.implied {
                // It has its entry. One that never was made up has no mark, as on a file system without any.
                let _ = rustix::fs::fremovexattr(&directory, tree.options.implied());
            }
            tree.dress(directory.as_fd(), attributes)?;
            tree.times.push((name.to_vec(), attributes.modified));
            tree.last = Some((name.to_vec(), directory));
            Ok(())
        };
        make(self).map_err(failed(name))
    }

    pub(super) fn symlink(
        &mut self,
        name: &[u8],
        text: &[u8],
        attributes: &Attributes,
    ) -> Result<(), UnpackError> {
        let make = |tree: &mut Self| {
            let (parent, last) = tree.place(name)?;
            rustix::fs::symlinkat(text, &parent, last)?;
            tree.own(&parent, last, attributes)?;
            Ok(rustix::fs::utimensat(&parent, last, &times(attributes.modified), AtFlags::SYMLINK_NOFOLLOW)?)
        };
        make(self).map_err(failed(name))
    }

    pub(super) fn pipe(&mut self, name: &[u8], attributes: &Attributes) -> Result<(), UnpackError> {
        let make = |tree: &mut Self| {
            let (parent, last) = tree.place(name)?;
            rustix::fs::mknodat(&parent, last, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            tree.own(&parent, last, attributes)?;
            let mode = Mode::from_raw_mode(attributes.mode & 0o777);
            // It was made under this name a moment ago and nobody else is here: it is not a link.
            Ok(rustix::fs::chmodat(&parent, last, mode, AtFlags::empty())?)
        };
        make(self).map_err(failed(name))
    }

    /// A second name for what the layer has already.
    pub(super) fn hard_link(&mut self, name: &[u8], existing: &[u8]) -> Result<(), UnpackError> {
        let make = |tree: &mut Self| {
            let Some((from_parent, from)) = split(existing) else {
                return Err(Miss::Why("is a hard link to nothing"));
            };
            let from_parent = match tree.open(from_parent) {
                Err(Miss::Errno(Errno::NOENT | Errno::NOTDIR)) => {
                    return Err(Miss::Why("is a hard link to nothing"));
                }
                other => other?,
            };
            let target = match status(&from_parent, from)? {
                Some(target) => target,
                None => return Err(Miss::Why("is a hard link to nothing")),
            };
            // A link that is a symbolic one is a second name of that link, not of what it points to (A051).
            if !matches!(kind(&target), FileType::RegularFile | FileType::Symlink | FileType::Fifo) {
                return Err(Miss::Why("is a hard link to what cannot be linked"));
            }
            let Some((parent, last)) = split(name) else { return Err(Miss::Why("is the top")) };
            let parent = tree.enter(parent)?;
            if status(&parent, last)?
                .is_some_and(|old| (old.st_dev, old.st_ino) == (target.st_dev, target.st_ino))
            {
                return Ok(());
            }
            tree.clear(&parent, last)?;
            Ok(rustix::fs::linkat(&from_parent, from, &parent, last, AtFlags::empty())?)
        };
        make(self).map_err(failed(name))
    }

    /// Hides what lower layers have under this name.
    pub(super) fn whiteout(&mut self, name: &[u8]) -> Result<(), UnpackError> {
        let make = |tree: &mut Self| {
            let Some((parent, last)) = split(name) else { return Err(Miss::Why("is a whiteout of no name")) };
            let parent = tree.enter(parent)?;
            match status(&parent, last)? {
                None => Ok(rustix::fs::mknodat(&parent, last, FileType::CharacterDevice, Mode::empty(), 0)?),
                Some(there) if kind(&there) == FileType::Directory => {
                    let directory =
                        rustix::fs::openat(&parent, last, OPEN_DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                    tree.mark_opaque(&directory)
                }
                // A file of the layer itself hides what is below it anyway.
                Some(_) => Ok(()),
            }
        };
        make(self).map_err(failed(name))
    }

    /// Hides all that lower layers have in this directory.
    pub(super) fn opaque(&mut self, name: &[u8]) -> Result<(), UnpackError> {
        if name.is_empty() {
            // overlayfs merges the tops of layers whatever they say: the store leaves out what is below.
            self.opaque = true;
            return Ok(());
        }
        let make = |tree: &mut Self| {
            let directory = tree.enter(name)?;
            tree.mark_opaque(&directory)
        };
        make(self).map_err(failed(name))
    }

    /// Sets the times of directories. Returns whether the layer hides everything below it, and whether it has
    /// directories without an entry.
    pub(super) fn finish(self) -> Result<(bool, bool), UnpackError> {
        // The last word on a directory is the latest one.
        for (name, modified) in &self.times {
            let directory = match split(name) {
                None => rustix::io::fcntl_dupfd_cloexec(&self.root, 0).map_err(Miss::from),
                Some(_) => self.open(name),
            };
            // One that a later entry has replaced has no time to set.
            if let Ok(directory) = directory {
                rustix::fs::futimens(&directory, &times(*modified))
                    .map_err(|errno| failed(name)(errno.into()))?;
            }
        }
        Ok((self.opaque, self.implied))
    }

    /// Makes a file of its own, in place of an earlier one.
    fn create(&mut self, name: &[u8]) -> Result<File, Miss> {
        let Some((parent, last)) = split(name) else { return Err(Miss::Why("is the top")) };
        let parent = self.enter(parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&parent, last, flags, Mode::from_raw_mode(0o600));
        match create() {
            Err(Errno::EXIST) => {
                self.clear(&parent, last)?;
                Ok(File::from(create()?))
            }
            made => Ok(File::from(made?)),
        }
    }

    /// The directory of a name whose place is made free.
    fn place<'n>(&mut self, name: &'n [u8]) -> Result<(OwnedFd, &'n [u8]), Miss> {
        let Some((parent, last)) = split(name) else { return Err(Miss::Why("is the top")) };
        let parent = self.enter(parent)?;
        self.clear(&parent, last)?;
        Ok((parent, last))
    }

    /// Removes what an earlier entry of the layer left under this name.
    fn clear(&mut self, parent: &OwnedFd, last: &[u8]) -> Result<(), Miss> {
        let Some(there) = status(parent, last)? else { return Ok(()) };
        if kind(&there) != FileType::Directory {
            return Ok(rustix::fs::unlinkat(parent, last, AtFlags::empty())?);
        }
        self.last = None;
        match rustix::fs::unlinkat(parent, last, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => Err(Miss::Why("replaces a directory that has entries")),
            removed => Ok(removed?),
        }
    }

    /// Owner, mode and attributes, in the order in which the kernel keeps them all.
    fn dress(&self, fd: BorrowedFd<'_>, attributes: &Attributes) -> Result<(), Miss> {
        let mut mode = attributes.mode;
        if self.options.root {
            rustix::fs::fchown(fd, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
        } else if rustix::fs::fstat(fd)
            .map(|status| kind(&status))
            .is_ok_and(|kind| kind == FileType::Directory)
        {
            // Without root, what follows has to be written into it.
            mode |= 0o700;
        }
        if !self.options.setuid {
            mode &= !0o6000;
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
        for (name, value) in &attributes.xattrs {
            if name == "security.capability" && !(self.options.root && self.options.setuid) {
                continue;
            }
            match rustix::fs::fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
                // A file system without attributes, or one that has room for few.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn own(&self, parent: &OwnedFd, last: &[u8], attributes: &Attributes) -> Result<(), Miss> {
        if !self.options.root {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        Ok(rustix::fs::chownat(parent, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn mark_opaque(&self, directory: &OwnedFd) -> Result<(), Miss> {
        // What a mount by root reads, and one in a user namespace.
        let name = if self.options.root { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        Ok(rustix::fs::fsetxattr(directory, name, b"y", XattrFlags::empty())?)
    }

    /// Opens a directory, making what is missing.
    fn enter(&mut self, name: &[u8]) -> Result<OwnedFd, Miss> {
        if let Some((known, directory)) = &self.last
            && known == name
        {
            return Ok(rustix::io::fcntl_dupfd_cloexec(directory, 0)?);
        }
        let directory = match self.open(name) {
            Err(Miss::Errno(Errno::NOENT | Errno::NOTDIR)) => {
                let (parent, last) = split(name).ok_or(Miss::Errno(Errno::NOENT))?;
                let parent = self.enter(parent)?;
                match status(&parent, last)? {
                    None => self.imply_directory(&parent, last)?,
                    Some(there) if is_whiteout(&there) => self.imply_directory(&parent, last)?,
                    Some(there) if kind(&there) == FileType::Symlink => {
                        return Err(Miss::Why("leads through a link to nothing"));
                    }
                    Some(_) => return Err(Miss::Why("leads through what is no directory")),
                }
            }
            opened => opened?,
        };
        self.last = Some((name.to_vec(), rustix::io::fcntl_dupfd_cloexec(&directory, 0)?));
        Ok(directory)
    }

    /// Opens a directory that is there. Links are followed inside the layer, `/` being its top.
    fn open(&self, name: &[u8]) -> Result<OwnedFd, Miss> {
        if name.is_empty() {
            return Ok(rustix::io::fcntl_dupfd_cloexec(&self.root, 0)?);
        }
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&self.root, name, OPEN_DIRECTORY, Mode::empty(), inside) {
            Err(Errno::LOOP) => Err(Miss::Why("leads through a link that goes in circles")),
            // Kernels before 5.6, and sandboxes that were not told of the call: step by step, through no link.
            Err(Errno::NOSYS | Errno::PERM) => {
                let mut directory = rustix::io::fcntl_dupfd_cloexec(&self.root, 0)?;
                for part in name.split(|byte| *byte == b'/') {
                    directory = rustix::fs::openat(
                        &directory,
                        part,
                        OPEN_DIRECTORY | OFlags::NOFOLLOW,
                        Mode::empty(),
                    )?;
                }
                Ok(directory)
            }
            opened => Ok(opened?),
        }
    }

    /// A directory that the layer does not describe.
    fn imply_directory(&mut self, parent: &OwnedFd, last: &[u8]) -> Result<OwnedFd, Miss> {
        let directory = self.make_directory(parent, last)?;
        match rustix::fs::fsetxattr(&directory, self.options.implied(), b"y", XattrFlags::empty()) {
            Ok(()) => self.implied = true,
            // Without attributes it stays as it is made.
            Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(directory)
    }

    /// A directory under this name, made where there is none; a link is replaced, never entered (attack A050).
    fn make_directory(&mut self, parent: &OwnedFd, last: &[u8]) -> Result<OwnedFd, Miss> {
        let make = || rustix::fs::mkdirat(parent, last, Mode::from_raw_mode(0o755));
        let mut opaque = false;
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => match status(parent, last)? {
                Some(there) if kind(&there) == FileType::Directory => {}
                there => {
                    // What was hidden stays hidden behind the directory.
                    opaque = there.is_some_and(|there| is_whiteout(&there));
                    self.clear(parent, last)?;
                    self.last = None;
                    make()?;
                }
            },
            Err(errno) => return Err(errno.into()),
        }
        let directory = rustix::fs::openat(parent, last, OPEN_DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        if opaque {
            self.mark_opaque(&directory)?;
        }
        Ok(directory)
    }
}

/// Whether a directory of a layer hides what lower layers have in it.
pub(crate) fn is_opaque(directory: &OwnedFd) -> bool {
    has_mark(directory, ["trusted.overlay.opaque", "user.overlay.opaque"])
}

/// Whether a directory of a layer has no entry of its own.
pub(crate) fn is_implied(directory: &OwnedFd) -> bool {
    has_mark(directory, IMPLIED)
}

fn has_mark(directory: &OwnedFd, names: [&str; 2]) -> bool {
    let mut value = [0];
    names.iter().any(|name| rustix::fs::fgetxattr(directory, *name, &mut value) == Ok(1) && value == *b"y")
}

/// Directory and last part of a clean name; nothing for the top.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    match name.iter().rposition(|byte| *byte == b'/') {
        _ if name.is_empty() => None,
        Some(slash) => Some((&name[..slash], &name[slash + 1..])),
        None => Some((b"", name)),
    }
}

fn status(parent: &OwnedFd, last: &[u8]) -> Result<Option<rustix::fs::Stat>, Miss> {
    match rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn kind(status: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(status.st_mode)
}

/// Devices of the layer itself are never made, so a character device is a whiteout.
fn is_whiteout(status: &rustix::fs::Stat) -> bool {
    kind(status) == FileType::CharacterDevice
}

fn times(modified: Timespec) -> Timestamps {
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: modified }
}
