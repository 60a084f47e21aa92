//! The files that a container sees.
//!
//! Everything here happens in a process of its own (see [`crate::init`]), and mounts get their places in the
//! container's own mount namespace, so the host never has any of them, and none can be left behind: they end
//! with the last process that sees them. Each mount is made without a place, gets all its limits, and is then
//! put over a descriptor that was looked for inside the container's root.

mod copy;
mod device;
mod foreign;
mod overlay;
mod system;
mod target;
mod volume;

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::MountPropagationFlags,
    thread::UnshareFlags,
};

use crate::{
    confinement::{Confined, NETWORK_FILES, RootRef},
    kernel,
    mount_api::{self, Limits},
    network::HOSTNAME,
    request::Launch,
    stage,
};
pub(crate) use copy::remove;
pub(crate) use foreign::{Left, arrange};
pub(crate) use system::{PROC_HIDDEN, READ_ONLY, SYS_HIDDEN};
use target::{Kind, Links};
use volume::Origin;

/// Where something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// In words, to be read behind "Failed to".
    Do(&'static str),
    /// One of the image's layers.
    Layer(usize),
    /// One of the mounts.
    Mount(usize),
    /// One of the mounts, which no container may have.
    Protected(usize),
}

/// What failed, and the kernel's reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) part: Part,
    pub(crate) errno: Errno,
}

fn at(part: Part) -> impl Fn(Errno) -> Problem {
    move |errno| Problem { part, errno }
}

/// Files of the host that say how to reach others, in the order of [`NETWORK_FILES`]. A container with its own
/// root and the host's network gets them as they are.
const HOST_FILES: [&CStr; 3] = [c"/etc/hosts", c"/etc/resolv.conf", c"/etc/hostname"];

/// Makes the container's file system that of the calling process, in a mount namespace of its own.
///
/// A root of its own is put on the stage, where there is one.
pub(crate) fn enter(
    launch: &Launch<'_>,
    confined: &Confined<'_>,
    stage: Option<BorrowedFd<'_>>,
) -> Result<(), Problem> {
    let mut view = View::default();
    let stage = stage.filter(|_| confined.root.is_some());
    if stage.is_none() {
        view.separate().map_err(at(Part::Do("separate mounts")))?;
    }
    // Modes are given in full.
    let mask = rustix::process::umask(Mode::empty());
    let origins = volume::open_all(confined, launch.runtime_dir.unwrap_or_default(), &mut view)?;
    match &confined.root {
        Some(root) => own_root(launch, confined, root, origins, (stage, view))?,
        None => shared_root(launch, confined, origins)?,
    }
    rustix::process::umask(mask);
    Ok(())
}

/// Whose mounts this process sees.
///
/// Who goes on to a stage needs no copy of the host's: it opens and clones, and gives nothing a place. Only what
/// cannot be done so has the copy made.
#[derive(Default)]
struct View {
    is_own: bool,
}

impl View {
    /// Makes sure that what is mounted here is not mounted on the host. What the host unmounts is unmounted
    /// here as well, or its disks would stay busy.
    fn separate(&mut self) -> rustix::io::Result<()> {
        if !self.is_own {
            kernel::separate(UnshareFlags::NEWNS)?;
            let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            rustix::mount::mount_change(c"/", flags)?;
            self.is_own = true;
        }
        Ok(())
    }
}

/// The host's files with something in other places.
fn shared_root(launch: &Launch<'_>, confined: &Confined<'_>, origins: Vec<Origin>) -> Result<(), Problem> {
    let root = open_folder(c"/").map_err(at(Part::Do("open the root directory")))?;
    if confined.pid {
        let place = existing(root.as_fd(), b"proc").map_err(at(Part::Do("open /proc")))?;
        let proc = mount_api::fresh(c"proc", &[], Limits::INERT).map_err(at(Part::Do("mount /proc")))?;
        mount_api::attach(proc.as_fd(), place.as_fd()).map_err(at(Part::Do("mount /proc")))?;
    }
    if confined.ipc {
        device::shared_memory(root.as_fd(), b"dev/shm", confined.shm_bytes)
            .map_err(at(Part::Do("mount /dev/shm")))?;
        if let Ok(place) = existing(root.as_fd(), b"dev/mqueue") {
            device::message_queues(place.as_fd()).map_err(at(Part::Do("mount /dev/mqueue")))?;
        }
    }
    furnish_shared(launch, confined, root.as_fd(), origins)
}

