//! Scenario files, traces and generated workloads, as plain data with clear errors.
//!
//! [`Scenario::read`] takes a TOML file, [`Trace::read`] CSV or JSON lines. Whatever is wrong is a
//! [`Problem`] with file, line, column, what was expected and an example; a scenario that no cluster of
//! its nodes could play says which resource lacks how much. docs/simulation.md describes all of it.
//!
//! Nothing here runs anything: the engine is `mezzo-sim-cluster`.

mod events;
mod expect;
mod feasible;
mod generate;
mod judge;
mod read;
mod scenario;
mod setup;
mod trace;

pub use events::{DIRECTIONS, Direction, Fault, FaultKind, Target, When};
pub use expect::{Bounds, Expect, TaskAt};
pub use generate::{GpuCluster, SHIPPED, gpu_cluster};
pub use judge::{Check, judge};
pub use mezzo_document::{Place, Problem, units::duration_text};
pub use scenario::*;
pub use setup::setup;
pub use trace::{COLUMNS, Constraint, LINE_BYTES_MAX, LINES_MAX, Owner, Submission, Trace};
