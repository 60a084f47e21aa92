//! The JSON of Marathon's API (v2, the 1.11 line): definitions are read in all their old and new forms, brought into the one
//! normal form of `mezzo_services_model`, judged, and written again.
//!
//! A document goes through three doors, each with its own kind of error: its values have the right types and bounds
//! ([`Invalid::Json`]), old forms are rewritten ([`Invalid::Argument`]), and what it says makes sense ([`Invalid::Object`]).
//! Nothing here does I/O or knows the time; what a document means to running instances is decided in `core/services`.
//!
//! Where a comment or a test says "rule" it means Marathon's, of the project's table of behaviours.

pub mod answer;
mod app;
mod error;
mod event;
mod group;
mod json;
#[cfg(test)]
mod kept;
mod part;
pub mod pod;
#[cfg(test)]
mod sample;
mod settings;
mod time;
mod verdict;

pub use app::{
    AppFilter, AppUpdate, LabelSelector, SelectorError, judge_change, read_app, read_app_strictly,
    read_app_update, read_app_updates, read_stored_app,
};
pub use error::{Details, Invalid};
pub use event::{EVENT_HEARTBEAT, EVENT_NAMES, event_frame, event_name, write_event};
pub use group::{
    GroupUpdate, judge_tree, read_group_enforcement, read_group_update, with_app, with_enforcement,
    without_app, without_group,
};
pub use json::{UnknownKey, parse};
pub use settings::{Context, Settings};
pub use time::{millis, parse_time, time_text};
