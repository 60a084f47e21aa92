//! The stream between an agent and the master: frames, and sessions that outlive connections.
//!
//! The agent asks for the link with a Hello in a header of its request, and the connection carries
//! length-delimited frames ([`frame`]) from there on. The master's first is a Welcome ([`opening`]); then both
//! send numbered frames ([`session`]): what was sent
//! stays in a bounded window until the other side has it, and a new connection sends the rest again. So
//! every message is delivered once and in order, or the session is lost and both sides know.
//!
//! No I/O and no timers: drivers move bytes and decide when to give up. What the messages mean is the
//! cores' business; they are described in `model/protocol`.

pub mod frame;
pub mod opening;
pub mod session;

#[cfg(test)]
mod tests;

/// Where an agent asks its master for the link, with a GET that upgrades the connection.
pub const PATH: &str = "/link";

/// The protocol's name in the Upgrade header of that request.
pub const UPGRADE: &str = "mezzo-link";

/// The header of that request with the Hello.
pub const HELLO_HEADER: &str = "mezzo-link-hello";

pub use frame::{FRAME_BYTES_MAX, FrameError, Frames};
pub use opening::{OpeningError, Outcome, VERSION, VERSION_MIN};
pub use session::{AgentSession, MasterSession, Session, SessionError, SessionId};
