//! The places that mounts go to, which somebody hostile may have prepared.
//!
//! An image or a volume may hold links to anywhere, and a container that shares a volume may exchange files
//! for links at any moment. So a place is looked for by the kernel with the container's root as the end of
//! the world, once, and from then on it is a descriptor (attacks A008, A010, A011, A012).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

impl Kind {
    /// What a new one lets others do.
    const fn mode(self) -> Mode {
        match self {
            Self::Folder => Mode::from_raw_mode(0o755),
            Self::File => Mode::from_raw_mode(0o644),
        }
    }
}

/// How links on the way are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// As inside the container: they end at its root.
    Inside,
    /// Not at all.
    Refused,
}

/// The kernel gives up on a path that is changed while it looks; so often it is asked again.
const ATTEMPTS_MAX: usize = 64;
/// The most folders on the way that are made; no path has more.
const DEPTH_MAX: usize = 2048;

/// Which kind a file is of.
pub(super) fn kind(file: BorrowedFd<'_>) -> rustix::io::Result<Kind> {
    let mode = rustix::fs::fstat(file)?.st_mode;
    Ok(if FileType::from_raw_mode(mode) == FileType::Directory { Kind::Folder } else { Kind::File })
}

/// Opens a path below a root.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], links: Links) -> rustix::io::Result<OwnedFd> {
    let resolve = match links {
        Links::Inside => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    };
    let path = match links {
        Links::Inside => path,
        Links::Refused => path.trim_prefix_slashes(),
    };
    let path = if path.is_empty() { b"." } else { path };
    for _ in 0..ATTEMPTS_MAX {
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a path below a root, making what is missing of it: folders, and a file at its end if one is mounted.
pub(super) fn make(
    root: BorrowedFd<'_>,
    path: &[u8],
    kind: Kind,
    links: Links,
) -> rustix::io::Result<OwnedFd> {
    make_to(root, path, (kind, kind.mode()), links, DEPTH_MAX)
}

/// The mode of a folder that waits for its owner: nobody else uses it.
const UNOWNED: Mode = Mode::SVTX;
/// What of a file's mode is not its type.
const ALL_MODES: u32 = 0o7777;

/// Opens a path below a root; a folder that is missing is made for this owner, together with those on the way.
///
/// Several containers may do so at once, and each may end in between. So a folder says itself that it has no
/// owner yet, and whoever comes across it gives it one.
pub(super) fn make_owned(
    root: BorrowedFd<'_>,
    path: &[u8],
    owner: Option<(u32, u32)>,
) -> rustix::io::Result<OwnedFd> {
    let folder = make_to(root, path, (Kind::Folder, UNOWNED), Links::Refused, DEPTH_MAX)?;
    let mode = rustix::fs::fstat(&folder)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::Directory || mode & ALL_MODES != UNOWNED.as_raw_mode() {
        return Ok(folder);
    }
    if let Some((user, group)) = owner {
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        rustix::fs::chownat(&folder, c"", user, group, AtFlags::EMPTY_PATH)?;
    }
    // By its name among the descriptors: what was opened for its path alone has no other call for it.
    rustix::fs::chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), Kind::Folder.mode())?;
    Ok(folder)
}

fn make_to(
    root: BorrowedFd<'_>,
    path: &[u8],
    (kind, mode): (Kind, Mode),
    links: Links,
    depth: usize,
) -> rustix::io::Result<OwnedFd> {
    match open(root, path, links) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let path = path.trim_suffix_slashes();
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b""[..], path),
    };
    // Two dots may not exist only behind something that does not exist either.
    if name.is_empty() || name == b"." || name == b".." || depth == 0 {
        return Err(Errno::NOENT);
    }
    let parent = make_to(root, parent, (Kind::Folder, Kind::Folder.mode()), links, depth - 1)?;
    let made = match kind {
        Kind::Folder => rustix::fs::mkdirat(&parent, name, mode),
        Kind::File => rustix::fs::mknodat(&parent, name, FileType::RegularFile, mode, 0),
    };
    match made {
        // Another container of the group made it in between; or it is a link to nowhere, which is refused:
        // following it could make something where it points to.
        Ok(()) | Err(Errno::EXIST) => open(parent.as_fd(), name, Links::Refused),
        Err(errno) => Err(errno),
    }
}

/// Opens a place for a file that replaces the image's. A link of the image's is put away: it could lead to
/// what other programs use.
pub(super) fn make_file(root: BorrowedFd<'_>, folder: &[u8], name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let folder = make(root, folder, Kind::Folder, Links::Refused)?;
    match open(folder.as_fd(), name, Links::Refused) {
        Ok(file) if kind(file.as_fd())? == Kind::File => return Ok(file),
        Ok(_) => return Err(Errno::ISDIR),
        Err(Errno::NOENT) => {}
        Err(Errno::LOOP) => rustix::fs::unlinkat(&folder, name, AtFlags::empty())?,
        Err(errno) => return Err(errno),
    }
    make(folder.as_fd(), name, Kind::File, Links::Refused)
}

trait Slashes {
    fn trim_prefix_slashes(&self) -> &[u8];
    fn trim_suffix_slashes(&self) -> &[u8];
}

