//! What can be wrong with a JSON body, in the words Mesos' clients know.

use std::fmt;

/// Why a body is not the message it should be.
///
/// Nothing in here is worth a retry: the sender has to fix the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON; `near` is the rest of the line from the byte that could not be read.
    #[error("syntax error at line {line} near: {near}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// At most [`NEAR_MAX`] bytes.
        near: String,
    },
    /// A complete value, and something after it.
    #[error("Parsed JSON included non-whitespace trailing characters: {near}")]
    Trailing {
        /// At most [`NEAR_MAX`] bytes.
        near: String,
    },
    /// A string that is not UTF-8. Mesos lets it pass; a Rust string cannot hold it.
    #[error("invalid UTF-8 in a string at line {line}")]
    Utf8 {
        /// Counted from 1.
        line: usize,
    },
    /// JSON, but not an object.
    #[error("Expecting a JSON object")]
    NotAnObject,
    /// JSON, but not an array of messages.
    #[error("Expecting a JSON array")]
    NotAnArray,
    /// A value of a kind that the field does not take.
    #[error("Not expecting a JSON {kind} for field '{field}'")]
    Kind {
        /// What was there.
        kind: JsonKind,
        /// The field's own name, without its path.
        field: &'static str,
    },
    /// A number too large for the field, or a negative one for an unsigned field.
    #[error("Number out of range for field '{field}'")]
    Range {
        /// The field's own name.
        field: &'static str,
    },
    /// A string that stands for a number or boolean and holds none.
    #[error("Failed to parse '{text}' as a JSON {kind} for field '{field}'")]
    Text {
        /// What the field wants.
        kind: JsonKind,
        /// What the string holds, at most [`NEAR_MAX`] bytes.
        text: String,
        /// The field's own name.
        field: &'static str,
    },
    /// A required enum field with a name the enum does not have.
    #[error("Failed to find enum for '{name}'")]
    UnknownEnum {
        /// The name that was sent, at most [`NEAR_MAX`] bytes.
        name: String,
    },
    /// A bytes field whose string is not base64.
    #[error("Failed to base64 decode bytes field '{field}': {why}")]
    Base64 {
        /// The field's own name.
        field: &'static str,
        /// The first thing that is wrong.
        why: String,
    },
    /// So many small messages that they would take far more memory than its text.
    #[error("Too many messages for a body of this size")]
    TooLarge,
    /// Required fields that are absent, as paths like `subscribe.framework_info.name`.
    #[error("Missing required fields: {}", .0.join(", "))]
    Missing(
        /// Not empty; at most [`MISSING_MAX`].
        Vec<String>,
    ),
}

/// How much of a wrong body an error repeats.
pub const NEAR_MAX: usize = 4096;

/// How many missing fields are listed: a list of empty objects would otherwise make an answer far
/// larger than the request.
pub const MISSING_MAX: usize = 100;

impl Error {
    /// The body is no JSON at all, as opposed to JSON that is not the message.
    pub fn is_syntax(&self) -> bool {
        matches!(self, Error::Syntax { .. } | Error::Trailing { .. } | Error::Utf8 { .. })
    }

    /// The text of the 400 answer to a v1 call with this body.
    pub fn call_text(&self) -> String {
        if self.is_syntax() {
            format!("Failed to parse body into JSON: {self}")
        } else {
            format!("Failed to convert JSON into Call protobuf: {self}")
        }
    }
}

/// The kinds of JSON values, as errors name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    /// `{..}`
    Object,
    /// `[..]`
    Array,
    /// `".."`
    String,
    /// `1.5`
    Number,
    /// `true` or `false`
    Boolean,
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JsonKind::Object => "object",
            JsonKind::Array => "array",
            JsonKind::String => "string",
            JsonKind::Number => "number",
            JsonKind::Boolean => "boolean",
        })
    }
}
