//! `mezzo exec`: a command beside a task, with its input, its output and its exit code.

use std::{io::Write as _, process::ExitCode};

use mezzo_mesos::v1;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::Receiver,
    time::{Instant, interval_at, sleep},
};

use crate::{
    args::{Exec, Global},
    client::Master,
    error::{CliError, Exit},
    session::{HEARTBEAT, Input, Leaving, Output, Place},
    terminal::{self, Mode},
};

/// Between two looks whether the agent has taken what was typed.
pub(super) const ROOM_POLL: std::time::Duration = std::time::Duration::from_millis(5);

/// Runs a command beside a task; its exit code is ours.
pub(crate) async fn exec(global: &Global, arguments: &Exec) -> Result<ExitCode, CliError> {
    let (typed, shown) = terminal::is_terminal();
    // What is piped is meant for the command; at a terminal, who says nothing wants to work in it.
    let has_terminal = arguments.tty || (typed && shown && !arguments.interactive && !arguments.no_stdin);
    let has_input = !arguments.no_stdin;
    if has_terminal && !typed {
        return Err(CliError::usage("-t needs a terminal as standard input")
            .why("standard input is a file or a pipe")
            .help("leave -t out"));
    }
    let mut master = Master::new(&global.master);
    let state = master.state().await?;
    let task = state.find_task(&arguments.task)?;
    let place = Place::of_task(master.client(), &state, task)?;
    let window = has_terminal.then(|| v1::TtyInfo { window_size: terminal::size() });
    let name = super::run::unique_id("exec");
    let (command, output) = place.launch(&name, command(&arguments.command, has_terminal), window).await?;
    let session = Session {
        input: Some(command.input()),
        typed: has_input.then(terminal::read).transpose()?,
        output,
        leaving: None,
    };
    if !has_input && let Some(input) = &session.input {
        input.write(Vec::new());
    }
    let raw = if has_terminal { Some(Mode::raw()?) } else { None };
    let done = session.run(has_terminal).await;
    drop(raw);
    match done? {
        End::Ended => {}
        End::Left => return Ok(ExitCode::SUCCESS),
        End::Stopped(signal) => return Ok(ExitCode::from(128 + signal)),
    }
    let code = command.wait().await?;
    command.remove().await;
    Ok(ExitCode::from(code))
}

/// What the agent starts: with a terminal, programs want to know which kind ours is.
fn command(words: &[String], has_terminal: bool) -> v1::CommandInfo {
    let kind = std::env::var("TERM").ok().filter(|_| has_terminal);
    let environment = kind.map(|value| v1::Environment {
        variables: vec![v1::environment::Variable {
            name: "TERM".into(),
            value: Some(value),
            ..Default::default()
        }],
    });
    v1::CommandInfo {
        shell: Some(false),
        value: words.first().cloned(),
        arguments: words.to_vec(),
        environment,
        ..Default::default()
    }
}

/// How a session ended.
pub(super) enum End {
    /// With the container.
    Ended,
    /// The user has left it running.
    Left,
    /// By a signal to us.
    Stopped(u8),
}

/// The streams between the user and a container.
pub(super) struct Session {
    pub(super) input: Option<Input>,
    pub(super) typed: Option<Receiver<Vec<u8>>>,
    pub(super) output: Output,
    /// Keys that leave, where there are any.
    pub(super) leaving: Option<Leaving>,
}

impl Session {
    /// Passes on what comes from both sides, until one ends.
    pub(super) async fn run(mut self, has_terminal: bool) -> Result<End, CliError> {
        let catch = |kind| signal(kind).map_err(|error| super::daemon::failed("catch signals", &error));
        let mut window = if has_terminal { Some(catch(SignalKind::window_change())?) } else { None };
        // Only where there is something to be put back in order.
        let mut hangup = if has_terminal { Some(catch(SignalKind::hangup())?) } else { None };
        let mut terminate = if has_terminal { Some(catch(SignalKind::terminate())?) } else { None };
        let mut interrupt = if has_terminal { Some(catch(SignalKind::interrupt())?) } else { None };
        let mut quit = if has_terminal { Some(catch(SignalKind::quit())?) } else { None };
        let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        if has_terminal && let (Some(input), Some(size)) = (&self.input, terminal::size()) {
            // It may have changed while the container started.
            input.resize(size);
        }
        loop {
            let has_room = self.input.as_ref().is_some_and(Input::has_room);
            tokio::select! {
                piece = self.output.next() => match piece? {
                    Some((is_error, bytes)) => if !show(is_error, &bytes)? { return Ok(End::Left) },
                    None => return Ok(End::Ended),
                },
                piece = typed(&mut self.typed), if has_room => {
                    let Some(input) = &self.input else { continue };
                    if piece.is_empty() {
                        self.typed = None;
                    }
                    let (piece, leave) = match &mut self.leaving {
                        Some(leaving) => leaving.filter(&piece),
                        None => (piece, false),
                    };
                    if !piece.is_empty() || self.typed.is_none() {
                        input.write(piece);
                    }
                    if leave {
                        return Ok(End::Left);
                    }
                }
                () = sleep(ROOM_POLL), if !has_room && self.input.is_some() && self.typed.is_some() => {}
                refused = closed(&mut self.input) => {
                    self.input = None;
                    refused?;
                }
                _ = beat.tick() => {
                    if let Some(input) = &self.input {
                        input.beat();
                    }
                }
                () = caught(&mut window) => {
                    if let (Some(input), Some(size)) = (&self.input, terminal::size()) {
                        input.resize(size);
                    }
                }
                () = caught(&mut hangup) => return Ok(End::Stopped(1)),
                () = caught(&mut interrupt) => return Ok(End::Stopped(2)),
                () = caught(&mut quit) => return Ok(End::Stopped(3)),
                () = caught(&mut terminate) => return Ok(End::Stopped(15)),
            }
        }
    }
}

/// The next piece of input, if there will be one.
async fn typed(pieces: &mut Option<Receiver<Vec<u8>>>) -> Vec<u8> {
    match pieces {
        Some(pieces) => pieces.recv().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

async fn closed(input: &mut Option<Input>) -> Result<(), CliError> {
    match input {
        Some(input) => input.closed().await,
        None => std::future::pending().await,
    }
}

async fn caught(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Writes what the container wrote; false when nobody reads any more.
fn show(is_error: bool, bytes: &[u8]) -> Result<bool, CliError> {
    if !is_error {
        return super::logs::write(bytes);
    }
    let mut err = std::io::stderr().lock();
    match err.write_all(bytes).and_then(|()| err.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(Exit::Failed, "write to stderr").why(error.to_string())),
    }
}
