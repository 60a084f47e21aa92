//! Copies the layers of an image into a folder, where the kernel cannot show them as one.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

/// Folders within folders; a path of 4,096 bytes cannot name more.
const DEPTH_MAX: usize = 2048;
/// The longest list of attributes, and the longest value, that the kernel gives out.
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
const CHUNK_BYTES: usize = 1 << 20;

/// Names of files that have several, by their inode.
type Links = BTreeMap<u64, (OwnedFd, CString)>;

/// Files with several names whose folders are kept open; more are copied once per name.
const LINKS_MAX: usize = 4096;

/// Puts a layer over what is in a folder.
pub(super) fn layer(layer: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    folder(layer, to, &mut Links::new(), DEPTH_MAX)
}

fn folder(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    links: &mut Links,
    depth: usize,
) -> rustix::io::Result<()> {
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    let from = open_folder(from, c".")?;
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            remove(to, name)?;
        } else if kind == FileType::Directory {
            let source = open_folder(from.as_fd(), name)?;
            let target = make_folder(to, name, is_opaque(&source))?;
            folder(source.as_fd(), target.as_fd(), links, depth - 1)?;
            attributes(source.as_fd(), target.as_fd())?;
            describe(target.as_fd(), &stat)?;
        } else {
            remove(to, name)?;
            file(from.as_fd(), to, name, &stat, kind, links)?;
        }
    }
    Ok(())
}

fn make_folder(to: BorrowedFd<'_>, name: &CStr, replace: bool) -> rustix::io::Result<OwnedFd> {
    if replace {
        remove(to, name)?;
    }
    match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let there = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(there.st_mode) != FileType::Directory {
                remove(to, name)?;
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            }
        }
        Err(errno) => return Err(errno),
    }
    open_folder(to, name)
}

fn file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    kind: FileType,
    links: &mut Links,
) -> rustix::io::Result<()> {
    if stat.st_nlink > 1 && kind != FileType::Symlink {
        if let Some((folder, first)) = links.get(&stat.st_ino) {
            return rustix::fs::linkat(folder, first.as_c_str(), to, name, AtFlags::empty());
        }
        if links.len() < LINKS_MAX {
            links.insert(stat.st_ino, (rustix::io::fcntl_dupfd_cloexec(to, 3)?, name.to_owned()));
        }
    }
    let none = AtFlags::SYMLINK_NOFOLLOW;
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            content(source.as_fd(), target.as_fd())?;
            describe(target.as_fd(), stat)?;
            // A change of owner takes capabilities away, so these come last.
            attributes(source.as_fd(), target.as_fd())
        }
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(text.as_c_str(), to, name)?;
            rustix::fs::chownat(to, name, Some(user), Some(group), none)
        }
        _ => {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            rustix::fs::chownat(to, name, Some(user), Some(group), none)
        }
    }
}

fn content(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    loop {
        match rustix::fs::copy_file_range(from, None, to, None, CHUNK_BYTES) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Between different file systems, which some kernels do not do; nothing was copied yet.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => break,
            Err(errno) => return Err(errno),
        }
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = match rustix::io::read(from, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match rustix::io::write(to, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Owner, mode and times.
fn describe(target: BorrowedFd<'_>, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::fchown(target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds: i64, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps {
        last_access: time(stat.st_atime, i64::try_from(stat.st_atime_nsec).unwrap_or_default()),
        last_modification: time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
    };
    rustix::fs::futimens(target, &times)
}

/// Extended attributes that mean something to a container. The overlay's own are for the overlay.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut list = vec![0; ATTRIBUTES_BYTES_MAX];
    let length = match rustix::fs::flistxattr(from, &mut list) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    let names = list.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0);
    for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let bytes = name.to_bytes();
        let wanted = bytes == b"security.capability"
            || bytes.starts_with(b"user.")
            || bytes.starts_with(b"system.posix_acl_");
        if !wanted {
            continue;
        }
        let mut value = vec![0; ATTRIBUTES_BYTES_MAX];
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::fsetxattr(to, name, value, XattrFlags::empty()) {
            // A file system that keeps none.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether a folder hides what lower layers have in its place.
fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::fgetxattr(folder, c"trusted.overlay.opaque", &mut value), Ok(1) if value == *b"y")
}

