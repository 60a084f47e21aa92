//! The system calls that neither `rustix` nor `nix` offers in a safe form.

use std::{
    ffi::{CStr, c_char},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

use nix::libc;

/// A signal that a supervisor took from its queue.
pub(crate) struct Taken {
    pub(crate) signal: i32,
    /// The number sent along with it.
    pub(crate) value: i32,
}

/// The signal by which an agent talks to a supervisor. Its value is the order.
pub(crate) fn order_signal() -> i32 {
    libc::SIGRTMIN()
}

/// The signal by which the leader of a terminal hears of its size.
pub(crate) const SIZE_SIGNAL: i32 = libc::SIGWINCH;

/// Blocks every signal, for this process and what it forks.
pub(crate) fn block_all_signals() {
    change_mask(true);
}

/// Unblocks every signal.
pub(crate) fn unblock_all_signals() {
    change_mask(false);
}

#[expect(unsafe_code, reason = "sigprocmask has no safe form without per-call allocation")]
fn change_mask(all: bool) {
    let mut set = MaybeUninit::uninit();
    // SAFETY: both calls initialise the whole set they are given, and sigprocmask only reads it.
    unsafe {
        if all {
            libc::sigfillset(set.as_mut_ptr());
        } else {
            libc::sigemptyset(set.as_mut_ptr());
        }
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Does something with a user's and a group's rights to files.
pub(crate) fn with_rights_of<T>(user: u32, group: u32, act: impl FnOnce() -> T) -> T {
    let own_group = nix::unistd::setfsgid(group.into());
    let own_user = nix::unistd::setfsuid(user.into());
    let result = act();
    nix::unistd::setfsuid(own_user);
    nix::unistd::setfsgid(own_group);
    result
}

/// Lets children be reaped by nobody (`true`, the kernel does it) or by `wait` (`false`).
#[expect(unsafe_code, reason = "changing a signal's disposition")]
pub(crate) fn reap_children_automatically(automatically: bool) {
    let disposition = if automatically { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither disposition runs code of ours.
    unsafe {
        libc::signal(libc::SIGCHLD, disposition);
    }
}

/// Gives all signals their default back: ignored ones stay ignored over `execve`, and programs rely on the
/// default. Rust's start-up code ignores SIGPIPE, and shells let what they start in the background ignore
/// SIGINT and SIGQUIT.
#[expect(unsafe_code, reason = "changing a signal's disposition")]
pub(crate) fn restore_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default disposition runs no code of ours. Where it cannot be changed nothing happens.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Waits until a child or the size of this session's terminal changed, or an order came. `None` when the wait was cut short, or (with a
/// timeout) nothing came.
#[expect(unsafe_code, reason = "sigtimedwait is in neither crate")]
pub(crate) fn take_signal(timeout_millis: Option<i32>) -> Option<Taken> {
    let mut set = MaybeUninit::uninit();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let timeout = timeout_millis.map(|millis| libc::timespec {
        tv_sec: libc::time_t::from(millis / 1000),
        tv_nsec: libc::c_long::from(millis % 1000) * 1_000_000,
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: sigemptyset initialises the set; the kernel fills `info` when it returns a signal, and
    // zero bytes are a valid siginfo_t before that. `si_value` reads the union member that
    // SI_QUEUE signals fill; for others it reads bytes of the same struct that mean nothing here.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGWINCH);
        libc::sigaddset(set.as_mut_ptr(), order_signal());
        let signal = libc::sigtimedwait(set.as_ptr(), info.as_mut_ptr(), timeout);
        if signal <= 0 {
            return None;
        }
        let info = info.assume_init();
        let queued = info.si_code == libc::SI_QUEUE;
        let value = if queued { info.si_value().sival_ptr as usize as i32 } else { 0 };
        Some(Taken { signal, value })
    }
}

/// A descriptor that is readable while [`take_signal`] has something to take.
#[expect(unsafe_code, reason = "signalfd over an initialised set")]
pub(crate) fn signal_descriptor() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is initialised before it is read; a non-negative result is a descriptor that
    // nobody else owns.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGWINCH);
        libc::sigaddset(set.as_mut_ptr(), order_signal());
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(std::os::fd::OwnedFd::from_raw_fd(fd))
    }
}

/// Result of one `waitpid`.
pub(crate) enum Waited {
    /// A child ended so.
    Ended {
        /// The raw wait status.
        status: i32,
    },
    /// There are children, and all of them live.
    NoneEnded,
    /// There are no children.
    NoChildren,
}

/// Any child, for [`reap`].
pub(crate) const ANY_CHILD: i32 = -1;

/// Reaps a child that has ended, without waiting for one.
#[expect(unsafe_code, reason = "rustix and nix take the raw status apart")]
pub(crate) fn reap(child: i32) -> Waited {
    let mut status = 0;
    // SAFETY: waitpid writes one int into `status`.
    match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG | libc::__WALL) } {
        0 => Waited::NoneEnded,
        pid if pid > 0 => Waited::Ended { status },
        _ => Waited::NoChildren,
    }
}

/// Waits until a child has ended, and reaps it.
#[expect(unsafe_code, reason = "waitpid through libc, as above")]
pub(crate) fn await_end(child: i32) {
    // SAFETY: waitpid writes nothing for a null pointer.
    while unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) } < 0
        && last_errno() == libc::EINTR
    {}
}

