//! `mezzo sim trace`

use std::{io::Write, process::ExitCode};

use mezzo_scenario::{GpuCluster, gpu_cluster};

use crate::{
    args::SimTrace,
    error::{CliError, Exit},
};

/// Writes a generated trace as CSV.
pub(super) fn write(arguments: &SimTrace) -> Result<ExitCode, CliError> {
    let plan = GpuCluster { seed: arguments.seed, tasks: arguments.tasks, days: arguments.days };
    let text = gpu_cluster(plan).to_csv();
    match &arguments.out {
        None => {
            // A reader that went away wants no more of it.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
        Some(path) => {
            std::fs::write(path, &text).map_err(|error| {
                CliError::new(Exit::Failed, "write the trace")
                    .place(path.display().to_string())
                    .why(error.to_string())
            })?;
            eprintln!("wrote {} tasks to {}", arguments.tasks, path.display());
            eprintln!("  next:  mezzo sim run {} --nodes 1000", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
