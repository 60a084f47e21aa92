//! A container by nothing but its system calls: what `cargo xtask bench container` holds containers against.
//!
//!     bare_root IMAGE FOLDER [network]
//!
//! Makes one container of an unpacked image for each line on its standard input, which tells the number of the
//! container, and answers with the microseconds until its program was executed. It makes the control groups,
//! namespaces, mounts and limits that a container with an image gets, in a straight line: no agent asked for
//! it, nobody supervises it, nothing is checked or kept. With `network` it has a network namespace. Needs root.

use std::{
    ffi::{CStr, CString, c_int, c_void},
    fmt::Display,
    fs,
    io::{BufRead, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Instant,
};

use mezzo_container::Filter;
use nix::libc;
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
        open_tree,
    },
    thread::{CapabilitySet, CapabilitySets},
};

const CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "memory", "pids", "devices", "blkio", "cpuset"];
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];
const READ_ONLY: [&CStr; 5] = [c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"];
const HIDDEN: [&CStr; 8] =
    [c"acpi", c"interrupts", c"kcore", c"keys", c"latency_stats", c"scsi", c"timer_list", c"kallsyms"];
/// What a container with an image has.
const CAPABILITIES: u64 = 0x5fb;

struct Bare {
    image: PathBuf,
    folder: PathBuf,
    groups: Vec<PathBuf>,
    filter: Filter,
    /// What else is made new.
    network: c_int,
}

struct Child<'a> {
    bare: &'a Bare,
    number: u64,
    scratch: PathBuf,
    null: OwnedFd,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(image), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bare_root IMAGE FOLDER [network]");
        std::process::exit(2);
    };
    let network = if arguments.next().as_deref() == Some("network") { libc::CLONE_NEWNET } else { 0 };
    let (image, folder) = (PathBuf::from(image), PathBuf::from(folder));
    for name in ["sandbox", "scratch"] {
        must("make a folder", fs::create_dir_all(folder.join(name)));
    }
    let filter = must("make the filter", Filter::standard(CAPABILITIES));
    let bare = Bare { image, folder, groups: groups(), filter, network };
    let mut stack = vec![0_u8; 1 << 20];
    for line in std::io::stdin().lock().lines() {
        let number = must("read a number", must("read a line", line).trim().parse::<u64>());
        let micros = bare.run(number, &mut stack);
        must("answer", writeln!(std::io::stdout(), "{micros}"));
    }
    for group in &bare.groups {
        drop(fs::remove_dir(group));
    }
}

/// The groups below which those of the containers are.
fn groups() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let name = format!("bare-{}", std::process::id());
    let mut groups: Vec<PathBuf> = CONTROLLERS
        .iter()
        .map(|controller| top.join(controller))
        .filter(|controller| controller.join("cgroup.procs").exists())
        .map(|controller| controller.join(&name))
        .collect();
    if groups.is_empty() {
        drop(fs::write(top.join("cgroup.subtree_control"), "+cpu +memory +pids"));
        groups.push(top.join(&name));
    }
    for group in &groups {
        must("make a control group", fs::create_dir(group));
        if group.starts_with(top.join("cpuset")) {
            copy_cpuset(group);
        }
    }
    if !top.join("cpu/cgroup.procs").exists() {
        drop(fs::write(top.join(&name).join("cgroup.subtree_control"), "+cpu +memory +pids"));
    }
    groups
}

fn copy_cpuset(group: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let of_parent = group.parent().map(|parent| parent.join(file)).unwrap_or_default();
        drop(fs::read(of_parent).and_then(|text| fs::write(group.join(file), text)));
    }
}

