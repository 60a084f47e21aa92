//! What containers with a root of their own write to it: a folder each, deleted with the container.

use std::{
    fs, io,
    os::fd::AsFd,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
};

/// Holds what is being deleted. No container id begins with a dot.
const REMOVED: &str = ".removed";

/// All these folders, and the thread that deletes them: a container may leave a million files.
pub(crate) struct Scratch {
    folder: PathBuf,
    next: AtomicU64,
    removals: Sender<PathBuf>,
}

impl Scratch {
    /// Makes the folder for root alone, and goes on with what an earlier agent was deleting.
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let removed = folder.join(REMOVED);
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
        Ok(Self { folder: folder.to_path_buf(), next: AtomicU64::new(next), removals })
    }

    /// Where a container's folder is, or would be.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.folder(id).exists()
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
            if name != REMOVED && !is_kept(&name) {
                self.remove(&name);
            }
        }
    }
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
