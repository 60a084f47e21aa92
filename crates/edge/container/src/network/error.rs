//! Why networks cannot be joined.

use std::{io, path::PathBuf};

use super::{NETWORKS_MAX, record::Joined};

/// Why a container cannot join its networks.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The agent has no networks.
    #[error("There is no network '{0}': the agent has no --network_cni_config_dir")]
    NoNetworks(String),
    /// No file has it.
    #[error("There is no network '{name}' in '{folder}'{others}")]
    Unknown {
        /// Its name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// Files there that could not be read, and why.
        others: String,
    },
    /// Rule 368.
    #[error("Network '{0}' cannot be joined twice")]
    Twice(String),
    /// Too many.
    #[error("A container cannot join more than {NETWORKS_MAX} networks")]
    TooMany,
    /// What was asked of it makes no sense.
    #[error("Network '{network}' cannot be joined: {why}")]
    Asked {
        /// Which.
        network: String,
        /// What is wrong.
        why: String,
    },
    /// Its id is nothing that plugins would take, or its name no host name.
    #[error("'{0}' cannot be the name of a container with a network of its own")]
    Name(String),
    /// A plugin is missing, or failed.
    #[error("Failed to {what} network '{network}': plugin '{plugin}': {why}")]
    Plugin {
        /// join, leave or check.
        what: &'static str,
        /// Which.
        network: String,
        /// Its program.
        plugin: String,
        /// In its words.
        why: String,
    },
    /// The system refused.
    #[error("Failed to {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The container is not wanted any more.
    #[error("The container was destroyed while it joined its networks")]
    Cancelled,
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> NetworkError {
    move |source| NetworkError::System { what, source }
}

impl Joined {
    pub(super) fn failed(&self, what: &'static str, plugin: usize, why: String) -> NetworkError {
        let (network, plugin) = (self.network.name.clone(), self.network.plugin(plugin).to_owned());
        NetworkError::Plugin { what, network, plugin, why }
    }
}
