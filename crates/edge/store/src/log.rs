//! A log of records in one file, replayed as a whole.
//!
//! The file is a header of 16 bytes and batches. A batch is what one [`AppendLog::append`] wrote: the
//! length of its content (4 bytes, little endian), the CRC-32 of that length, the CRC-32 of the
//! content, and the content: records, each after its length. Only the last batch can be torn by a
//! crash, because the next is written after it is durable; a batch that is cut short or does not match
//! its sum at the end of the file was never confirmed and is cut off. The same before an intact batch
//! is damage, and opening fails, because what was confirmed would be lost silently.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

const MAGIC: &[u8; 12] = b"mezzo log\r\n\0";
const VERSION: u32 = 1;
const HEADER_SIZE: u64 = 16;
const HEAD_SIZE: usize = 12;

/// Bytes of one record. Larger than any message a daemon takes.
pub const RECORD_SIZE_MAX: usize = 64 << 20;

/// Content bytes of one batch; more records are written as several. Small enough that a damaged length
/// is told from a real one.
const BATCH_SIZE_MAX: usize = RECORD_SIZE_MAX + 8;

/// Records may hold secrets of tasks, which are nobody else's business.
const MODE: u32 = 0o600;

/// An append-only log. One process has it open at a time.
#[derive(Debug)]
pub struct AppendLog {
    path: PathBuf,
    file: File,
    length: u64,
    /// A write or sync failed: what is on disk is unknown until the log is opened again.
    broken: bool,
}

/// What a log held when it was opened.
#[derive(Debug, Default)]
pub struct Replay {
    /// All records, oldest first.
    pub records: Vec<Vec<u8>>,
    /// Bytes of an unconfirmed write that were cut off the end.
    pub cut_off: u64,
}

/// Why a log could not be opened or written.
#[derive(Debug, Error)]
pub enum LogError {
    /// A system call failed.
    #[error("{attempt} {}", path.display())]
    Io {
        /// A verb phrase.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not a log, or written by a later version.
    #[error("{} is not a log of a version this program reads", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Confirmed records are unreadable.
    #[error("{} is damaged at byte {at}, before records that are intact", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        at: u64,
    },
    /// A record over [`RECORD_SIZE_MAX`].
    #[error("record of {size} bytes is larger than the {RECORD_SIZE_MAX} a log takes")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// An earlier write failed.
    #[error("{} must be opened again after a failed write", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

impl AppendLog {
    /// Opens the log, or creates it, and reads all it holds.
    pub fn open(path: &Path) -> Result<(Self, Replay), LogError> {
        let failed = |attempt| move |source| LogError::Io { attempt, path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(path)
            .map_err(failed("open log"))?;
        lock(&file, path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read log"))?;
        // A crash during creation leaves less than a header; nothing can have been confirmed.
        if bytes.len() < HEADER_SIZE as usize {
            if !header().starts_with(&bytes) {
                return Err(LogError::Unknown { path: path.to_owned() });
            }
            start_file(&mut file).map_err(failed("start log"))?;
            sync_folder(path).map_err(failed("start log"))?;
            let log = Self { path: path.to_owned(), file, length: HEADER_SIZE, broken: false };
            return Ok((log, Replay::default()));
        }
        if bytes[..HEADER_SIZE as usize] != header() {
            return Err(LogError::Unknown { path: path.to_owned() });
        }
        let (records, good) = parse(&bytes).map_err(|at| LogError::Damaged { path: path.to_owned(), at })?;
        let cut_off = bytes.len() as u64 - good;
        if cut_off > 0 {
            file.set_len(good).and_then(|()| file.sync_data()).map_err(failed("cut log"))?;
        }
        file.seek(SeekFrom::Start(good)).map_err(failed("read log"))?;
        let log = Self { path: path.to_owned(), file, length: good, broken: false };
        Ok((log, Replay { records, cut_off }))
    }

    /// Appends all records with one write (several only when they are huge) and makes them durable before it returns.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<(), LogError> {
        if self.broken {
            return Err(LogError::Broken { path: self.path.clone() });
        }
        let mut batches = Batches::default();
        let mut full = Vec::new();
        for record in records {
            full.extend(batches.push(record.as_ref())?);
        }
        full.extend(batches.take());
        for batch in full {
            // After a failed sync the kernel may have dropped the pages, so a later success would
            // promise what is not there.
            self.broken = true;
            let written = self.file.write_all(&batch).and_then(|()| self.file.sync_data());
            written.map_err(|source| LogError::Io {
                attempt: "append to log",
                path: self.path.clone(),
                source,
            })?;
            self.broken = false;
            self.length += batch.len() as u64;
        }
        Ok(())
    }

    /// Bytes of the file; the caller compacts when this is much more than what it would write anew.
    pub fn size(&self) -> u64 {
        self.length
    }

    /// Replaces everything by these records. A crash leaves either the old log or the new one.
    pub fn compact<R: AsRef<[u8]>>(&mut self, records: impl IntoIterator<Item = R>) -> Result<(), LogError> {
        let fresh_path = self.path.with_extension("compacting");
        let path = self.path.clone();
        let failed = |source| LogError::Io { attempt: "compact log", path: path.clone(), source };
        let mut fresh = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&fresh_path)
            .map_err(failed)?;
        lock(&fresh, &fresh_path)?;
        let mut length = HEADER_SIZE;
        let mut batches = Batches { size_max: 1 << 20, ..Batches::default() };
        fresh.write_all(&header()).map_err(failed)?;
        for record in records {
            if let Some(batch) = batches.push(record.as_ref())? {
                length += batch.len() as u64;
                fresh.write_all(&batch).map_err(failed)?;
            }
        }
        if let Some(batch) = batches.take() {
            length += batch.len() as u64;
            fresh.write_all(&batch).map_err(failed)?;
        }
        fresh.sync_all().map_err(failed)?;
        fs::rename(&fresh_path, &self.path).and_then(|()| sync_folder(&self.path)).map_err(failed)?;
        *self = Self { path: self.path.clone(), file: fresh, length, broken: false };
        Ok(())
    }
}

fn header() -> [u8; HEADER_SIZE as usize] {
    let mut header = [0; HEADER_SIZE as usize];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

fn start_file(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn lock(file: &File, path: &Path) -> Result<(), LogError> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LogError::InUse { path: path.to_owned() }),
        Err(errno) => Err(LogError::Io { attempt: "lock log", path: path.to_owned(), source: errno.into() }),
    }
}

