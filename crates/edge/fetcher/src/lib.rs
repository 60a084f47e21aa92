//! Brings what a task's command needs into its sandbox before it starts (rules 381 to 393).
//!
//! Everything blocks: the daemon calls [`Fetcher::fetch`] on a thread of its own. In the sandbox the
//! calling thread acts with the task user's rights, opens nothing through a link, and never leaves
//! the directory, because tasks may have been there before (nested containers, persistent volumes).
//! Archives are read by this crate and not by programs of the host; what [`archive`] refuses and
//! which bounds it keeps is said there.

mod archive;
mod cache;
mod download;
mod identity;
mod sandbox;
mod uri;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

pub use identity::User;
use sandbox::Sandbox;
use uri::Source;

/// How the fetcher of one agent is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--fetcher_cache_dir`; deleted when the fetcher starts (rule 389).
    pub cache_dir: PathBuf,
    /// `--fetcher_cache_size`.
    pub cache_bytes_max: u64,
    /// `--fetcher_stall_timeout`.
    pub stall_timeout: Duration,
    /// `--frameworks_home`, where relative paths begin (rule 383).
    pub frameworks_home: Option<PathBuf>,
}

/// One URI of a CommandInfo.
#[derive(Clone, Debug)]
pub struct FetchUri {
    /// As given.
    pub value: String,
    /// Gets mode 0755 and is never extracted (rule 384).
    pub executable: bool,
    /// Whether an archive is extracted.
    pub extract: bool,
    /// Whether the cache is used.
    pub cache: bool,
    /// Another name in the sandbox (rule 386).
    pub output_file: Option<String>,
}

impl FetchUri {
    /// A URI with the API's defaults.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into(), executable: false, extract: true, cache: false, output_file: None }
    }
}

/// What to fetch for one container.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// In this order.
    pub uris: Vec<FetchUri>,
    /// Exists already and belongs to the user.
    pub sandbox: PathBuf,
    /// The command's user, or else the container's (rule 393); `None` for the agent's own.
    pub user: Option<User>,
}

/// Why a container cannot get what it needs. The launch fails with it (rule 381).
#[derive(Debug, thiserror::Error)]
#[error("Failed to fetch '{uri}': {reason}")]
pub struct FetchError {
    /// Which of the URIs; empty for a failure before the first.
    pub uri: String,
    /// Why.
    pub reason: Reason,
}

/// What went wrong with one URI.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The URI or the output file is not acceptable.
    #[error("{0}")]
    Refused(String),
    /// The server did not answer, or broke off.
    #[error("{0}")]
    Transfer(String),
    /// The server answered with another status than 200 (rule 382).
    #[error("Unexpected HTTP response code: {0}")]
    Status(u16),
    /// Less than a byte per second came for too long (rule 392).
    #[error("The download stalled")]
    Stalled,
    /// A file operation failed.
    #[error("Failed to {what}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The archive is damaged or hostile.
    #[error("Failed to extract: {0}")]
    Archive(#[from] archive::ArchiveError),
}

/// Fetches for all containers of one agent.
pub struct Fetcher {
    config: Config,
    cache: cache::Cache,
    client: download::Client,
}

impl Fetcher {
    /// Empties the cache directory and makes a fetcher.
    pub fn start(config: Config) -> io::Result<Self> {
        let cache = cache::Cache::start(&config.cache_dir, config.cache_bytes_max)?;
        let client = download::Client::new(config.stall_timeout);
        Ok(Self { config, cache, client })
    }

