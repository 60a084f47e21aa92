//! What a simulation showed: tables, and a self-contained page of plots.
//!
//! A [`Story`] is plain data about one scenario run once for each policy. [`summary`] measures a run,
//! [`page`] draws everything as one HTML file without scripts, network or other files, in light and dark.
//! Nothing here runs or decides anything.

mod heat;
mod measure;
mod page;
mod plot;
mod story;
mod tell;
mod text;

pub use measure::{Summary, quantile, summary, unfairness, waits};
pub use page::{TITLES, page};
pub use story::{Node, RESOURCES, Role, Run, Sample, Story, Task};
pub use text::{number_of, percent, seconds, thousands};
