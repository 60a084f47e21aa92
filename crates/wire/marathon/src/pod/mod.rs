//! Pods: their definitions, read and written, and their status.

mod document;
mod read;
mod rules;
mod status;
#[cfg(test)]
mod tests;
mod write;

pub use crate::group::with_pod;
pub use read::{read_pod, read_pod_strictly, read_stored_pod};
pub use rules::judge_pod_change;
pub use status::write_pod_status;
pub use write::write_pod;
