//! disk/xfs: how much of the disk a folder uses, counted and limited by the file system itself, which is xfs or
//! ext4 with quotas of projects.
//!
//! A project is a number that a folder has, and everything that is made in it. Which folders have which is
//! written nowhere else: whoever wants to know looks at them.
//!
//! On ext4 a limit does not hold for processes with the capability SYS_RESOURCE, as root's without an image are: who
//! uses more all the same is ended.

use std::{
    collections::BTreeSet,
    fs,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::libc;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::isolators::{Isolation, IsolationError};

/// The isolator's name.
pub(crate) const NAME: &str = "disk/xfs";

/// Limits are set in blocks of this size, whatever the file system has.
const BLOCK_BYTES: u64 = 1024;

/// The settings of the isolator.
#[derive(Clone, Debug)]
pub struct ProjectSettings {
    /// Where sandboxes are.
    pub folder: PathBuf,
    /// `--xfs_project_range`: the numbers that may be given, each range with its first and last.
    pub ranges: Vec<(u32, u32)>,
    /// `--xfs_kill_containers`: who uses more is ended; otherwise it cannot write more.
    pub kill: bool,
    /// `--xfs_quota_headroom`: with `kill`, bytes between what may be used and what cannot be exceeded.
    pub headroom: u64,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self { folder: PathBuf::from("/"), ranges: vec![(5_000, 10_000)], kill: false, headroom: 0 }
    }
}

/// The projects of one file system.
#[derive(Debug)]
pub(crate) struct Projects {
    folder: OwnedFd,
    settings: ProjectSettings,
    enforce: bool,
    used: Mutex<BTreeSet<u32>>,
}

