//! What can go wrong, by what the caller should do about it.

use thiserror::Error;

/// A call was not taken.
#[derive(Debug, Error)]
pub enum CallError {
    /// There is no subscription at the moment; try again after the next `subscribed`.
    #[error("not subscribed")]
    NotSubscribed,
    /// The connection broke; whether the master took the call is unknown.
    #[error("send call")]
    Lost(#[source] mezzo_http::ClientError),
    /// The master refused it; the same call would be refused again.
    #[error("master answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
}

/// Why [`crate::run`] ended by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// No master was named.
    #[error("no master address given")]
    NoMaster,
    /// The master ended the framework, for example because it was torn down; a new one may subscribe.
    #[error("master ended the framework: {0}")]
    Ended(String),
    /// The subscription itself is wrong and would be refused again.
    #[error("master refused the subscription with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
}
