//! The files of a container that another runtime starts.
//!
//! Image, sandbox, volumes and the network's files are put together here as for a container of our own, in a
//! mount namespace of the supervisor's, whose places are looked for by descriptor and whose contents never
//! touch the host. The runtime gets the result as its root and adds what needs the namespaces that only it
//! makes: /proc, /sys and /dev.

use std::{
    ffi::CStr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::UnmountFlags,
};

use super::{
    Origin, Part, Problem, View, at, furnish, furnish_shared, network_files, open_folder, overlay,
    target::{self, Kind, Links},
    volume,
};
use crate::{
    confinement::{Confined, RootRef},
    mount_api::{self, Limits},
    request::Launch,
};

/// The kernel's number of unified control groups.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// A volume for a place that the runtime makes: it finds the volume at the path and mounts it at the other one.
pub(crate) struct Left {
    pub(crate) source: PathBuf,
    pub(crate) target: Vec<u8>,
}

/// Makes the container's root in a mount namespace of this process, below a folder of the container's; returns
/// where, and what the runtime is left to mount.
pub(crate) fn arrange(
    launch: &Launch<'_>,
    confined: &Confined<'_>,
    folder: &Path,
    hierarchy: &CStr,
) -> Result<(PathBuf, Vec<Left>), Problem> {
    let mut view = View::default();
    view.separate().map_err(at(Part::Do("separate mounts")))?;
    hide_unified(hierarchy).map_err(at(Part::Do("hide the second kind of control groups")))?;
    // Modes are given in full.
    let mask = rustix::process::umask(Mode::empty());
    let origins = volume::open_all(confined, launch.runtime_dir.unwrap_or_default(), &mut view)?;
    let arranged = match &confined.root {
        Some(root) => own(launch, confined, root, origins, (folder, view)),
        None => shared(launch, confined, origins, folder),
    };
    rustix::process::umask(mask);
    arranged
}

/// Where there are control groups of both kinds the older ones hold the controllers, and some runtimes (crun)
/// refuse to work where they see both. Those of this process' namespace are taken away, the host's stay.
fn hide_unified(hierarchy: &CStr) -> rustix::io::Result<()> {
    let is_unified = |path: &Path| {
        rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type).ok() == Some(CGROUP2_MAGIC))
    };
    let hierarchy = Path::new(std::ffi::OsStr::from_bytes(hierarchy.to_bytes()));
    let second = hierarchy.join("unified");
    if is_unified(hierarchy) || !is_unified(&second) {
        return Ok(());
    }
    rustix::mount::unmount(&second, UnmountFlags::DETACH)
}

/// An image with everything in it but the kernel's file systems.
fn own(
    launch: &Launch<'_>,
    confined: &Confined<'_>,
    root: &RootRef<'_>,
    origins: Vec<Origin>,
    (folder, mut view): (&Path, View),
) -> Result<(PathBuf, Vec<Left>), Problem> {
    let sandbox =
        volume::open_sandbox(launch.sandbox.unwrap_or_default()).map_err(at(Part::Do("open the sandbox")))?;
    let files = network_files(confined).map_err(at(Part::Do("open the network files")))?;
    let top = overlay::mount(root, &mut view)?.in_place().map_err(at(Part::Do("mount the image")))?;
    let found = furnish(confined, root, top.as_fd(), (&sandbox, &files), origins, is_kernels)?;
    let mut left = Vec::with_capacity(found.len());
    for (n, origin, target) in found {
        let name = n.to_string();
        let place = made(folder, name.as_bytes(), origin.kind).map_err(at(Part::Mount(n)))?;
        mount_api::attach(origin.tree.as_fd(), place.as_fd()).map_err(at(Part::Mount(n)))?;
        left.push(Left { source: folder.join(name), target });
    }
    let scratch = Path::new(std::ffi::OsStr::from_bytes(root.scratch.to_bytes()));
    Ok((scratch.join(overlay::PLACE), left))
}

/// The host's files with something in other places.
fn shared(
    launch: &Launch<'_>,
    confined: &Confined<'_>,
    origins: Vec<Origin>,
    folder: &Path,
) -> Result<(PathBuf, Vec<Left>), Problem> {
    const NAME: &str = "root";
    let part = || at(Part::Do("show the host's files"));
    let root = open_folder(c"/").map_err(part())?;
    let tree = mount_api::clone(root.as_fd(), true).map_err(part())?;
    let place = made(folder, NAME.as_bytes(), Kind::Folder).map_err(part())?;
    mount_api::attach(tree.as_fd(), place.as_fd()).map_err(part())?;
    if launch.terminal {
        hide_console(tree.as_fd(), folder).map_err(part())?;
    }
    keep_devices(tree.as_fd()).map_err(part())?;
    furnish_shared(launch, confined, tree.as_fd(), origins)?;
    Ok((folder.join(NAME), Vec::new()))
}

/// Runtimes put their own nodes and links into a /dev that they take for a container's. That of the host is not
/// theirs to change; devices can be used also where no name can be made.
fn keep_devices(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let devices = target::open(root, b"dev", Links::Inside)?;
    match mount_api::limit(devices.as_fd(), Limits { read_only: true, ..Limits::default() }, false) {
        // A folder like any other, with nothing of the kernel's in it.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Runtimes put a container's terminal over /dev/console, of which they change the mode first.
fn hide_console(root: BorrowedFd<'_>, folder: &Path) -> rustix::io::Result<()> {
    let place = match target::open(root, b"dev/console", Links::Inside) {
        // None is made, since that would be on the host.
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    };
    let file = made(folder, b"no-console", Kind::File)?;
    mount_api::attach(mount_api::clone(file.as_fd(), false)?.as_fd(), place.as_fd())
}

/// Whether a path is in one of the file systems that the runtime mounts.
fn is_kernels(path: &[u8]) -> bool {
    let first = path.split(|byte| *byte == b'/').find(|part| !part.is_empty() && *part != b".");
    matches!(first, Some(b"dev" | b"proc" | b"sys"))
}

fn made(folder: &Path, name: &[u8], kind: Kind) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    target::make(folder.as_fd(), name, kind, Links::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_kernels_file_systems_are_left_to_the_runtime() {
        for path in ["/dev", "/dev/shm", "//./sys/x", "/proc"] {
            assert!(is_kernels(path.as_bytes()), "{path}");
        }
        for path in ["/", "/device", "/data/dev", "/process", "/devices/proc"] {
            assert!(!is_kernels(path.as_bytes()), "{path}");
        }
    }
}
