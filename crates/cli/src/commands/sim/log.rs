//! The event log of a run: a line is the time in seconds and what happened.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::error::{CliError, Exit};

/// Bytes of one log; what happens after that is not written, and a last line says so.
const LOG_BYTES_MAX: u64 = 2 << 30;

/// Writes a log.
pub(super) struct LogWriter {
    file: BufWriter<File>,
    path: PathBuf,
    bytes: u64,
    failed: Option<std::io::Error>,
}

impl LogWriter {
    pub(super) fn create(path: PathBuf) -> Result<Self, CliError> {
        let file = File::create(&path).map_err(|error| {
            CliError::new(Exit::Failed, "write the event log")
                .place(path.display().to_string())
                .why(error.to_string())
        })?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), path, bytes: 0, failed: None })
    }

    pub(super) fn line(&mut self, at: Duration, line: &str) {
        if self.failed.is_some() || self.bytes > LOG_BYTES_MAX {
            return;
        }
        self.bytes += line.len() as u64 + 16;
        let text =
            if self.bytes > LOG_BYTES_MAX { "the log is full: nothing after this was written" } else { line };
        let written = writeln!(self.file, "{:>14.6} {text}", at.as_secs_f64());
        self.failed = written.err();
    }

    /// Tells what could not be written.
    pub(super) fn finish(mut self) -> Result<(), CliError> {
        let flushed = self.file.flush();
        match self.failed.or(flushed.err()) {
            None => Ok(()),
            Some(error) => Err(CliError::new(Exit::Failed, "write the event log")
                .place(self.path.display().to_string())
                .why(error.to_string())),
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LogLine {
    /// Seconds after the start.
    pub(super) at: f64,
    /// What happened.
    pub(super) text: String,
}

impl LogLine {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (at, text) = line.trim_start().split_once(' ')?;
        Some(Self { at: at.parse().ok()?, text: text.to_owned() })
    }
}

/// Reads the lines of a log that somebody wants.
pub(super) fn read(path: &Path, mut take: impl FnMut(LogLine)) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Exit::NotFound, "cannot read the event log")
            .place(path.display().to_string())
            .why(error.to_string())
            .help("mezzo sim run SCENARIO.toml --out runs/   writes one")
    };
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&bytes);
        if let Some(line) = LogLine::parse(line.trim_end()) {
            take(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        assert_eq!(
            LogLine::parse("      1.500000 agent 3: start a b"),
            Some(LogLine { at: 1.5, text: "agent 3: start a b".into() })
        );
        assert_eq!(LogLine::parse("no time here"), None);
        assert_eq!(LogLine::parse(""), None);
    }
}
