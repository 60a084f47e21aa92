//! Why there is no image.

use std::{io, sync::Arc};

use crate::{Digest, reference::ReferenceError, unpack::UnpackError};

/// An image could not be had. Says which, which layer if it was one, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("Failed to pull image '{image}': {}{reason}", layer_text(.layer))]
pub struct PullError {
    /// As it was asked for.
    pub image: String,
    /// The layer's digest in the registry or archive.
    pub layer: Option<Digest>,
    /// Why; shared by all who waited for the same pull.
    pub reason: Arc<Reason>,
}

fn layer_text(layer: &Option<Digest>) -> String {
    layer.map_or_else(String::new, |digest| format!("layer {digest}: "))
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Where the image is has none of this name.
    #[error("there is no such image in {0}")]
    Missing(String),
    /// Credentials are missing, wrong, or not enough.
    #[error("{0} denies access")]
    Denied(String),
    /// The registry answered with something else.
    #[error("{authority} answered with status {status}")]
    Status {
        /// Who.
        authority: String,
        /// The HTTP status.
        status: u16,
    },
    /// The registry was not reached, or broke off more often than is tried.
    #[error("{authority}: {why}")]
    Transfer {
        /// Who.
        authority: String,
        /// In words.
        why: String,
    },
    /// Bytes came too slowly.
    #[error("{0} sends too slowly")]
    Stalled(String),
    /// The pull took longer than pulls may.
    #[error("it took too long")]
    TimedOut,
    /// The caller does not want it any more.
    #[error("the pull was cancelled")]
    Cancelled,
    /// A rule of this host says no, whoever is asked.
    #[error("{0}")]
    Refused(String),
    /// Content is not what its digest says.
    #[error("the content of {what} is {found} and not {expected}")]
    Digest {
        /// Of what.
        what: &'static str,
        /// As named.
        expected: Digest,
        /// As it came.
        found: Digest,
    },
    /// Content is longer or shorter than announced.
    #[error("{what} has not the announced {expected} bytes")]
    Size {
        /// Of what.
        what: &'static str,
        /// As announced.
        expected: u64,
    },
    /// A manifest, index or configuration does not say what it must, or is beyond a limit.
    #[error("{what}: {why}")]
    Document {
        /// Which.
        what: &'static str,
        /// In words.
        why: String,
    },
    /// The image exists for other kinds of machines.
    #[error("it is not made for {0}")]
    Platform(String),
    /// A layer cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The store's disk said no.
    #[error("{what}: {source}")]
    Store {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Reason {
    /// Whether the same request may well succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Reason::Transfer { .. } | Reason::Stalled(_) | Reason::TimedOut => true,
            Reason::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    pub(crate) fn document(what: &'static str, why: impl Into<String>) -> Self {
        Reason::Document { what, why: why.into() }
    }
}

/// Says what was tried when a file operation fails.
pub(crate) trait Tried<T> {
    fn tried(self, what: &'static str) -> Result<T, Reason>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, what: &'static str) -> Result<T, Reason> {
        self.map_err(|error| Reason::Store { what, source: error.into() })
    }
}
