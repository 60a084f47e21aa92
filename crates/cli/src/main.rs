//! The `mezzo` binary: daemons, a cluster for development, and the commands of users and operators.
//!
//! Each command is a file of [`commands`]. A command prints data to stdout and talk to stderr, and ends
//! with one of the codes of [`error::Exit`].

mod args;
mod client;
mod commands;
mod error;
mod files;
mod flags;
mod images;
mod logging;
mod output;
mod progress;
mod services;
mod session;
mod table;
mod terminal;

use std::process::ExitCode;

/// Much of what the daemons hold is freed by another thread than the one that made it, which costs the
/// system's allocator a third of the master's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The container launcher forks: it must run before there is any thread, runtime or parser.
    if std::env::args_os().nth(1).is_some_and(|word| word == mezzo_container::LAUNCHER_ARGUMENT) {
        mezzo_container::launcher_main();
    }
    match commands::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}
