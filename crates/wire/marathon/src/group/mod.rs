//! Groups: trees of apps that are replaced, scaled and brought back together.

mod apply;
mod document;
#[cfg(test)]
mod tests;
mod tree;

pub use apply::{GroupUpdate, read_group_enforcement, read_group_update};
pub use tree::{judge_tree, with_app, with_enforcement, with_pod, without_app, without_group};
