//! Protobuf bodies, with the check of required fields that prost leaves out.

/// What [`decode`] asks of a message, so that callers need not depend on prost for it.
pub use prost::Message;

/// Deepest nesting of messages that is read, as in Google's parser and in prost.
pub const DEPTH_MAX: u32 = 100;

/// What the required-field check knows of a message.
///
/// Fields are listed with their number and name; order is that of declaration.
pub struct Layout {
    pub(crate) required: &'static [(u32, &'static str)],
    pub(crate) children: &'static [Child],
    /// Bytes of the decoded message in memory, without what it points to.
    pub(crate) size: usize,
}

/// A field that holds messages.
pub(crate) struct Child {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) layout: &'static Layout,
}

/// What messages may take in memory whatever the body: some 400,000 tasks in one call.
const MEMORY_MAX: usize = 1 << 30;

/// What messages may take in memory: this much, and [`MEMORY_RATIO_MAX`] times the body. Two bytes may
/// stand for a message of 1 KiB, so a body within its limit could otherwise fill the machine.
const MEMORY_SLACK: usize = 8 * 1024 * 1024;

/// An operation that launches one small task is about 110 bytes and 2 KiB in memory. Messages within
/// others are counted again, whether or not they are kept behind a pointer.
const MEMORY_RATIO_MAX: usize = 64;

/// The layout of a message without required fields or children.
pub(crate) static EMPTY: Layout = Layout { required: &[], children: &[], size: 16 };

/// A message with a known layout: every one of `mezzo-mesos`.
pub trait Described {
    /// Its required fields and child messages.
    fn layout() -> &'static Layout;
}

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the protobuf encoding of this message.
    #[error("malformed protobuf: {0}")]
    Malformed(String),
    /// The path of the first required field that is absent.
    #[error("missing required field {0}")]
    Missing(String),
    /// Messages nested deeper than [`DEPTH_MAX`].
    #[error("messages are nested deeper than {DEPTH_MAX} levels")]
    Deep,
    /// So many small messages that the message would take far more memory than its bytes.
    #[error("too many messages for a body of this size")]
    TooLarge,
}

/// Decodes a message and refuses it when a required field is absent anywhere in it (rule 33).
///
/// A message field that comes in several pieces is refused unless each piece has the required fields;
/// no encoder writes such.
pub fn decode<T: Message + Default + Described>(bytes: &[u8]) -> Result<T, Error> {
    check_required::<T>(bytes)?;
    T::decode(bytes).map_err(|error| Error::Malformed(error.to_string()))
}

/// Checks encoded bytes without decoding them.
pub fn check_required<T: Described>(bytes: &[u8]) -> Result<(), Error> {
    let mut memory_left =
        MEMORY_SLACK.saturating_add(bytes.len().saturating_mul(MEMORY_RATIO_MAX)).min(MEMORY_MAX);
    check(bytes, T::layout(), 0, &mut memory_left)
}

fn check(mut bytes: &[u8], layout: &Layout, depth: u32, memory_left: &mut usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::Deep);
    }
    let mut seen = 0u64;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).map_err(|_| malformed("field number"))?;
        if let Some(bit) = layout.required.iter().position(|&(n, _)| n == number) {
            seen |= 1 << bit;
        }
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => skip(&mut bytes, 8)?,
            2 => {
                let length = varint(&mut bytes)?;
                let length = usize::try_from(length).map_err(|_| malformed("length"))?;
                let body = bytes.get(..length).ok_or_else(|| malformed("length"))?;
                if let Some(child) = layout.children.iter().find(|child| child.number == number) {
                    *memory_left = memory_left.checked_sub(child.layout.size).ok_or(Error::TooLarge)?;
                    check(body, child.layout, depth + 1, memory_left).map_err(|error| match error {
                        Error::Missing(path) => Error::Missing(format!("{}.{path}", child.name)),
                        other => other,
                    })?;
                }
                bytes = &bytes[length..];
            }
            5 => skip(&mut bytes, 4)?,
            // Groups were never part of the API; prost skips unknown ones, and nothing required is in them.
            3 | 4 => {}
            _ => return Err(malformed("wire type")),
        }
    }
    match layout.required.iter().enumerate().find(|(bit, _)| seen & (1 << bit) == 0) {
        Some((_, &(_, name))) => Err(Error::Missing(name.to_owned())),
        None => Ok(()),
    }
}

fn malformed(what: &str) -> Error {
    Error::Malformed(what.to_owned())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0u64;
    for index in 0..10 {
        let byte = *bytes.get(index).ok_or_else(|| malformed("truncated number"))?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(malformed("number too long"))
}

fn skip(bytes: &mut &[u8], count: usize) -> Result<(), Error> {
    *bytes = bytes.get(count..).ok_or_else(|| malformed("truncated field"))?;
    Ok(())
}
