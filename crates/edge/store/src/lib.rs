//! What daemons keep on disk: small records by key, and an append-only log.
//!
//! [`Registry`] holds the newest record of each key and commits many changes at once; the master keeps
//! admitted agents, quotas and the like in one. [`EmbeddedRegistry`] is a file, [`MemoryRegistry`]
//! forgets (rule 498). [`AppendLog`] holds a sequence of records; the agent replays its own to know
//! what it was doing. A log survives a crash at any instant with every record that
//! [`AppendLog::append`] returned for.
//!
//! Both are blocking and single-writer: a driver gives each a thread and groups what it commits.
//! What the bytes mean is the caller's affair.

mod log;
mod registry;

pub use log::{AppendLog, LogError, RECORD_SIZE_MAX, Replay};
pub use registry::{Change, EmbeddedRegistry, MemoryRegistry, Registry, RegistryError};
