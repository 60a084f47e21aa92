//! Thousands of listeners on one event stream, and how soon each hears of a task that has changed its state.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use mezzo_marathon_api::parse_time;
use rustix::{
    event::epoll,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use serde_json::json;

use super::{Cluster, progress};
use crate::{
    client::PATIENCE,
    daemons::{Daemon, Folder, cpu_time},
    table::{Table, percentile},
};

const LISTENERS: usize = 2_000;
/// Instances, which are ended one after the other.
const CHANGES: usize = 50;
const EVERY: Duration = Duration::from_millis(100);
/// Files of this process and of each daemon beside the listeners.
const OTHER_FILES: u64 = 500;
const RESOURCES: &str = "--resources=cpus:16;mem:16384;disk:1024;ports:[31000-31999]";
/// All instances are launched from one offer.
const FLAGS: [&str; 1] = ["--max_instances_per_offer=100"];
/// What is listened for, and which of it counts: it is told once of each instance.
const NAME: &str = "status_update_event";
const MARK: &str = "\"taskStatus\":\"TASK_KILLED\"";
/// Behind a record.
const END: &[u8] = b"\r\n\r\n";

/// One stream of events.
struct Listener {
    stream: TcpStream,
    /// The beginning of a record whose end is still to come.
    rest: Vec<u8>,
    heard: usize,
    /// When the last that was heard happened, by the clock of the services.
    happened: Option<SystemTime>,
}

/// What is heard of one change.
#[derive(Default)]
struct Heard {
    /// Milliseconds from the moment that the event names, for each listener.
    delays: Vec<f64>,
    /// Milliseconds from the request to the last listener.
    whole: f64,
}

/// From the moment that the services learn of a task's end, before they have written it down, to its event at each of the
/// listeners.
pub(crate) fn events(table: &mut Table) -> Result<()> {
    allow_files(LISTENERS as u64 + OTHER_FILES)?;
    let cluster = Cluster::start("services-events", &FLAGS)?;
    let folder = Folder::new("services-events-agent")?;
    let _agent = Daemon::agent(folder.path(), &cluster.master, &[RESOURCES])?;
    progress("start 50 instances");
    let app = json!({"id": "/web", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": CHANGES});
    cluster.send("POST", "/v2/apps", &app)?;
    cluster.settle("start 50 instances")?;
    progress("open 2,000 streams");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::with_capacity(LISTENERS);
    for n in 0..LISTENERS {
        let listener = Listener::open(cluster.services.port)?;
        epoll::add(&poll, &listener.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
        listeners.push(listener);
    }
    progress("end one instance after the other");
    let (mut delays, mut wholes) = (Vec::with_capacity(LISTENERS * CHANGES), Vec::with_capacity(CHANGES));
    let before = cpu_time(cluster.services.pid())?;
    for change in 1..=CHANGES {
        let start = Instant::now();
        let heard = thread::scope(|scope| {
            let fewer = json!({"instances": CHANGES - change});
            let asked = scope.spawn(|| cluster.send("PUT", "/v2/apps//web", &{ fewer }));
            let heard = hear(&poll, &mut listeners, change, start)?;
            asked.join().map_err(|_| anyhow::anyhow!("the one that asks panicked"))??;
            anyhow::Ok(heard)
        })
        .with_context(|| format!("change {change}"))?;
        delays.extend(heard.delays);
        wholes.push(heard.whole);
        cluster.settle("end one instance")?;
        thread::sleep(EVERY.saturating_sub(start.elapsed()));
    }
    let spent = cpu_time(cluster.services.pid())?.saturating_sub(before) / CHANGES as u32;
    table.row(
        "status of a task until its event is there, 2,000 listeners",
        &format!("p50 {:.1} ms, p99 {:.1} ms", percentile(&mut delays, 0.5), percentile(&mut delays, 0.99)),
        &format!(
            "{CHANGES} ends of tasks, with the durable write; first {:.1} ms; from the request to the last listener, \
             with the end itself, median {:.1} ms; the services' processor time for each, TASK_KILLING told too, {:.1} ms; \
             listeners on the same cores",
            percentile(&mut delays, 0.0),
            percentile(&mut wholes, 0.5),
            spent.as_secs_f64() * 1e3
        ),
        "p99 <= 100 ms",
    );
    Ok(())
}

/// Reads until each listener has heard so often.
fn hear(
    poll: &impl std::os::fd::AsFd,
    listeners: &mut [Listener],
    times: usize,
    start: Instant,
) -> Result<Heard> {
    let pause = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut ready = Vec::with_capacity(LISTENERS);
    let mut heard = Heard::default();
    while heard.delays.len() < listeners.len() {
        ready.clear();
        epoll::wait(poll, rustix::buffer::spare_capacity(&mut ready), Some(&pause))?;
        for event in &ready {
            let listener = &mut listeners[event.data.u64() as usize];
            let before = listener.heard;
            listener.read()?;
            ensure!(listener.heard <= times, "an event came twice");
            if listener.heard > before {
                let happened = listener.happened.context("an event has no time")?;
                // Times of events are cut to milliseconds; a clock that is ahead is none of this machine's.
                let delay = SystemTime::now().duration_since(happened).unwrap_or_default();
                heard.delays.push(delay.as_secs_f64() * 1e3);
            }
        }
        let missing = listeners.len() - heard.delays.len();
        ensure!(
            start.elapsed() < PATIENCE,
            "{missing} of {} have not heard after {PATIENCE:?}",
            listeners.len()
        );
    }
    heard.whole = start.elapsed().as_secs_f64() * 1e3;
    Ok(heard)
}

impl Listener {
    fn open(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
        write!(stream, "GET /v2/events?event_type={NAME} {head}")?;
        let mut listener = Self { stream, rest: Vec::new(), heard: 0, happened: None };
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
                Ok(size) => self.rest.extend_from_slice(&buffer[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(end) = self.rest.windows(END.len()).position(|window| window == END) {
            let record: Vec<u8> = self.rest.drain(..end + END.len()).collect();
            let record = String::from_utf8_lossy(&record);
            if record.contains(MARK) {
                self.heard += 1;
                self.happened = time_of(&record);
            }
        }
        Ok(())
    }
}

/// When the event of a record happened.
fn time_of(record: &str) -> Option<SystemTime> {
    let (_, rest) = record.rsplit_once("\"timestamp\":\"")?;
    let at = parse_time(rest.split('"').next()?)?;
    Some(UNIX_EPOCH + Duration::from_nanos(u64::try_from(at.as_nanos()).ok()?))
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