/// The same files with the same values as the isolators write.
fn limit(group: &Path) {
    let write = |file: &str, value: &str| drop(fs::write(group.join(file), value));
    match group.parent().and_then(Path::parent).and_then(Path::file_name).and_then(|name| name.to_str()) {
        Some("cpu") => write("cpu.shares", "102"),
        Some("memory") => {
            write("memory.soft_limit_in_bytes", "33554432");
            write("memory.limit_in_bytes", "33554432");
        }
        Some("pids") => write("pids.max", "4915"),
        Some("devices") => {
            write("devices.deny", "a");
            for line in
                ["c *:* m", "b *:* m", "c 5:1 rwm", "c 4:0 rwm", "c 4:1 rwm", "c 136:* rwm", "c 5:2 rwm"]
                    .into_iter()
                    .chain(["c 10:200 rwm", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 5:0 rwm", "c 1:9 rwm"])
                    .chain(["c 1:8 rwm"])
            {
                write("devices.allow", line);
            }
        }
        Some("cpuset") => copy_cpuset(group),
        Some("blkio" | "cpuacct") => {}
        _ => {
            write("cpu.weight", "10");
            write("memory.low", "33554432");
            write("memory.max", "33554432");
            write("pids.max", "4915");
        }
    }
}

impl Bare {
    #[expect(unsafe_code, reason = "clone with a shared address space")]
    fn run(&self, number: u64, stack: &mut [u8]) -> u128 {
        let begun = Instant::now();
        for group in &self.groups {
            let group = group.join(number.to_string());
            must("make a control group", fs::create_dir(&group));
            limit(&group);
        }
        let scratch = self.folder.join("scratch").join(number.to_string());
        let null = must("open /dev/null", rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()));
        let mut child = Child { bare: self, number, scratch, null };
        let top = stack.as_mut_ptr_range().end;
        // SAFETY: CLONE_VFORK suspends this process until the child has executed a program or ended; the stack
        // and the argument outlive that.
        let pid = unsafe {
            libc::clone(
                child_main,
                top.map_addr(|address| address & !15).cast(),
                libc::CLONE_VM
                    | libc::CLONE_VFORK
                    | libc::CLONE_NEWPID
                    | libc::CLONE_NEWNS
                    | libc::CLONE_NEWIPC
                    | libc::CLONE_NEWUTS
                    | self.network
                    | libc::SIGCHLD,
                (&raw mut child).cast(),
            )
        };
        let micros = begun.elapsed().as_micros();
        let pid = must("start a process", rustix::process::Pid::from_raw(pid).ok_or("clone failed"));
        must("wait", rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
        for group in &self.groups {
            while fs::remove_dir(group.join(number.to_string()))
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy)
            {}
        }
        must("delete what it wrote", fs::remove_dir_all(&child.scratch));
        micros
    }
}

#[expect(unsafe_code, reason = "entry point of the child")]
extern "C" fn child_main(child: *mut c_void) -> c_int {
    // SAFETY: `run` passes a child that outlives this process' use of its memory.
    let child = unsafe { &*child.cast::<Child<'_>>() };
    child.execute();
    1
}

impl Child<'_> {
    #[expect(unsafe_code, reason = "calls that rustix has not, or not for everybody")]
    fn execute(&self) {
        must("lead a session", rustix::process::setsid());
        for group in &self.bare.groups {
            let group = group.join(self.number.to_string());
            // A thread that moves itself need not wait; version 2 has that only for processes.
            let threads = group.join("tasks");
            let entrance = if threads.exists() { threads } else { group.join("cgroup.procs") };
            must("join a control group", fs::write(entrance, "0"));
        }
        let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        must("separate mounts", rustix::mount::mount_change(c"/", flags));
        rustix::process::umask(Mode::empty());
        let sandbox = clone(must("open the sandbox", open(CWD, &self.bare.folder.join("sandbox"))).as_fd());
        must("limit the sandbox", set(sandbox.as_fd(), MountAttrFlags::MOUNT_ATTR_NODEV));
        let files: Vec<(&CStr, OwnedFd)> = [(c"/etc/hosts", c"hosts"), (c"/etc/resolv.conf", c"resolv.conf")]
            .into_iter()
            .chain([(c"/etc/hostname", c"hostname")])
            .filter_map(|(path, name)| {
                let file = clone(rustix::fs::open(path, OFlags::PATH, Mode::empty()).ok()?.as_fd());
                must("limit a file", set(file.as_fd(), all()));
                Some((name, file))
            })
            .collect();
        let top = self.overlay();
        let top = top.as_fd();
        let proc = fresh(c"proc", &[], inert());
        attach(proc.as_fd(), folder(top, c"proc").as_fd());
        let sys = fresh(c"sysfs", &[], all());
        attach(sys.as_fd(), folder(top, c"sys").as_fd());
        let dev = self.devices(top);
        for name in READ_ONLY {
            let Some(part) = below(proc.as_fd(), name) else { continue };
            let again = clone(part.as_fd());
            must("limit a part of /proc", set(again.as_fd(), all()));
            attach(again.as_fd(), part.as_fd());
        }
        for (root, name) in HIDDEN
            .map(|name| (proc.as_fd(), name))
            .into_iter()
            .chain([(sys.as_fd(), c"firmware"), (sys.as_fd(), c"devices/virtual/powercap")])
        {
            let Some(part) = below(root, name) else { continue };
            let mode = must("look at a file", rustix::fs::fstat(&part)).st_mode;
            let cover = if FileType::from_raw_mode(mode).is_dir() {
                fresh(c"tmpfs", &[(c"nr_inodes", Some(c"1"))], all())
            } else {
                clone(must("open null", below(dev.as_fd(), c"null").ok_or("it is missing")).as_fd())
            };
            attach(cover.as_fd(), part.as_fd());
        }
        folder(top, c"mnt");
        folder(top, c"mnt/mesos");
        attach(sandbox.as_fd(), folder(top, c"mnt/mesos/sandbox").as_fd());
        let etc = folder(top, c"etc");
        for (name, file) in &files {
            let mode = Mode::from_raw_mode(0o644);
            must("make a file", rustix::fs::mknodat(&etc, *name, FileType::RegularFile, mode, 0));
            attach(file.as_fd(), must("open a file", below(etc.as_fd(), name).ok_or("missing")).as_fd());
        }
        must("enter the root", rustix::process::fchdir(top));
        must("switch the root", rustix::process::pivot_root(c".", c"."));
        must("let go of the root", rustix::mount::unmount(c".", UnmountFlags::DETACH));
        must("enter the sandbox", rustix::process::chdir(c"/mnt/mesos/sandbox"));
        must("set the host name", rustix::system::sethostname(b"bare"));
        let separated = rustix::thread::UnshareFlags::NEWCGROUP;
        // SAFETY: control groups are no memory.
        must("separate control groups", unsafe { rustix::thread::unshare_unsafe(separated) });
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            // SAFETY: this process has descriptors of its own, and uses none of these.
            unsafe { libc::dup2(self.null.as_raw_fd(), stream.as_raw_fd()) };
        }
        // SAFETY: nothing in this process uses its other descriptors any more.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
        self.restrict();
        let (program, end) = (c"/bin/true", std::ptr::null());
        // SAFETY: both lists end in a null pointer.
        unsafe { libc::execve(program.as_ptr(), [program.as_ptr(), end].as_ptr(), [end].as_ptr()) };
        must::<(), _>("execute the program", Err(std::io::Error::last_os_error()));
    }

    fn overlay(&self) -> OwnedFd {
        let layer = must("open the layer", open(CWD, &self.bare.image));
        let private = Mode::from_raw_mode(0o700);
        must("make the scratch folder", rustix::fs::mkdir(&self.scratch, private));
        let scratch = must("open the scratch folder", open(CWD, &self.scratch));
        let [upper, work, place] = [c"upper", c"work", c"root"].map(|name| folder(scratch.as_fd(), name));
        let context = must("open a context", fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC));
        let context = context.as_fd();
        for (option, value) in [(c"lowerdir+", &layer), (c"upperdir", &upper), (c"workdir", &work)] {
            let value = must("name", CString::new(format!("/proc/self/fd/{}", value.as_raw_fd())));
            must("configure the overlay", fsconfig_set_string(context, option, value));
        }
        must("configure the overlay", fsconfig_set_flag(context, c"volatile"));
        let mount = finish(context, MountAttrFlags::MOUNT_ATTR_NODEV);
        attach(mount.as_fd(), place.as_fd());
        mount
    }

    fn devices(&self, top: BorrowedFd<'_>) -> OwnedFd {
        let limits = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let dev = fresh(c"tmpfs", &[(c"mode", Some(c"755")), (c"size", Some(c"64k"))], limits);
        for (name, major, minor) in DEVICES {
            let number = rustix::fs::makedev(major, minor);
            let mode = Mode::from_raw_mode(0o666);
            must("make a device", rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, number));
        }
        for (to, name) in LINKS {
            must("make a link", rustix::fs::symlinkat(to, &dev, name));
        }
        attach(dev.as_fd(), folder(top, c"dev").as_fd());
        let pts = [
            (c"newinstance", None),
            (c"ptmxmode", Some(c"0666")),
            (c"mode", Some(c"0620")),
            (c"gid", Some(c"5")),
        ];
        let shm = [(c"mode", Some(c"1777")), (c"size", Some(c"67108864"))];
        attach(fresh(c"devpts", &pts, limits).as_fd(), folder(dev.as_fd(), c"pts").as_fd());
        attach(fresh(c"tmpfs", &shm, inert()).as_fd(), folder(dev.as_fd(), c"shm").as_fd());
        attach(fresh(c"mqueue", &[], inert()).as_fd(), folder(dev.as_fd(), c"mqueue").as_fd());
        dev
    }

    #[expect(unsafe_code, reason = "seccomp is in no crate that is used here")]
    fn restrict(&self) {
        for capability in (0..64).map(|bit| 1_u64 << bit).filter(|bit| CAPABILITIES & bit == 0) {
            let capability = CapabilitySet::from_bits_retain(capability);
            if rustix::thread::remove_capability_from_bounding_set(capability).is_err() {
                break;
            }
        }
        let set = CapabilitySet::from_bits_retain(CAPABILITIES);
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
        must("limit capabilities", rustix::thread::set_capabilities(None, sets));
        must("give up privileges", rustix::thread::set_no_new_privs(true));
        for program in self.bare.filter.programs() {
            let filter = libc::sock_fprog {
                len: u16::try_from(program.len() / 8).unwrap_or(u16::MAX),
                filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
            };
            // SAFETY: the kernel copies the instructions that are there.
            let result = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const filter) };
            if result != 0 {
                must::<(), _>("filter system calls", Err(std::io::Error::last_os_error()));
            }
        }
    }
}

