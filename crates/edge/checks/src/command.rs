//! Runs a command in the task's sandbox, as the task's user, with the task's environment.

use std::{
    fs::{File, OpenOptions},
    os::unix::{
        fs::OpenOptionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{self, Child, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::{Outcome, output_path};

/// A command of a check, with all choices made.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program; with `shell` the text given to `/bin/sh -c`.
    pub program: String,
    /// Its arguments without its name; empty with `shell`.
    pub arguments: Vec<String>,
    /// Run `/bin/sh -c program`.
    pub shell: bool,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// User and group to run as; `None` for the agent's own.
    pub owner: Option<(u32, u32)>,
    /// Working directory; output is appended to its stderr file.
    pub sandbox: PathBuf,
}

pub(crate) fn run(command: &Command, timeout: Option<Duration>) -> Outcome {
    let mut child = match spawn(command) {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(format!("start '{}': {error}", command.program)),
    };
    match wait(&mut child, timeout) {
        Ok(Some(status)) => Outcome::Exit(status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(-1)),
        Ok(None) => Outcome::TimedOut,
        Err(error) => Outcome::Failed(format!("wait for '{}': {error}", command.program)),
    }
}

fn spawn(command: &Command) -> std::io::Result<Child> {
    let mut process = if command.shell {
        let mut process = process::Command::new("/bin/sh");
        process.arg("-c").arg(&command.program);
        process
    } else {
        let mut process = process::Command::new(&command.program);
        process.args(&command.arguments);
        process
    };
    // The task owns the directory and may have put a link there, which is not followed, or a pipe, which is
    // not waited for.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let output: Option<File> = OpenOptions::new()
        .append(true)
        .custom_flags(flags.bits().cast_signed())
        .open(output_path(&command.sandbox))
        .ok()
        .filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
    let stdio = |file: Option<File>| file.map_or_else(Stdio::null, Stdio::from);
    let copy = output.as_ref().and_then(|file| file.try_clone().ok());
    process
        .env_clear()
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.sandbox)
        .stdin(Stdio::null())
        .stdout(stdio(copy))
        .stderr(stdio(output))
        .process_group(0);
    if let Some((user, group)) = command.owner {
        process.uid(user).gid(group);
    }
    process.spawn()
}

/// `None` when the time was up; everything in the command's process group is killed then.
fn wait(child: &mut Child, timeout: Option<Duration>) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    if let Some(timeout) = timeout {
        let timeout = Timespec::try_from(timeout).map_err(std::io::Error::other)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? == 0 {
            // The group still exists: its leader has not been waited for.
            kill_process_group(pid, Signal::KILL)?;
            child.wait()?;
            return Ok(None);
        }
    }
    child.wait().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> (tempfile::TempDir, Command) {
        let sandbox = tempfile::tempdir().expect("directory");
        std::fs::write(sandbox.path().join("stderr"), "before\n").expect("file");
        let command = Command {
            program: text.into(),
            arguments: vec![],
            shell: true,
            environment: vec![("ANSWER".into(), "42".into()), ("PATH".into(), "/usr/bin:/bin".into())],
            owner: None,
            sandbox: sandbox.path().into(),
        };
        (sandbox, command)
    }

    #[test]
    fn rule_337_a_command_reports_its_exit_code() {
        let (sandbox, command) = shell("echo $ANSWER; exit 3");
        assert_eq!(run(&command, Some(Duration::from_secs(5))), Outcome::Exit(3));
        assert_eq!(std::fs::read_to_string(sandbox.path().join("stderr")).expect("text"), "before\n42\n");
        let (_sandbox, command) = shell("kill -9 $$");
        assert_eq!(run(&command, None), Outcome::Exit(137));
    }

    #[test]
    fn rule_336_a_command_that_takes_too_long_is_killed_with_its_children() {
        let (_sandbox, command) = shell("sleep 60 & sleep 60");
        assert_eq!(run(&command, Some(Duration::from_millis(50))), Outcome::TimedOut);
    }

    #[test]
    fn a_pipe_in_the_place_of_the_log_holds_nobody_up() {
        let (sandbox, command) = shell("echo said; exit 4");
        let log = sandbox.path().join("stderr");
        std::fs::remove_file(&log).expect("removed");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &log, kind, rustix::fs::Mode::from_raw_mode(0o600), 0)
            .expect("a pipe");
        assert_eq!(run(&command, Some(Duration::from_secs(5))), Outcome::Exit(4));
        // Also one that somebody reads: what comes of a check is for a file.
        let reader = std::fs::File::options().read(true).write(true).open(&log).expect("a reader");
        assert_eq!(run(&command, Some(Duration::from_secs(5))), Outcome::Exit(4));
        rustix::io::ioctl_fionbio(&reader, true).expect("no waiting");
        let nothing = std::io::Read::read(&mut &reader, &mut [0; 8]).expect_err("nothing was written");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_program_that_is_not_there_fails() {
        let (_sandbox, mut command) = shell("");
        command.shell = false;
        command.program = "/no/such/program".into();
        assert!(matches!(run(&command, None), Outcome::Failed(_)));
    }
}
