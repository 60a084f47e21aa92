//! Reading documents that people write: every mistake is told with its place, what was expected, and an example.
//!
//! [`Source`] is a text with a name, [`Section`] one table of a TOML text, [`Problem`] what is wrong. [`units`] reads
//! durations and sizes as people write them.

mod problem;
mod section;
pub mod units;

pub use problem::{Place, Problem, Source, nearest};
pub use section::{At, Kind, Section};
