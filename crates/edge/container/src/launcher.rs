//! The small process that starts supervisors, and the agent's end of it.

use std::{
    ffi::{CStr, CString},
    fmt::Write as _,
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::{ManuallyDrop, MaybeUninit},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::{
    io::FdFlags,
    mount::OpenTreeFlags,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    },
};

use crate::{
    containers::LauncherProgram,
    crew::{Crew, Users},
    job::{Inherited, Job},
    kernel::{self, Waited},
    layout,
    mount_api::{self, Limits},
    request::REQUEST_BYTES_MAX,
    stage,
};

/// The hidden first argument that makes the binary a launcher. Its main function must check for it
/// before it starts anything else and call [`launcher_main`].
pub const LAUNCHER_ARGUMENT: &str = "container-launcher";

/// The largest request sent as one packet. Sockets take a little over 200 KiB unless configured
/// otherwise; larger requests travel as an unnamed file.
const PACKET_BYTES_MAX: usize = 128 * 1024;

/// Sent in place of a request that is in the first file passed along; every request is longer.
const IN_A_FILE: &[u8] = b"f";

/// Supervisors that are forked from one memory, after which the launcher executes itself again.
///
/// The kernel keeps one list of all processes that have a page in common, with one lock, and goes through it
/// whenever it asks how long ago the page was used. Processes that fork wait for that: with all supervisors of
/// 4,000 containers in the list, and their first processes, longer than for everything else.
const FORKED_MAX: usize = 64;

/// Descriptors passed along with one request: a file with a large one, and two for a terminal.
const PASSED_MAX: usize = 3;

/// Runs the launcher until the agent that started it is gone. Standard input is the socket it gets
/// requests from, and standard output holds its lock; the second argument is the runtime directory. With a third
/// it has executed itself again.
pub fn launcher_main() -> ! {
    let status = match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("container-launcher: {error}");
            1
        }
    };
    kernel::exit_now(status)
}

fn serve() -> io::Result<()> {
    let runtime_dir = std::env::args_os()
        .nth(2)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the runtime directory is missing"))?;
    // Away from the agent's terminal and process group: what ends the agent must not end this.
    let _ = rustix::process::setsid();
    let requests = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let lock = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let kept_stage = stage_of_arguments();
    if let Some(stage) = &kept_stage {
        rustix::io::fcntl_setfd(stage, FdFlags::CLOEXEC)?;
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    let kept: Vec<_> = [&requests, &lock].into_iter().chain(&kept_stage).map(AsFd::as_fd).collect();
    close_all_but(&kept)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    kernel::restore_signals();
    kernel::block_all_signals();

    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let events = SocketAddrUnix::new(runtime_dir.join(layout::EVENTS_SOCKET))?;
    // Saves each notice the way to the name. Where that fails, the name is used.
    let _ = rustix::net::connect(&socket, &events);
    let folder = CString::new(runtime_dir.as_os_str().as_bytes())?;
    let stage = kept_stage.or_else(|| stage::make(&folder).ok());
    kernel::reap_children_automatically(true);
    // Those that ended while it executed itself again.
    while let Waited::Ended { .. } = kernel::reap(kernel::ANY_CHILD) {}
    let inherited = Inherited { socket, events, lock, requests, stage };
    // Never dropped: supervisors go on using it when the launcher has ended.
    let mut crew = ManuallyDrop::new(Crew::default());
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        let large;
        let mut passed = Vec::new();
        let bytes = match receive(&inherited.requests, &mut buffer, &mut passed)? {
            Request::End => return Ok(()),
            Request::Packet(length) => buffer.get(..length).unwrap_or_default(),
            Request::File(content) => {
                large = content;
                &large
            }
        };
        // What the agent sends is well-formed; a packet that is not has nobody to blame.
        if let Err(error) = crew.start(bytes, &inherited, &passed)
            && let Some(mut job) = Job::new(bytes, &inherited, &[], std::ptr::null_mut(), &Users::default())
        {
            let _ = write!(job.reason, "Failed to fork a supervisor: {error}");
            job.tell_failure(0);
        }
        // What was passed is closed here: supervisors have descriptors of their own.
        drop(passed);
        if crew.forked >= FORKED_MAX {
            crew.forked = 0;
            // Where it cannot be, everything goes on as it was.
            let _ = execute_again(&folder, &inherited);
        }
    }
}

