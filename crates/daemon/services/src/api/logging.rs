//! `/logging`

use std::time::Duration;

use mezzo_http::{Request, Response};
use mezzo_marathon_api::Invalid;
use serde_json::{Value, json};

use super::body;
use crate::{
    http::{Failure, json as answer},
    shared::Shared,
};

/// The name of everything: levels are those of the whole process, whatever part is named.
const ROOT: &str = "ROOT";
/// For changes that have no end: longer than any process lives.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The level of the process.
pub(super) fn levels(shared: &Shared) -> Response {
    let level = match (shared.config.logging.get)() {
        0 => "INFO",
        1 => "DEBUG",
        _ => "TRACE",
    };
    answer(200, json!({ ROOT: level }).to_string().into_bytes())
}

/// Sets the level, for a while or for good.
pub(super) async fn set(shared: &Shared, request: &mut Request) -> Result<Response, Failure> {
    let document = body(request).await?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("logger").is_empty() {
        return Err(Invalid::at("/logger", "must not be empty").into());
    }
    let steps = match text("level").to_ascii_lowercase().as_str() {
        "all" | "trace" => 2,
        "debug" => 1,
        // Never less than what the process was started with: that is the operator's.
        "info" | "warn" | "error" | "off" | "fatal" => 0,
        _ => return Err(Invalid::at("/level", "error.unknown.enum.literal").into()),
    };
    let seconds = document.get("durationSeconds").and_then(Value::as_u64);
    (shared.config.logging.set)(steps, seconds.map_or(FOR_GOOD, Duration::from_secs));
    Ok(answer(200, document.to_string().into_bytes()))
}
