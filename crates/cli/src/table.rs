//! Aligned tables for people, JSON for programs.

use std::io::Write;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::error::{CliError, Exit};

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line.
    Jsonl,
    /// Only the first column, one per line.
    Name,
}

/// Something that is one line of a table.
pub(crate) trait Row: Serialize {
    /// Column titles.
    const TITLES: &'static [&'static str];
    /// Titles of columns that are left out of a table where no row has anything but `-` in them.
    const OPTIONAL: &'static [&'static str] = &[];
    /// One text per title.
    fn cells(&self) -> Vec<String>;
}

/// Prints rows to stdout; a reader that went away is no error.
pub(crate) fn print<R: Row>(rows: &[R], format: Format) -> Result<(), CliError> {
    let text = render(rows, format)?;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Failed, "write to stdout").why(error.to_string()))
        }
        _ => Ok(()),
    }
}

/// The text of rows in a format.
pub(crate) fn render<R: Row>(rows: &[R], format: Format) -> Result<String, CliError> {
    let failed = |error: serde_json::Error| CliError::new(Exit::Failed, "write JSON").why(error.to_string());
    match format {
        Format::Table => {
            let (mut titles, mut cells) =
                (R::TITLES.to_vec(), rows.iter().map(Row::cells).collect::<Vec<_>>());
            for column in (0..titles.len()).rev() {
                if R::OPTIONAL.contains(&titles[column]) && cells.iter().all(|row| row[column] == "-") {
                    titles.remove(column);
                    cells.iter_mut().for_each(|row| drop(row.remove(column)));
                }
            }
            Ok(align(&titles, &cells))
        }
        Format::Json => Ok(serde_json::to_string_pretty(rows).map_err(failed)? + "\n"),
        Format::Jsonl => {
            rows.iter().map(|row| Ok(serde_json::to_string(row).map_err(failed)? + "\n")).collect()
        }
        Format::Name => {
            Ok(rows.iter().filter_map(|row| Some(row.cells().into_iter().next()? + "\n")).collect())
        }
    }
}

fn align(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            text.push_str(cell);
            text.push_str(&" ".repeat(width - cell.width() + 2));
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    };
    let mut text = line(&mut titles.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Node {
        name: &'static str,
        cpus: f64,
    }

    impl Row for Node {
        const TITLES: &'static [&'static str] = &["NODE", "CPUS"];
        fn cells(&self) -> Vec<String> {
            vec![self.name.into(), self.cpus.to_string()]
        }
    }

    const NODES: [Node; 2] = [Node { name: "dev-1", cpus: 2.0 }, Node { name: "größer", cpus: 0.5 }];

    #[test]
    fn columns_align_by_width_on_screen() {
        assert_eq!(render(&NODES, Format::Table).expect("text"), "NODE    CPUS\ndev-1   2\ngrößer  0.5\n");
        assert_eq!(render(&NODES, Format::Name).expect("text"), "dev-1\ngrößer\n");
    }

    #[derive(Serialize)]
    struct Note(&'static str, &'static str);

    impl Row for Note {
        const TITLES: &'static [&'static str] = &["NODE", "NOTE", "ROLE"];
        const OPTIONAL: &'static [&'static str] = &["NOTE"];
        fn cells(&self) -> Vec<String> {
            vec![self.0.into(), self.1.into(), "-".into()]
        }
    }

    #[test]
    fn an_optional_column_is_there_when_a_row_has_something_in_it() {
        let table = |rows: &[Note]| render(rows, Format::Table).expect("text");
        assert_eq!(table(&[Note("a", "-"), Note("b", "-")]), "NODE  ROLE\na     -\nb     -\n");
        let some = table(&[Note("a", "-"), Note("b", "old")]);
        assert_eq!(some, "NODE  NOTE  ROLE\na     -     -\nb     old   -\n");
    }

    #[test]
    fn json_has_the_same_rows() {
        let text = render(&NODES, Format::Json).expect("text");
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(value[1]["cpus"], 0.5);
        assert_eq!(render(&NODES, Format::Jsonl).expect("text").lines().count(), 2);
    }
}
