//! The short stretch between a supervisor and the task's program.
//!
//! The child shares the supervisor's memory until it executes the program (CLONE_VM | CLONE_VFORK,
//! as `posix_spawn` does it): no page table is copied, and an error is simply left in memory.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    os::fd::{AsRawFd, RawFd},
};

use nix::libc;
use rustix::fs::{Mode, OFlags};

use crate::{
    kernel,
    request::{Credentials, Launch, Rlimit},
};

/// Enough for the calls below; most of it is never touched.
pub(crate) const STACK_BYTES: usize = 64 * 1024;

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Clone,
    JoinCgroup(usize),
    SetLimit(usize),
    EnterSandbox,
    BecomeUser,
    OpenOutput(usize),
    Execute,
}

/// A start that failed: where and with which error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl Failure {
    /// For the status message.
    pub(crate) fn describe(&self, launch: &Launch<'_>) -> String {
        let name = |text: Option<&&CStr>| text.map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
        let what = match self.step {
            Step::Clone => "create a process".to_owned(),
            Step::JoinCgroup(n) => format!("join control group '{}'", name(launch.cgroup_procs.get(n))),
            Step::SetLimit(n) => {
                format!("set resource limit {}", launch.rlimits.get(n).map_or(0, |limit| limit.resource))
            }
            Step::EnterSandbox => {
                format!("change directory to '{}'", name(launch.sandbox.as_ref()))
            }
            Step::BecomeUser => "change to the task's user".to_owned(),
            Step::OpenOutput(n) => format!("open output file '{}'", name(launch.outputs[n].name.as_ref())),
            Step::Execute => {
                // A bare name is shown as it was given, not as one of the places it was looked for.
                let program = if launch.candidates.len() == 1 {
                    launch.candidates.first()
                } else {
                    launch.arguments.first().or(launch.candidates.first())
                };
                format!("execute '{}'", name(program))
            }
        };
        format!("Failed to {what}: {}", kernel::errno_text(self.errno))
    }
}

struct Plan<'a> {
    launch: &'a Launch<'a>,
    /// Pipes to be used instead of opening output files.
    pipes: [Option<RawFd>; 2],
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    failure: Option<Failure>,
}

/// Starts the program of `launch`; returns its process id once it executes.
#[expect(unsafe_code, reason = "clone with a shared address space")]
pub(crate) fn start(
    launch: &Launch<'_>,
    pipes: [Option<RawFd>; 2],
    stack: &mut Vec<u8>,
) -> Result<i32, Failure> {
    let pointers = |texts: &[&CStr]| {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let mut plan = Plan {
        launch,
        pipes,
        arguments: pointers(&launch.arguments),
        environment: pointers(&launch.environment),
        failure: None,
    };
    // Normally there already: the launcher makes it once for all supervisors.
    stack.reserve(STACK_BYTES);
    // SAFETY: `top` stays inside the allocation and is rounded down to what the ABI asks for. The
    // child runs `child_main` on that stack with `plan` as its argument; CLONE_VFORK suspends this
    // process until the child has executed a program or ended, so both outlive its use of them, and
    // this process has no other thread that could see them meanwhile. `child_main` allocates only in
    // ways that are complete when it ends, and returns or executes.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK_BYTES);
        let top = top.sub(top.addr() % 16);
        libc::clone(
            child_main,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut plan).cast(),
        )
    };
    if pid < 0 {
        return Err(Failure { step: Step::Clone, errno: kernel::last_errno() });
    }
    match plan.failure {
        None => Ok(pid),
        Some(failure) => Err(failure),
    }
}

