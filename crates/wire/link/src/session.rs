//! One session: numbered frames each way, kept until acknowledged.

use std::collections::VecDeque;
use std::marker::PhantomData;

use bytes::Bytes;
use mezzo_protocol::link::{Frame, ToAgent, ToMaster, frame::Payload};
use prost::Message as _;

use crate::frame::{self, FrameError};

/// Names a session; the master makes it from random bytes.
pub type SessionId = [u8; 16];

/// Most frames that wait for acknowledgement. An agent with 10,000 tasks may lose its master while all
/// of them change state twice.
pub const WINDOW_FRAMES_MAX: usize = 32 * 1024;

/// Most bytes that wait for acknowledgement: two frames of the largest size. A side whose peer does not
/// take that much is better served by a fresh session, in which everything is told again.
pub const WINDOW_BYTES_MAX: usize = 2 * frame::FRAME_BYTES_MAX + 8;

/// Frames taken before [`Session::acknowledgement_due`] asks for one of ours; small against the window,
/// so that a busy direction never stalls the other side.
pub const UNACKNOWLEDGED_MAX: u64 = 64;

/// One direction's messages.
pub trait Direction: Sized {
    /// As a frame's payload.
    fn into_payload(self) -> Payload;
    /// From a frame's payload; `None` for one of the other direction.
    fn from_payload(payload: Payload) -> Option<Self>;
}

impl Direction for ToMaster {
    fn into_payload(self) -> Payload {
        Payload::ToMaster(self)
    }

    fn from_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::ToMaster(message) => Some(message),
            Payload::ToAgent(_) => None,
        }
    }
}

impl Direction for ToAgent {
    fn into_payload(self) -> Payload {
        Payload::ToAgent(self)
    }

    fn from_payload(payload: Payload) -> Option<Self> {
        match payload {
            Payload::ToAgent(message) => Some(message),
            Payload::ToMaster(_) => None,
        }
    }
}

/// Why a session cannot go on. Close the connection and open a fresh session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The frame itself is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame's body is not a Frame message.
    #[error("frame is not a message of the link protocol")]
    Malformed,
    /// A frame was skipped.
    #[error("frame {found} came where {expected} was expected")]
    Gap {
        /// One more than the last frame taken.
        expected: u64,
        /// The number of the frame that came.
        found: u64,
    },
    /// The other side has frames that were never sent, or lost ones that it had acknowledged.
    #[error("the other side acknowledges frame {acknowledged}, outside of {oldest}..={newest}")]
    Acknowledgement {
        /// What it says.
        acknowledged: u64,
        /// The last number that is known to have arrived.
        oldest: u64,
        /// The last number that was sent.
        newest: u64,
    },
    /// The other side does not acknowledge, and the window is full.
    #[error("{frames} frames of {bytes} bytes wait for acknowledgement")]
    WindowFull {
        /// Frames in the window.
        frames: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// The agent's end.
pub type AgentSession = Session<ToMaster, ToAgent>;
/// The master's end.
pub type MasterSession = Session<ToAgent, ToMaster>;

/// One end of a session that sends `Out` and takes `In`.
#[derive(Debug)]
pub struct Session<Out, In> {
    id: SessionId,
    /// Number of the newest frame sent.
    sent: u64,
    /// Number up to which the other side has taken our frames.
    acknowledged: u64,
    /// Encoded frames `acknowledged + 1 ..= sent`.
    window: VecDeque<Bytes>,
    window_bytes: usize,
    /// Number of the newest frame taken.
    received: u64,
    /// The `received` that our last frame told the other side.
    told: u64,
    directions: PhantomData<fn(Out) -> In>,
}

impl<Out: Direction, In: Direction> Session<Out, In> {
    /// A session in which nothing was said.
    pub fn new(id: SessionId) -> Self {
        Session {
            id,
            sent: 0,
            acknowledged: 0,
            window: VecDeque::new(),
            window_bytes: 0,
            received: 0,
            told: 0,
            directions: PhantomData,
        }
    }

    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Number of the newest frame taken, for Hello and Welcome.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Frames that were sent and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.window.len()
    }

    /// The next frame. It counts as sent even without a connection: [`Session::resume`] brings it.
    pub fn send(&mut self, message: Out) -> Result<Bytes, SessionError> {
        if self.window.len() >= WINDOW_FRAMES_MAX || self.window_bytes >= WINDOW_BYTES_MAX {
            return Err(SessionError::WindowFull { frames: self.window.len(), bytes: self.window_bytes });
        }
        let frame = frame::encode(&Frame {
            sequence: self.sent + 1,
            received: self.received,
            payload: Some(message.into_payload()),
        })?;
        self.sent += 1;
        self.told = self.received;
        self.window_bytes += frame.len();
        self.window.push_back(frame.clone());
        Ok(frame)
    }

    /// Whether the other side should hear what was taken although there is nothing to send.
    pub fn acknowledgement_due(&self) -> bool {
        self.received - self.told >= UNACKNOWLEDGED_MAX
    }

    /// A frame that only acknowledges, or `None` when the other side knows all.
    ///
    /// Send one when [`Session::acknowledgement_due`], and when the link has been quiet for a moment.
    pub fn acknowledgement(&mut self) -> Option<Bytes> {
        if self.received == self.told {
            return None;
        }
        self.told = self.received;
        frame::encode(&Frame { sequence: 0, received: self.received, payload: None }).ok()
    }

    /// Takes a frame's body and gives its message, once: repeated frames give `None`, as do frames that
    /// only acknowledge and messages of a kind that this version does not know.
    pub fn on_frame(&mut self, body: &[u8]) -> Result<Option<In>, SessionError> {
        let frame = Frame::decode(body).map_err(|_| SessionError::Malformed)?;
        if frame.sequence > self.received + 1 {
            return Err(SessionError::Gap { expected: self.received + 1, found: frame.sequence });
        }
        if frame.received > self.sent {
            return Err(self.wrong_acknowledgement(frame.received));
        }
        // A frame sent again carries an old acknowledgement; that is no step back.
        self.drop_until(frame.received);
        if frame.sequence <= self.received {
            return Ok(None);
        }
        self.received = frame.sequence;
        match frame.payload {
            None => Ok(None),
            Some(payload) => In::from_payload(payload).map(Some).ok_or(SessionError::Malformed),
        }
    }

    /// Goes on after a new connection whose other side has taken our frames up to `received`; gives the
    /// frames to send again, in order.
    pub fn resume(&mut self, received: u64) -> Result<Vec<Bytes>, SessionError> {
        self.check_resume(received)?;
        self.drop_until(received);
        self.told = self.received;
        Ok(self.window.iter().cloned().collect())
    }

    /// Whether [`Session::resume`] with this number would work.
    pub fn check_resume(&self, received: u64) -> Result<(), SessionError> {
        if received < self.acknowledged || received > self.sent {
            return Err(self.wrong_acknowledgement(received));
        }
        Ok(())
    }

    fn wrong_acknowledgement(&self, acknowledged: u64) -> SessionError {
        SessionError::Acknowledgement { acknowledged, oldest: self.acknowledged, newest: self.sent }
    }

    fn drop_until(&mut self, received: u64) {
        while self.acknowledged < received {
            self.acknowledged += 1;
            self.window_bytes -= self.window.pop_front().map_or(0, |frame| frame.len());
        }
    }
}