fn inert() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn all() -> MountAttrFlags {
    inert() | MountAttrFlags::MOUNT_ATTR_RDONLY
}

fn open(at: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a folder unless it is there, and opens it.
fn folder(root: BorrowedFd<'_>, name: &CStr) -> OwnedFd {
    let _ = rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755));
    must("open a folder", below(root, name).ok_or("it is missing"))
}

fn below(root: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
}

fn clone(source: BorrowedFd<'_>) -> OwnedFd {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    must("clone a mount", open_tree(source, c"", flags))
}

fn fresh(kind: &CStr, options: &[(&CStr, Option<&CStr>)], limits: MountAttrFlags) -> OwnedFd {
    let context = must("open a context", fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC));
    for (name, value) in options {
        must(
            "configure a mount",
            match value {
                Some(value) => fsconfig_set_string(context.as_fd(), *name, *value),
                None => fsconfig_set_flag(context.as_fd(), *name),
            },
        );
    }
    finish(context.as_fd(), limits)
}

fn finish(context: BorrowedFd<'_>, limits: MountAttrFlags) -> OwnedFd {
    must("create a file system", fsconfig_create(context));
    must("mount it", fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, limits))
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    must("put a mount in its place", move_mount(mount, c"", target, c"", flags));
}

#[expect(unsafe_code, reason = "mount_setattr is in no crate that is used here")]
fn set(mount: BorrowedFd<'_>, limits: MountAttrFlags) -> std::io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: u64::from(limits.bits()), attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the kernel reads an empty path, and as many bytes of attributes as it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Ends this process with a reason: a measurement that did less than it should is worth nothing.
fn must<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            eprintln!("bare_root: {what}: {error}");
            std::process::exit(1)
        }
    }
}