/// Puts what a container has of its own over the host's files, which are below a root.
fn furnish_shared(
    launch: &Launch<'_>,
    confined: &Confined<'_>,
    root: BorrowedFd<'_>,
    origins: Vec<Origin>,
) -> Result<(), Problem> {
    let own_files = match &confined.network {
        Some(_) => network_files(confined).map_err(at(Part::Do("open the container's network files")))?,
        None => Vec::new(),
    };
    for (name, file) in &own_files {
        match existing(root, &[b"etc/", name.as_bytes()].concat()) {
            // A host without it.
            Err(Errno::NOENT) => continue,
            place => place.and_then(|place| mount_api::attach(file.as_fd(), place.as_fd())),
        }
        .map_err(at(Part::Do("mount the container's network files")))?;
    }
    let sandbox = launch.sandbox.unwrap_or(c"/").to_bytes();
    let sandbox = existing(root, sandbox).map_err(at(Part::Do("open the sandbox")))?;
    for (n, (origin, mount)) in origins.iter().zip(&confined.mounts).enumerate() {
        let path = mount.target.to_bytes();
        let place = if path.starts_with(b"/") {
            // Nothing is made on the host: a path that is missing is missing (rule 366).
            existing(root, path)
        } else {
            target::make(sandbox.as_fd(), path, origin.kind, Links::Refused)
        };
        let place = place.map_err(at(Part::Mount(n)))?;
        mount_api::attach(origin.tree.as_fd(), place.as_fd()).map_err(at(Part::Mount(n)))?;
    }
    Ok(())
}

