//! Deletes folders on a thread of its own, because a sandbox may hold millions of files.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
    time::SystemTime,
};

use mezzo_agent::Input;
use mezzo_container::Containers;
use mezzo_time::Timestamp;
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
pub(crate) fn run(jobs: &Receiver<Job>, work_dir: &Path, core: &Core, containers: &Containers) {
    while let Ok(job) = jobs.recv() {
        let (Job::Sandbox(path) | Job::Remove(path)) = &job;
        let path_of = Path::new(&**path);
        if let Err(error) = containers.delete_folder(path_of, || delete(work_dir, path_of)) {
            warn!(%path, %error, "delete sandbox");
        }
        if let Job::Sandbox(path) = job {
            core.send(Input::SandboxDeleted(path));
        }
    }
}

/// Sandboxes told to the core at a start. What is beyond waits for the next start.
const SANDBOXES_MAX: usize = 200_000;

/// The sandboxes of containers without a parent, of all the agent's lives.
pub(crate) fn sandboxes(top: &Path) -> impl Iterator<Item = PathBuf> {
    let frameworks = folders(top).flat_map(|agent| folders(&agent.join("frameworks")));
    let executors = frameworks.flat_map(|framework| folders(&framework.join("executors")));
    executors.flat_map(|executor| folders(&executor.join("runs")))
}

/// What earlier lives of the agent left on the disk.
pub(crate) struct Survey {
    /// Folders of earlier ids.
    found: Vec<(Arc<str>, Timestamp)>,
    /// The folder of the agent's own id.
    own: Option<PathBuf>,
}

impl Survey {
    /// Tells the folder of this agent, if it has an id, from those of earlier ones.
    pub(crate) fn begin(sandboxes: &Path, id: Option<&str>) -> Self {
        let own = id.map(|id| sandboxes.join(id));
        let mut found = Vec::new();
        for folder in folders(sandboxes).filter(|folder| Some(folder) != own.as_ref()) {
            add(&mut found, &folder);
        }
        Self { found, own }
    }

    /// Adds the runs of the agent's own id, which takes long where there are many.
    pub(crate) fn finish(mut self) -> Vec<(Arc<str>, Timestamp)> {
        let own = self.own.take();
        let frameworks = own.iter().flat_map(|own| folders(&own.join("frameworks")));
        let executors = frameworks.flat_map(|framework| folders(&framework.join("executors")));
        for run in executors.flat_map(|executor| folders(&executor.join("runs"))) {
            add(&mut self.found, &run);
        }
        self.found
    }
}

/// The folders in a folder, links aside. One that cannot be read is left alone.
fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn add(found: &mut Vec<(Arc<str>, Timestamp)>, path: &Path) {
    let changed = path.symlink_metadata().and_then(|meta| meta.modified()).ok();
    let since = changed.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    if let (Some(path), Some(since)) = (path.to_str(), since)
        && found.len() < SANDBOXES_MAX
    {
        found.push((path.into(), Timestamp::ZERO + since));
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

    #[test]
    fn rule_400_what_earlier_lives_left_is_found() {
        let work = tempfile::tempdir().expect("folder");
        let runs = work.path().join("S1/frameworks/f/executors/e/runs");
        std::fs::create_dir_all(runs.join("c1")).expect("made");
        std::fs::create_dir_all(work.path().join("S0/frameworks/f")).expect("made");
        std::os::unix::fs::symlink("S1", work.path().join("latest")).expect("linked");
        std::os::unix::fs::symlink(runs.join("c1"), runs.join("latest")).expect("linked");
        let found = |id| {
            let found = Survey::begin(work.path(), id).finish().into_iter();
            let relative = |path: Arc<str>| path.replacen(work.path().to_str().expect("text"), "", 1);
            let mut found: Vec<String> = found.map(|(path, _)| relative(path)).collect();
            found.sort();
            found
        };
        assert_eq!(found(Some("S1")), ["/S0", "/S1/frameworks/f/executors/e/runs/c1"]);
        assert_eq!(found(None), ["/S0", "/S1"]);
        assert_eq!(Survey::begin(&work.path().join("none"), None).finish(), []);
    }
}
