//! `mezzo logs`

use std::{io::Write, time::Duration};

use crate::{
    args::{Global, Logs},
    client::Master,
    error::{CliError, Exit},
    files::LogFile,
};

/// Between two looks at a file that is followed.
const POLL: Duration = Duration::from_millis(500);

/// Prints one of the two outputs of a task.
pub(crate) async fn print(global: &Global, arguments: &Logs) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    let mut state = master.state().await?;
    let task = state.find_task(&arguments.task)?;
    let id = task.task_id.value.clone();
    let name = if arguments.stderr { "stderr" } else { "stdout" };
    let mut file = LogFile::of_task(master.client(), &state, task, name)?;
    let mut found = false;
    loop {
        let ended = !state.tasks.tasks.iter().any(|task| task.task_id.value == id);
        while let Some(data) = file.read().await? {
            found = true;
            if data.is_empty() {
                break;
            }
            if !write(&data)? {
                return Ok(());
            }
        }
        if ended || !arguments.follow {
            break;
        }
        tokio::time::sleep(POLL).await;
        state = master.state().await?;
    }
    if found {
        return Ok(());
    }
    Err(CliError::new(Exit::NotFound, format!("task {id} has no {name}"))
        .why("its sandbox is gone, or it has not started yet")
        .help(format!("mezzo why {id}")))
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
