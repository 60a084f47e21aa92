//! Ends a services daemon before a step of its choice.
//!
//! A step is what the daemon cannot take back: a sync of its records, something sent to the master, an answer to a client.
//! A thread of the test traces the daemon and kills it before the nth step of a kind.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Records become durable.
    Sync,
    /// The master hears something.
    Call,
    /// A client gets an answer.
    Answer,
}

/// Follows one daemon.
pub(crate) struct Tracer {
    thread: JoinHandle<bool>,
    stopped: Arc<AtomicBool>,
}

impl Tracer {
    /// Begins to follow a daemon, which answers clients at `port`, to kill it before its `nth` step of a kind, counted from
    /// 1.
    pub(crate) fn new(pid: u32, (port, master): (u16, u16), kind: Step, nth: usize) -> Self {
        let daemon = Pid::from_raw(pid.try_into().expect("a process id"));
        let stopped = Arc::new(AtomicBool::new(false));
        let (sender, following) = channel();
        let thread = thread::spawn({
            let stopped = stopped.clone();
            move || {
                seize(daemon);
                sender.send(()).expect("somebody waits");
                // The daemon is let go of when this thread ends.
                Trace { daemon, port, master }.kill_before(kind, nth, &stopped)
            }
        });
        following.recv().expect("the daemon is followed");
        Self { thread, stopped }
    }

    /// Whether the daemon has been killed.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Lets go of the daemon, and tells whether it was killed. `wake` has the daemon do anything: only then is it the
    /// tracer's turn.
    pub(crate) fn release(self, mut wake: impl FnMut()) -> bool {
        self.stopped.store(true, Ordering::Relaxed);
        while !self.thread.is_finished() {
            wake();
        }
        self.thread.join().expect("the tracer's thread")
    }
}

/// Follows all threads there are, and those to come.
fn seize(daemon: Pid) {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
    let tasks = fs::read_dir(format!("/proc/{daemon}/task")).expect("threads").flatten();
    for task in tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).map(Pid::from_raw) {
        // One that ends just now needs not be followed.
        if ptrace::seize(task, options).is_ok() {
            let _ = ptrace::interrupt(task);
        }
    }
}

struct Trace {
    daemon: Pid,
    port: u16,
    master: u16,
}

impl Trace {
    fn kill_before(&self, kind: Step, nth: usize, stopped: &AtomicBool) -> bool {
        let mut steps = 0;
        while !stopped.load(Ordering::Relaxed) {
            // Only what this thread traces: the children of other tests are theirs.
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(WaitStatus::PtraceSyscall(task)) => {
                    if self.step_of(task) == Some(kind) {
                        steps += 1;
                        if steps == nth {
                            kill(self.daemon, Signal::SIGKILL).expect("killed");
                            return true;
                        }
                    }
                    let _ = ptrace::syscall(task, None);
                }
                Ok(WaitStatus::PtraceEvent(task, ..)) => drop(ptrace::syscall(task, None)),
                Ok(WaitStatus::Stopped(task, signal)) => drop(ptrace::syscall(task, signal)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// What the system call does that a thread is about to make.
    fn step_of(&self, task: Pid) -> Option<Step> {
        if ptrace::syscall_info(task).ok()?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // The number of the call, then its arguments.
        let call = fs::read_to_string(format!("/proc/{task}/syscall")).ok()?;
        let mut words = call.split_whitespace();
        match words.next()?.parse().ok()? {
            libc::SYS_fdatasync | libc::SYS_fsync => Some(Step::Sync),
            libc::SYS_write | libc::SYS_writev | libc::SYS_sendto | libc::SYS_sendmsg => {
                let descriptor = u32::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
                let (own, other) = self.ports(descriptor)?;
                match () {
                    () if other == self.master => Some(Step::Call),
                    () if own == self.port => Some(Step::Answer),
                    () => None,
                }
            }
            _ => None,
        }
    }

    /// Both ends of a connection over IPv4.
    fn ports(&self, descriptor: u32) -> Option<(u16, u16)> {
        let process = Path::new("/proc").join(self.daemon.to_string());
        let target = fs::read_link(process.join(format!("fd/{descriptor}"))).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        let connections = fs::read_to_string(process.join("net/tcp")).ok()?;
        // The second and third word are the addresses, the tenth is the inode.
        let words = |line: &str| -> Option<(u16, u16)> {
            let words: Vec<&str> = line.split_whitespace().collect();
            let port = |at: usize| u16::from_str_radix(words.get(at)?.rsplit(':').next()?, 16).ok();
            (*words.get(9)? == inode).then_some((port(1)?, port(2)?))
        };
        connections.lines().find_map(words)
    }
}
