//! The short stretch between a supervisor and the task's program.
//!
//! The child shares the supervisor's memory until it executes the program (CLONE_VM | CLONE_VFORK,
//! as `posix_spawn` does it): no page table is copied, and an error is simply left in memory.

use std::{
    ffi::{CStr, c_int, c_void},
    fmt::{self, Write as _},
    os::fd::AsFd,
    sync::atomic::Ordering,
};

use nix::libc;
use rustix::{
    fs::{Mode, OFlags},
    thread::UnshareFlags,
};

use crate::{
    confinement::Confined,
    enter,
    filesystem::Part,
    init,
    job::{Job, Shown},
    kernel, privileges,
    request::Rlimit,
};

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Clone,
    JoinCgroup(usize),
    SetLimit(usize),
    EnterSandbox,
    BecomeUser,
    ConnectInput,
    OpenOutput(usize),
    /// Making the container's own namespaces and files.
    Confine(Part),
    Restrict,
    EnterDirectory,
    Execute,
    /// Waiting for the container's first process, which failed. The number is the first byte of what it says
    /// then, or zero for nothing.
    AwaitInit,
}

/// A start that failed: where and with which error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl Job {
    /// Writes why the program did not start, for the status message.
    pub(crate) fn describe(&mut self, failure: Failure) -> fmt::Result {
        let (launch, to) = (&self.launch, &mut self.reason);
        to.write_str("Failed to ")?;
        match failure.step {
            Step::Clone => to.write_str("create a process"),
            Step::JoinCgroup(n) => {
                write!(to, "join control group '{}'", Shown(launch.cgroup_entrances.get(n).copied()))
            }
            Step::SetLimit(n) => {
                write!(to, "set resource limit {}", launch.rlimits.get(n).map_or(0, |limit| limit.resource))
            }
            Step::EnterSandbox => write!(to, "change directory to '{}'", Shown(launch.sandbox)),
            Step::BecomeUser => to.write_str("change to the task's user"),
            Step::ConnectInput => to.write_str("connect standard input"),
            Step::OpenOutput(n) => write!(to, "open output file '{}'", Shown(launch.outputs[n].name)),
            Step::Confine(part) => {
                let confined = launch.confined.as_ref();
                let mount = |n: usize| confined.and_then(|confined| confined.mounts.get(n));
                let layer = |n: usize| confined.and_then(|confined| confined.root.as_ref()?.layers.get(n));
                match part {
                    Part::Do(what) => to.write_str(what),
                    Part::Layer(n) => write!(to, "open image layer '{}'", Shown(layer(n).copied())),
                    Part::Mount(n) => {
                        let (source, target) =
                            (mount(n).map(|m| m.source.shown()), mount(n).map(|m| m.target));
                        write!(to, "mount volume '{}' at '{}'", Shown(source), Shown(target))
                    }
                    Part::Protected(n) => {
                        let source = Shown(mount(n).map(|m| m.source.shown()));
                        write!(to, "mount volume '{source}', which no container may have")
                    }
                }
            }
            Step::AwaitInit => to.write_str("prepare the container"),
            Step::Restrict => to.write_str("restrict what the task may do"),
            Step::EnterDirectory => {
                write!(to, "change directory to '{}'", Shown(launch.start_directory()))
            }
            Step::Execute => {
                // A bare name is shown as it was given, not as one of the places it was looked for.
                let program = if launch.candidates.len() == 1 {
                    launch.candidates.first()
                } else {
                    launch.arguments.first().or(launch.candidates.first())
                };
                write!(to, "execute '{}'", Shown(program.copied()))
            }
        }?;
        write!(to, ": {}", kernel::errno_text(failure.errno))
    }
}

