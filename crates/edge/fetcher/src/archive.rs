//! Unpacks archives that may be hostile (attacks A073, A078, A079 and A081).
//!
//! Refused: absolute names, `..`, names through links, links that lead out of the sandbox, devices,
//! pipes, and anything above the bounds below. Masked: setuid, setgid, sticky, and write permission
//! for group and others. Directories are entered one by one without following links, so what is
//! written stays below the sandbox whatever else changes there meanwhile.

mod tarball;
mod zipped;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use crate::sandbox::{enter_parent, replace_file};

/// Unpacked bytes that are allowed for an archive of any size.
const EXPANDED_BYTES_FREE: u64 = 1 << 30;
/// Beyond these, how many times larger the content may be. Text seldom reaches 20; a bomb has
/// thousands.
const EXPANSION_MAX: u64 = 100;
/// Files, directories and links of one archive: twice what the largest source trees have.
const ENTRIES_MAX: u64 = 2_000_000;
/// Memory for one xz stream; its strongest preset takes 65 MiB.
const XZ_MEMORY_MAX: u64 = 128 << 20;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is damaged, or not of the kind its name says.
    #[error("the archive cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A name in it is refused.
    #[error("the name '{name}' {why}")]
    Name {
        /// In readable form.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It holds something else than files, directories and links.
    #[error("'{0}' is not a file, directory or link")]
    Special(String),
    /// It is larger than its size can explain.
    #[error("it expands to more than {0} bytes")]
    TooLarge(u64),
    /// It has too many entries.
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
    /// Something could not be made in the sandbox.
    #[error("'{name}' cannot be written: {source}")]
    Write {
        /// In readable form.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// What an archive is, by the end of its name (rule 385).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tar,
    TarGzip,
    TarBzip2,
    TarXz,
    Zip,
    Gzip,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Option<Self> {
        let suffixes = [
            (".tar", Kind::Tar),
            (".tgz", Kind::TarGzip),
            (".tar.gz", Kind::TarGzip),
            (".tbz2", Kind::TarBzip2),
            (".tar.bz2", Kind::TarBzip2),
            (".txz", Kind::TarXz),
            (".tar.xz", Kind::TarXz),
            (".zip", Kind::Zip),
            (".gz", Kind::Gzip),
        ];
        suffixes.into_iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, kind)| kind)
    }
}

/// Unpacks into `directory`. `name` is the archive's own in there.
pub(crate) fn extract(
    kind: Kind,
    file: File,
    name: &str,
    directory: BorrowedFd<'_>,
) -> Result<(), ArchiveError> {
    let packed = file.metadata().map_err(ArchiveError::Read)?.len();
    let mut target = Target::new(directory, packed);
    match kind {
        Kind::Tar => tarball::extract(file, &mut target),
        Kind::TarGzip => tarball::extract(flate2::read::MultiGzDecoder::new(file), &mut target),
        Kind::TarBzip2 => tarball::extract(bzip2::read::MultiBzDecoder::new(file), &mut target),
        Kind::TarXz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, liblzma::stream::CONCATENATED)
                    .map_err(|error| ArchiveError::Read(error.into()))?;
            tarball::extract(liblzma::read::XzDecoder::new_stream(file, stream), &mut target)
        }
        Kind::Zip => zipped::extract(file, &mut target),
        Kind::Gzip => {
            let inner = name.strip_suffix(".gz").unwrap_or(name);
            target.file(inner.as_bytes(), 0o644, &mut flate2::read::MultiGzDecoder::new(file))
        }
    }
}

/// The sandbox as an archive sees it, with what is left of its bounds.
struct Target<'d> {
    directory: BorrowedFd<'d>,
    bytes_max: u64,
    bytes_left: u64,
    entries_left: u64,
}

impl<'d> Target<'d> {
    fn new(directory: BorrowedFd<'d>, packed: u64) -> Self {
        let bytes_max = packed.saturating_mul(EXPANSION_MAX).max(EXPANDED_BYTES_FREE);
        Self { directory, bytes_max, bytes_left: bytes_max, entries_left: ENTRIES_MAX }
    }

    fn count_entry(&mut self) -> Result<(), ArchiveError> {
        self.entries_left = self.entries_left.checked_sub(1).ok_or(ArchiveError::TooMany)?;
        Ok(())
    }

