//! The services process: the services' core, Marathon's API over HTTP, records on disk, probes, and a subscription with
//! the master like any other framework's.
//!
//! [`run`] is the whole process. Three kinds of threads meet in it:
//!
//! - the runtime's, which read requests and write answers, hear the master, send calls and make probes;
//! - one that *decides*: it takes inputs from a bounded queue, steps the core, and hands on what the core returned
//!   (`decider`);
//! - one that *performs*: it makes records durable, many per commit, shows the state after them, and does everything else
//!   in order behind them (`performer`).
//!
//! Reads are answered from the snapshot that was shown last, which holds nothing that a crash could take back. A change
//! (`change`) is made on a copy of the snapshot's tree and handed to the core, which says when the tree has moved meanwhile.
//!
//! Nothing is decided here; see `mezzo-services` for that, and `mezzo-marathon-api` for what documents mean.

mod api;
mod calls;
mod change;
mod config;
mod decider;
mod events;
mod http;
mod inbox;
mod logging;
mod master;
mod metrics;
mod outlook;
mod performer;
mod probes;
mod random;
mod records;
mod route;
mod run;
mod secrets;
mod shared;
mod shown;

pub use config::{Config, Credentials};
pub use logging::Logging;
pub use run::run;
