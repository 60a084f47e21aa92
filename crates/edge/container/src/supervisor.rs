//! The process that stands between one container and everything else.

use std::{
    ffi::CStr,
    fmt::Write as _,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::libc;
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::{
    child::{self, Failure, Step},
    enter,
    event::News,
    init::{self, Init},
    job::{Job, Shown},
    kernel::{self, Waited},
    oci,
    outputs::Outputs,
    processes,
};

/// The order to end everything; smaller numbers are signals for the program's group.
pub(crate) const ORDER_DESTROY: i32 = 1000;

/// A reason that could not be written in full is told as far as it went.
struct Failed;

/// Runs one container to its end. Never returns, and mostly shares the launcher's memory: see
/// [`crate::crew`] for what that forbids here.
pub(crate) fn supervise(job: &mut Job) -> ! {
    kernel::close_copy(job.requests);
    kernel::reap_children_automatically(false);
    let own_pid = rustix::process::getpid();
    let _ = rustix::process::set_child_subreaper(Some(own_pid));
    let own_pid = own_pid.as_raw_nonzero().get().cast_unsigned();
    let mut foreign = None;
    let Err(Failed) = run(job, own_pid, &mut foreign) else { kernel::exit_now(0) };
    if job.launch.runtime_dir.is_some() {
        // The agent may be away; without this file it could not tell why nothing runs.
        let _ = write_new(&job.failed_file, job.reason.as_bytes());
    }
    if let Some(container) = foreign {
        kernel::close_copy(job.lock);
        end_remaining(&mut job.outputs, None);
        container.clear();
    }
    job.tell_failure(own_pid);
    kernel::exit_now(0)
}

/// A container of another runtime that did not start is left in `foreign`, to be cleared away.
fn run(job: &mut Job, own_pid: u32, foreign: &mut Option<oci::Container>) -> Result<(), Failed> {
    if job.launch.runtime_dir.is_none() {
        let _ = write!(job.reason, "Failed to launch: no runtime directory was given");
        return Err(Failed);
    }
    let pid_file = match claim(&mut job.directory, &job.pid_file) {
        Ok(file) => file,
        Err(errno) => {
            let (directory, why) = (Shown(job.launch.runtime_dir), kernel::errno_text(errno.raw_os_error()));
            let _ = write!(job.reason, "Failed to create '{directory}': {why}");
            return Err(Failed);
        }
    };
    match Outputs::open(job) {
        Ok(outputs) => job.outputs = outputs,
        Err(errno) => {
            let why = kernel::errno_text(errno.raw_os_error());
            let _ = write!(job.reason, "Failed to create pipes: {why}");
            return Err(Failed);
        }
    }
    if job.launch.assignment.is_some() {
        let pid = start_foreign(job, foreign)?;
        hold(job, own_pid, pid, &pid_file);
        finish(job, own_pid, pid, None, foreign.take());
        return Ok(());
    }
    let init = match &job.launch.confined {
        Some(confined) if confined.has_namespaces() => Some(init::start(job).map_err(|()| Failed)?),
        _ => None,
    };
    let keep_init = job.launch.confined.as_ref().is_some_and(|confined| confined.pid);
    job.init = init.as_ref().map_or(-1, |init| init.descriptor.as_raw_fd());
    job.ready = init.as_ref().map_or(-1, |init| init.said.as_raw_fd());
    let entered = match job.launch.confined.as_ref().and_then(|confined| confined.entered.as_ref()) {
        None => None,
        Some(entered) => match enter::open(entered) {
            Ok(target) => Some(target),
            Err(errno) => {
                let why = kernel::errno_text(errno.raw_os_error());
                let _ = write!(job.reason, "Failed to enter the container: {why}");
                return Err(Failed);
            }
        },
    };
    if let Some(target) = &entered {
        (job.init, job.start) = (target.process.as_raw_fd(), target.directory.as_raw_fd());
    }
    let started = child::start(job);
    (job.init, job.start, job.ready) = (-1, -1, -1);
    drop(entered);
    if let Some(init) = &init
        && (!keep_init || started.is_err())
    {
        // What it made is held by the program.
        let _ = kernel::signal_process(init.pid, libc::SIGKILL);
    }
    let pid = match started {
        Ok(pid) => pid,
        Err(failure) => {
            match &init {
                Some(init) if failure.step == Step::AwaitInit => {
                    init.explain(
                        u8::try_from(failure.errno).ok().filter(|first| *first != 0),
                        &mut job.reason,
                    );
                }
                _ => drop(job.describe(failure)),
            }
            return Err(Failed);
        }
    };
    hold(job, own_pid, pid, &pid_file);
    finish(job, own_pid, pid, init.filter(|_| keep_init), None);
    Ok(())
}

/// Has another runtime start the program; returns its process id. On failure the reason is in the job.
fn start_foreign(job: &mut Job, foreign: &mut Option<oci::Container>) -> Result<i32, Failed> {
    // Taken out, as it borrows from what the job keeps and not from the job.
    let Some(assignment) = job.launch.assignment.take() else { return Err(Failed) };
    let started = oci::Container::new(job, &assignment)
        .and_then(|container| foreign.insert(container).start(job, &assignment));
    started.map_err(|error| {
        match error {
            oci::Error::Problem(problem) => {
                let errno = problem.errno.raw_os_error();
                let _ = job.describe(Failure { step: Step::Confine(problem.part), errno });
            }
            oci::Error::Words(words) => {
                let _ = write!(job.reason, "Failed to {words}");
            }
        }
        Failed
    })
}

/// Makes it known that the program runs.
fn hold(job: &mut Job, own_pid: u32, pid: i32, pid_file: &OwnedFd) {
    job.outputs.close_writing_ends();
    if job.input >= 0 && !job.launch.terminal {
        // The program must hear when nobody else holds the other end.
        kernel::close_copy(job.input);
    }
    // Should this write fail, recovery knows the container by its lock and only misses the number.
    let _ = write_number(pid_file, pid);
    // From here on a restarted agent finds the container on disk. Closing gives up this process'
    // share of the lock; unlocking would take it from the launcher and all other supervisors.
    kernel::close_copy(job.lock);
    job.tell(own_pid, News::Started(pid.cast_unsigned()));
}

/// Waits for the end of the program, and ends and clears away the rest.
fn finish(job: &mut Job, own_pid: u32, pid: i32, init: Option<Init>, foreign: Option<oci::Container>) {
    let status = wait(pid, &mut job.outputs);
    let _ = open_new(&job.status_file).and_then(|file| write_number(&file, status));
    end_remaining(&mut job.outputs, init);
    job.outputs.drain();
    if let Some(container) = foreign {
        container.clear();
    }
    job.tell(own_pid, News::Exited(status));
}

/// Makes the runtime directory and locks the `pid` file in it. The directory ends in a zero byte.
fn claim(directory: &mut [u8], pid_file: &CStr) -> rustix::io::Result<OwnedFd> {
    match make_folder(directory) {
        Err(Errno::NOENT) => {
            // The parent of a child container may have no process, and so no directory, of its own.
            for end in 1..directory.len() {
                if directory[end] != b'/' {
                    continue;
                }
                directory[end] = 0;
                let made = make_folder(&directory[..=end]);
                directory[end] = b'/';
                match made {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            make_folder(directory)?;
        }
        // A child container's launch may have made it as its parent.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    // EXCL: a second launch under the same id must not take over a living one's files.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(pid_file, flags, Mode::from_raw_mode(0o644))?;
    rustix::fs::fcntl_lock(file.as_fd(), FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn make_folder(path: &[u8]) -> rustix::io::Result<()> {
    let path = CStr::from_bytes_with_nul(path).map_err(|_| Errno::INVAL)?;
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
}

/// Waits for the program's end; meanwhile reaps, passes signals on and moves output.
fn wait(pid: i32, outputs: &mut Outputs) -> i32 {
    loop {
        if let Some(taken) = outputs.next_signal()
            && taken.signal == kernel::order_signal()
        {
            match taken.value {
                ORDER_DESTROY => kill_program(pid),
                // The program is not reaped yet, so its group is still its own.
                signal @ 1..=64 => drop(kernel::signal_group(pid, signal)),
                _ => {}
            }
        }
        while let Some(ended) = kernel::ended_child() {
            if ended == pid {
                // While the program is a zombie its group's number belongs to nobody else.
                let _ = kernel::signal_group(pid, libc::SIGKILL);
            }
            if let Waited::Ended { status, .. } = kernel::reap(ended)
                && ended == pid
            {
                return status;
            }
        }
    }
}

fn kill_program(pid: i32) {
    let _ = kernel::signal_group(pid, libc::SIGKILL);
    // The program may have left its first group.
    let _ = kernel::signal_process(pid, libc::SIGKILL);
}

/// How long processes that were just killed get to vanish before the process table is searched for
/// others; searching costs milliseconds on a busy host, and most need none of it.
const VANISH: Duration = Duration::from_millis(20);
/// The same where the kernel itself ends a whole namespace, and nothing but what somebody brought in meanwhile
/// could be left. When a thousand end at once each takes a while, and searching would make it longer.
const VANISH_NAMESPACE: Duration = Duration::from_secs(1);

/// Ends whatever the program left behind. This process is their reaper, so nothing can escape by
/// becoming an orphan, and the loop ends when no child is left.
fn end_remaining(outputs: &mut Outputs, init: Option<Init>) {
    let mut patience = VANISH;
    if let Some(init) = init {
        // Takes everything in its namespace along. A number that became another's is not taken for it.
        let _ = rustix::process::pidfd_send_signal(&init.descriptor, rustix::process::Signal::KILL);
        patience = VANISH_NAMESPACE;
    }
    let mut since = Instant::now();
    loop {
        match kernel::reap(kernel::ANY_CHILD) {
            Waited::NoChildren => return,
            Waited::Ended { .. } => continue,
            Waited::NoneEnded => {}
        }
        // The program's own group was killed with it; what still lives left that group.
        if since.elapsed() >= patience {
            processes::kill_descendants(rustix::process::getpid().as_raw_nonzero().get());
            (since, patience) = (Instant::now(), VANISH);
        }
        outputs.pump();
        // Cut short when a child ends.
        let _ = kernel::take_signal(i32::try_from(patience.as_millis()).ok());
    }
}

/// Writes a file with one write. A reader that finds it empty treats it as not there.
fn write_new(path: &CStr, content: &[u8]) -> rustix::io::Result<()> {
    rustix::io::write(open_new(path)?, content).map(|_| ())
}

fn open_new(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))
}

/// Writes a number as decimal text with one write.
fn write_number(file: &OwnedFd, number: i32) -> rustix::io::Result<()> {
    // A sign and ten digits.
    let mut text = [0; 11];
    let room = text.len();
    let mut rest = &mut text[..];
    let _ = std::io::Write::write_fmt(&mut rest, format_args!("{number}"));
    let length = room - rest.len();
    rustix::io::write(file, &text[..length]).map(|_| ())
}