    /// Counts the bytes that a reader moves over without their being written.
    fn count_bytes(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(ArchiveError::TooLarge(self.bytes_max))?;
        Ok(())
    }

    fn enter<'n>(&self, name: &[u8], clean: &'n [u8]) -> Result<(OwnedFd, &'n [u8]), ArchiveError> {
        enter_parent(self.directory, clean).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => {
                ArchiveError::Name { name: readable(name), why: "leads through a link or file" }
            }
            errno => write_failed(name, errno.into()),
        })
    }

    fn file(&mut self, name: &[u8], mode: u32, content: &mut dyn Read) -> Result<(), ArchiveError> {
        self.count_entry()?;
        let clean = clean_name(name)?;
        let (parent, last) = self.enter(name, &clean)?;
        let failed = |error| write_failed(name, error);
        let mut file =
            replace_file(parent.as_fd(), last, mode & 0o755).map_err(|errno| failed(errno.into()))?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match content.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.count_bytes(count as u64)?;
                    file.write_all(&chunk[..count]).map_err(failed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
    }

    fn directory(&mut self, name: &[u8], mode: u32) -> Result<(), ArchiveError> {
        self.count_entry()?;
        let clean = clean_name(name)?;
        if clean.is_empty() {
            // The archive's top is the sandbox, which keeps its own permissions.
            return Ok(());
        }
        let (parent, last) = self.enter(name, &clean)?;
        let failed = |errno: Errno| write_failed(name, errno.into());
        match rustix::fs::mkdirat(&parent, last, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        // Opened without following a link: the mode must not reach what a link points to (A050).
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&parent, last, flags, Mode::empty()).map_err(failed)?;
        // The owner's bits stay: what follows has to be written into it.
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode & 0o755 | 0o700)).map_err(failed)
    }

    /// A symbolic link. Its text may begin with `..` as often as the link is deep, and has none
    /// later: the directories above it are real ones, so it stays inside whatever it passes through.
    fn link(&mut self, name: &[u8], text: &[u8]) -> Result<(), ArchiveError> {
        self.count_entry()?;
        let clean = clean_name(name)?;
        let refused = |why| Err(ArchiveError::Name { name: readable(name), why });
        if text.is_empty() || text.contains(&0) || text.starts_with(b"/") {
            return refused("is a link to an absolute path");
        }
        let depth = clean.split(|byte| *byte == b'/').count() - 1;
        let components: Vec<&[u8]> =
            text.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        let up = components.iter().take_while(|part| **part == b"..").count();
        if up > depth || components[up..].contains(&&b".."[..]) {
            return refused("is a link out of the sandbox");
        }
        let (parent, last) = self.enter(name, &clean)?;
        let failed = |errno: Errno| write_failed(name, errno.into());
        match rustix::fs::unlinkat(&parent, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        rustix::fs::symlinkat(text, &parent, last).map_err(failed)
    }

    /// A second name of a file of the sandbox.
    fn hard_link(&mut self, name: &[u8], existing: &[u8]) -> Result<(), ArchiveError> {
        self.count_entry()?;
        let clean = clean_name(name)?;
        let clean_existing = clean_name(existing)?;
        let (from, from_last) = self.enter(existing, &clean_existing)?;
        let (to, to_last) = self.enter(name, &clean)?;
        let failed = |errno: Errno| write_failed(name, errno.into());
        let status = rustix::fs::statat(&from, from_last, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(ArchiveError::Special(readable(existing)));
        }
        match rustix::fs::unlinkat(&to, to_last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        rustix::fs::linkat(&from, from_last, &to, to_last, AtFlags::empty()).map_err(failed)
    }
}

fn write_failed(name: &[u8], source: io::Error) -> ArchiveError {
    ArchiveError::Write { name: readable(name), source }
}

/// A name fit for a log line.
fn readable(name: &[u8]) -> String {
    let shown = &name[..name.len().min(200)];
    String::from_utf8_lossy(shown).escape_debug().to_string()
}

/// The name without what means nothing; refused when it could mean a place outside.
fn clean_name(name: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    mezzo_download::clean_name(name).map_err(|why| ArchiveError::Name { name: readable(name), why })
}

#[cfg(test)]
mod tests;
