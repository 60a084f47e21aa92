//! Attacks on the ports of real daemons: wrong, truncated, oversized, deeply nested, slow and contradictory input
//! gets a clear refusal or a closed connection; nothing panics, nothing grows without bound, and others are served.
//!
//! Tests carry the rows of the attack checklist that they stand for; docs/attack-checklist.md has the whole table.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test program uses its part of the shared module")]
mod support;
mod wire;

mod files;
mod http;
mod limits;
mod messages;
mod operating;