/// Begins anew with an empty memory. Supervisors keep what they have of this one, the agent sees the same process,
/// and requests wait in the socket meanwhile. Returns only when it failed.
fn execute_again(runtime_dir: &CStr, inherited: &Inherited) -> io::Result<()> {
    let number = inherited.stage.as_ref().map(|stage| CString::new(stage.as_raw_fd().to_string()));
    let number = number.transpose()?;
    rustix::stdio::dup2_stdin(&inherited.requests)?;
    rustix::stdio::dup2_stdout(&inherited.lock)?;
    if let Some(stage) = &inherited.stage {
        rustix::io::fcntl_setfd(stage, FdFlags::empty())?;
    }
    let argument = CString::new(LAUNCHER_ARGUMENT)?;
    let name = c"/proc/self/exe";
    let texts = [Some(name), Some(&*argument), Some(runtime_dir), number.as_deref()];
    let pointers: Vec<_> = texts.into_iter().flatten().map(CStr::as_ptr).chain([std::ptr::null()]).collect();
    let errno = kernel::execute_without_variables(name, &pointers);
    if let Some(stage) = &inherited.stage {
        rustix::io::fcntl_setfd(stage, FdFlags::CLOEXEC)?;
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Err(io::Error::from_raw_os_error(errno))
}

/// The stage of a launcher that has executed itself again: a descriptor behind the runtime directory.
fn stage_of_arguments() -> Option<OwnedFd> {
    let number = std::env::args_os().nth(3)?.to_str()?.parse().ok()?;
    Some(kernel::own_descriptor(number))
}

/// Closes every descriptor above the standard ones but these: nothing that the agent's caller left
/// open may reach a container (attack A003).
fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<_> = kept.iter().map(|descriptor| descriptor.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for kept in kept {
        kernel::close_descriptors(first, kept.saturating_sub(1))?;
        first = kept + 1;
    }
    kernel::close_descriptors(first, u32::MAX)
}

/// The file behind [`layout::LAUNCHER_LOCK`].
pub(crate) fn open_launcher_lock(runtime_dir: &Path) -> io::Result<OwnedFd> {
    let path = runtime_dir.join(layout::LAUNCHER_LOCK);
    Ok(File::options().create(true).truncate(false).read(true).write(true).open(path)?.into())
}

enum Request {
    /// The agent is gone.
    End,
    /// So many bytes are in the buffer.
    Packet(usize),
    /// A large request, read from the file that was passed.
    File(Vec<u8>),
}

fn receive(socket: &OwnedFd, buffer: &mut [u8], passed: &mut Vec<OwnedFd>) -> io::Result<Request> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut pieces = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(socket, &mut pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in ancillary.drain() {
        let RecvAncillaryMessage::ScmRights(files) = message else { continue };
        passed.extend(files);
    }
    if received.bytes == IN_A_FILE.len() && !passed.is_empty() {
        let file = File::from(passed.remove(0));
        let mut content = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, REQUEST_BYTES_MAX as u64), &mut content)?;
        return Ok(Request::File(content));
    }
    Ok(if received.bytes == 0 { Request::End } else { Request::Packet(received.bytes) })
}

/// The agent's end of a launcher.
#[derive(Debug)]
pub(crate) struct Launcher {
    socket: OwnedFd,
    child: Child,
}

impl Launcher {
    pub(crate) fn spawn(program: &LauncherProgram, runtime_dir: &Path) -> io::Result<Self> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Held from before it is asked for anything: an agent that is killed before its launcher has come this
        // far is one whose launches are still to be awaited. Shared, as several launchers may overlap for a
        // moment; a recovering agent asks exclusively.
        let lock = open_launcher_lock(runtime_dir)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared)?;
        let sealed = read_only(&program.path);
        let path = match &sealed {
            Some(mount) => PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())),
            None => program.path.clone(),
        };
        let child = Command::new(path)
            .args(&program.arguments)
            .arg(runtime_dir)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(lock))
            .spawn()?;
        Ok(Self { socket: ours, child })
    }

    /// Blocks while the launcher is behind; the socket's own bound is the queue's bound.
    /// `passed` are descriptors for the supervisor.
    pub(crate) fn send(&self, request: &[u8], passed: &[OwnedFd]) -> io::Result<()> {
        if request.len() <= PACKET_BYTES_MAX && passed.is_empty() {
            rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, request, SendFlags::NOSIGNAL))?;
            return Ok(());
        }
        if request.len() > REQUEST_BYTES_MAX {
            return Err(io::Error::from(rustix::io::Errno::TOOBIG));
        }
        let file = if request.len() > PACKET_BYTES_MAX { Some(in_a_file(request)?) } else { None };
        let packet = [IoSlice::new(if file.is_some() { IN_A_FILE } else { request })];
        let files: Vec<_> = file.iter().map(AsFd::as_fd).chain(passed.iter().map(AsFd::as_fd)).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::from(rustix::io::Errno::TOOBIG));
        }
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &packet, &mut ancillary, SendFlags::NOSIGNAL)
        })?;
        Ok(())
    }

    /// Becomes ready when the launcher is gone.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Process id of the launcher.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Collects a launcher that is gone.
    pub(crate) fn reap(mut self) {
        drop(self.socket);
        let _ = self.child.wait();
    }
}

/// A request that is too large for a packet, to be read from its start.
fn in_a_file(request: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(c"launch", rustix::fs::MemfdFlags::CLOEXEC)?);
    io::Write::write_all(&mut file, request)?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// A mount of the program in which nobody can write to it: what runs from there can be seen by containers,
/// in which somebody may have every right there is (attack A001). Only root can have it, and only root needs
/// it: without, containers have no namespaces.
fn read_only(program: &Path) -> Option<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(rustix::fs::CWD, program, flags).ok()?;
    mount_api::limit(mount.as_fd(), Limits { read_only: true, ..Limits::default() }, false).ok()?;
    Some(mount)
}

/// Whether a path fits a socket address of the kernel.
pub(crate) fn socket_path_fits(path: &Path) -> bool {
    // sun_path holds 108 bytes, an ending zero among them.
    path.as_os_str().as_bytes().len() < 108
}
