//! Getting bytes over HTTP.

use std::{
    io::{self, Read, Write},
    sync::OnceLock,
    time::Duration,
};

use mezzo_download::{Paced, is_timeout};

use crate::Reason;

/// Hops followed before giving up. Each must be http or https: another scheme is an error.
const REDIRECTS_MAX: u32 = 10;

/// The largest file fetched: beyond any artifact known, and small enough that one mistaken URI does
/// not fill a disk array for days.
const DOWNLOAD_BYTES_MAX: u64 = 1 << 40;

/// Below this many bytes per second a download is given up (rule 392).
const PACE_MIN: u64 = 1;

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
        let make =
            || mezzo_download::client(self.stall_timeout).max_redirects(REDIRECTS_MAX).build().new_agent();
        let agent = self.agent.get_or_init(make);
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

impl Download {
    /// What the server promised; `None` when it did not.
    pub(crate) fn size(&self) -> Option<u64> {
        self.body.content_length()
    }

    pub(crate) fn into_reader(self) -> impl Read {
        Paced::new(self.body.into_reader(), PACE_MIN, self.stall_timeout)
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
