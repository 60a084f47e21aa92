//! `cargo xtask bench kernel`: builds the release binaries and runs the measurements.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

/// Runs the benchmark program of `crates/dev/bench`, which prints one table.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    for package in ["mezzo", "mezzo-bench"] {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "-p", package])
            .current_dir(root)
            .status()
            .context("run cargo build")?;
        if !built.success() {
            bail!("building {package} failed");
        }
    }
    let status = Command::new(root.join("target/release/mezzo-bench"))
        .args(arguments)
        .current_dir(root)
        .status()
        .context("run the benchmarks")?;
    if !status.success() {
        bail!("the benchmarks failed");
    }
    Ok(())
}
