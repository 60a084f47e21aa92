//! Runs one plugin once.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::libc;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};

use super::{answer, config::Call};
use crate::kernel;

/// The largest answer. Those of real networks have a few hundred bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What is kept of what a plugin says beside its answer; the rest is read and dropped.
const SAID_BYTES_MAX: usize = 8 << 10;
/// What plugins are run with: they call `iptables` and its like by name.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One call of a plugin.
pub(super) struct Invocation<'a> {
    pub(super) program: &'a Path,
    pub(super) call: Call,
    pub(super) container: &'a str,
    /// `None` when it is gone.
    pub(super) namespace: Option<&'a Path>,
    pub(super) interface: &'a str,
    /// Where plugins find others.
    pub(super) folders: &'a OsStr,
    pub(super) input: &'a [u8],
    pub(super) time_max: Duration,
    /// Stays open in all that the plugin starts, so that it is known whether something of it still runs.
    pub(super) lock: &'a OwnedFd,
}

/// What a plugin wrote to standard output; otherwise why it failed, in words.
pub(super) fn run(invocation: &Invocation<'_>) -> Result<Vec<u8>, String> {
    let mut child = start(invocation).map_err(|error| format!("it cannot be executed: {error}"))?;
    let heard = hear(&mut child, invocation.time_max);
    if heard.is_err() {
        // With what it started itself. It is not reaped yet, so the group is its own.
        let _ = kernel::signal_group(i32::try_from(child.id()).unwrap_or_default(), libc::SIGKILL);
    }
    let status = child.wait().map_err(|error| format!("its end cannot be told: {error}"));
    let (answer, said) = heard?;
    let status = status?;
    if status.success() {
        return Ok(answer);
    }
    let told = answer::error(&answer).unwrap_or_else(|| {
        let said = answer::words(&String::from_utf8_lossy(&said));
        if said.is_empty() {
            format!("it ended with {status}")
        } else {
            format!("it ended with {status}: {said}")
        }
    });
    Err(told)
}

