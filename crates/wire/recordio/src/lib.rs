//! RecordIO, the framing of Mesos' event streams: decimal length, newline, that many bytes, again and again.
//!
//! [`encode`] frames a record for sending; [`Decoder`] takes bytes in any pieces and gives records back.
//! What the records hold, and which content type says so, is not decided here.

use bytes::{Buf, Bytes, BytesMut};

#[cfg(test)]
mod tests;

/// Largest record a decoder accepts unless told otherwise. Mesos knows no limit; an event with the
/// whole state of a large cluster has to fit, a hostile peer must not fill the memory.
pub const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Longest header: the digits of the largest 64-bit number.
const HEADER_DIGITS_MAX: usize = 20;

/// Appends one record with its length to `out`.
pub fn encode(record: &[u8], out: &mut Vec<u8>) {
    out.reserve(record.len() + HEADER_DIGITS_MAX + 1);
    out.extend_from_slice(record.len().to_string().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(record);
}

/// One record with its length in a new buffer.
pub fn record(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out);
    out
}

/// Why a stream cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The length is not a decimal number.
    #[error("record length is not a number")]
    Length,
    /// The record would be larger than the reader allows.
    #[error("record of {length} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// What the header says.
        length: u64,
        /// What the decoder was made with.
        limit: usize,
    },
    /// The stream ended inside a record.
    #[error("stream ended inside a record")]
    Truncated,
}

/// Cuts a stream into records.
///
/// Holds at most one unfinished record plus what was last pushed. After an error every further call
/// gives the same error, since nothing tells where the next record begins.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: usize,
    /// Length of the record whose header was read.
    length: Option<usize>,
    failed: Option<Error>,
}

impl Decoder {
    /// A decoder that refuses records of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Decoder { buffer: BytesMut::new(), limit, length: None, failed: None }
    }

    /// Takes the next bytes of the stream; call [`Decoder::next_record`] until it gives none.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next complete record, `None` when more bytes are needed.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.advance() {
            Err(error) => {
                self.buffer = BytesMut::new();
                self.failed = Some(error.clone());
                Err(error)
            }
            other => other,
        }
    }

    fn advance(&mut self) -> Result<Option<Bytes>, Error> {
        let length = match self.length {
            Some(length) => length,
            None => match self.header()? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            self.length = Some(length);
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn header(&mut self) -> Result<Option<usize>, Error> {
        let mut length = 0u64;
        for (index, &byte) in self.buffer.iter().enumerate() {
            match byte {
                b'\n' if index > 0 => {
                    self.buffer.advance(index + 1);
                    let fits = usize::try_from(length).ok().filter(|&length| length <= self.limit);
                    return fits.map(Some).ok_or(Error::TooLarge { length, limit: self.limit });
                }
                b'0'..=b'9' if index < HEADER_DIGITS_MAX => {
                    let next = length.checked_mul(10).and_then(|l| l.checked_add(u64::from(byte - b'0')));
                    length = next.ok_or(Error::Length)?;
                }
                _ => return Err(Error::Length),
            }
        }
        Ok(None)
    }

    /// Says whether the stream may end here.
    pub fn finish(&self) -> Result<(), Error> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.length.is_some() || !self.buffer.is_empty() => Err(Error::Truncated),
            None => Ok(()),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(RECORD_BYTES_MAX)
    }
}
