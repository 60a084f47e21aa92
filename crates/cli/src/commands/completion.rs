//! `mezzo completion`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;

/// Prints the script for a shell.
pub(crate) fn print(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mezzo", &mut script);
    // A reader that went away wants no more of it.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
}
