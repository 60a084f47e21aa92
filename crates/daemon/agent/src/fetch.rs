//! Brings the files of a command into its sandbox.

use mezzo_agent::ContainerSpec;
use mezzo_container::Credentials;
use thiserror::Error;

use crate::config::Config;

/// Why files could not be fetched.
#[derive(Debug, Error)]
#[error("fetching is not available")]
pub(crate) struct FetchError;

/// How to fetch.
#[derive(Debug)]
pub(crate) struct Fetching;

impl Fetching {
    pub(crate) fn new(_config: &Config) -> Self {
        Self
    }

    /// Fetches all files of a command; blocks.
    pub(crate) fn fetch(
        &self,
        _spec: &ContainerSpec,
        _owner: Option<&Credentials>,
    ) -> Result<(), FetchError> {
        Err(FetchError)
    }
}
