//! Turns the tar of a layer, which may be hostile, into a directory that overlayfs can use.
//!
//! What is kept: files, directories, links of both kinds, pipes; owners, modes with setuid and setgid (as Mesos,
//! which runs `tar -x` as root, and unless the operator says otherwise), times, `user.*` attributes and file
//! capabilities. What is left out: device nodes, because a container is given its own `/dev`, sockets, and every
//! other attribute. Whiteouts become overlayfs' own: a character device 0/0, and an attribute on an opaque
//! directory. A whiteout speaks of the layers below alone: what the same layer also has under that name stays,
//! whichever came first, and of two entries of one name the later one wins.
//!
//! What is refused: names that are absolute, have `..`, or are too long or deep; anything above the limits;
//! headers that two readers could read in two ways (attack A053). A name may pass through a symbolic link of its
//! own layer, which is then followed as if the layer were the whole file system: it cannot lead out. Directories
//! that have no entry are made up and marked, for the store to compare with the layers below.

mod headers;
mod tree;

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
    os::fd::OwnedFd,
    rc::Rc,
};

use crate::{
    Digest,
    digest::HashReader,
    limits::{HEADERS_BYTES_MAX, Limits, ZSTD_WINDOW_LOG_MAX},
    manifest::Packing,
};
use headers::Item;
use tree::Tree;
pub(crate) use tree::{is_implied, is_opaque};

/// Read at once from a packed layer.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is damaged, cut off, or not packed as announced.
    #[error("the layer cannot be read: {0}")]
    Read(#[source] io::Error),
    /// An entry of it is refused.
    #[error("the entry '{name}' {why}")]
    Entry {
        /// In readable form.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is larger than its size can explain, or than layers may be.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It has too many entries.
    #[error("it has more than {0} entries")]
    TooMany(u64),
    /// Something could not be made on disk.
    #[error("'{name}' cannot be written: {source}")]
    Write {
        /// In readable form.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// How layers are unpacked on this host.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Owners can be given and overlayfs' trusted attributes set.
    pub(crate) root: bool,
    /// Setuid and setgid bits and file capabilities are kept.
    pub(crate) setuid: bool,
    pub(crate) limits: Limits,
}

/// What a layer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Of the tar.
    pub(crate) diff_id: Digest,
    /// Of all files.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Entries left out: devices and sockets.
    pub(crate) skipped: u64,
    /// Hides everything below it.
    pub(crate) opaque: bool,
    /// Has directories without an entry of their own ([`is_implied`]).
    pub(crate) implied: bool,
}

/// Unpacks a layer of `packed` bytes into an empty directory.
pub(crate) fn unpack(
    reader: &mut dyn Read,
    packing: Packing,
    packed: u64,
    directory: OwnedFd,
    options: &Options,
) -> Result<Unpacked, UnpackError> {
    let buffered = BufReader::with_capacity(BUFFER_BYTES, reader);
    match packing {
        Packing::Plain => unpack_tar(buffered, packed, directory, options),
        Packing::Gzip => {
            unpack_tar(flate2::bufread::MultiGzDecoder::new(buffered), packed, directory, options)
        }
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(buffered).map_err(UnpackError::Read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(UnpackError::Read)?;
            unpack_tar(decoder, packed, directory, options)
        }
    }
}

fn unpack_tar(
    reader: impl Read,
    packed: u64,
    directory: OwnedFd,
    options: &Options,
) -> Result<Unpacked, UnpackError> {
    let bytes_max = options.limits.unpacked(packed);
    let allowance = Rc::new(Cell::new(0));
    // Headers and padding come on top of the content: at most as much again for tiny files.
    let gate = Gate {
        reader: HashReader::new(reader),
        left: bytes_max.saturating_mul(2),
        bytes_max,
        headers: Rc::clone(&allowance),
    };
    let mut archive = tar::Archive::new(gate);
    let mut tree = Tree::new(directory, options);
    let mut counted = Counted { entries: 0, bytes: 0, skipped: 0, bytes_max };
    let mut entries = archive.entries().map_err(UnpackError::Read)?;
    loop {
        // The reader of tars holds names and attributes in memory, however long they say they are (A055).
        allowance.set(HEADERS_BYTES_MAX);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(too_large)?;
        allowance.set(u64::MAX);
        counted.entries += 1;
        if counted.entries > options.limits.layer_entries_max {
            return Err(UnpackError::TooMany(options.limits.layer_entries_max));
        }
        match headers::read(&mut entry)? {
            Item::Skip => counted.skipped += 1,
            Item::Nothing => {}
            Item::Whiteout { name } => tree.whiteout(&name)?,
            Item::Opaque { directory } => tree.opaque(&directory)?,
            Item::Directory { name, attributes } => tree.directory(&name, &attributes)?,
            Item::File { name, attributes } => {
                tree.file(
                    &name,
                    &attributes,
                    &mut CountedReader { reader: &mut entry, counted: &mut counted },
                )?;
            }
            Item::Symlink { name, text, attributes } => tree.symlink(&name, &text, &attributes)?,
            Item::HardLink { name, existing } => tree.hard_link(&name, &existing)?,
            Item::Pipe { name, attributes } => tree.pipe(&name, &attributes)?,
        }
        io::copy(&mut entry, &mut io::sink()).map_err(too_large)?;
    }
    allowance.set(u64::MAX);
    let mut gate = archive.into_inner();
    // What is behind the end of the tar belongs to its digest.
    io::copy(&mut gate, &mut io::sink()).map_err(too_large)?;
    let (opaque, implied) = tree.finish()?;
    let (diff_id, _) = gate.reader.finish();
    let Counted { bytes, entries, skipped, .. } = counted;
    Ok(Unpacked { diff_id, bytes, entries, skipped, opaque, implied })
}

/// The readers in between carry our own refusals as I/O errors.
fn too_large(error: io::Error) -> UnpackError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Bound>()) {
        Some(Bound::Bytes(bytes)) => UnpackError::TooLarge(*bytes),
        Some(Bound::Headers) => {
            UnpackError::Entry { name: String::new(), why: "has too long a name or too many attributes" }
        }
        None => UnpackError::Read(error),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("beyond a limit")]
enum Bound {
    Bytes(u64),
    Headers,
}

impl From<Bound> for io::Error {
    fn from(bound: Bound) -> Self {
        io::Error::new(io::ErrorKind::FileTooLarge, bound)
    }
}

/// Ends a stream that yields more than it may, in all or between the contents of two entries.
struct Gate<R> {
    reader: HashReader<R>,
    left: u64,
    bytes_max: u64,
    headers: Rc<Cell<u64>>,
}

impl<R: Read> Read for Gate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(Bound::Bytes(self.bytes_max))?;
        let headers = self.headers.get();
        self.headers.set(headers.checked_sub(count as u64).ok_or(Bound::Headers)?);
        Ok(count)
    }
}

struct Counted {
    entries: u64,
    bytes: u64,
    skipped: u64,
    bytes_max: u64,
}

/// Counts what goes into files: holes of sparse ones never pass the gate.
struct CountedReader<'c, R> {
    reader: R,
    counted: &'c mut Counted,
}

impl<R: Read> Read for CountedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.counted.bytes += count as u64;
        if self.counted.bytes > self.counted.bytes_max {
            return Err(Bound::Bytes(self.counted.bytes_max).into());
        }
        Ok(count)
    }
}

/// A name fit for a message.
fn readable(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(200)]).escape_debug().to_string()
}

#[cfg(test)]
pub(crate) mod tests;
