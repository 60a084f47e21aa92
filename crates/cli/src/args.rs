//! The command line, declared once: help and completion come from here.

pub(crate) mod services;

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
    /// Run long-running services on a cluster, with Marathon's API (takes Marathon's flags)
    #[command(disable_help_flag = true)]
    Services(Daemon),
    /// Run a command on the cluster and wait for it
    Run(Run),
    /// List tasks
    Tasks(Tasks),
    /// Show what running tasks use
    Top(Top),
    /// Print what a task wrote
    Logs(Logs),
    /// Run a command beside a task
    Exec(Exec),
    /// Show the terminal of a task, and type into it
    Attach(Attach),
    /// Copy a file out of a task, or into one
    Cp(Cp),
    /// End a task
    Kill(Kill),
    /// List agents and what they have
    Nodes,
    /// List the images that agents have
    Images(Images),
    /// Bring an image to agents before a task needs it
    Pull(Pull),
    /// List frameworks
    Frameworks(Frameworks),
    /// List resources that are offered at the moment
    Offers,
    /// Tell why a task, framework or app is where it is
    Why(Why),
    /// Tell how the cluster is
    Status,
    /// Tell what an agent could do on this machine, and what is missing for the rest
    Doctor(Doctor),
    /// Try scenarios on a simulated cluster: which policy, how many nodes, what if
    #[command(subcommand)]
    Sim(Sim),
    /// Make services what files say
    Up(services::Up),
    /// Show what `up` would do
    Plan(services::Plan),
    /// List apps
    Apps(services::Apps),
    /// Show or change an app
    #[command(subcommand)]
    App(services::App),
    /// List pods
    Pods(services::Pods),
    /// List deployments that run
    Deployments(services::Deployments),
    /// Write a compose file as a file of services
    Import(services::Import),
    /// Set, list and remove secrets that services are started with
    #[command(subcommand)]
    Secret(services::Secret),
    /// Print a completion script for a shell
    Completion(Completion),
}

/// `mezzo sim`
#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Play a scenario or a trace, and compare policies
    Run(SimRun),
    /// Step through what happened in a run
    Explain(SimExplain),
    /// Write a trace like that of a cluster for machine learning
    Trace(SimTrace),
}

/// What is played, for `mezzo sim run` and `mezzo sim explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SimWhat {
    /// Number of nodes; the groups of a scenario keep their proportions
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200_000), value_name = "N")]
    pub(crate) nodes: Option<u64>,
    /// What each node of a trace has
    #[arg(long, value_name = "cpus:N;mem:MB;gpus:N")]
    pub(crate) node: Option<String>,
    /// Policies to compare: fair-share (or drf), random, spread, pack, most-free:NAME; joined by + where one
    /// says who is next and one which nodes come first
    #[arg(long, value_delimiter = ',', value_name = "POLICY,..")]
    pub(crate) policy: Vec<String>,
    /// Root of all chance; the same seed gives the same run
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
}

/// `mezzo sim run`
#[derive(Debug, Args)]
pub(crate) struct SimRun {
    /// A scenario (.toml) or a trace (.csv, .jsonl)
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: std::path::PathBuf,
    #[command(flatten)]
    pub(crate) what: SimWhat,
    /// Folder for report.html, results.json and the event log of each policy
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) out: Option<std::path::PathBuf>,
}

/// `mezzo sim explain`
#[derive(Debug, Args)]
pub(crate) struct SimExplain {
    /// The folder of a run, or a scenario or trace to play first
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub(crate) from: std::path::PathBuf,
    #[command(flatten)]
    pub(crate) what: SimWhat,
    /// Only what concerns this task, and why it waited
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// Only what concerns this agent
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Only what concerns this framework
    #[arg(long, value_name = "FRAMEWORK")]
    pub(crate) framework: Option<String>,
    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Not before this time after the start, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) after: Option<f64>,
    /// Not after this time after the start, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) before: Option<f64>,
    /// Lines of a page
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub(crate) lines: u32,
    /// Print only this page, from 1
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) page: Option<u32>,
}

