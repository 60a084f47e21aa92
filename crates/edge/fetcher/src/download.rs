//! Getting bytes over HTTP.

use std::{
    io::{self, Read, Write},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::Reason;

/// Hops followed before giving up. Each must be http or https: another scheme is an error.
const REDIRECTS_MAX: u32 = 10;

/// The largest file fetched: beyond any artifact known, and small enough that one mistaken URI does
/// not fill a disk array for days.
const DOWNLOAD_BYTES_MAX: u64 = 1 << 40;

/// Moved at once.
const CHUNK_BYTES: usize = 64 * 1024;

pub(crate) struct Client {
    stall_timeout: Duration,
    /// Made with the first use: reading the host's certificates takes milliseconds.
    agent: OnceLock<ureq::Agent>,
}

/// An answer whose body has not been read.
pub(crate) struct Download {
    body: ureq::Body,
    stall_timeout: Duration,
}

impl Client {
    pub(crate) fn new(stall_timeout: Duration) -> Self {
        Self { stall_timeout, agent: OnceLock::new() }
    }

    pub(crate) fn get(&self, url: &str) -> Result<Download, Reason> {
        let agent = self.agent.get_or_init(|| make_agent(self.stall_timeout));
        let response = agent.get(url).call().map_err(|error| match error {
            ureq::Error::Timeout(_) => Reason::Stalled,
            other => Reason::Transfer(other.to_string()),
        })?;
        if response.status() != 200 {
            return Err(Reason::Status(response.status().as_u16()));
        }
        Ok(Download { body: response.into_body(), stall_timeout: self.stall_timeout })
    }
}

fn make_agent(stall_timeout: Duration) -> ureq::Agent {
    // The whole chain of trust is the host's own, as for every other program on it.
    let certificates: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(REDIRECTS_MAX)
        .timeout_resolve(Some(stall_timeout))
        .timeout_connect(Some(stall_timeout))
        .timeout_recv_response(Some(stall_timeout))
        .timeout_per_read(Some(stall_timeout))
        .build()
        .new_agent()
}

impl Download {
    /// What the server promised; `None` when it did not.
    pub(crate) fn size(&self) -> Option<u64> {
        self.body.content_length()
    }

    pub(crate) fn into_reader(self) -> impl Read {
        Watched {
            reader: self.body.into_reader(),
            stall_timeout: self.stall_timeout,
            window_start: Instant::now(),
            window_bytes: 0,
        }
    }
}

/// Breaks off when less than a byte per second comes for the stall timeout (rule 392). Complete
/// silence is ended by the client's own timeout per read.
struct Watched<R> {
    reader: R,
    stall_timeout: Duration,
    window_start: Instant,
    window_bytes: u64,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.window_bytes += count as u64;
        if count > 0 && self.window_start.elapsed() >= self.stall_timeout {
            if self.window_bytes < self.stall_timeout.as_secs() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.window_start = Instant::now();
            self.window_bytes = 0;
        }
        Ok(count)
    }
}

/// Copies all of `from`.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<(), Reason> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_timeout(&error) => return Err(Reason::Stalled),
            Err(error) => return Err(Reason::Transfer(error.to_string())),
        };
        total += count as u64;
        if total > DOWNLOAD_BYTES_MAX {
            return Err(Reason::Refused("The file is too large".to_owned()));
        }
        to.write_all(&chunk[..count]).map_err(|source| Reason::File { what: "write the file", source })?;
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}
