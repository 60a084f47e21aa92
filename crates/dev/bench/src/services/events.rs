//! Thousands of listeners on one event stream, and how soon each hears of a change.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::epoll,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use serde_json::{Value, json};

use super::Cluster;
use crate::{
    client::PATIENCE,
    table::{Table, percentile},
};

const LISTENERS: usize = 2_000;
const CHANGES: usize = 50;
const EVERY: Duration = Duration::from_millis(100);
/// Files of this process and of each daemon beside the listeners.
const OTHER_FILES: u64 = 500;
/// What is listened for: it is told once of each change.
const NAME: &str = "deployment_info";
const MARK: &[u8] = b"event: deployment_info";

/// One stream of events.
struct Listener {
    stream: TcpStream,
    /// The end of what was read, in which a mark may have begun.
    rest: Vec<u8>,
    heard: usize,
}

/// From the request of a change to its event at each of the listeners.
pub(crate) fn events(table: &mut Table) -> Result<()> {
    allow_files(LISTENERS as u64 + OTHER_FILES)?;
    let cluster = Cluster::start("services-events")?;
    let app = |n: usize| json!({"id": format!("app-{n}"), "cmd": "sleep 1000", "instances": 0});
    let apps: Vec<Value> = (0..CHANGES).map(app).collect();
    cluster.send("PUT", "/v2/groups", &json!({"id": "/", "apps": apps}))?;
    cluster.settle()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::with_capacity(LISTENERS);
    for n in 0..LISTENERS {
        let listener = Listener::open(cluster.services.port)?;
        epoll::add(&poll, &listener.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
        listeners.push(listener);
    }
    let mut samples = Vec::with_capacity(LISTENERS * CHANGES);
    for change in 0..CHANGES {
        let start = Instant::now();
        thread::scope(|scope| {
            let path = format!("/v2/apps/app-{change}");
            let asked = scope.spawn(|| cluster.send("PUT", &{ path }, &json!({"cpus": 0.2})));
            hear(&poll, &mut listeners, change + 1, start, &mut samples)?;
            asked.join().map_err(|_| anyhow::anyhow!("the one that asks panicked"))?
        })
        .with_context(|| format!("change {change}"))?;
        thread::sleep(EVERY.saturating_sub(start.elapsed()));
    }
    table.row(
        "a change until its event is there, 2,000 listeners",
        &format!("p50 {:.1} ms, p99 {:.1} ms", percentile(&mut samples, 0.5), percentile(&mut samples, 0.99)),
        &format!(
            "{CHANGES} changes, from the request with its durable write; first {:.1} ms; listeners on the same cores",
            percentile(&mut samples, 0.0)
        ),
        "p99 <= 100 ms",
    );
    Ok(())
}

/// Reads until each listener has heard so often; adds the milliseconds from the start.
fn hear(
    poll: &impl std::os::fd::AsFd,
    listeners: &mut [Listener],
    times: usize,
    start: Instant,
    samples: &mut Vec<f64>,
) -> Result<()> {
    let pause = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut ready = Vec::with_capacity(LISTENERS);
    let mut missing = listeners.len();
    while missing > 0 {
        ready.clear();
        epoll::wait(poll, rustix::buffer::spare_capacity(&mut ready), Some(&pause))?;
        for event in &ready {
            let listener = &mut listeners[event.data.u64() as usize];
            let before = listener.heard;
            listener.read()?;
            ensure!(listener.heard <= times, "an event came twice");
            if listener.heard > before {
                samples.push(start.elapsed().as_secs_f64() * 1e3);
                missing -= 1;
            }
        }
        ensure!(start.elapsed() < PATIENCE, "{missing} of {} have not heard", listeners.len());
    }
    Ok(())
}

impl Listener {
    fn open(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
        write!(stream, "GET /v2/events?event_type={NAME} {head}")?;
        let mut listener = Self { stream, rest: Vec::new(), heard: 0 };
        // It listens once the head of the answer is there.
        listener.stream.set_read_timeout(Some(PATIENCE))?;
        let mut first = [0; 12];
        listener.stream.read_exact(&mut first).context("wait for the stream")?;
        ensure!(first == *b"HTTP/1.1 200", "answered {}", String::from_utf8_lossy(&first));
        listener.stream.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Takes all that is there.
    fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("a stream has ended"),
                Ok(size) => {
                    self.rest.extend_from_slice(&buffer[..size]);
                    self.heard += self.rest.windows(MARK.len()).filter(|window| *window == MARK).count();
                    self.rest.drain(..self.rest.len().saturating_sub(MARK.len() - 1));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Raises the limit of open files of this process and of those that it starts.
fn allow_files(files: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: limit.maximum })
        .context("raise the limit of open files")
}
