//! How busy each node was over time, as a picture: a row per node, a column per stretch of time.

use std::io::Write as _;

use base64::Engine as _;

use crate::story::{Run, Story, Task};

/// Rows of the picture; more nodes share rows.
const ROWS_MAX: usize = 750;
/// Columns of the picture.
const COLUMNS: usize = 320;
/// Colours of the ramp; entry 0 is nothing, and clear.
const SHADES: usize = 64;

/// One colour, more of it where there is more use: seen as well on a light page as on a dark one.
const COLOUR: [u8; 3] = [38, 118, 222];

/// A picture of use: 0 to 1 for each row and column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heat {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Row by row.
    pub(crate) cells: Vec<f64>,
    /// Nodes that share a row.
    pub(crate) nodes_per_row: usize,
}

impl Heat {
    /// Of a run: the most used resource of each node, mean over the stretch.
    pub(crate) fn new(story: &Story, run: &Run, until: f64) -> Self {
        let nodes_per_row = story.nodes.len().div_ceil(ROWS_MAX).max(1);
        let rows = story.nodes.len().div_ceil(nodes_per_row);
        let columns = COLUMNS;
        let width = (until / columns as f64).max(1e-9);
        let mut by_node: Vec<Vec<&Task>> = vec![Vec::new(); story.nodes.len()];
        for task in &run.tasks {
            if let Some(tasks) = task.node.and_then(|node| by_node.get_mut(node)) {
                tasks.push(task);
            }
        }
        let mut cells = vec![0.0; rows * columns];
        let mut members = vec![0.0; rows];
        for (number, (node, tasks)) in story.nodes.iter().zip(by_node).enumerate() {
            let mut used = [[0.0_f64; 3]; COLUMNS];
            for task in tasks {
                let Some(started) = task.started else { continue };
                let ended = task.ended.unwrap_or(run.lasted).min(until);
                let first = (started / width).max(0.0) as usize;
                let last = ((ended / width).max(0.0) as usize).min(columns - 1);
                for (column, used) in used.iter_mut().enumerate().take(last + 1).skip(first) {
                    let from = started.max(column as f64 * width);
                    let to = ended.min((column + 1) as f64 * width);
                    let part = ((to - from) / width).clamp(0.0, 1.0);
                    for (sum, needs) in used.iter_mut().zip(task.needs) {
                        *sum += needs * part;
                    }
                }
            }
            let row = number / nodes_per_row;
            members[row] += 1.0;
            for (cell, used) in cells[row * columns..].iter_mut().zip(used) {
                let parts = used.into_iter().zip(node.has);
                let most =
                    parts.map(|(used, has)| if has > 0.0 { used / has } else { 0.0 }).fold(0.0, f64::max);
                *cell += most.min(1.0);
            }
        }
        for (row, members) in members.into_iter().enumerate() {
            for cell in &mut cells[row * columns..(row + 1) * columns] {
                *cell /= members;
            }
        }
        Self { rows, columns, cells, nodes_per_row }
    }

    /// As a PNG with a palette, in a data URI.
    pub(crate) fn data_uri(&self) -> String {
        let mut raw = Vec::with_capacity((self.columns + 1) * self.rows);
        for row in self.cells.chunks(self.columns) {
            raw.push(0);
            raw.extend(row.iter().map(|cell| shade(*cell)));
        }
        format!(
            "data:image/png;base64,{}",
            base64::engine::general_purpose::STANDARD.encode(png(self.columns, self.rows, &raw))
        )
    }
}

fn shade(value: f64) -> u8 {
    if value.is_nan() || value <= 0.002 {
        return 0;
    }
    1 + (value.min(1.0) * (SHADES - 2) as f64).round() as u8
}

/// The colour of a value, as CSS writes it.
pub(crate) fn colour(value: f64) -> String {
    let [red, green, blue] = COLOUR;
    format!("rgb({red} {green} {blue} / {:.0}%)", f64::from(cover(value)) / 2.55)
}

/// How much of the colour a value shows, of 255.
fn cover(value: f64) -> u8 {
    (12.0 + 243.0 * value.clamp(0.0, 1.0)).round() as u8
}

/// A PNG of one byte a pixel: each line of `raw` starts with its filter, 0.
fn png(width: usize, height: usize, raw: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory cannot fail; an empty picture would show it if it did.
    let packed = packed.write_all(raw).and_then(|()| packed.finish()).unwrap_or_default();
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, 3, 0, 0, 0]);
    let palette = COLOUR.repeat(SHADES);
    let mut covers = vec![0];
    covers.extend((0..SHADES - 1).map(|shade| cover(shade as f64 / (SHADES - 2) as f64)));
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", &header[..]),
        (b"PLTE", &palette[..]),
        (b"tRNS", &covers[..]),
        (b"IDAT", &packed[..]),
        (b"IEND", &[][..]),
    ] {
        bytes.extend((data.len() as u32).to_be_bytes());
        let mut sum = crc32fast::Hasher::new();
        sum.update(kind);
        sum.update(data);
        bytes.extend(kind);
        bytes.extend(data);
        bytes.extend(sum.finalize().to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Node;

    #[test]
    fn a_cell_is_the_mean_of_its_stretch() {
        let node = |cpus| Node { has: [cpus, 1000.0, 0.0], ..Node::default() };
        let task = Task {
            needs: [2.0, 100.0, 0.0],
            started: Some(0.0),
            ended: Some(50.0),
            node: Some(1),
            ..Task::default()
        };
        let story = Story { nodes: vec![node(4.0), node(4.0)], ..Story::default() };
        let run = Run { tasks: vec![task], lasted: 100.0, ..Run::default() };
        let heat = Heat::new(&story, &run, 100.0);
        assert_eq!((heat.rows, heat.columns), (2, COLUMNS));
        assert!(heat.cells[..COLUMNS].iter().all(|cell| *cell == 0.0));
        assert!((heat.cells[COLUMNS + 10] - 0.5).abs() < 1e-9);
        assert!(heat.cells[2 * COLUMNS - 1] == 0.0);
        assert!(heat.data_uri().starts_with("data:image/png;base64,iVBORw0KGgo"));
    }

    #[test]
    fn many_nodes_share_rows() {
        let story =
            Story { nodes: vec![Node { has: [1.0; 3], ..Node::default() }; 20_000], ..Story::default() };
        let heat = Heat::new(&story, &Run::default(), 10.0);
        assert!(heat.rows <= ROWS_MAX);
        assert!(heat.rows * heat.nodes_per_row >= 20_000);
        assert_eq!(shade(f64::NAN), 0);
        assert_eq!(usize::from(shade(1.0)), SHADES - 1);
    }
}