/// Packs records into batches.
struct Batches {
    /// Head, left open, and content.
    bytes: Vec<u8>,
    size_max: usize,
}

impl Default for Batches {
    fn default() -> Self {
        Self { bytes: vec![0; HEAD_SIZE], size_max: BATCH_SIZE_MAX }
    }
}

impl Batches {
    /// Adds a record; returns the batch before it when there is no room for both.
    fn push(&mut self, record: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        let size = record.len();
        let length = u32::try_from(size)
            .ok()
            .filter(|_| size <= RECORD_SIZE_MAX)
            .ok_or(LogError::TooLarge { size })?;
        let full = self.bytes.len() + 4 + size > self.size_max + HEAD_SIZE;
        let batch = if full { self.take() } else { None };
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(record);
        Ok(batch)
    }

    /// The batch so far.
    fn take(&mut self) -> Option<Vec<u8>> {
        if self.bytes.len() == HEAD_SIZE {
            return None;
        }
        let mut batch = std::mem::replace(&mut self.bytes, vec![0; HEAD_SIZE]);
        let length = u32::try_from(batch.len() - HEAD_SIZE).unwrap_or(u32::MAX).to_le_bytes();
        let content_sum = crc32fast::hash(&batch[HEAD_SIZE..]).to_le_bytes();
        batch[..4].copy_from_slice(&length);
        batch[4..8].copy_from_slice(&crc32fast::hash(&length).to_le_bytes());
        batch[8..HEAD_SIZE].copy_from_slice(&content_sum);
        Some(batch)
    }
}

/// The content of the intact batch at `at`, and where the next begins.
fn batch(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let head = bytes.get(at..at + HEAD_SIZE)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let size = number(0) as usize;
    if size > BATCH_SIZE_MAX || crc32fast::hash(&head[..4]) != number(4) {
        return None;
    }
    let start = at + HEAD_SIZE;
    let content = bytes.get(start..start.checked_add(size)?)?;
    (crc32fast::hash(content) == number(8)).then_some((content, start + size))
}

/// The records of a batch; `None` when they do not fill it.
fn records(mut content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while !content.is_empty() {
        let (length, rest) = content.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(record.to_owned());
        content = rest;
    }
    Some(records)
}

/// All records and the length of the good part, or where damage before an intact batch begins.
fn parse(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, u64), u64> {
    let mut all = Vec::new();
    let mut at = HEADER_SIZE as usize;
    while at < bytes.len() {
        let Some((content, next)) = batch(bytes, at) else {
            let damaged = (at + 1..bytes.len()).any(|start| batch(bytes, start).is_some());
            return if damaged { Err(at as u64) } else { Ok((all, at as u64)) };
        };
        all.extend(records(content).ok_or(at as u64)?);
        at = next;
    }
    Ok((all, at as u64))
}

#[cfg(test)]
mod tests;
