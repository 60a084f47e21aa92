//! `cargo xtask vm-test`: the tests of containers where control groups of one version are alone. Hosts that people
//! build on have both versions, so this needs machines of its own; they are emulated and need nothing but QEMU.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Boots the machine and runs a program in it.
const BOOT: &str = "crates/edge/container/tests/emulated/boot.sh";
/// Kept between runs: the kernel.
const FOLDER: &str = "target/tmp/emulated";
const MACHINES: [&str; 2] = ["v2", "v1"];
/// Programs of tests: of our own containers, and of those that other runtimes start.
const PROGRAMS: [&str; 2] = ["containers", "runtimes"];

/// What came out of one program in one machine.
struct Outcome {
    machine: &'static str,
    tests: &'static str,
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
    /// The program came to its end.
    ended: bool,
    took: Duration,
}

/// Runs the tests whose names contain one of these words, or all of them, in each machine. The name of a program of
/// tests stands for all that are in it.
pub(crate) fn run(root: &Path, names: &[&str]) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the kernel that is booted is for x86_64");
    }
    let (programs, words): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| PROGRAMS.contains(name));
    let mut outcomes = Vec::new();
    for tests in PROGRAMS {
        if !programs.is_empty() && !programs.contains(&tests) {
            continue;
        }
        let program = build(root, tests)?;
        for machine in MACHINES {
            println!("== {tests}, {machine} alone");
            outcomes.push(boot(root, tests, &program, machine, &words)?);
        }
    }
    println!(
        "\n{:12} {:16} {:>6} {:>6} {:>7} {:>8}",
        "tests", "control groups", "passed", "failed", "skipped", "seconds"
    );
    for outcome in &outcomes {
        let Outcome { machine, tests, passed, failed, skipped, took, .. } = outcome;
        println!(
            "{tests:12} {:16} {passed:6} {:6} {skipped:7} {:8.0}",
            format!("{machine} alone"),
            failed.len(),
            took.as_secs_f64()
        );
    }
    for Outcome { machine, tests, failed, ended, .. } in &outcomes {
        if !failed.is_empty() {
            bail!("{tests} with {machine} alone: {}", failed.join(", "));
        }
        if !ended {
            bail!("the machine of {tests} with {machine} alone did not come to an end");
        }
    }
    if outcomes.iter().all(|outcome| outcome.passed == 0) {
        bail!("no test has one of these words in its name: {}", words.join(" "));
    }
    Ok(())
}

/// A program of tests.
fn build(root: &Path, tests: &str) -> Result<PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--release", "--quiet", "--package", "mezzo-container", "--test", tests])
        .args(["--no-run", "--message-format=json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo test")?;
    if !built.status.success() {
        bail!("building the tests failed");
    }
    let said = String::from_utf8_lossy(&built.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == tests)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo told of no test program")
}

fn boot(
    root: &Path,
    tests: &'static str,
    program: &Path,
    machine: &'static str,
    words: &[&str],
) -> Result<Outcome> {
    let begin = Instant::now();
    let mut child = Command::new("sh")
        .arg(root.join(BOOT))
        .arg(program)
        .arg(root.join(FOLDER))
        .arg(machine)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("run sh")?;
    let output = child.stdout.take().context("its output")?;
    let (mut passed, mut failed, mut skipped, mut ended) = (0, Vec::new(), 0, false);
    // The console of a machine may say what is no text.
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("read from the machine")?;
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        match line.trim_start().strip_prefix("test ").and_then(|test| test.split_once(" ... ")) {
            Some((_, "ok")) => passed += 1,
            Some((name, _)) => failed.push(name.to_owned()),
            None => {}
        }
        skipped += usize::from(line.trim_start().starts_with("skipped"));
        ended |= line.contains("emulated: status ");
        println!("{line}");
    }
    child.wait().context("wait for the machine")?;
    Ok(Outcome { machine, tests, passed, failed, skipped, ended, took: begin.elapsed() })
}