/// Starts the program of a job; returns its process id once it executes.
#[expect(unsafe_code, reason = "clone with a shared address space")]
pub(crate) fn start(job: &mut Job) -> Result<i32, Failure> {
    let (stack, word) = (job.stack, job.program);
    // SAFETY: the child runs `child_main` on a stack that is its alone, with the job as its argument.
    // CLONE_VFORK suspends this process until the child has executed a program or ended, so both outlive
    // its use of them, and nobody else touches the job meanwhile; should this process be killed, `word`
    // keeps the launcher from using them again too early.
    let pid = unsafe {
        libc::clone(
            child_main,
            stack.cast(),
            libc::CLONE_VM
                | libc::CLONE_VFORK
                | libc::CLONE_PARENT_SETTID
                | libc::CLONE_CHILD_CLEARTID
                | libc::SIGCHLD,
            (&raw mut *job).cast(),
            word,
            std::ptr::null_mut::<c_void>(),
            word,
        )
    };
    if pid < 0 {
        return Err(Failure { step: Step::Clone, errno: kernel::last_errno() });
    }
    match job.failure {
        // Who has a process namespace ends with its first process, and can say nothing about it.
        None if job.ready >= 0 && !job.prepared.load(Ordering::Acquire) => {
            Err(Failure { step: Step::AwaitInit, errno: 0 })
        }
        None => Ok(pid),
        Some(failure) => Err(failure),
    }
}

#[expect(unsafe_code, reason = "entry point of the child")]
extern "C" fn child_main(argument: *mut c_void) -> c_int {
    // SAFETY: `start` passes its job, which outlives this call and which nobody else touches until
    // this process executes or ends.
    let job = unsafe { &mut *argument.cast::<Job>() };
    let failure = prepare_and_execute(job);
    job.failure = Some(failure);
    127
}

fn prepare_and_execute(job: &Job) -> Failure {
    let failed = |step| move |errno: rustix::io::Errno| Failure { step, errno: errno.raw_os_error() };
    let prepared = || -> Result<(), Failure> {
        let launch = &job.launch;
        // Cannot fail: a fresh process leads no group.
        let _ = rustix::process::setsid();
        for (n, path) in launch.cgroup_entrances.iter().enumerate() {
            join_cgroup(path).map_err(failed(Step::JoinCgroup(n)))?;
        }
        for (n, limit) in launch.rlimits.iter().enumerate() {
            set_limit(*limit).map_err(|errno| Failure { step: Step::SetLimit(n), errno })?;
        }
        connect_input(job).map_err(failed(Step::ConnectInput))?;
        if let Some(sandbox) = launch.sandbox {
            rustix::process::chdir(sandbox).map_err(failed(Step::EnterSandbox))?;
        }
        if let Some(confined) = &launch.confined {
            return confine(job, confined);
        }
        if let Some(credentials) = &launch.credentials {
            privileges::become_user(credentials, &job.groups).map_err(failed(Step::BecomeUser))?;
        }
        for n in 0..2 {
            open_output(job, n).map_err(failed(Step::OpenOutput(n)))?;
        }
        kernel::unblock_all_signals();
        Ok(())
    };
    match prepared() {
        Err(failure) => failure,
        Ok(()) => {
            job.prepared.store(true, Ordering::Release);
            Failure { step: Step::Execute, errno: execute(job) }
        }
    }
}

