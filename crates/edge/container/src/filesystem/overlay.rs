//! The layers of an image as one file system.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{FsOpenFlags, MountFlags, fsconfig_set_flag, fsconfig_set_string, fsopen},
};

use super::{Part, Problem, View, at, copy};
use crate::{
    confinement::{BackEnd, ImageRef, LAYERS_MAX, RootRef},
    mount_api::{self, Limits},
};

/// Where the file system is mounted, in the container's folder.
pub(super) const PLACE: &str = "root";
/// What the kernel takes as options in one call.
const OPTIONS_BYTES_MAX: usize = 4095;

/// The container's folder and what is in it.
struct Scratch {
    folder: OwnedFd,
    upper: OwnedFd,
    work: OwnedFd,
    /// Where the file system is mounted.
    place: OwnedFd,
}

/// The mount of an image's layers and, above them, of what the container writes.
pub(super) struct Mounted {
    mount: OwnedFd,
    /// In the container's folder.
    place: OwnedFd,
    is_in_place: bool,
}

impl Mounted {
    /// For a process that has mounts of its own, which is then the only one to see it: it ends with the
    /// container, and nothing is left on the host.
    pub(super) fn in_place(self) -> rustix::io::Result<OwnedFd> {
        if !self.is_in_place {
            mount_api::attach(self.mount.as_fd(), self.place.as_fd())?;
        }
        Ok(self.mount)
    }

    /// Its only place is the one that it gets.
    pub(super) fn without_place(self) -> rustix::io::Result<OwnedFd> {
        if !self.is_in_place {
            return Ok(self.mount);
        }
        let copy = mount_api::clone(self.mount.as_fd(), false)?;
        rustix::mount::unmount(name(&self.mount), rustix::mount::UnmountFlags::DETACH)?;
        Ok(copy)
    }
}

/// Mounts the layers of a container's root.
pub(super) fn mount(root: &RootRef<'_>, view: &mut View) -> Result<Mounted, Problem> {
    mounted(&root.layers, root.back_end, root.scratch, view)
}

/// The same for a volume, which has no place yet.
pub(super) fn volume(image: &ImageRef<'_>, view: &mut View) -> Result<OwnedFd, Problem> {
    make_folder(image.parent).map_err(at(Part::Do("make the scratch directory")))?;
    let top = mounted(&image.layers, image.back_end, image.scratch, view)?;
    top.without_place().map_err(at(Part::Do("mount the image of a volume")))
}

fn mounted(paths: &[&CStr], back_end: BackEnd, scratch: &CStr, view: &mut View) -> Result<Mounted, Problem> {
    if paths.is_empty() || paths.len() > LAYERS_MAX {
        return Err(Problem { part: Part::Do("use so many image layers"), errno: Errno::INVAL });
    }
    let layers = open_layers(paths)?;
    let made = Scratch::make(scratch, &layers).map_err(at(Part::Do("make the scratch directory")))?;
    let mut opened = (layers, made);
    let mounting = at(Part::Do("mount the image"));
    let mut is_in_place = false;
    let mut mount = match back_end {
        BackEnd::Copy => copied(&opened.0, &opened.1),
        BackEnd::Overlay | BackEnd::Any => overlay_by_parts(&opened.0, &opened.1),
    };
    if back_end != BackEnd::Copy && matches!(mount, Err(Errno::INVAL | Errno::NOSYS)) {
        // Kernels before 6.5 take all layers as one option, and before 5.2 everything as one text: in the place
        // that it gets, and of what was opened among the mounts of this process.
        view.separate().map_err(&mounting)?;
        opened = (open_layers(paths)?, Scratch::open(scratch).map_err(&mounting)?);
        mount = overlay_by_text(&opened.0, &opened.1);
        is_in_place = mount.is_ok();
    }
    // No overlay in this kernel, or not over these file systems, or not for this user.
    if back_end == BackEnd::Any
        && let Err(Errno::NODEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS) = mount
    {
        mount = copied(&opened.0, &opened.1);
    }
    Ok(Mounted { mount: mount.map_err(mounting)?, place: opened.1.place, is_in_place })
}

