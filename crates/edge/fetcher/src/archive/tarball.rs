//! tar, by the entries that the `tar` crate reads.

use std::io::{self, Read};

use tar::EntryType;

use super::{ArchiveError, Target, readable};

/// Extended headers (long names, pax records) are held in memory by the reader.
const HEADER_BYTES_MAX: u64 = 1 << 20;

pub(super) fn extract(reader: impl Read, target: &mut Target<'_>) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(Bounded::new(reader, target.bytes_max));
    for entry in archive.entries().map_err(ArchiveError::Read)? {
        let mut entry = entry.map_err(ArchiveError::Read)?;
        let name = entry.path_bytes().into_owned();
        let mode = entry.header().mode().unwrap_or(0o644);
        let link = entry.link_name_bytes().map(|bytes| bytes.into_owned()).unwrap_or_default();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                // Old archives mark a directory only by the slash at its end.
                if name.ends_with(b"/") && entry.size() == 0 {
                    target.directory(&name, mode)?;
                } else {
                    target.file(&name, mode, &mut entry)?;
                }
            }
            EntryType::Directory => target.directory(&name, mode)?,
            EntryType::Symlink => target.link(&name, &link)?,
            EntryType::Link => target.hard_link(&name, &link)?,
            EntryType::XGlobalHeader if entry.size() <= HEADER_BYTES_MAX => target.count_entry()?,
            _ => return Err(ArchiveError::Special(readable(&name))),
        }
    }
    // The checksum of a compressed stream is behind the end of the tar.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ArchiveError::Read)?;
    Ok(())
}

/// Ends a stream that yields more than it may, whatever the reader above it wanted the bytes for:
/// headers of a bomb never reach the sandbox, where they would be counted.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(reader: R, bytes_max: u64) -> Self {
        // Headers and padding come on top of the content: at most as much again for tiny files.
        Self { reader, left: bytes_max.saturating_mul(2) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "the archive expands too far"))?;
        Ok(count)
    }
}
