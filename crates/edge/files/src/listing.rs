//! What a directory holds.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{AtFlags, Dir, FileType};

use crate::FilesError;

/// Entries of one directory that are listed; a task may make millions, and each costs the agent and
/// the reader some 300 bytes.
const ENTRIES_MAX: usize = 50_000;

/// One entry of a directory, itself and not what it may link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// The virtual path of the directory with the name.
    pub path: String,
    /// Number of hard links.
    pub nlink: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in whole seconds since 1970.
    pub mtime_seconds: i64,
    /// As stat gives it, with the kind of file.
    pub mode: u32,
    /// Name of the owner; the number when it has none.
    pub uid: String,
    /// Name of the group; the number when it has none.
    pub gid: String,
}

/// `-rw-r--r--` and its like.
pub fn mode_text(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => '-',
    };
    let bits = (0..9).rev().map(|bit| match (mode >> bit & 1, bit % 3) {
        (0, _) => '-',
        (_, 2) => 'r',
        (_, 1) => 'w',
        _ => 'x',
    });
    std::iter::once(kind).chain(bits).collect()
}

pub(crate) fn list(directory: OwnedFd, virtual_path: &str) -> Result<Vec<FileInfo>, FilesError> {
    let failed = |errno: rustix::io::Errno| FilesError::Failed {
        path: virtual_path.to_owned(),
        source: io::Error::from(errno),
    };
    let mut names = Names::default();
    let mut found = Vec::new();
    let entries = Dir::read_from(&directory).map_err(failed)?;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // Gone meanwhile: not there.
        let Ok(status) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        found.push(FileInfo {
            path: format!("{virtual_path}/{}", name.to_string_lossy()),
            nlink: status.st_nlink,
            size: u64::try_from(status.st_size).unwrap_or_default(),
            mtime_seconds: status.st_mtime,
            mode: status.st_mode,
            uid: names.user(status.st_uid),
            gid: names.group(status.st_gid),
        });
        if found.len() == ENTRIES_MAX {
            break;
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Names that were looked up already: most files of a directory have one owner.
#[derive(Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    fn user(&mut self, uid: u32) -> String {
        let look_up = || match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => user.name,
            _ => uid.to_string(),
        };
        self.users.entry(uid).or_insert_with(look_up).clone()
    }

    fn group(&mut self, gid: u32) -> String {
        let look_up = || match Group::from_gid(Gid::from_raw(gid)) {
            Ok(Some(group)) => group.name,
            _ => gid.to_string(),
        };
        self.groups.entry(gid).or_insert_with(look_up).clone()
    }
}
