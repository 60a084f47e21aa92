//! Names of images: `registry.example:5000/team/app:tag@sha256:...`, read as Docker reads them.

use std::{fmt, str::FromStr};

use crate::Digest;

/// Where images without a registry in their name come from.
pub(crate) const HUB: &str = "registry-1.docker.io";

/// All of a name without tag and digest, as the distribution specification has it.
const NAME_BYTES_MAX: usize = 255;
/// A tag, likewise.
const TAG_BYTES_MAX: usize = 128;

/// An image's name, of parts that fit into a URL and a path as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not the name of an image: {why}")]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// Host and port, when the name has one.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The path in the registry, as written.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` stands for none (rule 329).
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// What the content must be.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same image in a registry, whatever it was called before: `library/` is put before the names
    /// that Docker Hub's own images go by.
    pub(crate) fn in_registry(&self, default: &str) -> (String, String) {
        let registry = match self.registry.as_deref().unwrap_or(default) {
            "docker.io" | "index.docker.io" => HUB,
            other => other,
        };
        let official = registry == HUB && !self.repository.contains('/');
        let repository =
            if official { format!("library/{}", self.repository) } else { self.repository.clone() };
        (registry.to_owned(), repository)
    }

    /// The last part of a request for its manifest.
    pub(crate) fn target(&self) -> String {
        self.digest.map_or_else(|| self.tag().to_owned(), |digest| digest.to_string())
    }

    /// The same name with this content and no other (attack A066).
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refused = |why| ReferenceError { text: text.chars().take(300).collect(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| refused("what follows '@' is no sha256 digest"))?))
            }
            None => (text, None),
        };
        // A first part that can only be a host is one.
        let (registry, rest) = match rest.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                if !is_authority(first) {
                    return Err(refused("the registry is no host with a port"));
                }
                (Some(first.to_ascii_lowercase()), rest)
            }
            _ => (None, rest),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.len() > NAME_BYTES_MAX || !repository.split('/').all(is_component) {
            return Err(refused("it is made of lower case letters, digits, and single '.', '_', '-', '/'"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refused("a tag is up to 128 letters, digits, '_', '.', '-'"));
        }
        Ok(Self { registry, repository: repository.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        match (&self.tag, &self.digest) {
            (Some(tag), _) => write!(f, ":{tag}")?,
            (None, Some(_)) => {}
            (None, None) => f.write_str(":latest")?,
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A host name, an IPv4 address or an IPv6 address in brackets, perhaps with a port.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(""))),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
    let host_fits = if text.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        host.len() <= 253 && host.bytes().all(fits) && host.split('.').all(|label| !label.is_empty())
    };
    host_fits && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0))
}

fn is_component(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    // Separators are one dot, one or two underscores, or any number of dashes.
    plain(*first)
        && plain(*last)
        && text
            .split(|c: char| plain_char(c))
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|c| c == b'-'))
}

fn plain_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_tag(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let plain = parse("alpine");
        assert_eq!((plain.registry(), plain.repository(), plain.tag()), (None, "alpine", "latest"));
        assert_eq!(plain.in_registry(HUB), (HUB.into(), "library/alpine".into()));
        assert_eq!(plain.in_registry("r.example"), ("r.example".into(), "alpine".into()));
        assert_eq!(parse("docker.io/alpine").in_registry("x"), (HUB.into(), "library/alpine".into()));
        assert_eq!(parse("team/app:v1").in_registry(HUB), (HUB.into(), "team/app".into()));
        let full = parse("localhost:5000/a/b__c-d.e:V1.x-_");
        assert_eq!(full.registry(), Some("localhost:5000"));
        assert_eq!((full.repository(), full.tag()), ("a/b__c-d.e", "V1.x-_"));
        let digest = Digest::of(b"x");
        let pinned = parse(&format!("[::1]:5000/app@{digest}"));
        assert_eq!(pinned.registry(), Some("[::1]:5000"));
        assert_eq!(pinned.target(), digest.to_string());
        for text in ["a/b:c", "h.example/a:b", &format!("a:b@{digest}"), &format!("a@{digest}")] {
            assert_eq!(parse(text).to_string(), *text);
        }
        assert_eq!(plain.to_string(), "alpine:latest", "rule 329: a missing tag means latest");
    }

    #[test]
    fn a049_names_that_could_be_something_else_are_refused() {
        let long = "a".repeat(256);
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "../a",
            "a/../b",
            "A",
            "a b",
            "a\0",
            "a\n",
            "a:",
            "a:b:c",
            "a@",
            "a@sha256:0",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "h.example:0/a",
            "h.example:99999/a",
            "h.example:x/a",
            "http://h/a",
            "u@h.example/a",
            "[::1/a",
            "[x]:1/a",
            "a:-b",
            "a?b",
            "a#b",
            "h.example/%2e%2e/a",
            &long,
            &format!("a:{}", "x".repeat(129)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