#[expect(unsafe_code, reason = "a plugin must not outlive the agent, and the lock must stay open in it")]
fn start(invocation: &Invocation<'_>) -> io::Result<Child> {
    let mut input = File::from(rustix::fs::memfd_create(c"network", rustix::fs::MemfdFlags::CLOEXEC)?);
    input.write_all(invocation.input)?;
    input.rewind()?;
    let mut command = Command::new(invocation.program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("CNI_COMMAND", invocation.call.name())
        .env("CNI_CONTAINERID", invocation.container)
        .env("CNI_NETNS", invocation.namespace.map(Path::as_os_str).unwrap_or_default())
        .env("CNI_IFNAME", invocation.interface)
        .env("CNI_PATH", invocation.folders)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(input))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let lock = invocation.lock.as_raw_fd();
    // SAFETY: the closure makes two system calls on numbers and touches no memory of the agent's; `lock` is
    // open in this process for as long as the command is started.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
                || libc::fcntl(lock, libc::F_SETFD, 0) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

/// One of a plugin's outputs.
struct Output<T> {
    /// `None` when it has ended.
    pipe: Option<T>,
    bytes: Vec<u8>,
    bytes_max: usize,
    /// It said more than that.
    overflown: bool,
}

impl<T: Read + AsFd> Output<T> {
    fn new(pipe: Option<T>, bytes_max: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe, bytes: Vec::new(), bytes_max, overflown: false })
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; 16 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    return Ok(());
                }
                Ok(length) => {
                    let kept = length.min(self.bytes_max - self.bytes.len());
                    self.bytes.extend_from_slice(buffer.get(..kept).unwrap_or_default());
                    if kept < length {
                        self.overflown = true;
                        // Whoever writes without end is not read without end in one go.
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads what a plugin says until it ends.
fn hear(child: &mut Child, time_max: Duration) -> Result<(Vec<u8>, Vec<u8>), String> {
    let failed = |error: io::Error| format!("it cannot be heard: {error}");
    let deadline = Instant::now() + time_max;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
    let mut answer = Output::new(child.stdout.take(), ANSWER_BYTES_MAX).map_err(failed)?;
    let mut said = Output::new(child.stderr.take(), SAID_BYTES_MAX).map_err(failed)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("it did not end within {} seconds", time_max.as_secs_f64()));
        }
        let ended = {
            let mut polled = vec![PollFd::new(&process, PollFlags::IN)];
            polled.extend(answer.pipe.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            polled.extend(said.pipe.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            let left = Timespec::try_from(left).ok();
            match rustix::event::poll(&mut polled, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
            polled.first().is_some_and(|process| !process.revents().is_empty())
        };
        answer.read().map_err(failed)?;
        said.read().map_err(failed)?;
        if answer.overflown {
            return Err(format!("its answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
        if ended {
            return Ok((answer.bytes, said.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn run_script(script: &str, time_max: Duration) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("plugin");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let lock = File::create(folder.path().join("lock")).expect("a file").into();
        run(&Invocation {
            program: &program,
            call: Call::Add,
            container: "c1",
            namespace: Some(Path::new("/run/n")),
            interface: "eth0",
            folders: OsStr::new("/a:/b"),
            input: b"{\"name\":\"n\"}",
            time_max,
            lock: &lock,
        })
        .map(|answer| String::from_utf8_lossy(&answer).into_owned())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_plugin_is_told_its_work_and_nothing_else() {
        let said = run_script("cat; echo; env | sort", LONG).expect("an answer");
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("PWD=")).collect();
        assert_eq!(lines.first(), Some(&"{\"name\":\"n\"}"));
        for line in
            ["CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/n", "CNI_PATH=/a:/b"]
        {
            assert!(lines.contains(&line), "{line} in {said}");
        }
        assert!(!said.contains("CARGO"), "{said}");
    }

    #[test]
    fn failures_are_told_in_the_plugins_words() {
        let script = "echo '{\"cniVersion\":\"1.0.0\",\"code\":7,\"msg\":\"no bridge\"}'; exit 1";
        assert_eq!(run_script(script, LONG), Err("no bridge (code 7)".to_owned()));
        let told = run_script("echo went wrong >&2; exit 3", LONG).expect_err("an error");
        assert_eq!(told, "it ended with exit status: 3: went wrong");
        let told = run_script("kill -9 $$", LONG).expect_err("an error");
        assert!(told.starts_with("it ended with signal: 9"), "{told}");
    }

    #[test]
    fn a_plugin_that_hangs_is_ended_with_what_it_started() {
        let start = Instant::now();
        let told = run_script("sleep 1000 & sleep 1000", Duration::from_millis(200)).expect_err("an error");
        assert_eq!(told, "it did not end within 0.2 seconds");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn the_lock_is_held_for_as_long_as_anything_of_a_plugin_runs() {
        use rustix::fs::{FlockOperation, flock};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let lock: OwnedFd = File::create(&path).expect("a file").into();
        flock(&lock, FlockOperation::LockShared).expect("locked");
        run(&Invocation {
            program: Path::new("/bin/sh"),
            call: Call::Add,
            container: "c1",
            namespace: None,
            interface: "eth0",
            folders: OsStr::new(""),
            input: b"sleep 1 > /dev/null 2>&1 &",
            time_max: LONG,
            lock: &lock,
        })
        .expect("a shell that does what it reads");
        drop(lock);
        let other = File::open(&path).expect("a file");
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        flock(&other, FlockOperation::LockExclusive).expect("it has ended");
    }

    #[test]
    fn megabytes_are_not_kept() {
        let told = run_script("cat /dev/zero", LONG).expect_err("an error");
        assert_eq!(told, "its answer has more than 1048576 bytes");
        let said = run_script("head -c 3000000 /dev/zero >&2; echo fine", LONG).expect("an answer");
        assert_eq!(said, "fine\n");
    }

    #[test]
    fn what_a_plugin_leaves_running_is_not_waited_for() {
        let start = Instant::now();
        assert_eq!(run_script("sleep 5 & echo done", LONG), Ok("done\n".to_owned()));
        assert!(start.elapsed() < Duration::from_secs(4));
    }
}
