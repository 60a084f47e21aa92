//! One command per file.

mod attach;
mod completion;
mod cp;
mod daemon;
mod dev;
mod doctor;
mod exec;
mod frameworks;
mod images;
mod kill;
mod logs;
mod nodes;
mod offers;
mod pull;
mod run;
mod services;
mod sim;
mod status;
mod tasks;
mod top;
mod why;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    error::{CliError, Exit},
};

/// Reads the command line and does what it says.
pub(crate) fn main() -> Result<ExitCode, CliError> {
    // Daemons read their flags in Mesos' way, and some have the names of our own.
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("master") => return daemon::master(words.collect()),
        Some("agent") => return daemon::agent(words.collect()),
        Some("services") => return daemon::services(words.collect()),
        _ => {}
    }
    let cli = Cli::parse();
    let global = cli.global;
    let done = match cli.command {
        Command::Master(daemon) => return daemon::master(daemon.flags),
        Command::Agent(daemon) => return daemon::agent(daemon.flags),
        Command::Services(daemon) => return daemon::services(daemon.flags),
        Command::Dev(dev) => return dev::run(&dev),
        Command::Completion(completion) => {
            completion::print(completion.shell);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Doctor(doctor) => doctor::run(&global, &doctor),
        Command::Sim(sim) => return sim::main(&global, sim),
        Command::Run(run) => return block_on(run::run(&global, run)),
        Command::Tasks(tasks) => block_on(tasks::list(&global, &tasks)),
        Command::Top(top) => block_on(top::show(&global, &top)),
        Command::Logs(logs) => block_on(logs::print(&global, &logs)),
        Command::Exec(exec) => return block_on(exec::exec(&global, &exec)),
        Command::Attach(attach) => return block_on(attach::attach(&global, &attach)),
        Command::Cp(cp) => block_on(cp::copy(&global, &cp)),
        Command::Kill(kill) => block_on(kill::kill(&global, &kill)),
        Command::Nodes => block_on(nodes::list(&global)),
        Command::Images(images) => block_on(images::list(&global, &images)),
        Command::Pull(pull) => block_on(pull::pull(&global, &pull)),
        Command::Frameworks(frameworks) => block_on(frameworks::list(&global, &frameworks)),
        Command::Offers => block_on(offers::list(&global)),
        Command::Why(why) => block_on(why::explain(&global, &why)),
        Command::Up(up) => block_on(services::up(&global, &up)),
        Command::Plan(plan) => block_on(services::plan(&global, &plan)),
        Command::Apps(apps) => block_on(services::apps(&global, &apps)),
        Command::App(app) => block_on(services::app(&global, &app)),
        Command::Pods(pods) => block_on(services::pods(&global, &pods)),
        Command::Deployments(deployments) => block_on(services::deployments(&global, &deployments)),
        Command::Secret(secret) => block_on(services::secret(&global, &secret)),
        Command::Import(file) => services::import(&file),
        Command::Status => block_on(status::print(&global)),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Runs a command that waits for others.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::new(Exit::Failed, "start").why(error.to_string()))?;
    runtime.block_on(work)
}
