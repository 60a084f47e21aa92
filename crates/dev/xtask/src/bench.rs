//! `cargo xtask bench ...`: builds the release binaries and runs the measurements.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

/// Builds what is measured and runs the benchmark program of `crates/dev/bench`, which prints one table.
pub(crate) fn run(root: &Path, packages: &[&str], arguments: &[&str]) -> Result<()> {
    for package in packages {
        build(root, &["-p", package])?;
    }
    measure(Command::new(root.join("target/release/mezzo-bench")).args(arguments).current_dir(root))
}

/// The same for containers. Debian's crun refuses hosts with control groups of both versions where a
/// controller is left to the second, so all of it happens where the second is not seen.
pub(crate) fn containers(root: &Path, measurements: &[&str]) -> Result<()> {
    build(root, &["-p", "mezzo"])?;
    build(root, &["-p", "mezzo-bench"])?;
    build(root, &["-p", "mezzo-container", "--example", "bare_root"])?;
    let hide = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    measure(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", hide, "sh"])
            .arg(root.join("target/release/mezzo-bench"))
            .args(measurements)
            .current_dir(root),
    )
}

fn build(root: &Path, what: &[&str]) -> Result<()> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet"])
        .args(what)
        .current_dir(root)
        .status()
        .context("run cargo build")?;
    if !built.success() {
        bail!("building {} failed", what.join(" "));
    }
    Ok(())
}

fn measure(command: &mut Command) -> Result<()> {
    let status = command.status().context("run the benchmarks")?;
    if !status.success() {
        bail!("the benchmarks failed");
    }
    Ok(())
}
