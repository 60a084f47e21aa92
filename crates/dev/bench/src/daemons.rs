//! Starts the release binary and looks at its processes from outside.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Longer than any start takes.
const START_MAX: Duration = Duration::from_secs(20);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn master(folder: &Path, more: &[&str]) -> Result<Self> {
        Self::start("master", folder, more)
    }

    pub(crate) fn agent(folder: &Path, master: &Self, more: &[&str]) -> Result<Self> {
        let mut arguments = vec![format!("--master=127.0.0.1:{}", master.port)];
        arguments.push(format!("--runtime_dir={}", runtime_dir(folder).display()));
        arguments.extend(more.iter().map(|text| text.to_string()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self::start("agent", folder, &arguments)
    }

    /// Services that are a framework of this master.
    pub(crate) fn services(folder: &Path, master: &Self, more: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let (master, port_flag) =
            (format!("--master=127.0.0.1:{}", master.port), format!("--http_port={port}"));
        let mut arguments = vec!["--hostname=127.0.0.1", &master, &port_flag];
        arguments.extend(more);
        Self::start_at("services", port, folder, &arguments)
    }

    fn start(kind: &str, folder: &Path, more: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let port_flag = format!("--port={port}");
        let mut arguments = vec!["--ip=127.0.0.1", "--hostname=127.0.0.1", &port_flag];
        arguments.extend(more);
        Self::start_at(kind, port, folder, &arguments)
    }

    /// Starts what will listen on this port, as the arguments say.
    fn start_at(kind: &str, port: u16, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let log = fs::File::create(folder.join(format!("{kind}.log"))).context("create the log")?;
        let child = Command::new(binary()?)
            .arg(kind)
            .arg(format!("--work_dir={}", folder.join(kind).display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start the binary")?;
        let mut daemon = Self { child, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{kind} ended with {status}; see {}", folder.display());
            }
            if start.elapsed() > START_MAX {
                bail!("{kind} does not listen");
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(daemon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The release binary beside this one.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("mezzo");
    if !path.exists() {
        bail!("{} is not built", path.display());
    }
    Ok(path)
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A folder of the measurement's own, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("mezzo-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// See [`runtime_dir`].
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        runtime_dir(&self.0)
    }
}

/// Where supervisors note what they run: on a memory file system where there is one, as /run is.
fn runtime_dir(folder: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    match folder.file_name() {
        Some(name) if memory.is_dir() => memory.join(name),
        _ => folder.join("run"),
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(runtime_dir(&self.0)));
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A kB line of a /proc file, such as VmRSS of `status`, in MiB.
pub(crate) fn memory_mib(pid: u32, file: &str, names: &[&str]) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    let kib: f64 = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum();
    Ok(kib / 1024.0)
}

/// The processor time one process had so far, all its threads.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// How often each thread has gone to sleep so far. Those that end meanwhile are in nobody's sum.
pub(crate) fn sleeps(pid: u32) -> Result<BTreeMap<OsString, u64>> {
    let mut sums = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let text = fs::read_to_string(thread.path().join("status"))?;
        let line = text.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        sums.insert(thread.file_name(), count.unwrap_or(0));
    }
    Ok(sums)
}

/// Child processes, as the kernel lists them.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
