//! `mezzo attach`: the terminal of a task.

use std::process::ExitCode;

use super::exec::{End, Session};
use crate::{
    args::{Attach, Global},
    client::Master,
    error::{CliError, Exit},
    session::{Leaving, Place},
    terminal::{self, Mode},
};

/// Shows a task's terminal and types into it, until the task ends or the user leaves.
pub(crate) async fn attach(global: &Global, arguments: &Attach) -> Result<ExitCode, CliError> {
    let (typed, _) = terminal::is_terminal();
    let mut master = Master::new(&global.master);
    let state = master.state().await?;
    let task = state.find_task(&arguments.task)?;
    let id = &task.task_id.value;
    let place = Place::of_task(master.client(), &state, task)?;
    let output = place.output().await.map_err(|error| match error.exit() {
        Exit::Failed => error
            .help(format!("mezzo logs -f {id}       (what a task without a terminal writes)"))
            .help(format!("mezzo exec {id} -- sh    (a terminal beside it)")),
        _ => error,
    })?;
    // Asked for before the end, after which the agent forgets it.
    let (waited, at) = (place.clone(), id.clone());
    let end = tokio::spawn(async move { waited.wait().await });
    let session = Session {
        input: (!arguments.no_stdin).then(|| place.input()),
        typed: if arguments.no_stdin { None } else { Some(terminal::read()?) },
        output,
        leaving: typed.then(Leaving::default),
    };
    let raw = if typed && !arguments.no_stdin {
        eprintln!("attached to {at}; leave it running with Ctrl-P Ctrl-Q");
        Some(Mode::raw()?)
    } else {
        None
    };
    let done = session.run(raw.is_some()).await;
    drop(raw);
    match done? {
        End::Ended => {}
        End::Left => {
            eprintln!("left {at} running");
            return Ok(ExitCode::SUCCESS);
        }
        End::Stopped(signal) => return Ok(ExitCode::from(128 + signal)),
    }
    eprintln!("task {at} has ended");
    match end.await {
        Ok(code) => code.map(ExitCode::from),
        Err(_) => Ok(ExitCode::SUCCESS),
    }
}
