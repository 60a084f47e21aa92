//! Secrets: what services are started with and nobody is shown.

use std::sync::Arc;

use mezzo_time::Timestamp;

/// The longest name, in bytes: names stand in keys of records and in paths of the API.
const NAME_BYTES_MAX: usize = 255;

/// Where a secret lies in the store: words with slashes between them, `shop/db`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(Arc<str>);

/// A text that is no name of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSecretName;

impl std::fmt::Display for InvalidSecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a secret's name is words of letters, digits, '-', '_' and '.' with slashes between them, \
             255 bytes at most",
        )
    }
}

impl std::error::Error for InvalidSecretName {}

impl SecretName {
    /// The name in a text. Slashes around it do not count: `/shop/db` is `shop/db`.
    pub fn parse(text: &str) -> Result<Self, InvalidSecretName> {
        let name = text.trim_matches('/');
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_word = |word: &str| !matches!(word, "" | "." | "..") && word.bytes().all(fits);
        if name.len() > NAME_BYTES_MAX || !name.split('/').all(is_word) {
            return Err(InvalidSecretName);
        }
        Ok(Self(name.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret as it is kept: sealed, so that whoever has it without the key knows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// Its name.
    pub name: SecretName,
    /// Its value under the key of the daemon.
    pub sealed: Arc<[u8]>,
    /// When it was set.
    pub changed_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_between_slashes() {
        let name = |text: &str| SecretName::parse(text).map(|name| name.to_string());
        assert_eq!(name("shop/db"), Ok("shop/db".into()));
        assert_eq!(name("/shop/db-2.key/"), Ok("shop/db-2.key".into()));
        for wrong in ["", "/", "a//b", "a/../b", "a b", "ä", &"x".repeat(256)] {
            assert_eq!(name(wrong), Err(InvalidSecretName), "{wrong}");
        }
    }
}
