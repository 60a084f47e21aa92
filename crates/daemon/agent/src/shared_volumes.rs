//! Who may write to persistent volumes that several containers use at once.
//!
//! A volume belongs to the user of the first container that uses it; it is not taken away from that user for one
//! that comes later. With `--volume_gid_range` each shared volume gets a group of its own from a range, and every
//! container that uses it is a member.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use mezzo_ids::ContainerId;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags};

/// The groups of volumes, below the work directory.
const FILE: &str = "meta/volume_gids.json";
/// Read, write and enter for the group, which new files have too.
const GROUP_MODE: u32 = 0o2070;

/// Groups from the first to the last, both included.
pub type GidRange = (u32, u32);

/// Volumes in use, and their groups.
pub(crate) struct SharedVolumes {
    work_dir: PathBuf,
    ranges: Vec<GidRange>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The containers without a parent that use a volume, by its path.
    users: BTreeMap<String, BTreeSet<ContainerId>>,
    gids: BTreeMap<String, u32>,
}

impl SharedVolumes {
    /// Reads which groups an earlier agent has given.
    pub(crate) fn open(work_dir: &Path, ranges: Vec<GidRange>) -> io::Result<Self> {
        let gids = match fs::read(work_dir.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let state = Mutex::new(State { gids, ..State::default() });
        Ok(Self { work_dir: work_dir.to_path_buf(), ranges, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A group that was given but not written down is given again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a container uses a volume; returns whether others do, beside those around and inside of it.
    pub(crate) fn begin(&self, volume: &str, container: &ContainerId) -> bool {
        let root = root_of(container);
        let mut state = self.state();
        let users = state.users.entry(volume.to_owned()).or_default();
        let others = users.iter().any(|user| *user != root);
        users.insert(root);
        others
    }

    /// Notes that a container has ended; a child goes on using what its parent does.
    pub(crate) fn end(&self, container: &ContainerId) {
        self.state().users.retain(|_, users| {
            users.remove(container);
            !users.is_empty()
        });
    }

    /// Gives a shared volume a group of its own, unless it has one; `None` without a range.
    pub(crate) fn group(&self, volume: &str) -> io::Result<Option<u32>> {
        if self.ranges.is_empty() {
            return Ok(None);
        }
        let mut state = self.state();
        let gid = match state.gids.get(volume) {
            Some(gid) => *gid,
            None => {
                let taken: BTreeSet<u32> = state.gids.values().copied().collect();
                let mut all = self.ranges.iter().flat_map(|(first, last)| *first..=*last);
                let free = all.find(|gid| !taken.contains(gid));
                let gid =
                    free.ok_or_else(|| io::Error::other("all groups of --volume_gid_range are in use"))?;
                state.gids.insert(volume.to_owned(), gid);
                self.write(&state.gids)?;
                gid
            }
        };
        drop(state);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, volume, flags, Mode::empty())?;
        rustix::fs::chownat(&folder, c"", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
        let mode = rustix::fs::fstat(&folder)?.st_mode & 0o7777;
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode | GROUP_MODE))?;
        Ok(Some(gid))
    }

    /// Notes that a volume was destroyed: its group is free.
    pub(crate) fn destroyed(&self, volume: &Path) -> io::Result<()> {
        let mut state = self.state();
        let known = volume.to_str().and_then(|volume| state.gids.remove(volume));
        known.map_or(Ok(()), |_| self.write(&state.gids))
    }

    fn write(&self, gids: &BTreeMap<String, u32>) -> io::Result<()> {
        let path = self.work_dir.join(FILE);
        let next = path.with_extension("next");
        fs::write(&next, serde_json::to_vec(gids).map_err(io::Error::other)?)?;
        fs::File::open(&next)?.sync_all()?;
        fs::rename(next, path)
    }
}

fn root_of(container: &ContainerId) -> ContainerId {
    ContainerId::from(container.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn open(work: &Path) -> SharedVolumes {
        fs::create_dir_all(work.join("meta")).expect("a folder");
        SharedVolumes::open(work, vec![(70_000, 70_001)]).expect("opened")
    }

    #[test]
    fn a_volume_is_in_use_until_the_last_container_has_ended() {
        let work = tempfile::tempdir().expect("folder");
        let volumes = open(work.path());
        let (a, child, b) = (ContainerId::from("a"), ContainerId::from("a.x"), ContainerId::from("b"));
        assert!(!volumes.begin("/v", &a));
        assert!(!volumes.begin("/v", &child), "a pod and its tasks are one");
        assert!(volumes.begin("/v", &b));
        volumes.end(&child);
        volumes.end(&b);
        assert!(volumes.begin("/v", &b));
        volumes.end(&a);
        volumes.end(&b);
        assert!(!volumes.begin("/v", &b));
    }

    #[test]
    fn each_shared_volume_has_a_group_until_it_is_destroyed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let work = tempfile::tempdir().expect("folder");
        let volume = |name: &str| {
            let path = work.path().join(name);
            fs::create_dir_all(&path).expect("a folder");
            path.to_str().expect("text").to_owned()
        };
        let volumes = open(work.path());
        assert_eq!(volumes.group(&volume("a")).expect("a group"), Some(70_000));
        assert_eq!(volumes.group(&volume("b")).expect("a group"), Some(70_001));
        let made = fs::metadata(volume("a")).expect("a folder");
        assert_eq!((made.gid(), made.mode() & 0o2070), (70_000, 0o2070));
        assert!(volumes.group(&volume("c")).unwrap_err().to_string().contains("volume_gid_range"));
        // Also for an agent that comes later.
        let volumes = open(work.path());
        assert_eq!(volumes.group(&volume("b")).expect("the same"), Some(70_001));
        volumes.destroyed(Path::new(&volume("a"))).expect("noted");
        assert_eq!(volumes.group(&volume("c")).expect("a free one"), Some(70_000));
        let without = SharedVolumes::open(work.path(), Vec::new()).expect("opened");
        assert_eq!(without.group(&volume("d")).expect("nothing"), None);
    }
}
