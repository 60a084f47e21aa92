//! One container after another, in turn with the same system calls bare and with other runtimes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Bench, wait};
use crate::{
    daemons::binary,
    table::{Table, percentile},
};

/// Containers of each kind.
const COUNT: usize = 100;
/// Between two: longer than what the kernel still does for the one before, so that each is the first of a
/// while, as on an agent where little happens.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn exec(table: &mut Table) -> Result<()> {
    compare(table, "overlay, 4 namespaces, all cgroups", false)
}

/// The same with a network namespace, in which there is only the loopback interface. Ours writes down what it joins, and
/// undoes it.
pub(crate) fn network(table: &mut Table) -> Result<()> {
    compare(table, "the same and a network", true)
}

fn compare(table: &mut Table, what: &str, network: bool) -> Result<()> {
    let bench = Bench::start("exec")?;
    let mut bare = Bare::start(bench.path(), network)?;
    let mut runtimes: Vec<Runtime> =
        ["crun", "runc"].into_iter().filter_map(|name| Runtime::find(name, bench.path(), network)).collect();
    for runtime in &mut runtimes {
        runtime.run()?;
    }
    let (mut starts, mut ends, mut bare_starts) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..COUNT {
        if n % (COUNT / 4) == 0 {
            eprintln!("  {n} of {COUNT} containers of each kind");
        }
        // In turn, so that what one leaves behind does not always meet the same other.
        for turn in 0..2 + runtimes.len() {
            thread::sleep(PAUSE);
            match (turn + n) % (2 + runtimes.len()) {
                0 => {
                    let (started, ended) =
                        bench.run(&bench.request(&format!("c{n}"), &["/bin/true"]), network)?;
                    starts.push(millis(started));
                    ends.push(millis(ended));
                }
                1 => bare_starts.push(bare.run(n)?),
                other => {
                    if let Some(runtime) = runtimes.get_mut(other - 2) {
                        runtime.run()?;
                    }
                }
            }
        }
    }
    let (start, end, bare) =
        (percentile(&mut starts, 0.5), percentile(&mut ends, 0.5), percentile(&mut bare_starts, 0.5));
    table.row(
        &format!("{what}: time to exec"),
        &format!("{start:.2} ms (p90 {:.2})", percentile(&mut starts, 0.9)),
        &format!(
            "the same calls bare: {bare:.2} ms (p90 {:.2}): {:.2}x",
            percentile(&mut bare_starts, 0.9),
            start / bare
        ),
        "<= 2x",
    );
    let mut beside = Vec::new();
    for name in ["crun", "runc"] {
        beside.push(match runtimes.iter_mut().find(|runtime| runtime.name == name) {
            Some(runtime) => {
                let median = percentile(&mut runtime.times, 0.5);
                format!("{name} {median:.1} ms: {:.1}x faster", median / end)
            }
            None => format!("{name} is not installed"),
        });
    }
    table.row(
        &format!("{what}: run to exit and nothing left"),
        &format!("{end:.2} ms (p90 {:.2})", percentile(&mut ends, 0.9)),
        &beside.join("; "),
        ">= 2x faster than crun",
    );
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The program that makes the system calls and does nothing else.
pub(super) struct Bare {
    /// It ends with its input, and takes its control groups along.
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Bare {
    pub(super) fn start(folder: &Path, network: bool) -> Result<Self> {
        let program = binary()?.with_file_name("examples").join("bare_root");
        let mut child = Command::new(&program)
            .arg(folder.join("image"))
            .arg(folder.join("bare"))
            .args(network.then_some("network"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", program.display()))?;
        let answers = BufReader::new(child.stdout.take().context("it has no output")?);
        Ok(Self { child, answers })
    }

    /// Milliseconds until the program of a container was executed.
    pub(super) fn run(&mut self, number: usize) -> Result<f64> {
        writeln!(self.child.stdin.as_ref().context("it has no input")?, "{number}")?;
        if !wait::is_readable(self.answers.get_ref().as_fd())? {
            bail!("the bare program does not answer");
        }
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let micros: f64 = line.trim().parse().context("the bare program has failed")?;
        Ok(micros / 1e3)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !wait::has_ended(&self.child).unwrap_or(false) {
            drop(self.child.kill());
        }
        drop(self.child.wait());
    }
}

/// Another runtime, with a bundle whose root is the image itself: it makes no overlay, and it installs no
/// filter of system calls.
struct Runtime {
    name: &'static str,
    bundle: PathBuf,
    count: usize,
    times: Vec<f64>,
}

impl Runtime {
    fn find(name: &'static str, folder: &Path, network: bool) -> Option<Self> {
        let bundle = folder.join(name);
        let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
            .iter()
            .any(|folder| Path::new(folder).join(name).exists());
        if !found {
            return None;
        }
        let runtime = Self { name, bundle, count: 0, times: Vec::new() };
        match runtime.prepare(&folder.join("image"), network) {
            Ok(()) => Some(runtime),
            Err(error) => {
                eprintln!("  {name}: {error:#}");
                None
            }
        }
    }

    /// Takes what the runtime itself writes for a container, without the terminal and, unless it is wanted, the
    /// network.
    fn prepare(&self, image: &Path, network: bool) -> Result<()> {
        fs::create_dir(&self.bundle)?;
        let made = Command::new(self.name).arg("spec").current_dir(&self.bundle).status()?;
        if !made.success() {
            bail!("writes no bundle: {made}");
        }
        let file = self.bundle.join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        config["root"]["path"] = image.to_string_lossy().into();
        config["linux"]["resources"]["memory"] = serde_json::json!({"limit": 64 << 20});
        config["linux"]["resources"]["cpu"] = serde_json::json!({"shares": 102});
        config["linux"]["resources"]["pids"] = serde_json::json!({"limit": 4915});
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| match namespace["type"].as_str() {
                Some("network") => network,
                other => other != Some("cgroup"),
            });
        }
        Ok(fs::write(&file, serde_json::to_vec(&config)?)?)
    }

    fn run(&mut self) -> Result<()> {
        self.count += 1;
        let begun = Instant::now();
        let output = wait::output(
            Command::new(self.name)
                .args(["run", &format!("mezzo-bench-{}-{}", std::process::id(), self.count)])
                .current_dir(&self.bundle)
                .stdin(Stdio::null())
                .stderr(Stdio::piped()),
        )?;
        if !output.status.success() {
            bail!("{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        // The first one brings the runtime into memory.
        if self.count > 1 {
            self.times.push(millis(begun.elapsed()));
        }
        Ok(())
    }
}
