//! The files that `/files/*`, LIST_FILES and READ_FILE show: virtual paths over real directories.
//!
//! A caller attaches real paths under virtual ones; requests name virtual paths only. What lies
//! below an attached path belongs to tasks and may change at any moment, so it is never checked
//! first and opened later: everything is opened beneath the attached directory in one kernel call
//! that refuses to leave it (attacks A082 to A085). Nothing is decided here about who may look.
//!
//! All calls touch the disk and block; see behaviours 21, 22 and 399.

mod listing;
mod resolve;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

pub use listing::{FileInfo, mode_text};
use rustix::fs::FileType;

/// How much of a file one request reads, in memory pages (rule 21).
const READ_PAGES_MAX: u64 = 16;

/// Attached paths. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct VirtualFiles {
    attached: Arc<RwLock<BTreeMap<String, PathBuf>>>,
}

/// Why a virtual path was not served. The texts end in a line break, as clients get them.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// 404 without a text.
    #[error("no such file")]
    NotFound,
    /// 403: it exists and leads out of what is attached, or is not readable.
    #[error("not accessible")]
    Forbidden,
    /// 400 with this text.
    #[error("{0}")]
    BadRequest(String),
    /// 500.
    #[error("read '{path}'")]
    Failed {
        /// The virtual path.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins; the size of the file when the request gave no offset (rule 21).
    pub offset: u64,
    /// The size of the whole file.
    pub size: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A whole file to be sent.
#[derive(Debug)]
pub struct Download {
    /// Regular, and open for reading from its start.
    pub file: File,
    /// Its size when it was opened; more may be appended meanwhile, and must not be sent.
    pub size: u64,
    /// Its last name, for Content-Disposition.
    pub name: String,
}

impl VirtualFiles {
    /// Shows a file or directory under a virtual path, in place of an earlier one.
    pub fn attach(&self, virtual_path: &str, real_path: impl Into<PathBuf>) {
        let mut attached = self.attached.write().unwrap_or_else(PoisonError::into_inner);
        attached.insert(normal(virtual_path).to_owned(), real_path.into());
    }

    /// Hides it again, with everything that was attached below it.
    pub fn detach(&self, virtual_path: &str) {
        let path = normal(virtual_path);
        let below = format!("{path}/");
        let mut attached = self.attached.write().unwrap_or_else(PoisonError::into_inner);
        attached.remove(path);
        let inside = attached.range(below.clone()..).map(|(name, _)| name);
        let inside: Vec<String> = inside.take_while(|name| name.starts_with(&below)).cloned().collect();
        for name in inside {
            attached.remove(&name);
        }
    }

    /// All attached paths with what they stand for, sorted.
    pub fn debug(&self) -> Vec<(String, String)> {
        let attached = self.attached.read().unwrap_or_else(PoisonError::into_inner);
        attached.iter().map(|(name, real)| (name.clone(), real.to_string_lossy().into_owned())).collect()
    }

    /// The entries of a directory, sorted by path (rule 22). A file has none.
    pub fn browse(&self, path: &str) -> Result<Vec<FileInfo>, FilesError> {
        let (root, below) = self.find(path)?;
        let directory = resolve::open(&root, below, resolve::Want::Directory)?;
        match directory {
            Some(directory) => listing::list(directory, normal(path)),
            None => Ok(Vec::new()),
        }
    }

    /// Reads part of a file (rule 21): offset -1 asks for the size only, length -1 or none for the
    /// rest; at most 16 pages come.
    pub fn read(&self, path: &str, offset: i64, length: Option<i64>) -> Result<Part, FilesError> {
        if offset < -1 {
            return Err(FilesError::BadRequest(format!("Negative offset provided: {offset}.\n")));
        }
        let length = match length {
            None | Some(-1) => u64::MAX,
            Some(length) => u64::try_from(length)
                .map_err(|_| FilesError::BadRequest(format!("Negative length provided: {length}.\n")))?,
        };
        let (file, size) = self.open_regular(path, "Cannot read a directory.\n")?;
        let Ok(offset) = u64::try_from(offset) else {
            return Ok(Part { offset: size, size, data: Vec::new() });
        };
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let length = length.min(READ_PAGES_MAX * page).min(size.saturating_sub(offset));
        let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
        let mut filled = 0;
        while filled < data.len() {
            match file.read_at(&mut data[filled..], offset + filled as u64) {
                // It was cut shorter meanwhile.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(FilesError::Failed { path: path.to_owned(), source }),
            }
        }
        data.truncate(filled);
        Ok(Part { offset, size, data })
    }

    /// Opens a whole file for sending.
    pub fn download(&self, path: &str) -> Result<Download, FilesError> {
        let (file, size) = self.open_regular(path, "Cannot download a directory.\n")?;
        let name = normal(path).rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Download { file, size, name })
    }

    fn open_regular(&self, path: &str, directory_text: &str) -> Result<(File, u64), FilesError> {
        let (root, below) = self.find(path)?;
        let Some(file) = resolve::open(&root, below, resolve::Want::Anything)? else {
            return Err(FilesError::NotFound);
        };
        let failed = |source: io::Error| FilesError::Failed { path: path.to_owned(), source };
        let status = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {
                Ok((File::from(file), u64::try_from(status.st_size).unwrap_or_default()))
            }
            FileType::Directory => Err(FilesError::BadRequest(directory_text.to_owned())),
            // A pipe or device could block for ever, or do something when it is read (A085).
            _ => Err(FilesError::BadRequest("Cannot read a special file.\n".to_owned())),
        }
    }

    /// The attached directory with the longest virtual path that leads to `path`, and the rest.
    fn find<'p>(&self, path: &'p str) -> Result<(PathBuf, &'p str), FilesError> {
        let path = normal(path);
        let odd = |component: &str| component == ".." || component == ".";
        if path.contains('\0') || path.split('/').any(odd) {
            return Err(FilesError::NotFound);
        }
        let attached = self.attached.read().unwrap_or_else(PoisonError::into_inner);
        let mut prefix = path;
        loop {
            if let Some(real) = attached.get(prefix) {
                return Ok((real.clone(), path[prefix.len()..].trim_start_matches('/')));
            }
            match prefix.rfind('/') {
                Some(slash) if !prefix.is_empty() => prefix = &prefix[..slash],
                _ => return Err(FilesError::NotFound),
            }
        }
    }
}

/// Virtual paths mean the same with and without a slash at the end.
fn normal(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests;
