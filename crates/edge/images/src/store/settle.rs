//! Layers that count on those below them.
//!
//! A layer may have `bin/tool` and no entry for `bin`. Docker and containerd unpack it onto the layers below, where
//! `bin` may be a link to `usr/bin`, into which the file then goes, or a directory with an owner and mode that
//! stay. Here layers are unpacked apart from each other and shared by images, so such a directory is made up, and
//! marked ([`crate::unpack`]). Once all layers of an image are here, those with such directories are compared with
//! what lies below. One that would hide something of it is put together a second time, out of hard links, under a
//! digest made of its own and of what was changed, so that other images with the same case share it.
//!
//! Links are followed as in the container: `/` is the root of the image, and nothing leads out of it. What a layer
//! says itself, by an entry, a whiteout or an opaque directory, is not touched.

use std::{ffi::CString, os::fd::OwnedFd};

use mezzo_download::DEPTH_MAX;
use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{Store, disk::LayerRecord, fetch, lease::Hold};
use crate::{
    Digest, Reason,
    digest::Hasher,
    error::Tried,
    integrity,
    progress::Watch,
    source::Plan,
    unpack::{is_implied, is_opaque},
};

/// Links that lead to links, as many as the kernel follows.
const LINKS_MAX: usize = 40;
/// Changes to one layer: more is no image that anybody made on purpose.
const CHANGES_MAX: usize = 10_000;
const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Which layers an image has, in the order of the plan, and the holds on those that were put together for it.
pub(super) fn layers(
    store: &Store,
    plan: &Plan,
    watch: &Watch,
) -> Result<(Vec<Digest>, Vec<Hold>), (Digest, Reason)> {
    let (mut settled, mut holds): (Vec<Digest>, Vec<Hold>) = (Vec::new(), Vec::new());
    for layer in &plan.layers {
        let own = layer.diff_id;
        let record = store.lock().layers.get(&own).cloned();
        let below = fetch::effective(&settled, &store.lock());
        let counts = record.filter(|record| record.implied && !record.opaque && !below.is_empty());
        let Some(record) = counts else {
            settled.push(own);
            continue;
        };
        let (digest, hold) = one(store, own, &record, &below, watch).map_err(|reason| (own, reason))?;
        settled.push(digest);
        holds.extend(hold);
    }
    Ok((settled, holds))
}

fn one(
    store: &Store,
    own: Digest,
    record: &LayerRecord,
    below: &[Digest],
    watch: &Watch,
) -> Result<(Digest, Option<Hold>), Reason> {
    let open = |layer: &Digest| {
        let path = store.shared.disk.layer_path(*layer);
        rustix::fs::open(path, OPEN, Mode::empty()).tried("open a layer")
    };
    let view = View { layers: below.iter().map(open).collect::<Result<_, _>>()? };
    let layer = open(&own)?;
    let mut changes = Vec::new();
    view.compare(&layer, b"", b"", 0, &mut changes).tried("compare a layer with those below it")?;
    if changes.is_empty() {
        return Ok((own, None));
    }
    if changes.len() > CHANGES_MAX {
        let why = format!("it leaves more than {CHANGES_MAX} directories to the layers below it");
        return Err(Reason::document("compare a layer with those below it", why));
    }
    let digest = digest_of(own, &changes);
    let coming = match fetch::claim(store, digest, watch)? {
        Ok(hold) => return Ok((digest, Some(hold))),
        Err(coming) => coming,
    };
    as_it_was_made(store, own, record)?;
    let (unpacking, directory) = store.shared.disk.begin_layer()?;
    copy(&layer, &directory, 0).tried("put a layer together")?;
    for change in &changes {
        watch.check()?;
        change.apply(&directory, &view).tried("put a layer onto those below it")?;
    }
    let tree = match store.shared.settings.verify {
        true => Some(integrity::digest(directory).tried("read a layer")?),
        false => None,
    };
    let record = LayerRecord { tree, implied: false, ..record.clone() };
    store.shared.disk.finish_layer(&unpacking, digest, &record)?;
    Ok((digest, Some(coming.landed(record))))
}

/// Where layers are verified, one that was changed must not become another that looks sound (attack A072). It is
/// forgotten: the next pull brings it again.
fn as_it_was_made(store: &Store, layer: Digest, record: &LayerRecord) -> Result<(), Reason> {
    if !store.shared.settings.verify || store.lock().verified.contains(&layer) {
        return Ok(());
    }
    let path = store.shared.disk.layer_path(layer);
    let directory = rustix::fs::open(path, OPEN, Mode::empty()).tried("open a layer")?;
    let found = integrity::digest(directory).tried("read a layer")?;
    if record.tree == Some(found) {
        store.lock().verified.insert(layer);
        return Ok(());
    }
    store.lock().layers.remove(&layer);
    Err(Reason::Digest { what: "the stored layer", expected: record.tree.unwrap_or(layer), found })
}

