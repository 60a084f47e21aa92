//! The master process: the master's core, its API over HTTP, its registry and its links to agents.

mod config;

pub use config::{Config, RegistryKind};
