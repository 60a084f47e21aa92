//! Downloads of layers, which go on where they were cut off.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use mezzo_download::Paced;
use ureq::{
    Body,
    http::{Response, header},
};

use super::{ATTEMPTS_MAX, Ask, BACKOFF, Endpoint, Place, Registry, broken, text};
use crate::{
    Digest,
    digest::Hasher,
    error::{Reason, Tried},
    progress::Watch,
};

/// Moved at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Below this many bytes per second a transfer counts as stalled (attack A065).
pub(super) const PACE_MIN: u64 = 1 << 10;

/// A blob on its way: what is on disk is what was hashed.
pub(crate) struct Partial {
    file: File,
    hasher: Hasher,
    bytes: u64,
}

impl Partial {
    /// Takes over what an earlier attempt left, if it can be the beginning of so long a blob.
    pub(crate) fn resume(mut file: File, size: u64) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let mut bytes = 0;
        if file.metadata()?.len() <= size {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                match file.read(&mut chunk)? {
                    0 => break,
                    count => {
                        hasher.update(&chunk[..count]);
                        bytes += count as u64;
                    }
                }
            }
        }
        let mut partial = Self { file, hasher, bytes };
        if partial.bytes == 0 {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Bytes that are here.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::default();
        self.bytes = 0;
        Ok(())
    }

    fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk)?;
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }
}

impl Registry {
    /// Downloads what is missing of a blob and checks it. `told` hears how many bytes are here after each step.
    pub(crate) fn blob(
        &self,
        place: &Place,
        (digest, size): (Digest, u64),
        partial: &mut Partial,
        watch: &Watch,
        told: &dyn Fn(u64),
    ) -> Result<(), Reason> {
        let path = format!("/v2/{}/blobs/{digest}", place.repository);
        let mut backoff = BACKOFF;
        let mut attempt = 0;
        // Mirrors in turn; the registry itself is the last, and the one that is asked again.
        let mut endpoints = place.endpoints.iter().peekable();
        let mut endpoint = endpoints.next();
        while let Some(server) = endpoint {
            let before = partial.bytes;
            let outcome = self.attempt(place, server, &path, size, partial, watch, told).and_then(|()| {
                let found = partial.hasher.clone().finish();
                if found == digest {
                    return Ok(());
                }
                partial.restart().tried("empty a file of the store")?;
                Err(Reason::Digest { what: "the layer", expected: digest, found })
            });
            let reason = match outcome {
                Ok(()) => return Ok(()),
                Err(reason @ (Reason::Cancelled | Reason::TimedOut | Reason::Store { .. })) => {
                    return Err(reason);
                }
                // What was here was not the beginning of it. It is not here any more.
                Err(Reason::Digest { .. }) if before > 0 => continue,
                Err(reason) => reason,
            };
            if endpoints.peek().is_some() {
                endpoint = endpoints.next();
                continue;
            }
            // A transfer that comes forward may be cut off as often as it likes, within the time for the pull.
            attempt = if partial.bytes > before { 1 } else { attempt + 1 };
            if !reason.is_transient() || attempt >= ATTEMPTS_MAX {
                return Err(reason);
            }
            watch.sleep(backoff)?;
            backoff = (backoff * 2).min(super::RETRY_AFTER_MAX);
        }
        Err(Reason::Missing(place.registry.clone()))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one transfer, named")]
    fn attempt(
        &self,
        place: &Place,
        server: &Endpoint,
        path: &str,
        size: u64,
        partial: &mut Partial,
        watch: &Watch,
        told: &dyn Fn(u64),
    ) -> Result<(), Reason> {
        if partial.bytes == size {
            return Ok(());
        }
        let ask = Ask { path, accept: None, from: partial.bytes, head: false };
        let response = match self.ask(place, server, &ask, watch) {
            // It has other content than what is here was the beginning of.
            Err(Reason::Status { status: 416, .. }) if partial.bytes > 0 => {
                partial.restart().tried("empty a file of the store")?;
                let ask = Ask { from: 0, ..ask };
                self.ask(place, server, &ask, watch)?
            }
            other => other?,
        };
        if partial.bytes > 0 && first_byte(&response) != Some(partial.bytes) {
            if response.status() == 206 {
                return Err(Reason::Refused(format!(
                    "{} sends another part than was asked for",
                    server.authority
                )));
            }
            // All of it, from the start.
            partial.restart().tried("empty a file of the store")?;
        }
        let body = response.into_body();
        let mut reader = Paced::new(body.into_reader(), PACE_MIN, self.settings.stall_timeout);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            watch.check()?;
            match reader.read(&mut chunk) {
                Ok(0) if partial.bytes == size => return Ok(()),
                Ok(0) => {
                    let why = format!("sent {} of {size} bytes", partial.bytes);
                    return Err(Reason::Transfer { authority: server.authority.clone(), why });
                }
                Ok(count) if partial.bytes + count as u64 > size => {
                    partial.restart().tried("empty a file of the store")?;
                    return Err(Reason::Size { what: "the layer", expected: size });
                }
                Ok(count) => {
                    partial.append(&chunk[..count]).tried("write a layer's download")?;
                    told(partial.bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&server.authority, &error)),
            }
        }
    }
}

/// Where a partial answer begins.
fn first_byte(response: &Response<Body>) -> Option<u64> {
    if response.status() != 206 {
        return None;
    }
    let range = text(response, header::CONTENT_RANGE.as_str())?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