/// Something that the layers below decide about.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// A directory that the layer has made up.
    directory: Vec<u8>,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// It is a link to here.
    Move(Vec<u8>),
    /// It has this owner, group and mode.
    Dress(u32, u32, u32),
}

fn digest_of(layer: Digest, changes: &[Change]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(format!("layer {layer} on others, 1\n").as_bytes());
    for Change { directory, what } in changes {
        for part in [&directory[..], format!("{what:?}").as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finish()
}

/// What lies below a layer.
struct View {
    /// Lowest first.
    layers: Vec<OwnedFd>,
}

enum Found {
    Nothing,
    Directory(Box<Stat>),
    Link(Vec<u8>),
    Other,
}

impl View {
    /// What a clean path without links on its way stands for, as overlayfs has it.
    fn find(&self, path: &[u8]) -> rustix::io::Result<Found> {
        'layers: for layer in self.layers.iter().rev() {
            let mut parent = rustix::io::fcntl_dupfd_cloexec(layer, 0)?;
            let mut hides = false;
            let (above, last) = split(path);
            for part in parts(above) {
                match status(&parent, part)? {
                    None if hides => return Ok(Found::Nothing),
                    None => continue 'layers,
                    Some(there) if kind(&there) == FileType::Directory => {
                        parent = rustix::fs::openat(&parent, part, OPEN, Mode::empty())?;
                        hides |= is_opaque(&parent);
                    }
                    // Whatever has this name hides what is below it.
                    Some(_) => return Ok(Found::Nothing),
                }
            }
            let Some(there) = status(&parent, last)? else {
                if hides {
                    return Ok(Found::Nothing);
                }
                continue;
            };
            return Ok(match kind(&there) {
                FileType::Directory => Found::Directory(Box::new(there)),
                FileType::Symlink => {
                    Found::Link(rustix::fs::readlinkat(&parent, last, Vec::new())?.into_bytes())
                }
                // A whiteout.
                FileType::CharacterDevice => Found::Nothing,
                _ => Found::Other,
            });
        }
        Ok(Found::Nothing)
    }

    /// Where a link in a directory leads, which need not be there; nothing for circles and ways through files.
    fn resolve(&self, directory: &[u8], text: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
        let mut at: Vec<Vec<u8>> = parts(directory).map(<[u8]>::to_vec).collect();
        let mut todo: Vec<Vec<u8>> = Vec::new();
        let follow = |text: &[u8], at: &mut Vec<Vec<u8>>, todo: &mut Vec<Vec<u8>>| {
            if text.starts_with(b"/") {
                at.clear();
            }
            todo.extend(text.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        };
        follow(text, &mut at, &mut todo);
        let mut links = 1;
        while let Some(part) = todo.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    at.pop();
                    continue;
                }
                _ => {}
            }
            at.push(part);
            if at.len() > DEPTH_MAX {
                return Ok(None);
            }
            match self.find(&at.join(&b'/'))? {
                Found::Link(text) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Ok(None);
                    }
                    at.pop();
                    follow(&text, &mut at, &mut todo);
                }
                Found::Other => return Ok(None),
                Found::Directory(_) | Found::Nothing => {}
            }
        }
        Ok(Some(at.join(&b'/')))
    }

    /// Collects what has to change in a directory of a layer, deepest first. `own` is its name there and `below`
    /// what it is in the layers below.
    fn compare(
        &self,
        directory: &OwnedFd,
        own: &[u8],
        below: &[u8],
        depth: usize,
        changes: &mut Vec<Change>,
    ) -> rustix::io::Result<()> {
        for name in names(directory)? {
            let name = name.as_bytes();
            let is_directory = |there: Stat| kind(&there) == FileType::Directory;
            if changes.len() > CHANGES_MAX || !status(directory, name)?.is_some_and(is_directory) {
                continue;
            }
            let child = rustix::fs::openat(directory, name, OPEN, Mode::empty())?;
            if is_opaque(&child) || depth >= DEPTH_MAX {
                continue;
            }
            let is_implied = is_implied(&child);
            let (own, under) = (join(own, name), join(below, name));
            match self.find(&under)? {
                Found::Directory(there) => {
                    self.compare(&child, &own, &under, depth + 1, changes)?;
                    let wanted = (there.st_uid, there.st_gid, there.st_mode & 0o7777);
                    let has = rustix::fs::fstat(&child)?;
                    if is_implied && wanted != (has.st_uid, has.st_gid, has.st_mode & 0o7777) {
                        let what = What::Dress(wanted.0, wanted.1, wanted.2);
                        changes.push(Change { directory: own, what });
                    }
                }
                Found::Link(text) if is_implied => {
                    let Some(target) = self.resolve(below, &text)? else { continue };
                    self.compare(&child, &own, &target, depth + 1, changes)?;
                    changes.push(Change { directory: own, what: What::Move(target) });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Change {
    fn apply(&self, root: &OwnedFd, view: &View) -> rustix::io::Result<()> {
        let directory = walk(root, &self.directory)?;
        match &self.what {
            What::Dress(uid, gid, mode) => dress(&directory, *uid, *gid, *mode),
            What::Move(target) => {
                let mut place = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
                let mut path = Vec::new();
                for part in parts(target) {
                    path = join(&path, part);
                    let made = rustix::fs::mkdirat(&place, part, Mode::from_raw_mode(0o755));
                    place = match made {
                        // The layer has something else there, which decides.
                        Err(Errno::EXIST) => match rustix::fs::openat(&place, part, OPEN, Mode::empty()) {
                            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                            opened => opened?,
                        },
                        made => {
                            made?;
                            let fresh = rustix::fs::openat(&place, part, OPEN, Mode::empty())?;
                            if let Found::Directory(there) = view.find(&path)? {
                                dress(&fresh, there.st_uid, there.st_gid, there.st_mode & 0o7777)?;
                            }
                            fresh
                        }
                    };
                }
                merge(&directory, &place, 0)?;
                let (above, last) = split(&self.directory);
                match rustix::fs::unlinkat(walk(root, above)?, last, AtFlags::REMOVEDIR) {
                    // What could not be moved hides the link, as it did.
                    Err(Errno::NOTEMPTY) => Ok(()),
                    removed => removed,
                }
            }
        }
    }
}

/// Moves all of a directory into another; what both have stays as it is in the other, but for directories.
fn merge(from: &OwnedFd, to: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
    for name in names(from)? {
        let name = name.as_bytes();
        match status(to, name)? {
            None => rustix::fs::renameat(from, name, to, name)?,
            Some(there) if kind(&there) == FileType::Directory && depth < DEPTH_MAX => {
                let Ok(below) = rustix::fs::openat(from, name, OPEN, Mode::empty()) else { continue };
                merge(&below, &rustix::fs::openat(to, name, OPEN, Mode::empty())?, depth + 1)?;
                match rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOTEMPTY) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Some(_) => rustix::fs::unlinkat(from, name, AtFlags::empty()).or_else(|errno| match errno {
                Errno::ISDIR | Errno::PERM => Ok(()),
                errno => Err(errno),
            })?,
        }
    }
    Ok(())
}

/// The same tree once more; files are shared, which nobody writes to.
fn copy(from: &OwnedFd, to: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    for name in names(from)? {
        let name = name.as_bytes();
        let Some(there) = status(from, name)? else { continue };
        if kind(&there) != FileType::Directory {
            rustix::fs::linkat(from, name, to, name, AtFlags::empty())?;
            continue;
        }
        rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
        let (below, made) = (
            rustix::fs::openat(from, name, OPEN, Mode::empty())?,
            rustix::fs::openat(to, name, OPEN, Mode::empty())?,
        );
        copy(&below, &made, depth + 1)?;
    }
    let there = rustix::fs::fstat(from)?;
    dress(to, there.st_uid, there.st_gid, there.st_mode & 0o7777)?;
    let mut list = Vec::new();
    match integrity::xattrs(&mut list, |buffer| rustix::fs::flistxattr(from, buffer)) {
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    // Those that unpacking sets on directories.
    let ours = |name: &&[u8]| name.starts_with(b"user.") || name.starts_with(b"trusted.");
    for name in list.split(|byte| *byte == 0).filter(ours) {
        let mut value = Vec::new();
        integrity::xattrs(&mut value, |buffer| rustix::fs::fgetxattr(from, name, buffer))?;
        rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    let modified = Timespec { tv_sec: there.st_mtime, tv_nsec: there.st_mtime_nsec as _ };
    rustix::fs::futimens(to, &Timestamps { last_access: modified, last_modification: modified })
}

fn dress(directory: &OwnedFd, uid: u32, gid: u32, mode: u32) -> rustix::io::Result<()> {
    let has = rustix::fs::fstat(directory)?;
    if (has.st_uid, has.st_gid) != (uid, gid) {
        rustix::fs::fchown(directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    rustix::fs::fchmod(directory, Mode::from_raw_mode(mode))
}

/// Opens a directory below another, through no link.
fn walk(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut at = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
    for part in parts(path) {
        at = rustix::fs::openat(&at, part, OPEN, Mode::empty())?;
    }
    Ok(at)
}

fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    // Whatever order the file system has them in, the same layer becomes the same.
    names.sort();
    Ok(names)
}

fn status(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn kind(status: &Stat) -> FileType {
    FileType::from_raw_mode(status.st_mode)
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

/// The directory of a path, and its last part.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests;
