//! One digest of an unpacked layer, by which somebody's later change shows (attack A072).

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

use mezzo_download::DEPTH_MAX;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::{Digest, digest::Hasher};

/// Names, kinds, owners, modes, times, link texts, attributes and contents of all below a directory.
pub(crate) fn digest(directory: OwnedFd) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    walk(directory, &mut hasher, 0)?;
    Ok(hasher.finish())
}

fn walk(directory: OwnedFd, hasher: &mut Hasher, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a layer is deeper than it was made"));
    }
    note_xattrs(&directory, hasher)?;
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let status = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        note(hasher, name.to_bytes());
        for number in [
            u64::from(status.st_mode),
            u64::from(status.st_uid),
            u64::from(status.st_gid),
            status.st_rdev,
            status.st_mtime as u64,
        ] {
            hasher.update(&number.to_le_bytes());
        }
        let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                let below = rustix::fs::openat(&directory, &name, open | OFlags::DIRECTORY, Mode::empty())?;
                hasher.update(b"(");
                walk(below, hasher, depth + 1)?;
                hasher.update(b")");
            }
            FileType::RegularFile => {
                let mut file = File::from(rustix::fs::openat(&directory, &name, open, Mode::empty())?);
                note_xattrs(&file, hasher)?;
                hasher.update(&(status.st_size as u64).to_le_bytes());
                let mut chunk = vec![0; 64 << 10];
                loop {
                    match file.read(&mut chunk)? {
                        0 => break,
                        count => hasher.update(&chunk[..count]),
                    }
                }
            }
            FileType::Symlink => {
                note(hasher, rustix::fs::readlinkat(&directory, &name, Vec::new())?.as_bytes());
            }
            _ => {}
        }
    }
    Ok(())
}

fn note(hasher: &mut Hasher, text: &[u8]) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text);
}

fn note_xattrs(fd: impl std::os::fd::AsFd, hasher: &mut Hasher) -> io::Result<()> {
    let mut list = Vec::new();
    match xattrs(&mut list, |buffer| rustix::fs::flistxattr(&fd, buffer)) {
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        done => done?,
    }
    let mut names: Vec<&[u8]> = list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for name in names {
        // Labels of the host's security module are its own business.
        if name.starts_with(b"user.")
            || name.starts_with(b"trusted.overlay.")
            || name == b"security.capability"
        {
            let mut value = Vec::new();
            xattrs(&mut value, |buffer| rustix::fs::fgetxattr(&fd, name, buffer))?;
            note(hasher, name);
            note(hasher, &value);
        }
    }
    Ok(())
}

/// Reads a list or value of any size: the first call asks for the size.
pub(crate) fn xattrs(
    into: &mut Vec<u8>,
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<()> {
    let size = read(&mut [])?;
    into.resize(size, 0);
    let filled = if size == 0 { 0 } else { read(into)? };
    into.truncate(filled);
    Ok(())
}
