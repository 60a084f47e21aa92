//! How much the process tells of itself.

use std::time::Duration;

/// How logs are turned up and down; the process that has the logs says how.
#[derive(Clone, Copy, Debug)]
pub struct Logging {
    /// Steps above the level it was started with: 1 is debug, more is trace.
    pub get: fn() -> u32,
    /// Goes so many steps above it, for so long.
    pub set: fn(u32, Duration),
}

impl Default for Logging {
    /// One level that cannot be changed.
    fn default() -> Self {
        Self { get: || 0, set: |_, _| {} }
    }
}
