//! Query strings and form bodies of the v0 endpoints.

use std::borrow::Cow;

use mezzo_json::{Error as JsonError, FromJson, list_from_slice};

/// Most pairs that a query or form is read for; every endpoint has fewer than ten parameters.
pub const PAIRS_MAX: usize = 100;

/// The parameters of a query string or of a form-urlencoded body. The last of equal names counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form<'f> {
    pairs: Vec<(Cow<'f, str>, Cow<'f, str>)>,
}

/// Why a form cannot be used. The texts are those of the 400 answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A `%` without two hex digits, or bytes that are not UTF-8.
    #[error("Failed to decode '{0}'")]
    Encoding(String),
    /// More than [`PAIRS_MAX`] pairs.
    #[error("More than {PAIRS_MAX} parameters")]
    TooMany,
    /// A parameter that must be there is not.
    #[error("Missing '{0}' query parameter in the request body")]
    Missing(&'static str),
    /// A parameter whose value is not the JSON it should be.
    #[error("Error in parsing '{name}' query parameter in the request body: {error}")]
    Json {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        error: JsonError,
    },
}

/// Reads `a=1&b=2` with percent escapes and `+` for spaces.
pub fn parse_query(text: &str) -> Result<Form<'_>, FormError> {
    let mut pairs = Vec::new();
    for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        if pairs.len() == PAIRS_MAX {
            return Err(FormError::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode(name)?, decode(value)?));
    }
    Ok(Form { pairs })
}

fn decode(text: &str) -> Result<Cow<'_, str>, FormError> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let wrong = || FormError::Encoding(text.chars().take(100).collect());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(wrong);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| wrong())
}

impl Form<'_> {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// The value of a parameter that must be there.
    pub fn required(&self, name: &'static str) -> Result<&str, FormError> {
        self.get(name).ok_or(FormError::Missing(name))
    }

    /// A parameter that must be there and hold a JSON array of messages.
    pub fn required_list<T: FromJson>(&self, name: &'static str) -> Result<Vec<T>, FormError> {
        parse_list(name, self.required(name)?)
    }

    /// A parameter that holds a JSON array of messages if it is there.
    pub fn optional_list<T: FromJson>(&self, name: &'static str) -> Result<Vec<T>, FormError> {
        self.get(name).map_or(Ok(Vec::new()), |text| parse_list(name, text))
    }
}

fn parse_list<T: FromJson>(name: &'static str, text: &str) -> Result<Vec<T>, FormError> {
    list_from_slice(text.as_bytes()).map_err(|error| FormError::Json { name, error })
}

/// What follows `prefix` and a slash in a path, as DELETE /quota/{role} takes its role.
pub fn path_tail<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix)?.strip_prefix('/').filter(|tail| !tail.is_empty())
}
