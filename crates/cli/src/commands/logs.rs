//! `mezzo logs`

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::{
    args::{Global, Logs},
    client::Master,
    error::{CliError, Exit},
    files::LogFile,
};

/// Between two looks at a file that is followed.
const POLL: Duration = Duration::from_millis(500);
/// How long a master or an agent may stay away from a follower: a restart takes seconds, and one that
/// stays away for longer is worth a word to the user.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// Prints one of the two outputs of a task, or of all instances of an app.
pub(crate) async fn print(global: &Global, arguments: &Logs) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    let mut state = master.state().await?;
    let task = match state.find_task(&arguments.task) {
        Ok(task) if task.task_id.value == arguments.task => task.clone(),
        // The name of an app's only task is the app's.
        found => {
            if super::services::app_logs(global, arguments).await? {
                return Ok(());
            }
            found?.clone()
        }
    };
    let id = &task.task_id.value;
    let name = if arguments.stderr { "stderr" } else { "stdout" };
    let mut file = LogFile::of_task(master.client(), &state, &task, name)?;
    let mut found = false;
    let mut away = Away::default();
    loop {
        let over = state.is_over(&task);
        let read = loop {
            match file.read().await {
                Ok(Some(data)) => {
                    found = true;
                    if data.is_empty() {
                        break Ok(());
                    }
                    if !write(&data)? {
                        return Ok(());
                    }
                }
                // An agent that has just come back may not know its files yet.
                Ok(None) if found && away.is_recent() => break Err(gone(id, name)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let was_read = read.is_ok();
        match read {
            Ok(()) if over || !arguments.follow => break,
            Ok(()) => {}
            Err(error) if arguments.follow && away.bears(&error) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(POLL).await;
        match master.state().await {
            Ok(newer) => {
                state = newer;
                if was_read {
                    away.is_back();
                }
            }
            Err(error) if away.bears(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if found {
        return Ok(());
    }
    Err(gone(id, name))
}

fn gone(id: &str, name: &str) -> CliError {
    CliError::new(Exit::NotFound, format!("task {id} has no {name}"))
        .why("its sandbox is gone, or it has not started yet")
        .help(format!("mezzo why {id}"))
}

/// Daemons that restart while they are followed.
#[derive(Debug, Default)]
struct Away {
    since: Option<Instant>,
}

impl Away {
    /// Whether a failure only means to ask again.
    fn bears(&mut self, error: &CliError) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let passing = error.exit() == Exit::Unreachable || error.exit() == Exit::NotFound;
        passing && since.elapsed() < AWAY_MAX
    }

    /// Whether somebody is, or has just been, away.
    fn is_recent(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < AWAY_MAX)
    }

    /// Everybody answers.
    fn is_back(&mut self) {
        self.since = None;
    }
}

/// Writes to stdout; false when nobody reads any more.
pub(super) fn write(data: &[u8]) -> Result<bool, CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(Exit::Failed, "write to stdout").why(error.to_string())),
    }
}
