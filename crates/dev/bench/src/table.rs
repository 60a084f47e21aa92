//! The table that goes into docs/performance.md.

use std::fmt;

/// Rows of what, figure, compared with, target.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// Adds a row, and shows it at once on stderr: the whole run takes minutes.
    pub(crate) fn row(&mut self, what: &str, figure: &str, beside: &str, target: &str) {
        eprintln!("  {what}: {figure}  [{beside}]  target {target}");
        self.rows.push([what, figure, beside, target].map(String::from));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "figure", "beside it, same run", "target (goal)"].map(String::from);
        let mut widths = [0; 4];
        for row in self.rows.iter().chain([&head]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, row: &[String; 4]| {
            for (width, cell) in widths.iter().zip(row) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")
        };
        line(f, &head)?;
        line(f, &widths.map(|width| "-".repeat(width)))?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

/// The value at a share (0 to 1) of sorted samples.
pub(crate) fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = ((samples.len() as f64 - 1.0) * share).round() as usize;
    samples.get(at).copied().unwrap_or(f64::NAN)
}