/// `mezzo sim trace`
#[derive(Debug, Args)]
pub(crate) struct SimTrace {
    /// Root of all chance
    #[arg(long, default_value_t = mezzo_scenario::SHIPPED.seed, value_name = "S")]
    pub(crate) seed: u64,
    /// Tasks, members of gangs counted
    #[arg(long, default_value_t = mezzo_scenario::SHIPPED.tasks, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "N")]
    pub(crate) tasks: u64,
    /// Days over which they arrive
    #[arg(long, default_value_t = mezzo_scenario::SHIPPED.days, value_parser = clap::value_parser!(u64).range(1..=366), value_name = "N")]
    pub(crate) days: u64,
    /// File to write; stdout unless told otherwise
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Option<std::path::PathBuf>,
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
    /// Port of the services; 0 takes any free one, and so does the usual one when it is taken
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub(crate) services_port: u16,
}

/// `mezzo master`, `mezzo agent` and `mezzo services`
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// Its flags: --name=value, --name, --no-name; --help lists them
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
    /// Network of the agent's that it joins, with an address of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Vec<String>,
    /// Give it a terminal, for mezzo attach
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Give up when no agent has room within so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Image whose files it has, as name[:tag] with or without registry; without one it has the agent's
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// What to run, after --; an image's own command unless told otherwise
    #[arg(last = true, required_unless_present = "image", value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `mezzo images`
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Only those of this agent: a host name, or the start of an id
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
}

/// `mezzo pull`
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Name of the image, as name[:tag] with or without registry
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Only to this agent: a host name, or the start of an id
    #[arg(long, value_name = "AGENT|all", default_value = "all")]
    pub(crate) agent: Option<String>,
}

/// `mezzo doctor`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Where this machine's control groups are
    #[arg(long = "cgroups_hierarchy", value_name = "PATH", default_value = "/sys/fs/cgroup")]
    pub(crate) cgroups_hierarchy: std::path::PathBuf,
    /// Another runtime to look at, as an agent's flag has it; those on the PATH otherwise
    #[arg(long = "runtime", value_name = "oci:PATH")]
    pub(crate) runtime: Option<String>,
    /// Where an agent would keep sandboxes
    #[arg(long = "work_dir", value_name = "PATH", default_value = "/var/lib")]
    pub(crate) work_dir: std::path::PathBuf,
}

/// `mezzo top`
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print one table and end; also with any other form than a table
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds between two measurements
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) interval: f64,
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
    /// A task id, the start of one, or `last`; or an app, for all its instances
    pub(crate) task: String,
    /// Go on until the task ends, or the app is gone
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What it wrote to stderr instead of stdout
    #[arg(long)]
    pub(crate) stderr: bool,
    #[command(flatten)]
    pub(crate) server: services::Server,
}

/// `mezzo exec`
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Pass standard input on, but give the command no terminal
    #[arg(short, long, conflicts_with = "no_stdin")]
    pub(crate) interactive: bool,
    /// Give the command a terminal, as it gets anyway when it is started from one; with -i or without
    #[arg(short, long, conflicts_with = "no_stdin")]
    pub(crate) tty: bool,
    /// Give the command no input
    #[arg(short, long)]
    pub(crate) no_stdin: bool,
    /// A task id, the start of one, a name, or `last`
    pub(crate) task: String,
    /// What to run, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `mezzo attach`
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Only look
    #[arg(short, long)]
    pub(crate) no_stdin: bool,
    /// A task id, the start of one, a name, or `last`
    pub(crate) task: String,
}

/// `mezzo cp`
#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// A file here, or TASK:PATH
    #[arg(value_name = "FROM", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) source: String,
    /// A file or folder here, - for stdout, or TASK:PATH
    #[arg(value_name = "TO", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) target: String,
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
    /// An app's path, a task or a framework: an id or the start of one
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) server: services::Server,
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
        assert_eq!(run.image, None);
    }

    #[test]
    fn what_comes_before_the_dashes_is_an_image() {
        let run = |words: &[&str]| {
            let cli = Cli::try_parse_from(["mezzo", "run"].iter().chain(words)).ok()?;
            let Command::Run(run) = cli.command else { panic!("run") };
            Some((run.image?, run.command))
        };
        assert_eq!(run(&["busybox:1.36"]), Some(("busybox:1.36".into(), Vec::new())));
        let told = Some(("busybox".into(), vec!["echo".into(), "hi".into()]));
        assert_eq!(run(&["--cpus=1", "busybox", "--", "echo", "hi"]), told);
        assert_eq!(run(&["echo", "hi"]), None, "a command comes after the dashes");
        assert_eq!(run(&[]), None);
    }
}
