//! The command line, declared once: help and completion come from here.

use clap::{Args, Parser, Subcommand};

use crate::table::Format;

/// Where the master is unless told otherwise.
pub(crate) const MASTER_DEFAULT: &str = "127.0.0.1:5050";

/// A datacenter as one computer: run tasks on many machines, with Apache Mesos' APIs.
#[derive(Debug, Parser)]
#[command(name = "mezzo", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Master to talk to, as host:port
    #[arg(long, global = true, env = "MEZZO_MASTER", value_name = "HOST:PORT", default_value = MASTER_DEFAULT)]
    pub(crate) master: String,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine, for development
    Dev(Dev),
    /// Run a master (takes Mesos' flags)
    #[command(disable_help_flag = true)]
    Master(Daemon),
    /// Run an agent (takes Mesos' flags)
    #[command(disable_help_flag = true)]
    Agent(Daemon),
    /// Run a command on the cluster and wait for it
    Run(Run),
    /// List tasks
    Tasks(Tasks),
    /// Print what a task wrote
    Logs(Logs),
    /// End a task
    Kill(Kill),
    /// List agents and what they have
    Nodes,
    /// List frameworks
    Frameworks(Frameworks),
    /// List resources that are offered at the moment
    Offers,
    /// Tell why a task or framework is where it is
    Why(Why),
    /// Tell how the cluster is
    Status,
    /// Print a completion script for a shell
    Completion(Completion),
}

/// `mezzo dev`
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Number of agents
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100), value_name = "N")]
    pub(crate) agents: u16,
    /// Keep data in ~/.mezzo/dev instead of a folder that is deleted at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Port of the master; 0 takes any free one
    #[arg(long, default_value_t = 5050)]
    pub(crate) port: u16,
}

/// `mezzo master` and `mezzo agent`
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// Mesos' flags: --name=value, --name, --no-name; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

/// `mezzo run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Cpus it needs
    #[arg(long, default_value_t = 0.1)]
    pub(crate) cpus: f64,
    /// Memory it needs, in megabytes
    #[arg(long, default_value_t = 64.0, value_name = "MB")]
    pub(crate) mem: f64,
    /// Disk it needs, in megabytes
    #[arg(long, default_value_t = 0.0, value_name = "MB")]
    pub(crate) disk: f64,
    /// Name of the task
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Role to take resources of
    #[arg(long, default_value = "*")]
    pub(crate) role: String,
    /// User to run as; yourself unless told otherwise
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Variable for the command
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// File to fetch into the sandbox first
    #[arg(long, value_name = "URI")]
    pub(crate) uri: Vec<String>,
    /// Give up when no agent has room within so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// What to run, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `mezzo tasks`
#[derive(Debug, Args)]
pub(crate) struct Tasks {
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those of this framework: an id, the start of one, or a name
    #[arg(long, value_name = "FRAMEWORK")]
    pub(crate) framework: Option<String>,
}

/// `mezzo logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A task id, the start of one, or `last`
    pub(crate) task: String,
    /// Go on until the task ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What it wrote to stderr instead of stdout
    #[arg(long)]
    pub(crate) stderr: bool,
}

/// `mezzo kill`
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// A task id, the start of one, or `last`
    pub(crate) task: String,
    /// Number of the signal
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(i32).range(1..=64))]
    pub(crate) signal: i32,
}

/// `mezzo frameworks`
#[derive(Debug, Args)]
pub(crate) struct Frameworks {
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// `mezzo why`
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// A task or framework: an id or the start of one
    pub(crate) what: String,
}

/// `mezzo completion`
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_dashes_is_the_command() {
        let cli = Cli::parse_from(["mezzo", "run", "--cpus", "2", "--", "sh", "-c", "echo hi; exit 3"]);
        let Command::Run(run) = cli.command else { panic!("run") };
        assert_eq!(run.command, ["sh", "-c", "echo hi; exit 3"]);
    }
}