    /// Fetches one URI after another (rule 381); stops at the first failure. What is done is told in
    /// the sandbox's `stderr` file.
    pub fn fetch(&self, request: &FetchRequest) -> Result<(), FetchError> {
        if request.uris.is_empty() {
            return Ok(());
        }
        let sandbox = Sandbox::open(&request.sandbox, request.user.clone()).map_err(|source| FetchError {
            uri: String::new(),
            reason: Reason::File { what: "open the sandbox", source },
        })?;
        for uri in &request.uris {
            match self.fetch_one(uri, request, &sandbox) {
                Ok(name) => sandbox.log(&format!(
                    "Fetched '{}' to '{}'",
                    uri.value,
                    request.sandbox.join(name).display()
                )),
                Err(reason) => {
                    let error = FetchError { uri: uri.value.clone(), reason };
                    sandbox.log(&error.to_string());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Returns the name under which the file, or what was in it, lies in the sandbox.
    fn fetch_one(&self, uri: &FetchUri, request: &FetchRequest, sandbox: &Sandbox) -> Result<String, Reason> {
        let source = uri::parse(&uri.value, self.config.frameworks_home.as_deref())?;
        let name = uri::target(&uri.value, uri.output_file.as_deref())?;
        let kind = if uri.extract && !uri.executable { archive::Kind::of(&name) } else { None };
        if uri.cache
            && let Some(cached) = self.take_cached(uri, &source, request, sandbox)?
        {
            let mut file = cached.open()?;
            match kind {
                // Extracted from where it is, so that the archive itself is not in the sandbox
                // (rule 385).
                Some(kind) => extract(kind, file, &name, sandbox)?,
                None => store(&mut file, &name, uri.executable, sandbox)?,
            }
            return Ok(name);
        }
        match &source {
            Source::Http(url) => {
                let download = self.client.get(url)?;
                store(&mut download.into_reader(), &name, uri.executable, sandbox)?;
            }
            Source::File(path) => {
                store(&mut open_local(path, sandbox)?.0, &name, uri.executable, sandbox)?;
            }
        }
        if let Some(kind) = kind {
            extract(kind, sandbox.open_file(&name)?, &name, sandbox)?;
        }
        Ok(name)
    }

    /// The file in the cache, downloaded when it is not there yet; `None` when the cache is of no
    /// use for it (rule 390).
    fn take_cached(
        &self,
        uri: &FetchUri,
        source: &Source,
        request: &FetchRequest,
        sandbox: &Sandbox,
    ) -> Result<Option<cache::Lease<'_>>, Reason> {
        let user = request.user.as_ref().map_or("", |user| user.name.as_str());
        let slot = match self.cache.claim(user, &uri.value) {
            cache::Claim::Ready(lease) => return Ok(Some(lease)),
            cache::Claim::Fill(slot) => slot,
        };
        let (mut content, size): (Box<dyn Read>, _) = match source {
            Source::Http(url) => {
                let download = self.client.get(url)?;
                let size = download.size();
                (Box::new(download.into_reader()), size)
            }
            Source::File(path) => {
                let (file, size) = open_local(path, sandbox)?;
                (Box::new(file), Some(size))
            }
        };
        match size {
            Some(size) if size > 0 => slot.fill(&mut content, size, uri::basename(&uri.value)),
            _ => Ok(None),
        }
    }
}

/// Opens a file of the host with the task user's rights (attack A075).
fn open_local(path: &Path, sandbox: &Sandbox) -> Result<(File, u64), Reason> {
    let failed = |source| Reason::File { what: "open the file", source };
    let file = sandbox.as_user(|| {
        use std::os::unix::fs::OpenOptionsExt;
        // NONBLOCK: a pipe must not hold this thread for ever.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        File::options().read(true).custom_flags(nonblock).open(path)
    });
    let file = file.map_err(failed)?;
    let status = file.metadata().map_err(failed)?;
    if !status.is_file() {
        return Err(Reason::Refused("It is not a regular file".to_owned()));
    }
    Ok((file, status.len()))
}

fn store(content: &mut dyn Read, name: &str, executable: bool, sandbox: &Sandbox) -> Result<(), Reason> {
    let mut file = sandbox.create_file(name, if executable { 0o755 } else { 0o644 })?;
    download::copy(content, &mut file)
}

fn extract(kind: archive::Kind, file: File, name: &str, sandbox: &Sandbox) -> Result<(), Reason> {
    sandbox.as_user(|| archive::extract(kind, file, name, sandbox.directory())).map_err(Reason::Archive)
}

#[cfg(test)]
mod tests;