#[expect(unsafe_code, reason = "entry point of the child")]
extern "C" fn child_main(argument: *mut c_void) -> c_int {
    // SAFETY: `start` passes its plan, which outlives this call and which nobody else touches until
    // this process executes or ends.
    let plan = unsafe { &mut *argument.cast::<Plan<'_>>() };
    let failure = prepare_and_execute(plan);
    plan.failure = Some(failure);
    127
}

fn prepare_and_execute(plan: &Plan<'_>) -> Failure {
    let failed = |step| move |errno: rustix::io::Errno| Failure { step, errno: errno.raw_os_error() };
    let prepared = || -> Result<(), Failure> {
        let launch = plan.launch;
        // Cannot fail: a fresh process leads no group.
        let _ = rustix::process::setsid();
        for (n, path) in launch.cgroup_procs.iter().enumerate() {
            join_cgroup(path).map_err(failed(Step::JoinCgroup(n)))?;
        }
        for (n, limit) in launch.rlimits.iter().enumerate() {
            set_limit(*limit).map_err(|errno| Failure { step: Step::SetLimit(n), errno })?;
        }
        if let Some(sandbox) = launch.sandbox {
            rustix::process::chdir(sandbox).map_err(failed(Step::EnterSandbox))?;
        }
        if let Some(credentials) = &launch.credentials {
            become_user(credentials).map_err(failed(Step::BecomeUser))?;
        }
        for n in 0..2 {
            open_output(plan, n).map_err(failed(Step::OpenOutput(n)))?;
        }
        kernel::unblock_all_signals();
        Ok(())
    };
    match prepared() {
        Err(failure) => failure,
        Ok(()) => Failure { step: Step::Execute, errno: execute(plan) },
    }
}

fn join_cgroup(procs: &CStr) -> rustix::io::Result<()> {
    let file = rustix::fs::open(procs, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Zero means the writing process.
    rustix::io::write(&file, b"0").map(|_| ())
}

#[expect(unsafe_code, reason = "limits travel as raw numbers")]
fn set_limit(limit: Rlimit) -> Result<(), i32> {
    let value = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: prlimit64 reads one rlimit64 behind the pointer and writes nothing for a null one.
    let result = unsafe { libc::prlimit64(0, limit.resource, &raw const value, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(kernel::last_errno()) }
}

fn become_user(credentials: &Credentials) -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    let groups: Vec<Gid> = credentials.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    // The thread forms are the bare system calls, and this process has one thread.
    rustix::thread::set_thread_groups(&groups)?;
    let gid = Gid::from_raw(credentials.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(credentials.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

#[expect(unsafe_code, reason = "dup2 onto the standard descriptors")]
fn open_output(plan: &Plan<'_>, n: usize) -> rustix::io::Result<()> {
    let opened;
    let fd = match (plan.pipes[n], plan.launch.outputs[n].name) {
        (Some(pipe), _) => pipe,
        (None, Some(name)) => {
            opened = kernel::open_for_append(name)?;
            // NONBLOCK only guarded the opening; the program expects an ordinary file.
            rustix::fs::fcntl_setfl(&opened, OFlags::APPEND)?;
            opened.as_raw_fd()
        }
        (None, None) => {
            opened = rustix::fs::open(c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            opened.as_raw_fd()
        }
    };
    let target = if n == 0 { 1 } else { 2 };
    // SAFETY: descriptors 1 and 2 are open since the launcher started and no Rust object owns them.
    if unsafe { libc::dup2(fd, target) } < 0 {
        return Err(rustix::io::Errno::from_raw_os_error(kernel::last_errno()));
    }
    Ok(())
}

/// Tries each candidate, as `execvp` does; returns only when none could be executed.
#[expect(unsafe_code, reason = "execve over prepared pointers")]
fn execute(plan: &Plan<'_>) -> i32 {
    let mut result = libc::ENOENT;
    for candidate in &plan.launch.candidates {
        // SAFETY: both lists end in a null pointer, and what they point to is borrowed by the plan.
        unsafe {
            libc::execve(candidate.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr());
        }
        match kernel::last_errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => result = libc::EACCES,
            errno => return errno,
        }
    }
    result
}
