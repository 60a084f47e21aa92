//! Runs a runtime for a bounded time, and keeps what it says.

use std::{
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::libc;
use serde::Deserialize;

use crate::kernel;

/// The longest words that are passed on; a status message is for people.
const SAID_BYTES_MAX: usize = 2000;
/// The most that is read of a log.
const LOG_BYTES_MAX: u64 = 64 * 1024;
/// Where runtimes find what they call: helpers for user namespaces, hooks.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between two looks whether it has ended, which takes a runtime tens of milliseconds.
const POLL: Duration = Duration::from_millis(1);

/// What happens to the output of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is in [`Ended::said`].
    Kept,
    /// The container will write there, and input comes from there: all of it was set by the caller.
    Passed,
}

pub(super) struct Ended {
    /// `None` when it did not end in time and was killed.
    pub(super) status: Option<ExitStatus>,
    pub(super) said: String,
}

/// Runs a command to its end, or kills it with all of its process group.
pub(super) fn run(mut command: Command, patience: Duration, said: Said) -> io::Result<Ended> {
    command.env_clear().env("PATH", PATH).process_group(0);
    kernel::start_clean(&mut command);
    let reading = match said {
        Said::Kept => {
            let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&reading, rustix::fs::OFlags::NONBLOCK)?;
            command.stdin(Stdio::null()).stdout(writing.try_clone()?).stderr(writing);
            Some(reading)
        }
        Said::Passed => None,
    };
    let mut child = command.spawn()?;
    // The writing ends in here.
    drop(command);
    let mut text = Vec::new();
    let deadline = Instant::now() + patience;
    let status = loop {
        drain(reading.as_ref(), &mut text);
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= deadline {
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = kernel::signal_group(group, libc::SIGKILL);
            }
            child.wait()?;
            break None;
        }
        std::thread::sleep(POLL);
    };
    drain(reading.as_ref(), &mut text);
    Ok(Ended { status, said: shortened(&text) })
}

/// Takes what waits, of which the end is kept.
fn drain(reading: Option<&OwnedFd>, text: &mut Vec<u8>) {
    let Some(reading) = reading else { return };
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = rustix::io::read(reading, &mut chunk) {
        text.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let above = text.len().saturating_sub(2 * SAID_BYTES_MAX);
        text.drain(..above);
    }
}

/// What is said to people about how a command ended.
pub(super) fn ending(status: Option<ExitStatus>, patience: Duration) -> String {
    match status {
        None => format!("did not end within {} s and was killed", patience.as_secs_f64()),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => format!("ended with {status}"),
        },
    }
}

#[derive(Deserialize)]
struct Entry {
    msg: String,
    #[serde(default)]
    level: String,
}

/// The complaints in a log: one object per line where the runtime writes it as asked, any text otherwise.
pub(super) fn complaints(log: &Path) -> String {
    let Ok(file) = std::fs::File::open(log) else { return String::new() };
    let mut bytes = Vec::new();
    let _ = file.take(LOG_BYTES_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let mut said = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<Entry>(line) {
            Ok(entry) if matches!(entry.level.as_str(), "debug" | "info") => {}
            Ok(entry) => said.push(entry.msg),
            Err(_) => said.push(line.to_owned()),
        }
    }
    shortened(said.join("; ").as_bytes())
}

/// The end of a text, without what terminals make of it.
pub(super) fn shortened(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean: String =
        text.trim().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    let above = clean.len().saturating_sub(SAID_BYTES_MAX);
    let start = (above..=clean.len()).find(|at| clean.is_char_boundary(*at)).unwrap_or(0);
    if start == 0 { clean } else { format!("... {}", clean.get(start..).unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_whatever_its_form() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        assert_eq!(complaints(&log), "");
        let text = "{\"msg\":\"preparing\",\"level\":\"info\"}\n{\"msg\":\"no such file\",\"level\":\"error\"}\n\nplain \x1b[1mwords\n";
        std::fs::write(&log, text).expect("a log");
        assert_eq!(complaints(&log), "no such file; plain  [1mwords");
    }

    #[test]
    fn long_words_are_cut_between_letters() {
        let text = "ä".repeat(SAID_BYTES_MAX);
        let short = shortened(text.as_bytes());
        assert!(short.len() <= SAID_BYTES_MAX + 4 && short.starts_with("... ä"), "{short}");
    }

    #[test]
    fn what_does_not_end_is_killed_with_what_it_started() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo begun; sleep 1000 & sleep 1000"]);
        let begun = Instant::now();
        let ended = run(command, Duration::from_millis(200), Said::Kept).expect("run");
        assert!(ended.status.is_none() && ended.said == "begun" && begun.elapsed() < Duration::from_secs(20));
    }
}
