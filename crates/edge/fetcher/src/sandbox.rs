//! The directory that is fetched into.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use crate::{Reason, User};

/// A sandbox, opened once; nothing in it is reached by its path from outside again.
pub(crate) struct Sandbox {
    directory: OwnedFd,
    user: Option<User>,
}

impl Sandbox {
    pub(crate) fn open(path: &Path, user: Option<User>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { directory, user })
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Runs `act` with the task user's rights.
    pub(crate) fn as_user<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.user {
            Some(user) => user.act(act),
            None => act(),
        }
    }

    /// Makes a file, in place of an earlier one, and the directories above it.
    pub(crate) fn create_file(&self, name: &str, mode: u32) -> Result<File, Reason> {
        self.as_user(|| {
            let (parent, last) = enter_parent(self.directory.as_fd(), name.as_bytes())?;
            replace_file(parent.as_fd(), last, mode)
        })
        .map_err(|errno| Reason::File { what: "create the file in the sandbox", source: errno.into() })
    }

    /// Opens a file that was just made.
    pub(crate) fn open_file(&self, name: &str) -> Result<File, Reason> {
        self.as_user(|| {
            let (parent, last) = enter_parent(self.directory.as_fd(), name.as_bytes())?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::openat(parent, last, flags, Mode::empty()).map(File::from)
        })
        .map_err(|errno| Reason::File { what: "open the file in the sandbox", source: errno.into() })
    }

    /// Adds a line to the container's `stderr`. A sandbox whose file cannot be written gets none.
    pub(crate) fn log(&self, line: &str) {
        self.as_user(|| {
            let flags = OFlags::WRONLY
                | OFlags::CREATE
                | OFlags::APPEND
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o644);
            if let Ok(file) = rustix::fs::openat(&self.directory, "stderr", flags, mode) {
                // One line each: a URI cannot forge another one.
                let mut text: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
                text.push('\n');
                let _ = File::from(file).write_all(text.as_bytes());
            }
        });
    }
}

/// Opens the directory that is to hold `path`, making what is missing; links are never followed.
pub(crate) fn enter_parent<'p>(
    directory: BorrowedFd<'_>,
    path: &'p [u8],
) -> rustix::io::Result<(OwnedFd, &'p [u8])> {
    let mut components: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let last = components.pop().unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut current = rustix::io::fcntl_dupfd_cloexec(directory, 0)?;
    for component in components {
        let next = match rustix::fs::openat(&current, component, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&current, component, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                rustix::fs::openat(&current, component, flags, Mode::empty())
            }
            result => result,
        }?;
        current = next;
    }
    Ok((current, last))
}

/// Makes a file of its own: an earlier one under that name is unlinked, never written through.
pub(crate) fn replace_file(parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> rustix::io::Result<File> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
    // Not given at creation, where the agent's umask would cut it.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(File::from(file))
}