impl Slashes for [u8] {
    fn trim_prefix_slashes(&self) -> &[u8] {
        let start = self.iter().position(|byte| *byte != b'/').unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }

    fn trim_suffix_slashes(&self) -> &[u8] {
        let end = self.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        self.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
        sync::Barrier,
        thread,
    };

    use super::*;

    fn opened(path: &std::path::Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).expect("a folder")
    }

    fn inode(file: &OwnedFd) -> u64 {
        rustix::fs::fstat(file).expect("a file").st_ino
    }

    #[test]
    fn a012_links_never_lead_out_and_nothing_is_made_outside() {
        let (root, outside) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        fs::create_dir(root.path().join("in")).expect("a folder");
        symlink(outside.path(), root.path().join("away")).expect("a link");
        symlink("/in", root.path().join("absolute")).expect("a link");
        symlink("../../../../in", root.path().join("up")).expect("a link");
        symlink(outside.path().join("made"), root.path().join("dangling")).expect("a link");
        let top = opened(root.path());
        let in_root = fs::metadata(root.path().join("in")).expect("a folder").ino();
        for path in ["/in", "in", "absolute", "up", "/../../in", "in/../in//"] {
            let found = open(top.as_fd(), path.as_bytes(), Links::Inside).expect(path);
            assert_eq!(inode(&found), in_root, "{path}");
        }
        // The link's target is looked for below the root, and made there.
        make(top.as_fd(), b"/in/a/b", Kind::Folder, Links::Inside).expect("made");
        make(top.as_fd(), b"/in/a/c", Kind::File, Links::Inside).expect("made");
        assert!(root.path().join("in/a/b").is_dir() && root.path().join("in/a/c").is_file());
        assert_eq!(make(top.as_fd(), b"dangling", Kind::Folder, Links::Inside).unwrap_err(), Errno::LOOP);
        assert_eq!(make(top.as_fd(), b"away/x", Kind::Folder, Links::Inside).unwrap_err(), Errno::LOOP);
        for path in ["away", "absolute", "up", "../x"] {
            assert!(make(top.as_fd(), path.as_bytes(), Kind::Folder, Links::Refused).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn containers_that_make_the_same_folder_at_once_all_get_it() {
        const MAKERS: usize = 4;
        let root = tempfile::tempdir().expect("a folder");
        let top = opened(root.path());
        let start = Barrier::new(MAKERS);
        for round in 0..200 {
            let path = format!("{round}/shared");
            let one = || {
                start.wait();
                make(top.as_fd(), path.as_bytes(), Kind::Folder, Links::Refused).map(|folder| inode(&folder))
            };
            let made: Vec<_> = thread::scope(|scope| {
                let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(one)).collect();
                makers.into_iter().map(|maker| maker.join().expect("no panic")).collect()
            });
            let inode = fs::metadata(root.path().join(&path)).expect("a folder").ino();
            assert_eq!(made, [Ok(inode); MAKERS], "round {round}");
        }
    }

    #[test]
    fn a_folder_without_owner_is_completed_by_whoever_comes() {
        let root = tempfile::tempdir().expect("a folder");
        let top = opened(root.path());
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let owner = if me.0 == 0 { (65_534, 65_533) } else { me };
        // Somebody ended right behind the making of it.
        rustix::fs::mkdirat(&top, "shared", UNOWNED).expect("made");
        make_owned(top.as_fd(), b"shared", Some(owner)).expect("completed");
        make_owned(top.as_fd(), b"a/new", Some(owner)).expect("made");
        for name in ["shared", "a/new"] {
            let found = fs::metadata(root.path().join(name)).expect("a folder");
            assert_eq!(
                (found.uid(), found.gid(), found.mode() & 0o7777),
                (owner.0, owner.1, 0o755),
                "{name}"
            );
        }
        // What was there before stays as it is.
        fs::create_dir(root.path().join("theirs")).expect("a folder");
        fs::write(root.path().join("file"), "text").expect("a file");
        for name in ["theirs", "file"] {
            make_owned(top.as_fd(), name.as_bytes(), Some(owner)).expect("opened");
            assert_eq!(fs::metadata(root.path().join(name)).expect("there").uid(), me.0, "{name}");
        }
    }

    #[test]
    fn a070_a_link_in_the_place_of_a_file_is_put_away() {
        let (root, outside) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        fs::create_dir(root.path().join("etc")).expect("a folder");
        fs::write(outside.path().join("hosts"), "theirs").expect("a file");
        symlink(outside.path().join("hosts"), root.path().join("etc/hosts")).expect("a link");
        fs::create_dir(root.path().join("etc/hostname")).expect("a folder");
        let top = opened(root.path());
        make_file(top.as_fd(), b"etc", b"hosts").expect("made");
        let made = fs::symlink_metadata(root.path().join("etc/hosts")).expect("a file");
        assert!(made.is_file() && made.len() == 0);
        assert_eq!(fs::read_to_string(outside.path().join("hosts")).expect("kept"), "theirs");
        assert_eq!(make_file(top.as_fd(), b"etc", b"hostname").unwrap_err(), Errno::ISDIR);
    }
}
