//! Looks on while a cluster is simulated: progress, the event log, and Ctrl-C.

use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use mezzo_sim_cluster::Observer;
use mezzo_sim_report::{seconds, thousands};

use super::log::LogWriter;

/// Before anything is told: short runs say nothing.
const QUIET: Duration = Duration::from_millis(700);
/// Between two updates on a terminal.
const EVERY_TERMINAL: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const EVERY_PLAIN: Duration = Duration::from_secs(10);

/// How often Ctrl-C was pressed.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// From here on Ctrl-C ends the simulation with what there is; pressed again, it ends the process.
pub(super) fn watch_interrupts() {
    let watch = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if INTERRUPTS.fetch_add(1, Ordering::Relaxed) > 0 {
                    std::process::exit(130);
                }
                eprintln!("\nstopping: the report will have what there is; Ctrl-C again leaves at once");
            }
        });
    };
    // Without this thread Ctrl-C ends the process, as it would anyway.
    let _ = std::thread::Builder::new().name("interrupts".into()).spawn(watch);
}

/// Whether Ctrl-C was pressed.
pub(super) fn is_interrupted() -> bool {
    INTERRUPTS.load(Ordering::Relaxed) > 0
}

/// Looks on.
pub(super) struct Watcher {
    label: String,
    load: Duration,
    log: Option<LogWriter>,
    started: Instant,
    told: Option<Instant>,
    is_terminal: bool,
    /// The run was ended from here.
    pub(super) stopped: bool,
}

impl Watcher {
    pub(super) fn new(label: String, load: Duration, log: Option<LogWriter>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { label, load, log, started: Instant::now(), told: None, is_terminal, stopped: false }
    }

    /// Removes the line of progress and gives the log back.
    pub(super) fn finish(&mut self) -> Option<LogWriter> {
        if self.is_terminal && self.told.is_some() {
            eprint!("\r\x1b[K");
        }
        self.log.take()
    }

    fn tell(&mut self, at: Duration, events: u64) {
        let every = if self.is_terminal { EVERY_TERMINAL } else { EVERY_PLAIN };
        let quiet = if self.is_terminal { QUIET } else { EVERY_PLAIN };
        let due = self.told.map_or(self.started.elapsed() >= quiet, |told| told.elapsed() >= every);
        if !due {
            return;
        }
        self.told = Some(Instant::now());
        let rate = events as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let percent = (at.as_secs_f64() / self.load.as_secs_f64().max(1e-9) * 100.0).min(100.0);
        let line = format!(
            "{}  {} simulated ({percent:.0} % of the load)  {} events, {}/s",
            self.label,
            seconds(at.as_secs_f64()),
            thousands(events),
            thousands(rate as u64),
        );
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

impl Observer for Watcher {
    fn wants_lines(&self) -> bool {
        self.log.is_some()
    }

    fn line(&mut self, at: Duration, line: &str) {
        if let Some(log) = &mut self.log {
            log.line(at, line);
        }
    }

    fn goes_on(&mut self, at: Duration, events: u64) -> bool {
        self.tell(at, events);
        self.stopped = is_interrupted();
        !self.stopped
    }
}
