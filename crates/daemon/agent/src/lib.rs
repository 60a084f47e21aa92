//! The agent process: the agent's core, its API over HTTP, its containers, and its link to the master.
//!
//! Wiring, no decisions. One thread owns the core ([`mezzo_agent::Agent`]) and steps it; another
//! performs its effects in order, behind the records that have to be on disk first (durability is
//! order). HTTP, the link and checks run on the tokio runtime of the caller of [`run`]; containers are
//! children of a launcher process and go on without this one.
//!
//! There is no way around the core: whatever changes the agent's state comes in as an input.

mod api;
mod checks;
mod config;
mod convert;
mod core;
mod desk;
mod detect;
mod fetch;
mod images;
mod janitor;
mod launch;
mod link;
mod perform;
mod pulls;
mod recover;
mod sandbox;
mod shared_volumes;
mod start;
mod tokens;
mod volumes;

pub use config::{Config, Verbosity};
pub use detect::Host;
pub use images::{Collection, ImageSettings};
pub use perform::Ended;
pub use shared_volumes::GidRange;
pub use start::{StartError, Stop, run};
