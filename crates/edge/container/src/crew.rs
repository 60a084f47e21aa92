//! Supervisors that share the launcher's memory.
//!
//! A forked supervisor is a copy of the launcher: the kernel copies its tables, and nearly every page it
//! touches costs a fault, which together takes as long as running a small program. A supervisor does so
//! little that it needs no memory of its own but a stack. So it is a process (its own id, signals,
//! descriptors and children, which is what tells its container's processes from all others) in the
//! launcher's address space, as the kernel makes it from CLONE_VM without CLONE_THREAD. It outlives the
//! launcher as a forked one does.
//!
//! What that asks of a supervisor: it never asks for memory, never panics, and never reads `errno`, as it
//! has no thread-local storage of its own. [`crate::job::Job`] holds all it writes to.
//!
//! Some are forked all the same (see [`shares_memory`]).

use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicI32, Ordering},
};

use nix::libc;

use crate::{
    job::{Inherited, Job},
    kernel,
    request::Launch,
    supervisor,
};

/// Enough for what runs on one; most of it is never touched.
const STACK_BYTES: usize = 64 * 1024;
/// Between stacks: running over the end of one ends that process instead of harming another.
const GUARD_BYTES: usize = 16 * 1024;
/// Places kept for later supervisors. A busy agent has about so many short tasks at once, and each place
/// has some 16 KiB that were touched.
const FREE_MAX: usize = 256;

/// Whether a supervisor may share the launcher's memory.
///
/// Not one whose container is set apart from the host, or started by another runtime, which takes memory to
/// prepare. Not one that moves output, as with a terminal, which takes buffers. Not one whose program joins control groups: the kernel
/// may find that group out of memory before the program has memory of its own, and would then end all who
/// share what it still uses. Not where failed system calls are only told by `errno`.
pub(crate) fn shares_memory(launch: &Launch<'_>) -> bool {
    kernel::ERRNO_FREE_EXECVE
        && launch.confined.is_none()
        && launch.assignment.is_none()
        && launch.cgroup_entrances.is_empty()
        && launch.rlimits.is_empty()
        && !launch.terminal
        && launch.outputs.iter().all(|output| output.rotation.is_none())
}

/// All supervisors of a launcher.
#[derive(Default)]
pub(crate) struct Crew {
    busy: Vec<Place>,
    free: Vec<Place>,
    /// Supervisors that were forked, and so have a copy of this memory.
    pub(crate) forked: usize,
}

/// Where one supervisor works.
struct Place {
    users: Box<Users>,
    stacks: Stacks,
    job: Option<Box<Job>>,
}

/// Process ids of those who work in a place. The kernel makes them zero when they have left its memory.
#[derive(Default)]
pub(crate) struct Users {
    supervisor: AtomicI32,
    /// Before it executes its program. It may go on alone for a moment when its supervisor is killed.
    pub(crate) program: AtomicI32,
}

impl Users {
    fn are_gone(&self) -> bool {
        self.supervisor.load(Ordering::Acquire) == 0 && self.program.load(Ordering::Acquire) == 0
    }
}

impl Crew {
    /// Starts a supervisor. `None` when the request is not one.
    pub(crate) fn start(
        &mut self,
        request: &[u8],
        inherited: &Inherited,
        passed: &[OwnedFd],
    ) -> io::Result<Option<()>> {
        let mut place = self.place()?;
        let Some(job) = Job::new(request, inherited, passed, place.stacks.top_of_program(), &place.users)
        else {
            self.free.push(place);
            return Ok(None);
        };
        let mut job = Box::new(job);
        if shares_memory(&job.launch) {
            place.start(job)?;
            self.busy.push(place);
            return Ok(Some(()));
        }
        let forked = kernel::fork();
        if let Ok(None) = forked {
            supervisor::supervise(&mut job)
        }
        // The forked one has a copy of it.
        self.free.push(place);
        self.forked += 1;
        forked.map(|_| Some(()))
    }

    fn place(&mut self) -> io::Result<Place> {
        if self.free.is_empty() {
            self.free.extend(self.busy.extract_if(.., |place| place.users.are_gone()));
            self.free.truncate(FREE_MAX);
        }
        match self.free.pop() {
            Some(place) => Ok(place),
            None => Ok(Place { users: Box::default(), stacks: Stacks::new()?, job: None }),
        }
    }
}

impl Place {
    #[expect(unsafe_code, reason = "clone with a shared address space")]
    fn start(&mut self, job: Box<Job>) -> io::Result<()> {
        let job: *mut Job = &raw mut **self.job.insert(job);
        let word = self.users.supervisor.as_ptr();
        // SAFETY: `main` runs on a stack of this place with its job as the argument. Neither is used by
        // anybody else nor freed until the kernel has cleared the place's users, which it does when they have
        // stopped using this memory. They are boxed and so stay where they are.
        let pid = unsafe {
            libc::clone(
                main,
                self.stacks.top_of_supervisor().cast(),
                libc::CLONE_VM | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD,
                job.cast(),
                word,
                std::ptr::null_mut::<c_void>(),
                word,
            )
        };
        if pid < 0 {
            self.job = None;
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        debug_assert!(self.users.are_gone(), "a place is in use");
    }
}

#[expect(unsafe_code, reason = "entry point of a supervisor")]
extern "C" fn main(job: *mut c_void) -> c_int {
    // SAFETY: `Place::start` passes its job, which nobody else touches while this process uses memory.
    supervisor::supervise(unsafe { &mut *job.cast::<Job>() })
}

/// A stack for a supervisor and one for the first steps of its program.
struct Stacks(*mut u8);

const STACKS_BYTES: usize = 2 * (GUARD_BYTES + STACK_BYTES);

impl Stacks {
    #[expect(unsafe_code, reason = "mapping memory")]
    fn new() -> io::Result<Self> {
        // SAFETY: a mapping of its own, which touches no other memory.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(std::ptr::null_mut(), STACKS_BYTES, libc::PROT_NONE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stacks = Self(start.cast());
        for top in [stacks.top_of_supervisor(), stacks.top_of_program()] {
            // SAFETY: the stack lies in the mapping, between its top and the guard below it.
            let made = unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                libc::mprotect(top.sub(STACK_BYTES).cast(), STACK_BYTES, access)
            };
            if made != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(stacks)
    }

    fn top_of_program(&self) -> *mut u8 {
        self.0.wrapping_add(GUARD_BYTES + STACK_BYTES)
    }

    fn top_of_supervisor(&self) -> *mut u8 {
        self.0.wrapping_add(STACKS_BYTES)
    }
}

impl Drop for Stacks {
    #[expect(unsafe_code, reason = "unmapping memory")]
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and places are dropped only when nobody runs in them.
        unsafe {
            libc::munmap(self.0.cast(), STACKS_BYTES);
        }
    }
}
