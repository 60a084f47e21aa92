//! Deletes folders on a thread of its own, because a sandbox may hold millions of files.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
};

use mezzo_agent::Input;
use tracing::warn;

use crate::core::Core;

/// What is to be deleted.
#[derive(Debug)]
pub(crate) enum Job {
    /// A sandbox whose time has come; the core hears of it.
    Sandbox(Arc<str>),
    /// The sandbox of a removed container.
    Remove(Arc<str>),
}

/// Works until nobody can send any more.
pub(crate) fn run(jobs: &Receiver<Job>, work_dir: &Path, core: &Core) {
    while let Ok(job) = jobs.recv() {
        let (Job::Sandbox(path) | Job::Remove(path)) = &job;
        if let Err(error) = delete(work_dir, Path::new(&**path)) {
            warn!(%path, %error, "delete sandbox");
        }
        if let Job::Sandbox(path) = job {
            core.send(Input::SandboxDeleted(path));
        }
    }
}

/// Deletes a folder below the work directory unless a link leads out of it.
fn delete(work_dir: &Path, path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(path);
    let real = match std::fs::canonicalize(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        real => real?,
    };
    let expected: PathBuf = std::fs::canonicalize(work_dir)?
        .join(parent.strip_prefix(work_dir).map_err(|_| io::Error::other("not below the work directory"))?);
    if real != expected {
        return Err(io::Error::other(format!("{} leads elsewhere", parent.display())));
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_below_the_work_directory_are_deleted() {
        let work = tempfile::tempdir().expect("folder");
        let elsewhere = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(work.path().join("s/containers/c")).expect("made");
        delete(work.path(), &work.path().join("s/containers/c")).expect("deleted");
        assert!(!work.path().join("s/containers/c").exists());
        delete(work.path(), &work.path().join("gone/long/ago")).expect("nothing to do");
        std::fs::create_dir(elsewhere.path().join("c")).expect("made");
        std::fs::remove_dir(work.path().join("s/containers")).expect("removed");
        std::os::unix::fs::symlink(elsewhere.path(), work.path().join("s/containers")).expect("planted");
        assert!(delete(work.path(), &work.path().join("s/containers/c")).is_err());
        assert!(delete(work.path(), elsewhere.path()).is_err());
        assert!(elsewhere.path().join("c").exists());
    }
}
