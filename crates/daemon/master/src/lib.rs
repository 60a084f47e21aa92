//! The master process: the master's core, its API over HTTP, its registry and its links to agents.
//!
//! [`run`] is the whole process. Three kinds of threads meet in it:
//!
//! - the runtime's, which read requests and write answers, encode and decode;
//! - one that *decides*: it takes inputs from a bounded queue, steps the core, and hands on what the
//!   core returned (`decider`);
//! - one that *performs*: it makes records durable, many per commit, and delivers everything else in
//!   order behind them (`performer`);
//! - with --check_allocations one that judges what the allocator gives, and only tells (`checks`).
//!
//! Reads are answered on blocking threads from snapshots that share the core's parts, so that nobody
//! who looks slows anybody who works. A snapshot travels behind the effects of the steps before it, so
//! it shows nothing that a crash could take back. What only the allocator knows is found out by the deciding
//! thread, in small parts between its decisions (`inquiries`).
//!
//! Nothing is decided here; see `mezzo-master` for that.

mod api_operator;
mod api_scheduler;
mod big_answer;
mod checks;
mod config;
mod decider;
mod endpoint;
mod files;
mod format;
mod giving_way;
mod http;
mod inbox;
mod inquiries;
mod links;
mod operator_stream;
mod performer;
mod process;
mod random;
mod registry;
mod run;
mod scheduler_stream;
mod shape;
mod shared;
mod timing;
mod v0;
mod written;

pub use config::{Config, RegistryKind, Verbosity};
pub use mezzo_allocator::{AgentPreference, Sorter};
pub use run::run;

/// Path of an agent's API in the URL of its offers, and the name of its process in v0 texts (rule 80).
const AGENT_URL_PATH: &str = "/slave(1)";