impl Projects {
    /// `None` without the isolator.
    pub(crate) fn start(isolation: &Isolation) -> Result<Option<Self>, IsolationError> {
        let has = |wanted: &str| isolation.names.iter().any(|name| name == wanted);
        if !has(NAME) {
            return Ok(None);
        }
        let refused = |reason: String| IsolationError::Host { name: NAME, reason };
        if has("disk/du") {
            return Err(refused("'disk/du' measures the same folders: take one of them".to_owned()));
        }
        let settings = isolation.projects.clone();
        let shown = settings.folder.display();
        let folder = open(&settings.folder).map_err(|errno| refused(format!("open '{shown}': {errno}")))?;
        match are_on(folder.as_fd()) {
            Ok(true) => {}
            Ok(false) => {
                return Err(refused(format!(
                    "quotas of projects are off on the file system of '{shown}': it is mounted without prjquota"
                )));
            }
            Err(errno) => {
                return Err(refused(format!(
                    "the file system of '{shown}' has no quotas of projects ({errno}): it has to be xfs or ext4 with \
                     the features quota and project, mounted with prjquota, and the kernel needs quotas for it"
                )));
            }
        }
        let enforce = isolation.enforce_container_disk_quota;
        Ok(Some(Self { folder, settings, enforce, used: Mutex::default() }))
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        // Every change is one operation on the set.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an empty folder a project of its own, unless it has one, and limits it.
    pub(crate) fn assign(&self, path: &Path, bytes: u64) -> rustix::io::Result<u32> {
        let folder = open(path)?;
        let mut attributes = attributes(folder.as_fd())?;
        let project = if self.is_ours(attributes.project) {
            self.used().insert(attributes.project);
            attributes.project
        } else {
            let free = self.take_free()?;
            attributes.project = free;
            attributes.flags |= INHERIT;
            if let Err(errno) = set_attributes(folder.as_fd(), &attributes) {
                self.used().remove(&free);
                return Err(errno);
            }
            free
        };
        let limit = match (self.enforce, self.settings.kill) {
            (false, _) => 0,
            (true, false) => bytes,
            (true, true) => bytes.saturating_add(self.settings.headroom),
        };
        set_limit(self.folder.as_fd(), project, limit)?;
        Ok(project)
    }

    /// Gives a folder the project of another, so that both count together.
    pub(crate) fn share(&self, path: &Path, project: u32) -> rustix::io::Result<()> {
        let folder = open(path)?;
        let mut attributes = attributes(folder.as_fd())?;
        attributes.project = project;
        attributes.flags |= INHERIT;
        set_attributes(folder.as_fd(), &attributes)
    }

    fn take_free(&self) -> rustix::io::Result<u32> {
        let mut used = self.used();
        let mut all = self.settings.ranges.iter().flat_map(|(first, last)| *first..=*last);
        // There is no room for another one.
        let free = all.find(|project| !used.contains(project)).ok_or(Errno::NOSPC)?;
        used.insert(free);
        Ok(free)
    }

    fn is_ours(&self, project: u32) -> bool {
        self.settings.ranges.iter().any(|(first, last)| (*first..=*last).contains(&project))
    }

    /// The project that a folder was given.
    pub(crate) fn of(&self, path: &Path) -> Option<u32> {
        let folder = open(path).ok()?;
        let project = attributes(folder.as_fd()).ok()?.project;
        self.is_ours(project).then_some(project)
    }

    /// Notes what an earlier agent has given.
    pub(crate) fn recover(&self, path: &Path) {
        if let Some(project) = self.of(path) {
            self.used().insert(project);
        }
    }

    /// Frees the project of a folder that has been deleted.
    pub(crate) fn free(&self, project: u32) {
        if let Err(errno) = set_limit(self.folder.as_fd(), project, 0) {
            tracing::warn!(project, %errno, "taking the limit off a project failed");
        }
        self.used().remove(&project);
    }

    /// Bytes that everything in a folder's project uses.
    pub(crate) fn usage(&self, path: &Path) -> Option<u64> {
        usage(self.folder.as_fd(), self.of(path)?).ok()
    }
}

/// Makes a folder of the agent's own, if it is not there.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// What is made in a folder has its project.
const INHERIT: u32 = 0x200;

/// `struct fsxattr` of the kernel.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

#[expect(unsafe_code, reason = "this ioctl is in neither crate")]
fn attributes(folder: BorrowedFd<'_>) -> rustix::io::Result<Attributes> {
    const GET: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<Attributes>(b'X', 31);
    // SAFETY: the kernel writes a whole structure of this form, for which every value is valid.
    unsafe { rustix::ioctl::ioctl(folder, rustix::ioctl::Getter::<GET, Attributes>::new()) }
}

#[expect(unsafe_code, reason = "this ioctl is in neither crate")]
fn set_attributes(folder: BorrowedFd<'_>, attributes: &Attributes) -> rustix::io::Result<()> {
    const SET: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<Attributes>(b'X', 32);
    // SAFETY: the kernel reads a whole structure of this form and nothing else.
    unsafe { rustix::ioctl::ioctl(folder, rustix::ioctl::Setter::<SET, Attributes>::new(*attributes)) }
}

const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
/// Which kinds of quotas are on.
const GET_STATE: u32 = 0x5805;
const OF_PROJECTS: u32 = 2;
/// Quotas of projects are counted, and limits are kept.
const PROJECTS_KEPT: u16 = 1 << 4 | 1 << 5;
/// Of a quota, only limits of bytes are changed.
const LIMITS_OF_BYTES: u32 = 1;

fn are_on(folder: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    /// `struct fs_quota_stat` of the kernel, of which the beginning is of interest.
    #[repr(C, align(8))]
    struct State {
        version: i8,
        flags: u16,
        rest: [u64; 12],
    }
    let state: State = call(folder, GET_STATE, 0, State { version: 1, flags: 0, rest: [0; 12] })?;
    Ok(state.flags & PROJECTS_KEPT == PROJECTS_KEPT)
}

fn usage(folder: BorrowedFd<'_>, project: u32) -> rustix::io::Result<u64> {
    match call(folder, GET_QUOTA, project, quota(0)) {
        Ok(quota) => Ok(quota.dqb_curspace),
        // Nothing was ever written.
        Err(Errno::NOENT) => Ok(0),
        Err(errno) => Err(errno),
    }
}

/// Zero is no limit.
fn set_limit(folder: BorrowedFd<'_>, project: u32, bytes: u64) -> rustix::io::Result<()> {
    call(folder, SET_QUOTA, project, quota(bytes / BLOCK_BYTES)).map(drop)
}

fn quota(blocks: u64) -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: blocks,
        dqb_bsoftlimit: blocks,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: LIMITS_OF_BYTES,
    }
}

/// Asks for or changes the quotas of a folder's file system.
#[expect(unsafe_code, reason = "quotactl_fd is in neither crate")]
fn call<T>(folder: BorrowedFd<'_>, command: u32, project: u32, value: T) -> rustix::io::Result<T> {
    let mut value = MaybeUninit::new(value);
    // SAFETY: for each of the three commands the kernel reads or writes one structure, which is not larger than
    // what `value` holds, and in which every value is valid.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            folder.as_raw_fd(),
            command << 8 | OF_PROJECTS,
            project,
            value.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(Errno::from_raw_os_error(crate::kernel::last_errno()));
    }
    // SAFETY: it was whole before, and the kernel has at most changed it.
    Ok(unsafe { value.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let projects = ProjectSettings { folder: folder.path().join("none"), ..ProjectSettings::default() };
        let mut isolation = Isolation { names: vec![NAME.to_owned()], projects, ..Isolation::default() };
        assert!(Projects::start(&isolation).unwrap_err().to_string().contains("No such file"));
        isolation.projects.folder = PathBuf::from("/proc");
        let why = Projects::start(&isolation).unwrap_err().to_string();
        assert!(why.contains("'disk/xfs' cannot work on this host") && why.contains("xfs or ext4"), "{why}");
        isolation.names.push("disk/du".to_owned());
        assert!(Projects::start(&isolation).unwrap_err().to_string().contains("take one of them"));
        assert!(Projects::start(&Isolation::default()).expect("nothing to do").is_none());
    }
}
