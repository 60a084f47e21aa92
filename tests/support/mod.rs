//! Real processes for tests: starts masters and agents of the binary under test and ends them by pid.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A state that has not come by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of the test's own, removed when it is dropped unless the test panics.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mezzo-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("make the test's folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

/// One daemon that can be killed and started again on the same port and folder.
pub(crate) struct Daemon {
    name: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Daemon {
    /// A master on a port of its own.
    pub(crate) fn master(folder: &Path, more: &[&str]) -> Self {
        let work = folder.join("master");
        let mut daemon = Self::new("master", folder, &format!("--work_dir={}", work.display()), more);
        daemon.start();
        daemon
    }

    /// An agent of the master on `port`.
    pub(crate) fn agent(folder: &Path, master: u16, more: &[&str]) -> Self {
        let mut daemon =
            Self::new("agent", folder, &format!("--work_dir={}", folder.join("agent").display()), more);
        daemon.arguments.push(format!("--master=127.0.0.1:{master}"));
        daemon.arguments.push(format!("--runtime_dir={}", folder.join("run").display()));
        daemon.start();
        daemon
    }

    /// Services of the master on `port`.
    pub(crate) fn services(folder: &Path, master: u16, more: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = vec![
            "services".to_owned(),
            format!("--master=127.0.0.1:{master}"),
            format!("--http_port={port}"),
            "--hostname=127.0.0.1".into(),
            format!("--work_dir={}", folder.join("services").display()),
        ];
        arguments.extend(more.iter().map(|argument| argument.to_string()));
        let log = folder.join("services.log");
        let mut daemon =
            Self { name: "services", arguments, environment: Vec::new(), log, port, child: None };
        daemon.start();
        daemon
    }

    fn new(name: &'static str, folder: &Path, work: &str, more: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = vec![name.to_string(), "--ip=127.0.0.1".into(), "--hostname=127.0.0.1".into()];
        arguments.push(format!("--port={port}"));
        arguments.push(work.into());
        arguments.extend(more.iter().map(|argument| argument.to_string()));
        Self {
            name,
            arguments,
            environment: Vec::new(),
            log: folder.join(format!("{name}.log")),
            port,
            child: None,
        }
    }

    /// Starts it (again) and waits until it answers.
    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("open the log");
        let child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start the daemon");
        self.child = Some(child);
        let start = Instant::now();
        let path = if self.name == "services" { "/ping" } else { "/health" };
        // Services that ask for a password answer too.
        while !matches!(request(self.port, "GET", path, &[], b""), Ok((200 | 401, _))) {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                panic!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            assert!(start.elapsed() < PATIENCE, "{} does not answer:\n{}", self.name, self.log_tail());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it and starts it with these variables, now and later.
    pub(crate) fn restart_with(&mut self, environment: Vec<(String, String)>) {
        self.kill();
        self.environment = environment;
        self.start();
    }

    /// kill -9
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Of a daemon that runs.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("run kill").success(), "kill -{name}");
    }

    /// Starts it although it must not come up; returns what this attempt has said.
    pub(crate) fn refuses_to_start(&mut self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .output()
            .expect("start the daemon");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} started:\n{said}", self.name);
        said
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Lines of the log that report a defect.
    pub(crate) fn log_panics(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter(|line| line.contains("panicked")).map(String::from).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where ports for daemons are looked for: below those that the kernel takes for connections, one of which could
/// otherwise have a daemon's port while the daemon is started again.
const PORT_FIRST: u16 = 12_000;
const PORTS: u16 = 16_000;

/// A port that nobody listens on, and that no other test of this program was given.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Programs that run at the same time begin in different places.
    let begin = std::process::id().wrapping_mul(101);
    for _ in 0..PORTS {
        let place = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % u32::from(PORTS);
        let port = PORT_FIRST + u16::try_from(place).expect("less than the number of ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Status and body of one request on a fresh connection.
pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut opened = open(port, method, path, headers, body)?;
    let mut all = Vec::new();
    opened.body.read_to_end(&mut all)?;
    if opened.chunked {
        all = dechunk(&all);
    }
    Ok((opened.status, all))
}

/// An answer whose body is still to be read.
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) chunked: bool,
    pub(crate) body: BufReader<TcpStream>,
}

pub(crate) fn open(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Opened> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status line but {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    Ok(Opened { status, headers, chunked, body: reader })
}

fn dechunk(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = data.windows(2).position(|pair| pair == b"\r\n") {
        let size =
            std::str::from_utf8(&data[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size.filter(|size| *size > 0 && end + 2 + size <= data.len()) else { break };
        out.extend_from_slice(&data[end + 2..end + 2 + size]);
        data = data.get(end + 4 + size..).unwrap_or_default();
    }
    out
}

impl Opened {
    /// The next record of an event stream whose records are one chunk each or many.
    pub(crate) fn record(&mut self, pending: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let size =
                    std::str::from_utf8(&pending[..end]).ok().and_then(|text| text.parse::<usize>().ok());
                let size = size.ok_or_else(|| std::io::Error::other("a record without length"))?;
                if pending.len() > end + size {
                    let record = pending[end + 1..end + 1 + size].to_vec();
                    pending.drain(..end + 1 + size);
                    return Ok(Some(record));
                }
            }
            let mut line = String::new();
            if self.body.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
            if size == 0 {
                return Ok(None);
            }
            let mut chunk = vec![0; size + 2];
            self.body.read_exact(&mut chunk)?;
            pending.extend_from_slice(&chunk[..size]);
        }
    }
}

/// Whether this run may use namespaces, cgroups and other users; says so when not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = fs::metadata("/proc/self")
        .map(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
        .unwrap_or(false);
    if !root {
        println!("{test}: skipped, needs root");
    }
    root
}
