//! Bytes on a connection, as hostile as one likes, and what a daemon under attack must still be.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::support::{self, Daemon};

/// An answer to bad input comes within this, or the daemon hangs.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// No attack may make a daemon hold more. An idle one holds some 20 MiB in a debug build; the largest body is
/// 64 MiB and is held twice for a moment when it is decompressed.
const MEMORY_MAX: u64 = 512 << 20;

/// Status and everything that was answered; 0 when the connection was closed without a word.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// Refused in words or by hanging up.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status == 0 || (400..500).contains(&self.status) || [501, 503, 505].contains(&self.status)
    }

    /// How many answers came on the connection.
    pub(crate) fn count(&self) -> usize {
        self.text.matches("HTTP/1.1 ").count()
    }
}

/// Sends these bytes and reads until the daemon closes, which it must do by itself.
pub(crate) fn raw(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = connect(port);
    // A daemon that has seen enough closes while the rest is being sent.
    drop(stream.write_all(bytes));
    read_all(&mut stream)
}

/// The same for bytes that are not a whole request: says that there will be no more.
pub(crate) fn cut_off(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = connect(port);
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    read_all(&mut stream)
}

/// A connection on which nothing waits for ever.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(ANSWER_MAX)).expect("set timeout");
    stream.set_write_timeout(Some(ANSWER_MAX)).expect("set timeout");
    stream
}

/// What comes until the daemon closes.
pub(crate) fn read_all(stream: &mut TcpStream) -> Answer {
    let mut all = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("neither an answer nor an end after {ANSWER_MAX:?}: {}", String::from_utf8_lossy(&all))
            }
            Err(_) => break,
        }
        assert!(all.len() < 16 << 20, "a flood of answers");
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
    Answer { status, text }
}

/// An ordinary request with a body.
pub(crate) fn post(port: u16, path: &str, content_type: &str, body: &[u8]) -> Answer {
    send(port, "POST", path, &[("Content-Type", content_type)], body)
}

pub(crate) fn get(port: u16, path: &str) -> Answer {
    send(port, "GET", path, &[], b"")
}

pub(crate) fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method != "GET" {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut bytes = (request + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    let mut stream = connect(port);
    drop(stream.write_all(&bytes));
    read_all(&mut stream)
}

/// The daemon serves others at once, has not panicked and holds a bounded amount of memory.
pub(crate) fn assert_well(daemon: &Daemon) {
    let start = Instant::now();
    let answer = support::request(daemon.port, "GET", "/health", &[], b"").map(|answer| answer.0);
    assert_eq!(answer.ok(), Some(200), "health:\n{}", daemon.log_tail());
    assert!(start.elapsed() < ANSWER_MAX, "health took {:?}", start.elapsed());
    assert_eq!(daemon.log_panics(), Vec::<String>::new());
    let memory = memory(daemon.port);
    assert!(memory < MEMORY_MAX, "{} MiB resident", memory >> 20);
}

/// Resident bytes of the daemon on a port.
pub(crate) fn memory(port: u16) -> u64 {
    let status = fs::read_to_string(process(port).join("status")).expect("read the daemon's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes << 10
}

fn process(port: u16) -> PathBuf {
    let flag = format!("--port={port}");
    let processes = fs::read_dir("/proc").expect("list processes").flatten();
    let of_daemon = |path: &PathBuf| {
        let words = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        words.split('\0').any(|word| word == flag)
    };
    processes.map(|entry| entry.path()).find(of_daemon).expect("the daemon's process")
}
