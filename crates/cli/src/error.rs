//! What the commands say when they fail: what failed, where, why, and what to do next.

use std::{fmt, process::ExitCode};

/// Exit codes of every command, the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The thing asked for failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No such task, framework or file.
    NotFound = 3,
    /// Something else is in the way.
    Conflict = 4,
    /// Not allowed.
    Denied = 5,
    /// Nobody answers there.
    Unreachable = 6,
    /// Accepted, and waiting for resources that nobody has.
    NotPlaced = 7,
}

/// An error in four parts.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    what: String,
    place: Option<String>,
    excerpt: Option<Box<str>>,
    why: Option<String>,
    help: Vec<String>,
}

impl CliError {
    /// `what` names the failed attempt and its object.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), place: None, excerpt: None, why: None, help: Vec::new() }
    }

    /// A mistake in the command line.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// The address, file or object it happened at.
    pub(crate) fn place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Lines of a file with the mistake marked, shown below the place.
    pub(crate) fn excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = Some(excerpt.into().into_boxed_str());
        self
    }

    /// The reason, with values.
    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// A command to try next.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The failed attempt, without place and reason.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What kind of failure it is.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// For the end of `main`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[MZ{:04}]: {}", self.exit as u8, self.what)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {place}")?;
        }
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(why) = &self.why {
            write!(f, "\n   = {why}")?;
        }
        for help in &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_four_parts_and_a_code() {
        let error = CliError::new(Exit::Unreachable, "no master answers")
            .place("http://127.0.0.1:5050/api/v1")
            .why("connection refused")
            .help("mezzo dev");
        assert_eq!(
            error.to_string(),
            "error[MZ0006]: no master answers\n  --> http://127.0.0.1:5050/api/v1\n   = connection refused\n  help: mezzo dev"
        );
    }
}