/// Process id of a child that has ended and is not reaped.
#[expect(unsafe_code, reason = "waitid through libc, beside waitpid")]
pub(crate) fn ended_child() -> Option<i32> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid writes one siginfo, whose zero bytes are valid; `si_pid` is what it fills.
    let pid = unsafe {
        if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
            return None;
        }
        info.assume_init().si_pid()
    };
    (pid > 0).then_some(pid)
}

/// Sends a signal to every process of a group.
pub(crate) fn signal_group(group: i32, signal: i32) -> io::Result<()> {
    kill(-group, signal)
}

/// Sends a signal to one process. `pid` is positive.
pub(crate) fn signal_process(pid: i32, signal: i32) -> io::Result<()> {
    kill(pid, signal)
}

#[expect(unsafe_code, reason = "rustix has no raw signal numbers, and real-time ones are legal here")]
fn kill(target: i32, signal: i32) -> io::Result<()> {
    // 0, -1 and 1 would address our own group, everybody, or init: never what is meant here.
    if matches!(target, -1..=1) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: kill takes two numbers and touches no memory.
    match unsafe { libc::kill(target, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends an order to the supervisor behind a process descriptor.
#[expect(unsafe_code, reason = "pidfd_send_signal with a value is in neither crate")]
pub(crate) fn send_order(supervisor: BorrowedFd<'_>, value: i32) -> io::Result<()> {
    // The start of the kernel's siginfo for SI_QUEUE on 64-bit Linux, padded to its full size.
    #[repr(C)]
    struct Queued {
        signal: i32,
        errno: i32,
        code: i32,
        padding: i32,
        pid: i32,
        uid: u32,
        value: u64,
        rest: [u64; 12],
    }
    const { assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>()) };
    let info = Queued {
        signal: order_signal(),
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        uid: rustix::process::getuid().as_raw(),
        value: u64::from(value.cast_unsigned()),
        rest: [0; 12],
    };
    // SAFETY: the kernel reads one siginfo from the pointer; the assertion above keeps its size.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, supervisor.as_raw_fd(), order_signal(), &raw const info, 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Process id of whoever holds the record lock on a file.
pub(crate) fn record_holder(file: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut lock = whole_file(libc::F_WRLCK);
    record_lock(file, libc::F_GETLK, &mut lock)?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK && lock.l_pid > 0).then_some(lock.l_pid))
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[expect(unsafe_code, reason = "rustix offers no query for record locks")]
fn record_lock(file: BorrowedFd<'_>, command: i32, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: both commands used here read and write one flock struct behind the pointer.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Forks this process, which must have one thread. `Ok(None)` in the child.
#[expect(unsafe_code, reason = "the one fork of the launcher")]
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the launcher has a single thread, so the child may go on using the heap and locks.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves namespaces for ones of this process's own.
#[expect(unsafe_code, reason = "unshare is unsafe for tables of descriptors")]
pub(crate) fn separate(namespaces: rustix::thread::UnshareFlags) -> rustix::io::Result<()> {
    let namespaces = namespaces.difference(rustix::thread::UnshareFlags::FILES);
    // SAFETY: the one flag that takes descriptors from other threads has just been left out.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// Lets only those system calls pass that a program of the kernel's packet filter lets pass.
#[expect(unsafe_code, reason = "seccomp is in neither crate")]
pub(crate) fn filter_system_calls(program: &[u8]) -> rustix::io::Result<()> {
    let (instructions, rest) = program.as_chunks::<{ size_of::<libc::sock_filter>() }>();
    let length = u16::try_from(instructions.len()).map_err(|_| rustix::io::Errno::TOOBIG)?;
    if !rest.is_empty() {
        return Err(rustix::io::Errno::INVAL);
    }
    // The kernel reads the instructions byte by byte, wherever they lie.
    let filter =
        libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: the kernel copies `len` instructions of eight bytes, which `program` has, and changes none.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(rustix::io::Errno::from_raw_os_error(last_errno())) }
}

/// Does nothing until this process is killed.
pub(crate) fn sleep_forever() -> ! {
    loop {
        rustix::event::pause();
    }
}

/// Whether [`execve`] tells its error without `errno`, which is one for all processes of one memory.
pub(crate) const ERRNO_FREE_EXECVE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Executes a program; returns the number of the error when that failed.
///
/// # Safety
///
/// Both lists end in a null pointer, and each other element is a C string.
#[expect(unsafe_code, reason = "execve over prepared pointers, without errno")]
pub(crate) unsafe fn execve(
    path: &CStr,
    arguments: *const *const c_char,
    variables: *const *const c_char,
) -> i32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the system call reads what its caller has promised, and returns only when it failed.
    unsafe {
        let result: isize;
        std::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_execve as isize => result,
            in("rdi") path.as_ptr(),
            in("rsi") arguments,
            in("rdx") variables,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
        i32::try_from(-result).unwrap_or(libc::EINVAL)
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        let result: isize;
        std::arch::asm!(
            "svc 0",
            in("x8") libc::SYS_execve as isize,
            inlateout("x0") path.as_ptr() as isize => result,
            in("x1") arguments,
            in("x2") variables,
            options(nostack),
        );
        i32::try_from(-result).unwrap_or(libc::EINVAL)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: as promised by the caller.
    unsafe {
        libc::execve(path.as_ptr(), arguments, variables);
        last_errno()
    }
}

/// Executes a program without variables; returns the number of the error when that failed. The list of arguments
/// ends in a null pointer.
#[expect(unsafe_code, reason = "execve over prepared pointers")]
pub(crate) fn execute_without_variables(path: &CStr, arguments: &[*const c_char]) -> i32 {
    assert!(arguments.last().is_some_and(|last| last.is_null()), "the list of arguments has an end");
    // SAFETY: both lists end in a null pointer, and callers have the texts.
    unsafe { execve(path, arguments.as_ptr(), [std::ptr::null()].as_ptr()) }
}

/// A descriptor that is open as long as this process is.
#[expect(unsafe_code, reason = "descriptors of a supervisor are numbers")]
pub(crate) fn borrow_descriptor(descriptor: RawFd) -> BorrowedFd<'static> {
    // SAFETY: only called with descriptors that supervisors have open to their end.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

/// Takes over a descriptor of this process that belongs to an object of the process it was copied from.
#[expect(unsafe_code, reason = "descriptors of a supervisor are numbers")]
pub(crate) fn own_descriptor(descriptor: RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: called in supervisors that were forked, once for each descriptor that was passed along: the object
    // that owned it lives on in the launcher, and its copy in this process is never dropped. And by a launcher
    // with a descriptor that was left to it by the one it was before.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) }
}

/// Closes a descriptor of this process that belongs to an object of the process it was copied from.
#[expect(unsafe_code, reason = "descriptors of a supervisor are numbers")]
pub(crate) fn close_copy(descriptor: RawFd) {
    // SAFETY: nothing in this process uses it any more.
    unsafe { rustix::io::close(descriptor) }
}

/// Ends this process at once, without running what `exit` runs.
#[expect(unsafe_code, reason = "exit handlers belong to the process this one was forked from")]
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit touches no memory and does not return.
    unsafe { libc::_exit(status) }
}

/// The text of an error number.
pub(crate) fn errno_text(errno: i32) -> &'static str {
    nix::errno::Errno::from_raw(errno).desc()
}

/// An error number of the last failed libc call.
pub(crate) fn last_errno() -> i32 {
    nix::errno::Errno::last_raw()
}

/// Opens a file by a path that may be attacker-owned in its last component: links are not followed,
/// and a pipe without a reader does not block.
pub(crate) fn open_for_append(path: &CStr) -> rustix::io::Result<std::os::fd::OwnedFd> {
    open_for_append_at(rustix::fs::CWD, path)
}

/// The same below a folder.
pub(crate) fn open_for_append_at(
    folder: BorrowedFd<'_>,
    path: &CStr,
) -> rustix::io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::APPEND
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    rustix::fs::openat(folder, path, flags, Mode::from_raw_mode(0o644))
}

/// Lets a program be killed when this process is, or the thread that has started it.
#[expect(unsafe_code, reason = "a step between fork and execve")]
pub(crate) fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: one system call that asks for no memory and takes no lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(io::Error::from)
        });
    }
}

/// Lets a program have none but the standard descriptors, whatever this process has open without the flag for it,
/// and no blocked signals, which what it starts would have as well.
#[expect(unsafe_code, reason = "a step between fork and execve")]
pub(crate) fn start_clean(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: two system calls that ask for no memory and take no lock; nothing is closed before `execve`.
    unsafe {
        command.pre_exec(|| {
            unblock_all_signals();
            match libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Closes all descriptors from `first` to `last`.
#[expect(unsafe_code, reason = "close_range is in neither crate")]
pub(crate) fn close_descriptors(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: called by the launcher at its start, when nothing above the standard descriptors but
    // the one that the caller leaves out of the range is owned by anything; and by processes that use none
    // of these descriptors until they end or execute a program.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
