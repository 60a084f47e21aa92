//! Between the terminal that an agent has made for a container and the one that another runtime has made in it.
//!
//! A runtime makes the terminal itself, in the container's own /dev. The agent goes on writing to its own, which
//! does nothing to what passes; keys, echo and groups are matters of the container's. Sizes are told from one to
//! the other: for this the supervisor is the leader of the agent's terminal, as whose leader it hears of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags},
    fs::OFlags,
    io::Errno,
    termios::OptionalActions,
};

/// Moved at once; no terminal holds more.
const CHUNK_BYTES: usize = 4096;

/// Input on its way into a container.
pub(crate) struct Relay {
    /// The end of the agent's terminal that programs have elsewhere.
    from: OwnedFd,
    /// Its other end, which must not close when the agent ends.
    _agent: OwnedFd,
    to: OwnedFd,
    /// Not yet taken by the container.
    waiting: Vec<u8>,
}

/// Lets everything that is written to a terminal pass as it is.
pub(crate) fn pass_everything(terminal: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut settings = rustix::termios::tcgetattr(terminal)?;
    settings.make_raw();
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, &settings)
}

impl Relay {
    pub(crate) fn new(from: OwnedFd, agent: OwnedFd, to: OwnedFd) -> rustix::io::Result<Self> {
        // Cannot fail: a supervisor leads no group.
        let _ = rustix::process::setsid();
        rustix::process::ioctl_tiocsctty(&from)?;
        rustix::fs::fcntl_setfl(&from, OFlags::RDWR | OFlags::NONBLOCK)?;
        let relay = Self { from, _agent: agent, to, waiting: Vec::new() };
        relay.resize();
        Ok(relay)
    }

    /// Tells the container's programs how large the terminal is.
    pub(crate) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(&self.from)
            && size.ws_row > 0
        {
            // One that nobody has open any more needs no size.
            let _ = rustix::termios::tcsetwinsize(&self.to, size);
        }
    }

    /// What is to be waited for: more input, or that the container takes what waits.
    pub(crate) fn wait(&self) -> PollFd<'_> {
        if self.waiting.is_empty() {
            PollFd::from_borrowed_fd(self.from.as_fd(), PollFlags::IN)
        } else {
            PollFd::from_borrowed_fd(self.to.as_fd(), PollFlags::OUT)
        }
    }

    /// Moves some of what waits.
    pub(crate) fn pump(&mut self) {
        if self.waiting.is_empty() {
            let mut chunk = [0; CHUNK_BYTES];
            let Ok(count) = rustix::io::read(&self.from, &mut chunk) else { return };
            self.waiting.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
        match rustix::io::write(&self.to, &self.waiting) {
            Ok(count) => drop(self.waiting.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads there any more.
            Err(_) => self.waiting.clear(),
        }
    }
}