fn open_layers(paths: &[&CStr]) -> Result<Vec<OwnedFd>, Problem> {
    paths.iter().enumerate().map(|(n, path)| open_folder(path).map_err(at(Part::Layer(n)))).collect()
}

impl Scratch {
    fn make(path: &CStr, layers: &[OwnedFd]) -> rustix::io::Result<Self> {
        make_folder(path)?;
        let folder = open_folder(path)?;
        for name in ["upper", "work", PLACE] {
            rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
        }
        // The root itself comes from above, but looks as in the image.
        if let Some(top) = layers.last() {
            let top = rustix::fs::fstat(top)?;
            let (user, group) =
                (rustix::fs::Uid::from_raw(top.st_uid), rustix::fs::Gid::from_raw(top.st_gid));
            for name in ["upper", PLACE] {
                let none = rustix::fs::AtFlags::empty();
                rustix::fs::chownat(&folder, name, Some(user), Some(group), none)?;
                rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(top.st_mode & 0o7777), none)?;
            }
        }
        Self::open(path)
    }

    fn open(path: &CStr) -> rustix::io::Result<Self> {
        let folder = open_folder(path)?;
        let inside = |name: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, name, flags, Mode::empty())
        };
        let (upper, work, place) = (inside("upper")?, inside("work")?, inside(PLACE)?);
        Ok(Self { folder, upper, work, place })
    }
}

/// Volumes and the root have folders in the same one. Nobody but the agent has made it, or can.
fn make_folder(path: &CStr) -> rustix::io::Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

fn open_folder(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Short, of this process alone, and free of what separates paths in options; and what was opened is what
/// is mounted.
fn name(folder: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", folder.as_raw_fd())).unwrap_or_default()
}

fn overlay_by_parts(layers: &[OwnedFd], scratch: &Scratch) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    // The first one is the highest.
    for layer in layers.iter().rev() {
        fsconfig_set_string(context, c"lowerdir+", name(layer))?;
    }
    fsconfig_set_string(context, c"upperdir", name(&scratch.upper))?;
    fsconfig_set_string(context, c"workdir", name(&scratch.work))?;
    // What a container wrote ends with it, so nobody waits for it to reach the disk.
    fsconfig_set_flag(context, c"volatile")?;
    mount_api::mount(context, Limits { no_devices: true, ..Limits::default() })
}

fn overlay_by_text(layers: &[OwnedFd], scratch: &Scratch) -> rustix::io::Result<OwnedFd> {
    let mut options = b"volatile,lowerdir=".to_vec();
    for (n, layer) in layers.iter().rev().enumerate() {
        if n > 0 {
            options.push(b':');
        }
        options.extend_from_slice(name(layer).to_bytes());
    }
    options.extend_from_slice(b",upperdir=");
    options.extend_from_slice(name(&scratch.upper).to_bytes());
    options.extend_from_slice(b",workdir=");
    options.extend_from_slice(name(&scratch.work).to_bytes());
    if options.len() > OPTIONS_BYTES_MAX {
        return Err(Errno::INVAL);
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(
        c"overlay",
        name(&scratch.place),
        c"overlay",
        MountFlags::NODEV,
        options.as_c_str(),
    )?;
    open_place(scratch)
}

/// The root of what is mounted there, and not the folder below it.
fn open_place(scratch: &Scratch) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&scratch.folder, PLACE, flags, Mode::empty())
}

fn copied(layers: &[OwnedFd], scratch: &Scratch) -> rustix::io::Result<OwnedFd> {
    for layer in layers {
        copy::layer(layer.as_fd(), scratch.place.as_fd())?;
    }
    // A root has to be a mount.
    let mount = mount_api::clone(scratch.place.as_fd(), false)?;
    mount_api::follow(mount.as_fd())?;
    mount_api::limit(mount.as_fd(), Limits { no_devices: true, ..Limits::default() }, false)?;
    Ok(mount)
}
