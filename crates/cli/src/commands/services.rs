//! Commands about services, one per file.

mod app;
mod apps;
mod canary;
mod deployments;
mod files;
mod import;
mod logs;
mod plan;
mod pods;
mod secret;
mod up;
mod watch;
mod why;

pub(crate) use app::main as app;
pub(crate) use apps::list as apps;
pub(crate) use deployments::list as deployments;
pub(crate) use import::import;
pub(crate) use logs::app_logs;
pub(crate) use plan::plan;
pub(crate) use pods::list as pods;
pub(crate) use secret::main as secret;
pub(crate) use up::up;
pub(crate) use why::app_lines;

use serde_json::Value;

/// A text of an answer; empty when it is not there.
fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A count of an answer.
fn count(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

/// The members of a list of an answer.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}
