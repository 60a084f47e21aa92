//! Frames on a byte stream: four bytes of length, big end first, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

/// Largest frame. A re-registration carries every task of an agent in one frame: some 30,000 tasks of
/// 2 KiB fit.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// Why a byte stream is not a stream of frames. The connection cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame larger than [`FRAME_BYTES_MAX`], to be sent or announced by the other side.
    #[error("frame of {0} bytes exceeds the limit of {FRAME_BYTES_MAX} bytes")]
    TooLarge(usize),
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
}

/// The message as one frame.
pub fn encode(message: &impl Message) -> Result<Bytes, FrameError> {
    let length = message.encoded_len();
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    let mut out = Vec::with_capacity(LENGTH_BYTES + length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    message.encode_raw(&mut out);
    Ok(out.into())
}

/// Cuts a byte stream into the bodies of frames.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

impl Frames {
    /// A stream without bytes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; call [`Frames::next_frame`] until it gives none, which keeps at most one
    /// unfinished frame in memory.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Gives the body of every frame that `bytes` completes to `take`, in order, and keeps the rest. Frames
    /// that are there as a whole are not copied. Stops at the first error; the stream is over then.
    pub fn drain<E: From<FrameError>>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.buffer.is_empty() {
            self.buffer.extend_from_slice(bytes);
            bytes = &[];
            while let Some(body) = self.next_frame()? {
                take(&body)?;
            }
            if self.buffer.is_empty() {
                // Idle links are many, and each would keep room for its largest frame.
                self.buffer = BytesMut::new();
            }
        }
        while let Some(length) = Self::length(bytes)? {
            let Some(body) = bytes.get(LENGTH_BYTES..LENGTH_BYTES + length) else { break };
            take(body)?;
            bytes = &bytes[LENGTH_BYTES + length..];
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Length of the body that these bytes begin.
    fn length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(header) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header) as usize;
        if length > FRAME_BYTES_MAX { Err(FrameError::TooLarge(length)) } else { Ok(Some(length)) }
    }

    /// The next complete frame's body, `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = Self::length(&self.buffer)? else { return Ok(None) };
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Says whether the stream may end here.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}
