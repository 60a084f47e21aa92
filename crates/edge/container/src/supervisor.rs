//! The process that stands between one container and everything else.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
};

use nix::libc;
use rustix::fs::{Mode, OFlags};

use crate::{
    child,
    event::{News, Notice},
    kernel::{self, Waited},
    layout,
    outputs::Outputs,
    processes,
    request::Launch,
};

/// The order to end everything; smaller numbers are signals for the program's group.
pub(crate) const ORDER_DESTROY: i32 = 1000;

/// What the launcher hands on to each supervisor.
pub(crate) struct Inherited {
    /// An unbound datagram socket, shared by all.
    pub(crate) socket: OwnedFd,
    /// Where the agent listens.
    pub(crate) events: rustix::net::SocketAddrUnix,
    /// Closed when the container is on disk; see [`layout::LAUNCHER_LOCK`].
    pub(crate) lock: Option<OwnedFd>,
    /// For the child of [`child::start`]. Made before the fork, so that no supervisor has to ask the
    /// kernel for memory.
    pub(crate) stack: Vec<u8>,
}

impl Inherited {
    /// Tells the agent. An agent that is away reads the files when it comes back.
    pub(crate) fn tell(&self, id: &str, supervisor: u32, news: News<'_>) {
        let mut bytes = Vec::with_capacity(128);
        Notice { supervisor, id, news }.encode(&mut bytes);
        let flags = rustix::net::SendFlags::NOSIGNAL;
        while let Err(rustix::io::Errno::INTR) =
            rustix::net::sendto(&self.socket, &bytes, flags, &self.events)
        {}
    }
}

/// Runs one container to its end. Never returns.
pub(crate) fn supervise(launch: &Launch<'_>, mut inherited: Inherited) -> ! {
    kernel::reap_children_automatically(false);
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let own_pid = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
    let Err(message) = run(launch, &mut inherited, own_pid) else { kernel::exit_now(0) };
    if let Some(directory) = launch.runtime_dir {
        // The agent may be away; without this file it could not tell why nothing runs.
        let _ = write_new(&below(directory, layout::FAILED), message.as_bytes());
    }
    inherited.tell(launch.id, own_pid, News::Failed(&message));
    kernel::exit_now(0)
}

fn run(launch: &Launch<'_>, inherited: &mut Inherited, own_pid: u32) -> Result<(), String> {
    let directory = launch.runtime_dir.ok_or("Failed to launch: no runtime directory was given")?;
    let pid_file = claim(directory).map_err(|errno| {
        format!(
            "Failed to create '{}': {}",
            directory.to_string_lossy(),
            kernel::errno_text(errno.raw_os_error())
        )
    })?;
    let mut outputs = Outputs::open(launch)
        .map_err(|errno| format!("Failed to create pipes: {}", kernel::errno_text(errno.raw_os_error())))?;
    let pid = child::start(launch, outputs.pipes(), &mut inherited.stack)
        .map_err(|failure| failure.describe(launch))?;
    outputs.close_writing_ends();
    // Should this write fail, recovery knows the container by its lock and only misses the number.
    let _ = rustix::io::write(&pid_file, pid.to_string().as_bytes());
    // From here on a restarted agent finds the container on disk. Closing gives up this process'
    // share of the lock; unlocking would take it from the launcher and all other supervisors.
    inherited.lock = None;
    inherited.tell(launch.id, own_pid, News::Started(pid.cast_unsigned()));

    let status = wait(pid, &mut outputs);
    let _ = write_new(&below(directory, layout::STATUS), status.to_string().as_bytes());
    end_remaining(&mut outputs);
    outputs.drain();
    inherited.tell(launch.id, own_pid, News::Exited(status));
    Ok(())
}

/// Makes the runtime directory and locks the `pid` file in it.
fn claim(directory: &CStr) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdir(directory, mode) {
        Err(rustix::io::Errno::NOENT) => {
            // The parent of a child container may have no process, and so no directory, of its own.
            let bytes = directory.to_bytes();
            for (end, _) in bytes.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
                match rustix::fs::mkdir(&bytes[..end], mode) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            rustix::fs::mkdir(directory, mode)?;
        }
        // A child container's launch may have made it as its parent.
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    // EXCL: a second launch under the same id must not take over a living one's files.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(&*below(directory, layout::PID), flags, Mode::from_raw_mode(0o644))?;
    kernel::lock_record(file.as_fd())
        .map_err(|error| rustix::io::Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(file)
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
const VANISH_MILLIS: i32 = 20;

/// Ends whatever the program left behind. This process is their reaper, so nothing can escape by
/// becoming an orphan, and the loop ends when no child is left.
fn end_remaining(outputs: &mut Outputs) {
    let mut searching = false;
    loop {
        match kernel::reap(kernel::ANY_CHILD) {
            Waited::NoChildren => return,
            Waited::Ended { .. } => continue,
            Waited::NoneEnded => {}
        }
        // The program's own group was killed with it; what still lives left that group.
        if searching {
            processes::kill_descendants(rustix::process::getpid().as_raw_nonzero().get());
        }
        searching = true;
        outputs.pump();
        let _ = kernel::take_signal(Some(VANISH_MILLIS));
    }
}

fn below(directory: &CStr, name: &str) -> CString {
    let mut bytes = Vec::with_capacity(directory.to_bytes().len() + name.len() + 2);
    bytes.extend_from_slice(directory.to_bytes());
    bytes.push(b'/');
    bytes.extend_from_slice(name.as_bytes());
    // Neither part has a zero byte inside: one was a C string, the other is a constant.
    CString::new(bytes).unwrap_or_default()
}

/// Writes a file with one write. A reader that finds it empty treats it as not there.
fn write_new(path: &CStr, content: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, content).map(|_| ())
}
