//! disk/du: how much of the disk a container uses, found out by looking (rule 365).

use std::{
    collections::BTreeSet,
    ffi::CStr,
    fmt::Write as _,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use mezzo_mesos::v1::{DiskStatistics, Resource};
use prost::Message as _;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::MIB;

pub(super) const NAME: &str = "disk/du";

/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 512;
/// Files with several names that are remembered so as to count them once.
const LINKS_MAX: usize = 100_000;
/// The kernel counts in blocks of this size, whatever the file system has.
const BLOCK_BYTES: u64 = 512;

/// How much a folder may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// The folder.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// The persistent volume that lies there; `None` for the sandbox, with all that the container writes
    /// elsewhere and that ends with it.
    pub volume: Option<Box<Resource>>,
    /// Whether a container that uses more may be ended for it: a disk of its own has an end of its own.
    pub enforced: bool,
}

impl Quota {
    /// One line per quota.
    pub(crate) fn write_all(quotas: &[Self]) -> String {
        quotas.iter().map(Self::write).collect()
    }

    fn write(&self) -> String {
        let volume = self.volume.as_ref().map(|volume| hex(&volume.encode_to_vec())).unwrap_or_default();
        let enforced = u8::from(self.enforced);
        format!("{} {enforced} {volume} {}\n", self.bytes, self.path.display())
    }

    pub(crate) fn read_all(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::read).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, ' ');
        let (bytes, enforced) = (parts.next()?.parse().ok()?, parts.next()? == "1");
        let volume = match parts.next()? {
            "" => None,
            text => Some(Box::new(Resource::decode(&*unhex(text)?).ok()?)),
        };
        Some(Self { path: parts.next()?.into(), bytes, volume, enforced })
    }

    /// What is told of it beside other quotas of the container.
    pub(crate) fn statistics(&self, used: Option<u64>) -> DiskStatistics {
        let disk = self.volume.as_ref().and_then(|volume| volume.disk.as_ref());
        DiskStatistics {
            source: disk.and_then(|disk| disk.source.clone()),
            persistence: disk.and_then(|disk| disk.persistence.clone()),
            limit_bytes: Some(self.bytes),
            used_bytes: used,
        }
    }

    /// What is told about a container that uses more.
    pub(crate) fn message(&self, used: u64) -> String {
        format!("Disk usage ({}) exceeds quota ({})", size(used), size(self.bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// In the largest unit that needs no fraction, as Mesos writes sizes.
fn size(bytes: u64) -> String {
    for (unit, name) in [(MIB << 10, "GB"), (MIB, "MB"), (1 << 10, "KB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// Bytes on disk of a folder and what is in it, on the same file system. Links are not followed: what they
/// lead to belongs to somebody else, or is counted where it is.
pub(crate) fn used(path: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open(path, flags, Mode::empty()) else { return 0 };
    let Ok(stat) = rustix::fs::fstat(&folder) else { return 0 };
    let mut walk = Walk { device: stat.st_dev, links: BTreeSet::new() };
    blocks(stat.st_blocks).saturating_add(walk.folder(folder.as_fd(), DEPTH_MAX))
}

struct Walk {
    device: u64,
    links: BTreeSet<u64>,
}

impl Walk {
    /// What is in a folder. What vanishes meanwhile is not there.
    fn folder(&mut self, folder: BorrowedFd<'_>, depth: usize) -> u64 {
        let Ok(entries) = Dir::read_from(folder) else { return 0 };
        let mut total = 0u64;
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if stat.st_dev != self.device || (stat.st_nlink > 1 && self.is_counted(&stat)) {
                continue;
            }
            total = total.saturating_add(blocks(stat.st_blocks));
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                && depth > 0
                && let Some(inner) = open(folder, name)
            {
                total = total.saturating_add(self.folder(inner.as_fd(), depth - 1));
            }
        }
        total
    }

    fn is_counted(&mut self, stat: &rustix::fs::Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) != FileType::Directory
            && self.links.len() < LINKS_MAX
            && !self.links.insert(stat.st_ino)
    }
}

fn blocks(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default().saturating_mul(BLOCK_BYTES)
}

fn open(folder: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn rule_365_what_is_in_a_folder_is_counted_once_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("another");
        fs::write(outside.path().join("large"), vec![1; 4 << 20]).expect("a file");
        let empty = used(folder.path());
        fs::create_dir_all(folder.path().join("a/b")).expect("a folder");
        fs::write(folder.path().join("a/b/file"), vec![1; 1 << 20]).expect("a file");
        fs::hard_link(folder.path().join("a/b/file"), folder.path().join("again")).expect("a link");
        symlink(outside.path(), folder.path().join("link")).expect("a link");
        let used = used(folder.path()) - empty;
        assert!((1 << 20..2 << 20).contains(&used), "{used}");
        assert_eq!(super::used(Path::new("/no/where")), 0);
    }

    #[test]
    fn quotas_survive_the_agent_and_are_told_as_mesos_does() {
        let volume = Resource { name: "disk".to_owned(), ..Resource::default() };
        let sandbox = |path: &str, bytes| Quota { path: path.into(), bytes, volume: None, enforced: true };
        let quotas = vec![
            sandbox("/a b/c", 64 << 20),
            Quota { volume: Some(Box::new(volume)), enforced: false, ..sandbox("/d", 1) },
        ];
        assert_eq!(Quota::read_all(&Quota::write_all(&quotas)), quotas);
        assert_eq!(quotas[0].message(65 << 20), "Disk usage (65MB) exceeds quota (64MB)");
        assert_eq!(
            (size(1), size(1024), size(1025), size(2 << 30)),
            ("1B".into(), "1KB".into(), "1025B".into(), "2GB".into())
        );
    }
}
