//! One line about what is under way, on a terminal redrawn in place, elsewhere said now and then.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use tokio::time::{Interval, MissedTickBehavior, interval_at};
use unicode_width::UnicodeWidthChar as _;

/// Between two lines where nothing can be redrawn.
const SAID_EVERY: Duration = Duration::from_secs(5);
/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// Shows the line, on stderr.
#[derive(Debug)]
pub(crate) struct Ticker {
    interval: Interval,
    terminal: bool,
    drawn: bool,
    said: Option<(Instant, String)>,
}

impl Ticker {
    /// One that ticks this often, for the first time after as long.
    pub(crate) fn new(every: Duration) -> Self {
        let mut interval = interval_at(tokio::time::Instant::now() + every, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, terminal: std::io::stderr().is_terminal(), drawn: false, said: None }
    }

    /// Waits until it is time to look again.
    pub(crate) async fn tick(&mut self) {
        self.interval.tick().await;
    }

    /// Shows a line in place of the one before.
    pub(crate) fn show(&mut self, line: &str) {
        // Nobody can be told when stderr is gone.
        if self.terminal {
            let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
            let columns = if columns == 0 { COLUMNS } else { columns.into() };
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", cut(line, columns.saturating_sub(1)));
            self.drawn = true;
            return;
        }
        let due = self.said.as_ref().is_none_or(|(at, last)| at.elapsed() >= SAID_EVERY && last != line);
        if due {
            let _ = writeln!(std::io::stderr(), "{line}");
            self.said = Some((Instant::now(), line.to_owned()));
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What fits into so many columns.
fn cut(line: &str, columns: usize) -> String {
    let mut left = columns;
    line.chars()
        .filter(|c| !c.is_control())
        .take_while(|c| {
            let width = c.width().unwrap_or(0);
            let fits = width <= left;
            left = left.saturating_sub(width);
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_wraps() {
        assert_eq!(cut("pulling größer", 12), "pulling größ");
        assert_eq!(cut("漢字漢字", 5), "漢字");
        assert_eq!(cut("a\x1b[2Jb", 80), "a[2Jb");
    }
}
