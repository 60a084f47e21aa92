//! Mesos' own JSON dialect for every message of `mezzo-mesos`, straight between bytes and structs.
//!
//! Reading: [`from_slice`]. Writing: [`to_vec`], [`write`], or a [`Writer`] for JSON that is not a
//! message. Protobuf bodies: [`protobuf::decode`], which refuses what prost lets pass. The readers and
//! writers are generated at build time from the message descriptors; no tree of values is built.
//!
//! The dialect is not canonical proto-JSON: names are snake_case only and unknown ones are skipped,
//! 64-bit integers are numbers, unset fields with an explicit default are printed, bytes are base64,
//! numbers and booleans may come as strings. It decides nothing about calls: whether `type` is set or
//! a role is valid is the caller's.

mod error;
#[expect(deprecated, reason = "a deprecated field is read and written like any other")]
mod generated;
pub mod protobuf;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Error, JsonKind, MISSING_MAX, NEAR_MAX};
pub use reader::{DEPTH_MAX, FromJson, Reader};
pub use writer::{CHUNK_BYTES, Sink, ToJson, Writer};

/// Reads one message, which must be all of `input` but for white space.
pub fn from_slice<T: FromJson>(input: &[u8]) -> Result<T, Error> {
    reader::read_message(input)
}

/// Reads an array of messages, as the v0 endpoints take them.
pub fn list_from_slice<T: FromJson>(input: &[u8]) -> Result<Vec<T>, Error> {
    reader::read_list(input)
}

/// The message as JSON without spaces, keys in declaration order.
pub fn to_vec<T: ToJson + ?Sized>(message: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(message, &mut out);
    out
}

/// Appends the message to `out`.
pub fn write<T: ToJson + ?Sized>(message: &T, out: &mut Vec<u8>) {
    let mut writer = Writer::appending(std::mem::take(out));
    message.write(&mut writer);
    *out = writer.finish();
}
