//! Hello and Welcome: which version both speak, and whether an earlier session goes on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mezzo_protocol::link::{Hello, Welcome};
use prost::Message as _;

use crate::frame;
use crate::session::{AgentSession, MasterSession, Session, SessionError, SessionId};

/// The newest version of the protocol that this build speaks.
pub const VERSION: u32 = 1;

/// The oldest one it still speaks: neighbours of one version apart interoperate.
pub const VERSION_MIN: u32 = 1;

/// Why a connection cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// There is no Hello in the request, or no Welcome in the first frame.
    #[error("this is not an opening of the link protocol")]
    Malformed,
    /// The other side is too old, or answered with a version that was not offered.
    #[error("the other side speaks version {found}, this one {VERSION_MIN} to {VERSION}")]
    Version {
        /// What it said.
        found: u32,
    },
    /// The other side answers for a session that was not asked for.
    #[error("the other side resumes another session than the one asked for")]
    Session,
    /// The session is known to both, but frames are missing.
    #[error("session is lost")]
    Lost(#[source] SessionError),
}

/// How a connection begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session goes on: send these frames first.
    Resumed {
        /// Frames the other side lacks, in order.
        resend: Vec<Bytes>,
    },
    /// A fresh session with this name; an earlier one is lost, with all that was not acknowledged in it.
    Fresh {
        /// The name to make [`Session::new`] with.
        id: SessionId,
    },
}

/// What the agent sends in [`HELLO_HEADER`](crate::HELLO_HEADER), with the session it would like to go on with.
pub fn hello(session: Option<&AgentSession>) -> String {
    let hello = Hello {
        version: VERSION,
        session: session.map(|s| s.id().to_vec()).unwrap_or_default(),
        received: session.map_or(0, Session::received),
    };
    STANDARD.encode(hello.encode_to_vec())
}

/// What the agent sent in [`HELLO_HEADER`](crate::HELLO_HEADER).
pub fn parse_hello(text: &str) -> Result<Hello, OpeningError> {
    let bytes = STANDARD.decode(text).map_err(|_| OpeningError::Malformed)?;
    let hello = Hello::decode(&*bytes).map_err(|_| OpeningError::Malformed)?;
    negotiate(hello.version)?;
    Ok(hello)
}

/// The name of the session that a Hello asks for.
pub fn session_of(hello: &Hello) -> Option<SessionId> {
    hello.session.as_slice().try_into().ok()
}

/// The master's first frame. `session` is the one it still has under the name in the Hello, `fresh` the name
/// for a new one otherwise; a session of which frames are missing on either side is not resumed.
pub fn welcome(hello: &Hello, session: Option<&mut MasterSession>, fresh: SessionId) -> (Bytes, Outcome) {
    let version = hello.version.min(VERSION);
    if let Some(session) = session.filter(|s| session_of(hello).as_ref() == Some(s.id()))
        && let Ok(resend) = session.resume(hello.received)
    {
        let answer =
            Welcome { version, session: session.id().to_vec(), resumed: true, received: session.received() };
        return (framed(&answer), Outcome::Resumed { resend });
    }
    let answer = Welcome { version, session: fresh.to_vec(), resumed: false, received: 0 };
    (framed(&answer), Outcome::Fresh { id: fresh })
}

/// What the agent makes of the master's answer to its Hello.
pub fn on_welcome(body: &[u8], session: Option<&mut AgentSession>) -> Result<Outcome, OpeningError> {
    let answer = Welcome::decode(body).map_err(|_| OpeningError::Malformed)?;
    if answer.version > VERSION || answer.version < VERSION_MIN {
        return Err(OpeningError::Version { found: answer.version });
    }
    let id: SessionId = answer.session.as_slice().try_into().map_err(|_| OpeningError::Malformed)?;
    if !answer.resumed {
        return Ok(Outcome::Fresh { id });
    }
    let session = session.filter(|s| *s.id() == id).ok_or(OpeningError::Session)?;
    let resend = session.resume(answer.received).map_err(OpeningError::Lost)?;
    Ok(Outcome::Resumed { resend })
}

fn negotiate(theirs: u32) -> Result<u32, OpeningError> {
    let version = theirs.min(VERSION);
    if version < VERSION_MIN { Err(OpeningError::Version { found: theirs }) } else { Ok(version) }
}

/// A Welcome is a few dozen bytes, far below the limit that `encode` checks.
fn framed(welcome: &Welcome) -> Bytes {
    frame::encode(welcome).unwrap_or_default()
}
