//! The first process of a container with namespaces of its own.
//!
//! It makes the container's file system and then does nothing but be there: the kernel gives it the orphans of
//! the container's process namespace and reaps them for it, and ends all that is in the namespace when it
//! ends. The program is not its child but its supervisor's, who puts the program into the same namespaces; so
//! a supervisor does the same for every kind of container.
//!
//! It has a memory of its own, which it may use as it likes, and dies with its supervisor. Nobody inside can
//! look into it, or at its program file, without the right to trace everything (attack A001).

use std::{
    ffi::CStr,
    fmt::Write as _,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pipe::PipeFlags,
    process::{DumpableBehavior, Pid, PidfdFlags, Signal},
    thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags},
};

use crate::{
    child::{Failure, Step},
    confinement::Confined,
    filesystem::{self, Part},
    job::{Job, Reason},
    kernel,
};

/// What it says when everything is ready; anything else is the reason why not.
const READY: u8 = 0;

/// A container's first process, as its supervisor knows it.
pub(crate) struct Init {
    pub(crate) pid: i32,
    pub(crate) descriptor: OwnedFd,
    /// What it says comes here.
    pub(crate) said: OwnedFd,
}

/// Starts it, and goes on while it prepares everything: the program has a while to go until it needs it, and
/// joining control groups of version 1 is mostly waiting. On failure the reason is in the job.
pub(crate) fn start(job: &mut Job) -> Result<Init, ()> {
    try_start(job).map_err(|errno| {
        let why = kernel::errno_text(errno.raw_os_error());
        let _ = write!(job.reason, "Failed to create the container's first process: {why}");
    })
}

fn try_start(job: &mut Job) -> rustix::io::Result<Init> {
    let (said, writing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    if job.launch.confined.as_ref().is_some_and(|confined| confined.pid) {
        // Not for this process, but for those it starts.
        kernel::separate(UnshareFlags::NEWPID)?;
    }
    let pid = match kernel::fork() {
        Ok(None) => {
            drop(said);
            run(job, writing)
        }
        Ok(Some(pid)) => pid,
        Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
    };
    drop(writing);
    let process = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    let descriptor = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    Ok(Init { pid, descriptor, said })
}

/// Waits until everything is ready; otherwise the first byte of the reason, if there is one.
pub(crate) fn await_ready(said: BorrowedFd<'_>) -> Result<(), Option<u8>> {
    let mut byte = [0];
    match rustix::io::retry_on_intr(|| rustix::io::read(said, &mut byte)) {
        Ok(1) if byte == [READY] => Ok(()),
        Ok(1) => Err(byte.first().copied()),
        _ => Err(None),
    }
}

impl Init {
    /// Why it is not ready, of which the first byte was read already.
    pub(crate) fn explain(&self, first: Option<u8>, reason: &mut Reason) {
        let Some(first) = first else {
            let _ = reason.write_str("Failed to prepare the container: its first process was ended");
            return;
        };
        let mut text = vec![first];
        let mut more = [0; 1024];
        // It has ended, or is about to: it was told to.
        while let Ok(length @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(&self.said, &mut more)) {
            text.extend_from_slice(more.get(..length).unwrap_or_default());
        }
        let _ = reason.write_str(&String::from_utf8_lossy(&text));
    }
}

/// What the first process does; never returns.
fn run(job: &mut Job, writing: OwnedFd) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setsid();
    if let Err(failure) = prepare(job) {
        let _ = job.describe(failure);
        let _ = rustix::io::write(&writing, job.reason.as_bytes());
        drop(writing);
        // Its end would take the program along, which is still to hear this.
        kernel::sleep_forever()
    }
    let _ = rustix::thread::set_name(c"init");
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    kernel::reap_children_automatically(true);
    // Before the program runs, which may be one that can look in here.
    let kept = writing.as_raw_fd().cast_unsigned();
    let closed = kernel::close_descriptors(0, kept.saturating_sub(1))
        .and_then(|()| kernel::close_descriptors(kept.saturating_add(1), u32::MAX));
    // A supervisor that was ended before it could be noticed does not listen any more.
    if closed.is_err() || rustix::io::write(writing.as_fd(), &[READY]).is_err() {
        kernel::exit_now(1)
    }
    drop(writing);
    kernel::sleep_forever()
}

fn prepare(job: &Job) -> Result<(), Failure> {
    let Some(confined) = &job.launch.confined else { return Ok(()) };
    let failed = |what: &'static str| {
        move |errno: Errno| Failure { step: Step::Confine(Part::Do(what)), errno: errno.raw_os_error() }
    };
    if let Some(network) = &confined.network {
        join_network(network.namespace).map_err(failed("join the container's network"))?;
    }
    // Mounts of its own come with the file system.
    kernel::separate(made(confined).difference(UnshareFlags::NEWNS)).map_err(failed("create namespaces"))?;
    if let Some(hostname) = confined.hostname
        && has_name(confined)
    {
        set_hostname(hostname).map_err(failed("set the host name"))?;
    }
    let stage = (job.stage >= 0).then(|| kernel::borrow_descriptor(job.stage));
    filesystem::enter(&job.launch, confined, stage)
        .map_err(|problem| Failure { step: Step::Confine(problem.part), errno: problem.errno.raw_os_error() })
}

fn set_hostname(hostname: &CStr) -> rustix::io::Result<()> {
    rustix::system::sethostname(hostname.to_bytes())
}

/// The network's namespace is there already. What is mounted from here on shows that network.
fn join_network(namespace: &CStr) -> rustix::io::Result<()> {
    let file = rustix::fs::open(namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
}

/// Whether it has a host name of its own.
pub(crate) fn has_name(confined: &Confined<'_>) -> bool {
    confined.root.is_some() || confined.network.is_some()
}

/// The namespaces that the first process makes.
fn made(confined: &Confined<'_>) -> UnshareFlags {
    let mut flags = UnshareFlags::NEWNS;
    flags.set(UnshareFlags::NEWUTS, has_name(confined));
    flags.set(UnshareFlags::NEWIPC, confined.ipc);
    flags
}

/// Those of the first process that the program joins.
pub(crate) fn namespaces(confined: &Confined<'_>) -> ThreadNameSpaceType {
    let mut joined = ThreadNameSpaceType::from_bits_retain(made(confined).bits());
    joined.set(ThreadNameSpaceType::NETWORK, confined.network.is_some());
    joined
}