fn join_cgroup(entrance: &CStr) -> rustix::io::Result<()> {
    let file = rustix::fs::open(entrance, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Zero means the writing thread, which is all of the process, or the process.
    rustix::io::write(&file, b"0").map(|_| ())
}

#[expect(unsafe_code, reason = "limits travel as raw numbers")]
fn set_limit(limit: Rlimit) -> Result<(), i32> {
    let value = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: prlimit64 reads one rlimit64 behind the pointer and writes nothing for a null one.
    let result = unsafe { libc::prlimit64(0, limit.resource, &raw const value, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(kernel::last_errno()) }
}

/// Takes the last steps of a container that is set apart from the host, inside of it.
fn confine(job: &Job, confined: &Confined<'_>) -> Result<(), Failure> {
    let failed = |step| move |errno: rustix::io::Errno| Failure { step, errno: errno.raw_os_error() };
    let launch = &job.launch;
    // Output goes to the sandbox, which is opened as the host sees it and with the user's rights.
    if let Some(credentials) = &launch.credentials {
        rustix::thread::set_thread_groups(&job.groups).map_err(failed(Step::BecomeUser))?;
        kernel::with_rights_of(credentials.uid, credentials.gid, || open_outputs(job))?;
    } else {
        open_outputs(job)?;
    }
    if job.ready >= 0 {
        init::await_ready(kernel::borrow_descriptor(job.ready))
            .map_err(|first| Failure { step: Step::AwaitInit, errno: first.map_or(0, i32::from) })?;
    }
    if job.init >= 0 {
        let namespaces = match &confined.entered {
            Some(_) => enter::NAMESPACES,
            None => init::namespaces(confined),
        };
        rustix::thread::move_into_thread_name_spaces(kernel::borrow_descriptor(job.init), namespaces)
            .map_err(failed(Step::Confine(Part::Do("join the container's namespaces"))))?;
    }
    if confined.root.is_some() {
        // The control groups it has joined are the only ones it knows.
        kernel::separate(UnshareFlags::NEWCGROUP)
            .map_err(failed(Step::Confine(Part::Do("separate control groups"))))?;
    }
    if job.start >= 0 {
        rustix::process::fchdir(kernel::borrow_descriptor(job.start))
            .map_err(failed(Step::EnterDirectory))?;
    }
    // Whatever is open here belongs to the host, and a directory to start in may be a name for it
    // (attack A002).
    kernel::close_descriptors(3, u32::MAX).map_err(|error| Failure {
        step: Step::Confine(Part::Do("close descriptors")),
        errno: error.raw_os_error().unwrap_or_default(),
    })?;
    if let Some(path) = launch.start_directory() {
        rustix::process::chdir(path).map_err(failed(Step::EnterDirectory))?;
    }
    kernel::unblock_all_signals();
    privileges::restrict(confined, launch.credentials.as_ref(), &job.groups).map_err(failed(Step::Restrict))
}

fn open_outputs(job: &Job) -> Result<(), Failure> {
    for n in 0..2 {
        open_output(job, n)
            .map_err(|errno| Failure { step: Step::OpenOutput(n), errno: errno.raw_os_error() })?;
    }
    Ok(())
}

/// A terminal becomes the one that the program, which leads a session of its own, is controlled by.
fn connect_input(job: &Job) -> rustix::io::Result<()> {
    if job.input < 0 {
        return Ok(());
    }
    let input = kernel::borrow_descriptor(job.input);
    if job.launch.terminal {
        rustix::process::ioctl_tiocsctty(input)?;
    }
    rustix::stdio::dup2_stdin(input)
}

fn open_output(job: &Job, n: usize) -> rustix::io::Result<()> {
    let opened;
    let descriptor = match (job.outputs.pipe(n), job.launch.outputs[n].name) {
        (Some(pipe), _) => pipe,
        (None, Some(name)) => {
            opened = kernel::open_for_append(name)?;
            // NONBLOCK only guarded the opening; the program expects an ordinary file.
            rustix::fs::fcntl_setfl(&opened, OFlags::APPEND)?;
            opened.as_fd()
        }
        (None, None) => {
            opened = rustix::fs::open(c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            opened.as_fd()
        }
    };
    if n == 0 { rustix::stdio::dup2_stdout(descriptor) } else { rustix::stdio::dup2_stderr(descriptor) }
}

/// Tries each candidate, as `execvp` does; returns only when none could be executed.
#[expect(unsafe_code, reason = "execve over prepared pointers")]
fn execute(job: &Job) -> i32 {
    let mut result = libc::ENOENT;
    for candidate in &job.launch.candidates {
        // SAFETY: both lists end in a null pointer, and what they point to lives as long as the job.
        match unsafe { kernel::execve(candidate, job.arguments.as_ptr(), job.environment.as_ptr()) } {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => result = libc::EACCES,
            errno => return errno,
        }
    }
    result
}
