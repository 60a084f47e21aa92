//! Runs one check of a task: a command, an HTTP request, or a TCP connection.
//!
//! [`run`] blocks for at most the timeout and says how it went. When to run, what counts as healthy
//! and what follows is decided by the agent's core (rules 335 to 346); nothing of it is known here.

mod command;
mod http;
mod tcp;

use std::{path::PathBuf, time::Duration};

pub use command::Command;

/// What a check does.
#[derive(Clone, Debug)]
pub enum Probe {
    /// Runs a command beside the task.
    Command(Command),
    /// GET on the loopback address; redirects are followed and certificates not verified (rule 338).
    Http {
        /// http or https.
        scheme: String,
        /// Where the task listens.
        port: u16,
        /// Starts with a slash.
        path: String,
        /// ::1 instead of 127.0.0.1.
        ipv6: bool,
    },
    /// Connects to 127.0.0.1, whatever the protocol of the check says (rule 339).
    Tcp {
        /// Where the task listens.
        port: u16,
    },
}

/// How one run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command ended with this code, 128 + n for signal n.
    Exit(i32),
    /// The server answered with this status.
    Status(u16),
    /// Whether somebody took the connection.
    Connected(bool),
    /// Nothing of the above within the timeout.
    TimedOut,
    /// It could not run, or got no answer.
    Failed(String),
}

/// Runs a check once. A timeout of zero means none (rule 336); a command then runs until it ends.
pub fn run(probe: &Probe, timeout: Duration) -> Outcome {
    let timeout = (!timeout.is_zero()).then_some(timeout);
    match probe {
        Probe::Command(command) => command::run(command, timeout),
        Probe::Http { scheme, port, path, ipv6 } => http::run(scheme, *port, path, *ipv6, timeout),
        Probe::Tcp { port } => tcp::run(*port, timeout),
    }
}

/// The file of a sandbox that a command's output is appended to.
fn output_path(sandbox: &std::path::Path) -> PathBuf {
    sandbox.join("stderr")
}
