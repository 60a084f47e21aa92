//! Logs of daemons: to stderr, text.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging at a level of Mesos (INFO, WARNING, ERROR); `MEZZO_LOG` overrides it by module.
pub(crate) fn start(level: &str, quiet: bool) {
    let level = match level {
        "ERROR" => "error",
        "WARNING" => "warn",
        _ => "info",
    };
    let level = if quiet { "off" } else { level };
    let filter = EnvFilter::try_from_env("MEZZO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second start, as in tests, changes nothing.
    let _ = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).try_init();
}
