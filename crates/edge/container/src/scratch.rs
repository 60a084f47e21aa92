//! What containers with a root of their own write to it: a folder each, deleted with the container.

use std::{
    fs::{self, Permissions},
    io,
    os::fd::AsFd,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Component, Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
};

use rustix::fs::IFlags;

use crate::confinement::VOLUME;

/// Holds what is being deleted. No container id begins with a dot.
const REMOVED: &str = ".removed";

/// Holds layers of places for mounts. No container id begins with a dot.
const PLACES: &str = ".places";

/// What is mounted in every root and is not in every image. A host name of its own is not: it has no file.
const FOLDERS: [&str; 4] = ["proc", "sys", "dev", "etc"];
const FILES: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];

/// How many paths of sandboxes are remembered; an agent has one.
const SANDBOXES_MAX: usize = 16;

/// Holds what is written, beside what the kernel needs for that.
const UPPER: &str = "upper";

/// All these folders, and the thread that deletes them: a container may leave a million files.
pub(crate) struct Scratch {
    folder: PathBuf,
    next: AtomicU64,
    removals: Sender<PathBuf>,
    /// Layers that are there, by where sandboxes are in them.
    places: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Scratch {
    /// Makes the folder for root alone, and goes on with what an earlier agent was deleting.
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let removed = folder.join(REMOVED);
        place_anew(folder)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&removed)?;
        // The folder may have been there already.
        rustix::fs::chmod(folder, rustix::fs::Mode::from_raw_mode(0o700))?;
        let (removals, queue) = channel::<PathBuf>();
        let mut next = 0;
        for entry in fs::read_dir(&removed)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            next = next.max(number.map_or(0, |number| number.saturating_add(1)));
            let _ = removals.send(entry.path());
        }
        std::thread::Builder::new().name("scratch".to_owned()).spawn(move || {
            for path in queue {
                if let Err(error) = delete(&path) {
                    tracing::warn!(path = %path.display(), %error, "what a container wrote could not be deleted");
                }
            }
        })?;
        Ok(Self {
            folder: folder.to_path_buf(),
            next: AtomicU64::new(next),
            removals,
            places: Mutex::default(),
        })
    }

    /// Where a container's folder is, or would be.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// A layer to put below those of images: with it nobody has to make these places for every container, which
    /// is a dozen files on the disk for each. What an image has in such a place hides it. A container without
    /// makes what it needs, so `None` is no more than slow.
    pub(crate) fn places(&self, sandbox: &Path) -> Option<PathBuf> {
        let mut made = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, layer)) = made.iter().find(|(known, _)| known == sandbox) {
            return Some(layer.clone());
        }
        // One for each path that a sandbox ever had here, since containers may still have it below them.
        let name = sandbox.to_str()?.replace('%', "%25").replace('/', "%2f");
        let layer = self.folder.join(PLACES).join(name);
        let inside = sandbox.strip_prefix("/").ok()?;
        if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        fs::create_dir_all(&layer).ok()?;
        for name in FOLDERS.iter().map(Path::new).chain([inside]) {
            fs::create_dir_all(layer.join(name)).ok()?;
            // Whatever the agent's mask is.
            for folder in name.ancestors() {
                fs::set_permissions(layer.join(folder), Permissions::from_mode(0o755)).ok()?;
            }
        }
        for name in FILES {
            fs::File::options().create(true).append(true).open(layer.join(name)).ok()?;
            fs::set_permissions(layer.join(name), Permissions::from_mode(0o644)).ok()?;
        }
        if made.len() < SANDBOXES_MAX {
            made.push((sandbox.to_path_buf(), layer.clone()));
        }
        Some(layer)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.folder(id).exists()
    }

    /// The folders below it that hold what the container has written.
    pub(crate) fn written(&self, id: &str) -> Vec<PathBuf> {
        let folder = self.folder(id);
        let mut all = vec![folder.join(UPPER)];
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(VOLUME)) {
                all.push(entry.path().join(UPPER));
            }
        }
        all
    }

    /// Puts a container's folder aside at once, and deletes it in a while.
    pub(crate) fn remove(&self, id: &str) {
        let aside = self.folder.join(REMOVED).join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        match fs::rename(self.folder(id), &aside) {
            // The thread ends with this.
            Ok(()) => drop(self.removals.send(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(container = id, %error, "what a container wrote could not be put aside")
            }
        }
    }

    /// Removes the folders of all others.
    pub(crate) fn keep_only(&self, is_kept: impl Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name != REMOVED && name != PLACES && !is_kept(&name) {
                self.remove(&name);
            }
        }
    }
}

/// Makes a folder, on ext4 far from what lies beside it: where other things are deleted a lot, it searches past
/// every inode that was freed in the last minutes for each one that it gives out.
fn place_anew(folder: &Path) -> io::Result<()> {
    let Some(parent) = folder.parent().filter(|_| !folder.exists()) else { return Ok(()) };
    fs::create_dir_all(parent)?;
    let parent = fs::File::open(parent)?;
    let make = || fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    // A hint: other file systems have no such flag.
    let Ok(flags) = rustix::fs::ioctl_getflags(&parent) else { return make() };
    let _ = rustix::fs::ioctl_setflags(&parent, flags | IFlags::TOPDIR);
    let made = make();
    let _ = rustix::fs::ioctl_setflags(&parent, flags);
    made
}

/// Deletes a folder with everything in it, without following a link.
fn delete(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let name = std::ffi::CString::new(name.as_encoded_bytes())?;
    crate::filesystem::remove(fs::File::open(parent)?.as_fd(), &name)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for_end(path: &Path) {
        for _ in 0..1000 {
            if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{} is not empty", path.display());
    }

    #[test]
    fn a027_nobody_else_enters_and_what_is_unknown_is_deleted() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().join("scratch");
        for name in ["known/upper", "unknown/upper", "other.child/upper", ".removed/7/upper"] {
            fs::create_dir_all(top.join(name)).expect("a folder");
            fs::write(top.join(name).join("f"), "").expect("a file");
        }
        let scratch = Scratch::start(&top).expect("started");
        assert_eq!(fs::metadata(&top).expect("there").permissions().mode() & 0o777, 0o700);
        scratch.keep_only(|id| id == "known");
        assert!(scratch.has("known") && !scratch.has("unknown") && !scratch.has("other.child"));
        wait_for_end(&top.join(REMOVED));
        scratch.remove("known");
        scratch.remove("known");
        assert!(!scratch.has("known"));
        wait_for_end(&top.join(REMOVED));
    }
}
