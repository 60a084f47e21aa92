//! The socket on which a runtime hands over the terminal that it has made in a container.

use std::{
    io,
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// In the bundle's folder, which is where a runtime works: a whole path may be longer than the kernel takes.
pub(super) const NAME: &str = "console";
/// The terminal, and nothing else.
const PASSED_MAX: usize = 1;

/// Listens in a folder.
pub(super) fn listen(folder: &Path) -> io::Result<UnixListener> {
    let folder = std::fs::File::open(folder)?;
    let short = format!("/proc/self/fd/{}/{NAME}", std::os::fd::AsRawFd::as_raw_fd(&folder));
    let listener = UnixListener::bind(short)?;
    // What is handed over is there when the runtime has ended, or never.
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the terminal from a runtime that has ended; `None` when it has handed over none.
pub(super) fn take(listener: &UnixListener) -> Option<OwnedFd> {
    let (stream, _): (UnixStream, _) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 4096];
    let mut pieces = [io::IoSliceMut::new(&mut name)];
    rustix::net::recvmsg(&stream, &mut pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
    let terminal = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    terminal.filter(|file| rustix::termios::isatty(file))
}
