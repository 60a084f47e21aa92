//! zip, by the entries that the `zip` crate reads.

use std::{
    fs::File,
    io::{self, BufReader, Read},
};

use super::{ArchiveError, ENTRIES_MAX, Target, readable};

/// The text of a symbolic link; the kernel takes no longer one.
const LINK_BYTES_MAX: u64 = 4096;

/// The kind of file in a Unix mode.
const MODE_KIND: u32 = 0o170_000;
const MODE_REGULAR: u32 = 0o100_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_LINK: u32 = 0o120_000;

pub(super) fn extract(file: File, target: &mut Target<'_>) -> Result<(), ArchiveError> {
    let damaged = |error: zip::result::ZipError| ArchiveError::Read(io::Error::other(error));
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    if archive.len() as u64 > ENTRIES_MAX {
        return Err(ArchiveError::TooMany);
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name_raw().to_vec();
        let mode = entry.unix_mode();
        let kind = mode.map_or(0, |mode| mode & MODE_KIND);
        if name.ends_with(b"/") || kind == MODE_DIRECTORY {
            target.directory(&name, mode.unwrap_or(0o755))?;
        } else if kind == MODE_LINK {
            let mut text = Vec::new();
            (&mut entry).take(LINK_BYTES_MAX).read_to_end(&mut text).map_err(ArchiveError::Read)?;
            target.link(&name, &text)?;
        } else if kind == MODE_REGULAR || kind == 0 {
            target.file(&name, mode.unwrap_or(0o644), &mut entry)?;
        } else {
            return Err(ArchiveError::Special(readable(&name)));
        }
    }
    Ok(())
}