fn own_root(
    launch: &Launch<'_>,
    confined: &Confined<'_>,
    root: &RootRef<'_>,
    origins: Vec<Origin>,
    (stage, mut view): (Option<BorrowedFd<'_>>, View),
) -> Result<(), Problem> {
    let sandbox =
        volume::open_sandbox(launch.sandbox.unwrap_or_default()).map_err(at(Part::Do("open the sandbox")))?;
    let files = network_files(confined).map_err(at(Part::Do("open the network files")))?;
    let top = overlay::mount(root, &mut view)?;
    let switching = at(Part::Do("switch the root"));
    let (top, nothing) = match stage {
        Some(stage) => {
            let top = top.without_place().map_err(at(Part::Do("mount the image")))?;
            let nothing = stage::enter(stage, top.as_fd()).map_err(&switching)?;
            (top, Some(nothing))
        }
        None => (top.in_place().map_err(at(Part::Do("mount the image")))?, None),
    };
    let top = top.as_fd();

    let proc = system::mount_proc(top).map_err(at(Part::Do("mount /proc")))?;
    let sys = system::mount_sys(top).map_err(at(Part::Do("mount /sys")))?;
    let devices = device::mount(top, confined).map_err(at(Part::Do("mount /dev")))?;
    let nothing = nothing.as_ref().map(AsFd::as_fd);
    system::restrict(proc.as_fd(), sys.as_fd(), devices.as_fd(), nothing)
        .map_err(at(Part::Do("restrict /proc and /sys")))?;

    furnish(confined, root, top, (&sandbox, &files), origins, |_| false)?;
    if root.read_only {
        let limits = Limits { read_only: true, ..Limits::default() };
        mount_api::limit(top, limits, false).map_err(at(Part::Do("make the root read-only")))?;
    }
    if stage.is_none() { stage::pivot(top).map_err(switching) } else { Ok(()) }
}

/// Puts the sandbox, the volumes and the network's files into a root. Returns the volumes whose place is for
/// somebody else to make, with their numbers and paths.
fn furnish(
    confined: &Confined<'_>,
    root: &RootRef<'_>,
    top: BorrowedFd<'_>,
    (sandbox, files): (&OwnedFd, &[(&'static str, OwnedFd)]),
    origins: Vec<Origin>,
    elsewhere: impl Fn(&[u8]) -> bool,
) -> Result<Vec<(usize, Origin, Vec<u8>)>, Problem> {
    let place = target::make(top, root.sandbox.to_bytes(), Kind::Folder, Links::Inside);
    let place = place.map_err(at(Part::Do("make the sandbox directory")))?;
    mount_api::attach(sandbox.as_fd(), place.as_fd()).map_err(at(Part::Do("mount the sandbox")))?;
    let mut left = Vec::new();
    for (n, (origin, mount)) in origins.into_iter().zip(&confined.mounts).enumerate() {
        let mut path = mount.target.to_bytes().to_vec();
        if !path.starts_with(b"/") {
            path = [root.sandbox.to_bytes(), b"/", &path].concat();
        }
        if elsewhere(&path) {
            left.push((n, origin, path));
            continue;
        }
        let place = target::make(top, &path, origin.kind, Links::Inside).map_err(at(Part::Mount(n)))?;
        mount_api::attach(origin.tree.as_fd(), place.as_fd()).map_err(at(Part::Mount(n)))?;
    }
    for (name, file) in files {
        // A volume of this name has been put there on purpose, and so has one that covers the folder.
        if confined.mounts.iter().any(|mount| covers(mount.target.to_bytes(), name.as_bytes())) {
            continue;
        }
        target::make_file(top, b"etc", name.as_bytes())
            .and_then(|place| mount_api::attach(file.as_fd(), place.as_fd()))
            .map_err(at(Part::Do("mount the network files")))?;
    }
    Ok(left)
}

/// Mounts of the files by which a container finds others, without places: those of its network, or the host's.
fn network_files(confined: &Confined<'_>) -> rustix::io::Result<Vec<(&'static str, OwnedFd)>> {
    let mut files = Vec::with_capacity(NETWORK_FILES.len());
    for (n, name) in NETWORK_FILES.into_iter().enumerate() {
        let own = confined.network.as_ref().and_then(|network| network.files.get(n));
        if own.is_none() && name == HOSTNAME && confined.hostname.is_some() {
            continue;
        }
        let path = own.or(HOST_FILES.get(n)).copied().unwrap_or_default();
        let file = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            // A host without it.
            Err(Errno::NOENT) => continue,
            result => result?,
        };
        if target::kind(file.as_fd())? != Kind::File {
            continue;
        }
        let tree = mount_api::clone(file.as_fd(), false)?;
        mount_api::follow(tree.as_fd())?;
        mount_api::limit(tree.as_fd(), Limits::ALL, false)?;
        files.push((name, tree));
    }
    Ok(files)
}

/// Whether a mount hides `/etc/<name>`.
fn covers(target: &[u8], name: &[u8]) -> bool {
    let parts: Vec<&[u8]> =
        target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts == [b"etc".as_slice()] || parts == [b"etc".as_slice(), name]
}

/// Opens a path of the host's own file system.
fn existing(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    target::open(root, path, Links::Inside)
}

fn open_folder(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_over_etc_keeps_the_hosts_files_away() {
        for target in ["/etc", "/etc/hosts", "etc//./hosts"] {
            assert!(covers(target.as_bytes(), b"hosts"), "{target}");
        }
        for target in ["/etcetera", "/etc/hosts.d", "/mnt/etc/hosts"] {
            assert!(!covers(target.as_bytes(), b"hosts"), "{target}");
        }
    }
}
