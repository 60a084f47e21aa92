//! `mezzo master`, `mezzo agent` and `mezzo services`

use std::{error::Error, process::ExitCode};

use mezzo_agent_daemon::Stop;
use mezzo_services_daemon::Logging;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{
    error::{CliError, Exit},
    flags::{AGENT, MASTER, Program, SERVICES, Values, agent_config, master_config, services_config},
    logging,
};

/// Threads that serve HTTP. The core has a thread of its own, so more of these only help when many
/// clients send large bodies at once.
const SERVING_THREADS: usize = 2;

/// Runs a master until SIGINT or SIGTERM.
pub(super) fn master(flags: Vec<String>) -> Result<ExitCode, CliError> {
    let Some(values) = values(MASTER, flags)? else { return Ok(ExitCode::SUCCESS) };
    let config = master_config(&values)?;
    runtime()?.block_on(async {
        let stop = async {
            stop_signal().await;
        };
        mezzo_master_daemon::run(config, stop, |address| info!(%address, "master serves"))
            .await
            .map_err(|error| failed("run the master", error.as_ref()))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the services until SIGINT or SIGTERM; what they have started goes on.
pub(super) fn services(flags: Vec<String>) -> Result<ExitCode, CliError> {
    let Some(values) = values(SERVICES, flags)? else { return Ok(ExitCode::SUCCESS) };
    let mut config = services_config(&values)?;
    config.logging = Logging { get: logging::verbosity, set: logging::set_verbosity };
    runtime()?.block_on(async {
        let stop = async {
            stop_signal().await;
        };
        mezzo_services_daemon::run(config, stop, |address| info!(%address, "services serve"))
            .await
            .map_err(|error| failed("run the services", error.as_ref()))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs an agent. SIGINT and SIGTERM end it and leave its tasks running; SIGUSR1 ends both.
pub(super) fn agent(flags: Vec<String>) -> Result<ExitCode, CliError> {
    let Some(values) = values(AGENT, flags)? else { return Ok(ExitCode::SUCCESS) };
    let config = agent_config(&values)?;
    let ended = runtime()?.block_on(async {
        mezzo_agent_daemon::run(config, stop_signal(), |_| {})
            .await
            .map_err(|error| failed("run the agent", &error))
    })?;
    if ended.status != 0 {
        eprintln!("{}", CliError::new(Exit::Failed, "the agent ended").why(ended.message));
    }
    Ok(ExitCode::from(u8::try_from(ended.status).unwrap_or(1)))
}

/// The flags' values, or `None` after printing what was asked for.
fn values(program: Program, flags: Vec<String>) -> Result<Option<Values>, CliError> {
    if flags.iter().any(|flag| flag == "--help" || flag == "-h") {
        print!("{}", program.help());
        return Ok(None);
    }
    let values = program.parse(flags, std::env::vars())?;
    if values.switch("version") {
        println!("mezzo {}", env!("CARGO_PKG_VERSION"));
        return Ok(None);
    }
    let logs = values.logs()?;
    let own = logs.folder.and(logs.shown);
    let level = values.get("logging_level").unwrap_or("INFO");
    logging::start(level, values.switch("quiet"), own.clone()).map_err(|error| {
        let place = own.unwrap_or_default().display().to_string();
        CliError::new(Exit::Failed, "open the log file").place(place).why(error.to_string())
    })?;
    Ok(Some(values))
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| failed("start", &error))
}

/// Resolves when the process is told to stop.
async fn stop_signal() -> Stop {
    let of = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            // Without a handler the signal keeps its usual effect.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = of(SignalKind::interrupt()) => Stop::KeepTasks,
        () = of(SignalKind::terminate()) => Stop::KeepTasks,
        () = of(SignalKind::user_defined1()) => Stop::EndTasks,
    }
}

/// An error with all its causes.
pub(super) fn failed(what: &str, error: &(dyn Error + 'static)) -> CliError {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    CliError::new(Exit::Failed, what).why(why)
}