/// Removes whatever has a name, if anything has.
pub(crate) fn remove(folder: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    remove_to(folder, name, DEPTH_MAX)
}

fn remove_to(folder: BorrowedFd<'_>, name: &CStr, depth: usize) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    let inner = open_folder(folder, name)?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            remove_to(inner.as_fd(), entry.file_name(), depth - 1)?;
        }
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

fn open_folder(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
        path::Path,
    };

    use super::*;

    fn copy(layers: &[&Path], to: &Path) {
        let to = fs::File::open(to).expect("a folder");
        for path in layers {
            layer(fs::File::open(path).expect("a layer").as_fd(), to.as_fd()).expect("copied");
        }
    }

    #[test]
    fn layers_cover_each_other_and_keep_links_and_modes() {
        let top = tempfile::tempdir().expect("a folder");
        let [low, high, to] = ["low", "high", "to"].map(|name| {
            fs::create_dir(top.path().join(name)).expect("a folder");
            top.path().join(name)
        });
        fs::write(low.join("kept"), "low").expect("a file");
        fs::write(low.join("changed"), "low").expect("a file");
        fs::set_permissions(low.join("kept"), fs::Permissions::from_mode(0o4711)).expect("a mode");
        fs::hard_link(low.join("kept"), low.join("twin")).expect("a link");
        fs::create_dir(low.join("d")).expect("a folder");
        fs::write(low.join("d/below"), "low").expect("a file");
        symlink("/etc/passwd", low.join("link")).expect("a link");
        fs::create_dir(low.join("becomes-file")).expect("a folder");
        fs::write(low.join("becomes-file/x"), "").expect("a file");
        fs::write(high.join("changed"), "high").expect("a file");
        fs::write(high.join("becomes-file"), "high").expect("a file");
        fs::create_dir(high.join("d")).expect("a folder");
        fs::write(high.join("d/above"), "high").expect("a file");
        // A folder in the place of a link does not go through it.
        fs::create_dir(high.join("link")).expect("a folder");
        copy(&[&low, &high], &to);
        let text = |name: &str| fs::read_to_string(to.join(name)).unwrap_or_default();
        assert_eq!(
            (text("kept"), text("changed"), text("becomes-file")),
            ("low".into(), "high".into(), "high".into())
        );
        assert_eq!((text("d/below"), text("d/above")), ("low".into(), "high".into()));
        let kept = fs::metadata(to.join("kept")).expect("a file");
        assert_eq!(kept.permissions().mode() & 0o7777, 0o4711);
        assert_eq!(kept.ino(), fs::metadata(to.join("twin")).expect("a file").ino());
        assert!(fs::symlink_metadata(to.join("link")).expect("a folder").is_dir());
    }

    #[test]
    fn what_an_upper_layer_deletes_is_gone() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let top = tempfile::tempdir().expect("a folder");
        let [low, high, to] = ["low", "high", "to"].map(|name| {
            fs::create_dir(top.path().join(name)).expect("a folder");
            top.path().join(name)
        });
        for name in ["gone/deep", "hidden", "stays"] {
            fs::create_dir_all(low.join(name)).expect("a folder");
            fs::write(low.join(name).join("f"), "").expect("a file");
        }
        fs::create_dir(high.join("hidden")).expect("a folder");
        let folder = fs::File::open(&high).expect("a folder");
        rustix::fs::mknodat(&folder, "gone", FileType::CharacterDevice, Mode::empty(), 0)
            .expect("a whiteout");
        let hidden = fs::File::open(high.join("hidden")).expect("a folder");
        rustix::fs::fsetxattr(&hidden, "trusted.overlay.opaque", b"y", XattrFlags::empty()).expect("opaque");
        copy(&[&low, &high], &to);
        assert!(!to.join("gone").exists());
        assert_eq!(fs::read_dir(to.join("hidden")).expect("a folder").count(), 0);
        assert!(to.join("stays/f").exists());
    }
}
