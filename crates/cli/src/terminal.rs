//! The user's terminal, handed over to a program elsewhere and taken back.

use std::{
    io::{self, IsTerminal as _, Read as _},
    thread,
};

use mezzo_mesos::v1::tty_info::WindowSize;
use rustix::termios::{LocalModes, OptionalActions, Termios};
use tokio::sync::mpsc;

use crate::error::{CliError, Exit};

/// Read at once.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces that wait to be sent; reading stops above it.
const PIECES_MAX: usize = 4;

/// Another way of the terminal to take what is typed, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mode {
    before: Termios,
}

impl Mode {
    /// Every key goes to the program. For standard input, which is a terminal.
    pub(crate) fn raw() -> Result<Self, CliError> {
        Self::enter(OptionalActions::Now, Termios::make_raw)
    }

    /// What is typed is not shown. For standard input, which is a terminal.
    pub(crate) fn hidden() -> Result<Self, CliError> {
        Self::enter(OptionalActions::Flush, |mode| mode.local_modes.remove(LocalModes::ECHO))
    }

    fn enter(when: OptionalActions, change: impl FnOnce(&mut Termios)) -> Result<Self, CliError> {
        let set = || -> io::Result<Self> {
            let before = rustix::termios::tcgetattr(io::stdin())?;
            let mut other = before.clone();
            change(&mut other);
            rustix::termios::tcsetattr(io::stdin(), when, &other)?;
            Ok(Self { before })
        };
        set().map_err(|error| CliError::new(Exit::Failed, "change the terminal").why(error.to_string()))
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Whether standard input is a terminal, and whether standard output is.
pub(crate) fn is_terminal() -> (bool, bool) {
    (io::stdin().is_terminal(), io::stdout().is_terminal())
}

/// The size of the terminal that standard input is.
pub(crate) fn size() -> Option<WindowSize> {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    Some(WindowSize { rows: size.ws_row.into(), columns: size.ws_col.into() })
}

/// What is typed or piped, in pieces; an empty piece, the last one, is the end of the input.
///
/// A thread reads it, which may still wait for a key when the command ends, and ends with the process.
pub(crate) fn read() -> Result<mpsc::Receiver<Vec<u8>>, CliError> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let work = move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let length = match io::stdin().read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A terminal that was hung up.
                Err(_) => 0,
            };
            let piece = buffer.get(..length).unwrap_or_default().to_vec();
            if sender.blocking_send(piece).is_err() || length == 0 {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("stdin".into()).spawn(work);
    thread.map_err(|error| CliError::new(Exit::Failed, "read standard input").why(error.to_string()))?;
    Ok(receiver)
}
