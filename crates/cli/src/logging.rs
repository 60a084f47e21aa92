//! Logs of daemons: text to stderr, and to a file when there is a folder for it. How much is logged can
//! be raised for a while.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tracing::warn;
use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
};

/// A log file that has grown to this is renamed to `NAME.1` and begun again, so that a daemon's log takes
/// at most twice as much.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Raises and restores the level of a process that logs.
struct Levels {
    /// Filters by the level of this many steps above the start.
    apply: Box<dyn Fn(u32) + Send + Sync>,
    raised: Mutex<Raised>,
}

#[derive(Default)]
struct Raised {
    by: u32,
    /// Counts orders, so that the end of an earlier one does not undo a later one.
    order: u64,
}

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// Starts logging at a level of Mesos (INFO, WARNING, ERROR) or Marathon (these, debug, trace, all, off), in any case; `MEZZO_LOG` overrides it by module. With
/// `file` everything goes there too; `quiet` leaves stderr alone.
pub(crate) fn start(level: &str, quiet: bool, file: Option<PathBuf>) -> io::Result<()> {
    let start = match level.to_ascii_lowercase().as_str() {
        "error" | "fatal" => "error",
        "warning" | "warn" => "warn",
        "debug" => "debug",
        "trace" | "all" => "trace",
        "off" => "off",
        _ => "info",
    };
    let file = file.map(LogFile::open).transpose()?.map(|file| Arc::new(Mutex::new(file)));
    let start = if quiet && file.is_none() { "off" } else { start };
    let filter = move |raised: u32| match raised {
        0 => EnvFilter::try_from_env("MEZZO_LOG").unwrap_or_else(|_| EnvFilter::new(start)),
        1 => EnvFilter::new("debug"),
        _ => EnvFilter::new("trace"),
    };
    let colour = file.is_none() && io::IsTerminal::is_terminal(&io::stderr());
    let builder = fmt::fmt()
        .with_writer(Destinations { stderr: !quiet, file })
        .with_ansi(colour)
        .with_env_filter(filter(0))
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // A second start, as in tests, changes nothing.
    if builder.try_init().is_ok() {
        let apply = Box::new(move |raised| {
            // Fails only when the subscriber is gone, and then nothing is logged at all.
            let _ = handle.reload(filter(raised));
        });
        let _ = LEVELS.set(Levels { apply, raised: Mutex::default() });
    }
    Ok(())
}

fn raised(levels: &Levels) -> MutexGuard<'_, Raised> {
    levels.raised.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far the level is above the start level.
pub(crate) fn verbosity() -> u32 {
    LEVELS.get().map_or(0, |levels| raised(levels).by)
}

/// Logs more for a while (rule 24): 1 is debug, anything above it trace. Needs a runtime.
pub(crate) fn set_verbosity(by: u32, duration: Duration) {
    let Some(levels) = LEVELS.get() else { return };
    let order = {
        let mut raised = raised(levels);
        raised.by = by;
        raised.order += 1;
        (levels.apply)(by);
        raised.order
    };
    warn!(by, ?duration, "the level of the log has been changed");
    tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        let mut raised = raised(levels);
        if raised.order == order {
            raised.by = 0;
            (levels.apply)(0);
        }
    });
}

/// Writes to stderr and to a file.
struct Destinations {
    stderr: bool,
    file: Option<Arc<Mutex<LogFile>>>,
}

impl<'a> MakeWriter<'a> for Destinations {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Destinations {
    /// One event. A destination that fails must not take the other one's line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(file) = &self.file {
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write(line);
        }
        if self.stderr {
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append(&path)?;
        let mut log = Self { bytes: file.metadata()?.len(), path, file };
        log.begin()?;
        Ok(log)
    }

    /// The line that tools which read logs of Mesos look for.
    fn begin(&mut self) -> io::Result<()> {
        let line = format!("Log file created at: {}\n", Timestamp::now().strftime("%Y/%m/%d %H:%M:%S"));
        self.bytes += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            self.file = append(&self.path)?;
            self.bytes = 0;
            self.begin()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_that_is_full_begins_again() {
        let folder = std::env::temp_dir().join(format!("mezzo-log-{}", std::process::id()));
        let path = folder.join("mezzo-master.INFO");
        let mut log = LogFile::open(path.clone()).expect("open");
        log.write(b"one\n").expect("write");
        log.bytes = FILE_BYTES_MAX;
        log.write(b"two\n").expect("write");
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("Log file created at: ") && text.ends_with("two\n"), "{text}");
        let older = std::fs::read_to_string(folder.join("mezzo-master.INFO.1")).expect("read");
        assert!(older.ends_with("one\n"), "{older}");
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
