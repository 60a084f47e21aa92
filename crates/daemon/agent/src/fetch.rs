//! Brings the files of a command into its sandbox.

use std::{io, path::PathBuf, sync::OnceLock};

use mezzo_agent::ContainerSpec;
use mezzo_container::Credentials;
use mezzo_fetcher::{FetchRequest, FetchUri, Fetcher, User};
use thiserror::Error;

use crate::config::Config;

/// Why files could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// The cache folder is not usable.
    #[error("prepare the fetcher's cache: {0}")]
    Cache(String),
    /// One of the files could not be brought.
    #[error(transparent)]
    Fetch(#[from] mezzo_fetcher::FetchError),
}

/// The agent's fetcher. It starts with the first container that has files to fetch: most agents have
/// few, and its TLS roots take more memory than the rest of an idle agent.
pub(crate) struct Fetching {
    config: mezzo_fetcher::Config,
    fetcher: OnceLock<Result<Fetcher, String>>,
}

impl Fetching {
    pub(crate) fn new(config: &Config) -> io::Result<Self> {
        // What an earlier agent cached is gone with it (rule 389).
        match std::fs::remove_dir_all(&config.fetcher_cache_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let config = mezzo_fetcher::Config {
            cache_dir: config.fetcher_cache_dir.clone(),
            cache_bytes_max: config.fetcher_cache_size,
            stall_timeout: config.fetcher_stall_timeout,
            frameworks_home: config.frameworks_home.clone(),
        };
        Ok(Self { config, fetcher: OnceLock::new() })
    }

    /// Fetches all files of a command; blocks.
    pub(crate) fn fetch(&self, spec: &ContainerSpec, owner: Option<&Credentials>) -> Result<(), FetchError> {
        let fetcher = self
            .fetcher
            .get_or_init(|| Fetcher::start(self.config.clone()).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|why| FetchError::Cache(why.clone()))?;
        let uris = spec
            .command
            .uris
            .iter()
            .map(|uri| FetchUri {
                value: uri.value.clone(),
                executable: uri.executable.unwrap_or(false),
                extract: uri.extract.unwrap_or(true),
                cache: uri.cache.unwrap_or(false),
                output_file: uri.output_file.clone(),
            })
            .collect();
        let user = owner.map(|owner| User {
            name: spec.user.clone().unwrap_or_default(),
            uid: owner.uid,
            gid: owner.gid,
            groups: owner.groups.clone(),
        });
        let request = FetchRequest { uris, sandbox: PathBuf::from(&*spec.sandbox), user };
        Ok(fetcher.fetch(&request)?)
    }
}
