//! `cargo xtask bench kernel` and `bench allocator`: builds the release binaries and runs the measurements.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

/// Builds what is measured and runs the benchmark program of `crates/dev/bench`, which prints one table.
pub(crate) fn run(root: &Path, packages: &[&str], arguments: &[&str]) -> Result<()> {
    for package in packages {
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
