//! Makes folders and links where tasks may have put links of their own.
//!
//! A sandbox belongs to its task's user. Whoever makes something below it as root must not follow a
//! symbolic link found there, so every step below the work directory is taken by descriptor.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{
        AtFlags, CWD, Gid, IFlags, Mode, OFlags, ResolveFlags, Uid, chownat, mkdirat, openat, openat2,
        symlinkat, unlinkat,
    },
    io::Errno,
};

/// Mode of a sandbox (rule 394).
const SANDBOX_MODE: Mode = Mode::from_raw_mode(0o750);
/// Mode of the folders above it.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);

/// Makes the folder of all sandboxes and asks ext4 to place each agent's part of it anew.
///
/// Otherwise inodes are looked for beside those of the work directory. Where other things are deleted a
/// lot, ext4 without a journal searches past every inode that was freed in the last minutes, which costs
/// a task several times what making its folders does. The flag means that the folders in this one are
/// unrelated, so each gets a part of the disk with few others.
pub(crate) fn make_root(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    let folder = File::open(path)?;
    // A hint: other file systems have no such flag.
    if let Ok(flags) = rustix::fs::ioctl_getflags(&folder)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = rustix::fs::ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
    Ok(())
}

/// Makes a sandbox with all folders above it, and gives it to its owner (rule 394).
pub(crate) fn make(work_dir: &Path, path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let (parent, name) = open_parent(work_dir, path)?;
    match mkdirat(&parent, name, SANDBOX_MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let sandbox = open_folder(&parent, name)?;
    let made = rustix::fs::fstat(&sandbox)?;
    // The file mode creation mask of the process may have taken bits away.
    if Mode::from_raw_mode(made.st_mode) != SANDBOX_MODE {
        rustix::fs::fchmod(&sandbox, SANDBOX_MODE)?;
    }
    if let Some((user, group)) = owner.filter(|owner| *owner != (made.st_uid, made.st_gid)) {
        rustix::fs::fchown(&sandbox, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

/// Opens what a container writes for reading: a plain file in its sandbox and nothing else.
pub(crate) fn open_output(work_dir: &Path, sandbox: &Path, name: &str) -> io::Result<File> {
    let path = sandbox.join(name);
    let (folder, name) = open_parent(work_dir, &path)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&folder, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    Ok(file)
}

/// Makes a symbolic link below the work directory, replacing what is there unless it is a folder.
pub(crate) fn link(work_dir: &Path, path: &str, target: &str) -> io::Result<()> {
    let (parent, name) = open_parent(work_dir, Path::new(path))?;
    match symlinkat(target, &parent, name) {
        Err(Errno::EXIST) => {}
        done => return Ok(done?),
    }
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(symlinkat(target, &parent, name)?)
}

/// Gives a folder that lies anywhere to its owner, without following a link at its end.
pub(crate) fn give(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    Ok(chownat(CWD, path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Opens the folder above a path, making what is missing; a symbolic link on the way is an error.
fn open_parent<'a>(work_dir: &Path, path: &'a Path) -> io::Result<(OwnedFd, &'a str)> {
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, "path is not below the work directory");
    let relative = path.strip_prefix(work_dir).map_err(|_| outside())?;
    if !relative.components().all(|component| matches!(component, std::path::Component::Normal(_))) {
        return Err(outside());
    }
    let name = relative.file_name().and_then(|name| name.to_str()).ok_or_else(outside)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, work_dir, flags, Mode::empty())?;
    match relative.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => Ok((open_below(&folder, parent)?, name)),
        None => Ok((folder, name)),
    }
}

/// Opens a folder below another, making it and those above it where they are missing.
///
/// Most of a path is there already, so it is asked for as a whole, which the kernel walks in a fraction
/// of what opening each step costs.
fn open_below(top: &OwnedFd, relative: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(top, relative, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that were not told of the call.
        Err(Errno::NOENT | Errno::NOSYS | Errno::PERM) => {}
        opened => return Ok(opened?),
    }
    let above = relative.parent().filter(|above| !above.as_os_str().is_empty());
    let opened;
    let folder = match above {
        Some(above) => {
            opened = open_below(top, above)?;
            &opened
        }
        None => top,
    };
    let name = relative.file_name().unwrap_or_default();
    match mkdirat(folder, name, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    open_folder(folder, name)
}

fn open_folder(parent: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn rule_394_a_sandbox_has_mode_0750_and_a_link_to_the_latest() {
        let work = tempfile::tempdir().expect("folder");
        let path = work.path().join("a/frameworks/f/executors/e/runs/c1");
        make(work.path(), &path, None).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o750);
        let latest = work.path().join("a/frameworks/f/executors/e/runs/latest");
        for target in ["/first", path.to_str().expect("text")] {
            link(work.path(), latest.to_str().expect("text"), target).expect("linked");
        }
        assert_eq!(std::fs::read_link(&latest).expect("link"), path);
    }

    #[test]
    fn a_sandbox_is_below_the_work_directory_and_may_be_there() {
        let work = tempfile::tempdir().expect("folder");
        let path = work.path().join("frameworks/f/executors/e/runs/1");
        for _again in 0..2 {
            make(work.path(), &path, None).expect("made");
        }
        for strange in ["f/executors/x/../y", "f/executors/e/runs/../../../../../x"] {
            assert!(
                make(work.path(), &work.path().join("frameworks").join(strange), None).is_err(),
                "{strange}"
            );
        }
        assert!(!work.path().join("x").exists());
    }

    #[test]
    fn a_link_planted_by_a_task_is_not_followed() {
        let work = tempfile::tempdir().expect("folder");
        let elsewhere = tempfile::tempdir().expect("folder");
        let sandbox = work.path().join("s");
        make(work.path(), &sandbox, None).expect("made");
        symlink(elsewhere.path(), sandbox.join("containers")).expect("planted");
        assert!(make(work.path(), &sandbox.join("containers/child"), None).is_err());
        assert!(link(work.path(), sandbox.join("containers/x").to_str().expect("text"), "/y").is_err());
        assert_eq!(std::fs::read_dir(elsewhere.path()).expect("read").count(), 0);
        assert!(make(work.path(), Path::new("/somewhere/else"), None).is_err());
        std::fs::write(elsewhere.path().join("stdout"), "secret").expect("written");
        symlink(elsewhere.path().join("stdout"), sandbox.join("stdout")).expect("planted");
        assert!(open_output(work.path(), &sandbox, "stdout").is_err());
        assert!(open_output(work.path(), &sandbox.join("containers"), "stdout").is_err());
        std::fs::write(sandbox.join("stderr"), "own").expect("written");
        assert!(open_output(work.path(), &sandbox, "stderr").is_ok());
        assert!(make(work.path(), &sandbox.join("../../x"), None).is_err());
    }
}
