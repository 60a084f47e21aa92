//! Standard input of containers: pipes, and terminals with their sizes.
//!
//! The agent makes both ends, hands the container's to the launcher and keeps its own. A terminal's other end
//! is kept by the supervisor too, which writes to a file what the container writes (see [`crate::outputs`]):
//! so neither a slow reader nor an agent that is away stops a container or hangs its terminal up.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Gid, Mode, OFlags, Uid},
    pipe::PipeFlags,
    pty::OpenptFlags,
    termios::Winsize,
};

use crate::request::{Credentials, Input, WindowSize};

/// Owner may read and write, the group write, as `grantpt` has it.
const TERMINAL_MODE: u32 = 0o620;

/// The agent's end of a container's standard input. Never blocks.
#[derive(Debug)]
pub struct InputEnd {
    descriptor: OwnedFd,
    terminal: bool,
}

/// Both ends, before a launch.
pub(crate) struct Ends {
    pub(crate) ours: InputEnd,
    /// The container's end, and for a terminal a copy of ours for its supervisor.
    pub(crate) theirs: Vec<OwnedFd>,
}

impl InputEnd {
    /// Whether it is a terminal, which is standard output and standard error as well.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Tells the programs in a terminal how large it is; of no effect on a pipe.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        if self.terminal { Ok(set_size(self.descriptor.as_fd(), size)?) } else { Ok(()) }
    }

    /// Writes some of the bytes; `WouldBlock` while the container does not read.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(&self.descriptor, bytes))?)
    }

    pub(crate) fn share(&self) -> io::Result<Self> {
        Ok(Self { descriptor: self.descriptor.try_clone()?, terminal: self.terminal })
    }
}

/// Makes what a request asks for.
pub(crate) fn make(input: Input, owner: Option<&Credentials>) -> rustix::io::Result<Option<Ends>> {
    match input {
        Input::Null => Ok(None),
        Input::Pipe => {
            let (reading, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&writing, OFlags::NONBLOCK)?;
            let ours = InputEnd { descriptor: writing, terminal: false };
            Ok(Some(Ends { ours, theirs: vec![reading] }))
        }
        Input::Terminal(size) => {
            // NOCTTY: none of these may become the terminal of the agent.
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = rustix::pty::openpt(flags)?;
            rustix::pty::unlockpt(&master)?;
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            if let Some(owner) = owner {
                let (user, group) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
                rustix::fs::fchown(&slave, Some(user), Some(group))?;
                rustix::fs::fchmod(&slave, Mode::from_raw_mode(TERMINAL_MODE))?;
            }
            if let Some(size) = size {
                set_size(master.as_fd(), size)?;
            }
            rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
            let copy = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
            let ours = InputEnd { descriptor: master, terminal: true };
            Ok(Some(Ends { ours, theirs: vec![slave, copy] }))
        }
    }
}

fn set_size(terminal: BorrowedFd<'_>, size: WindowSize) -> rustix::io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}
