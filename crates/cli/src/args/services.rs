//! The part of the command line that is about services.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where services are unless told otherwise.
pub(crate) const SERVICES_DEFAULT: &str = "127.0.0.1:8080";

/// Where the services framework is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// Services framework to talk to (Marathon's API), as host:port; in the variable also user:password@host:port
    #[arg(long, env = "MEZZO_SERVICES", hide_env_values = true, value_name = "HOST:PORT", default_value = SERVICES_DEFAULT)]
    pub(crate) services: String,
}

/// Whether to wait for a deployment.
#[derive(Clone, Debug, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Cancel deployments that are in the way
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not wait until it is done
    #[arg(short, long)]
    pub(crate) detach: bool,
}

/// `mezzo up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Services as TOML, or Marathon's documents as YAML or JSON; - is JSON from stdin
    #[arg(required = true, value_hint = clap::ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) deploy: Deploy,
}

/// `mezzo plan`
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Services as TOML, or Marathon's documents as YAML or JSON; - is JSON from stdin
    #[arg(required = true, value_hint = clap::ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// `mezzo import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A compose file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Where to write; - is stdout
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) to: Option<PathBuf>,
}

/// `mezzo apps`
#[derive(Debug, Args)]
pub(crate) struct Apps {
    /// Only those whose labels match: tier==front, tier in (front, back), !tier
    #[arg(short, long, value_name = "SELECTOR")]
    pub(crate) label: Option<String>,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// `mezzo pods`
#[derive(Debug, Args)]
pub(crate) struct Pods {
    #[command(flatten)]
    pub(crate) server: Server,
}

/// `mezzo deployments`
#[derive(Debug, Args)]
pub(crate) struct Deployments {
    /// Go on until none is left
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// `mezzo app`
#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// Show an app and its instances
    Show {
        /// Its path
        app: String,
        #[command(flatten)]
        server: Server,
    },
    /// Change how many instances there are
    Scale {
        /// Its path
        app: String,
        /// How many; +N and -N are from where it is
        #[arg(allow_hyphen_values = true)]
        instances: String,
        #[command(flatten)]
        deploy: Deploy,
    },
    /// Replace all instances
    Restart {
        /// Its path
        app: String,
        #[command(flatten)]
        deploy: Deploy,
    },
    /// List the versions of an app, newest first, and what each changed
    History {
        /// Its path
        app: String,
        #[command(flatten)]
        server: Server,
    },
    /// Bring a version back
    Rollback {
        /// Its path
        app: String,
        /// Which version, as `history` lists them; the one before unless given
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        deploy: Deploy,
    },
    /// End all instances and forget the app
    Rm {
        /// Its path
        app: String,
        #[command(flatten)]
        deploy: Deploy,
    },
}

/// `mezzo secret`
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Set a secret; its value comes from stdin unless said otherwise, and is never shown again
    Set {
        /// Its name, as definitions name it: shop/db
        name: String,
        /// Make a value that nobody has seen: 43 characters, 256 random bits
        #[arg(long, conflicts_with = "from_file")]
        generate: bool,
        /// The whole of a file
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        from_file: Option<PathBuf>,
        #[command(flatten)]
        server: Server,
    },
    /// List secrets by name, and which services need them
    Ls {
        #[command(flatten)]
        server: Server,
    },
    /// Remove a secret that no service needs
    Rm {
        /// Its name
        name: String,
        /// Although services need it: what of them is started later waits
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        server: Server,
    },
}
