//! Apps: documents, their old forms, the rules they hold to, and changes on top of a stored definition.

mod change;
pub(crate) mod document;
mod filter;
mod legacy;
pub(crate) mod read;
mod rules;
mod update;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use change::judge_change;
pub use filter::{AppFilter, LabelSelector, SelectorError};
pub use read::{read_app, read_app_strictly, read_stored_app};
pub use update::{AppUpdate, read_app_update, read_app_updates};
