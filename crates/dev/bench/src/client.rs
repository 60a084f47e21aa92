//! A scheduler over the v1 API in protobuf: one connection for events, one for calls, answered in order.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use mezzo_mesos::v1::{
    self,
    scheduler::{Call, Event, call, event},
};
use prost::Message as _;

/// An event that has not come by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Larger than any event here.
const RECORD_MAX: usize = 64 << 20;

/// A subscribed framework.
pub(crate) struct Scheduler {
    calls: TcpStream,
    head: String,
    buffer: Vec<u8>,
    pub(crate) framework: v1::FrameworkId,
    events: BufReader<TcpStream>,
    decoder: mezzo_recordio::Decoder,
}

impl Scheduler {
    pub(crate) fn subscribe(port: u16, name: &str) -> Result<Self> {
        let info = v1::FrameworkInfo {
            user: "root".into(),
            name: name.into(),
            checkpoint: Some(true),
            failover_timeout: Some(3600.0),
            ..Default::default()
        };
        let subscribe = call::Subscribe { framework_info: info, ..Default::default() };
        let call = Call {
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(Box::new(subscribe)),
            ..Default::default()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        write_request(&mut stream, &head(port, None), &call.encode_to_vec())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut events = BufReader::with_capacity(1 << 18, stream);
        let (status, id) = read_head(&mut events)?;
        if status != 200 {
            bail!("SUBSCRIBE was answered {status}");
        }
        let mut decoder = mezzo_recordio::Decoder::new(RECORD_MAX);
        let first = next_event(&mut events, &mut decoder).context("wait for SUBSCRIBED")?;
        let framework = first.subscribed.context("the first event is not SUBSCRIBED")?.framework_id;
        let calls = TcpStream::connect(("127.0.0.1", port))?;
        calls.set_nodelay(true)?;
        let answers = calls.try_clone()?;
        thread::spawn(move || drain(answers));
        let head = head(port, Some(&id.context("no Mesos-Stream-Id")?));
        Ok(Self { calls, head, buffer: Vec::new(), framework, events, decoder })
    }

    /// Queues a call; answers are read elsewhere. [`Scheduler::flush`] sends.
    pub(crate) fn queue(&mut self, kind: call::Type, fill: impl FnOnce(&mut Call)) {
        let mut call = Call {
            framework_id: Some(self.framework.clone()),
            r#type: Some(kind.into()),
            ..Default::default()
        };
        fill(&mut call);
        self.buffer.extend_from_slice(self.head.as_bytes());
        write!(self.buffer, "Content-Length: {}\r\n\r\n", call.encoded_len()).expect("a Vec takes all");
        call.encode(&mut self.buffer).expect("a Vec takes all");
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.calls.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn acknowledge(&mut self, status: &v1::TaskStatus) {
        let Some(uuid) = &status.uuid else { return };
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.clone().unwrap_or_default(),
            task_id: status.task_id.clone(),
            uuid: uuid.clone(),
        };
        self.queue(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
    }

    /// Queues an ACCEPT that launches these tasks from these offers.
    pub(crate) fn launch(&mut self, offers: Vec<v1::OfferId>, tasks: Vec<v1::TaskInfo>, refuse_seconds: f64) {
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch.into()),
            launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
            ..Default::default()
        };
        let accept = call::Accept {
            offer_ids: offers,
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(refuse_seconds) }),
        };
        self.queue(call::Type::Accept, |call| call.accept = Some(accept));
    }

    /// The next event. What is queued is sent only when none is there: calls go out together as events
    /// come in together.
    pub(crate) fn next_flushing(&mut self) -> Result<Event> {
        if self.events.buffer().is_empty() {
            self.flush()?;
        }
        self.next()
    }

    pub(crate) fn next(&mut self) -> Result<Event> {
        next_event(&mut self.events, &mut self.decoder).context("wait for an event")
    }
}

fn next_event(reader: &mut impl BufRead, decoder: &mut mezzo_recordio::Decoder) -> Result<Event> {
    loop {
        if let Some(record) = decoder.next_record()? {
            return Ok(Event::decode(record)?);
        }
        decoder.push(&read_chunk(reader)?.context("the stream has ended")?);
    }
}

/// A command task with the given amounts.
pub(crate) fn command_task(
    agent: &v1::AgentId,
    name: String,
    command: &str,
    cpus: f64,
    mem: f64,
) -> v1::TaskInfo {
    v1::TaskInfo {
        task_id: v1::TaskId { value: name.clone() },
        name,
        agent_id: agent.clone(),
        resources: vec![scalar("cpus", cpus), scalar("mem", mem)],
        command: Some(v1::CommandInfo {
            shell: Some(false),
            value: Some(command.into()),
            arguments: vec![command.into()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}

/// The amount of a scalar in an offer.
pub(crate) fn amount(offer: &v1::Offer, name: &str) -> f64 {
    let found = offer.resources.iter().filter(|resource| resource.name == name);
    found.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value).sum()
}

/// The statuses and offers of an event, whichever it has.
pub(crate) fn parts(event: Event) -> (Option<v1::TaskStatus>, Vec<v1::Offer>) {
    match event.r#type() {
        event::Type::Update => (event.update.map(|update| update.status), Vec::new()),
        event::Type::Offers => (None, event.offers.map(|offers| offers.offers).unwrap_or_default()),
        _ => (None, Vec::new()),
    }
}

/// Status and body of one GET.
pub(crate) fn get(port: u16, path: &str) -> Result<(u16, usize)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    finish(stream)
}

/// Status and body size of one operator call, in protobuf both ways.
pub(crate) fn operator(port: u16, call: &v1::master::Call) -> Result<(u16, usize)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let head = "POST /api/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n\
        Accept: application/x-protobuf\r\nConnection: close\r\n";
    write_request(&mut stream, head, &call.encode_to_vec())?;
    finish(stream)
}

fn finish(stream: TcpStream) -> Result<(u16, usize)> {
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    let (status, _) = read_head(&mut reader)?;
    let size = std::io::copy(&mut reader, &mut std::io::sink())?;
    Ok((status, size as usize))
}

fn head(port: u16, stream_id: Option<&str>) -> String {
    let stream = stream_id.map(|id| format!("Mesos-Stream-Id: {id}\r\n")).unwrap_or_default();
    format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
         Content-Type: application/x-protobuf\r\nAccept: application/x-protobuf\r\n{stream}"
    )
}

fn write_request(stream: &mut TcpStream, head: &str, body: &[u8]) -> Result<()> {
    let mut all = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend_from_slice(body);
    Ok(stream.write_all(&all)?)
}

/// Status of an answer, and its Mesos-Stream-Id.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Result<(u16, Option<String>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
    let mut id = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok((status, id)) };
        if name.eq_ignore_ascii_case("mesos-stream-id") {
            id = Some(value.to_string());
        }
    }
}

fn read_chunk(reader: &mut impl BufRead) -> Result<Option<Bytes>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let size = usize::from_str_radix(line.trim_end(), 16)?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok((size > 0).then(|| chunk.into()))
}

/// Reads the answers to calls and complains once about one that is not 202.
fn drain(stream: TcpStream) {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    let mut complained = false;
    while reader.read_line(&mut line).is_ok_and(|size| size > 0) {
        if line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 202") && !complained {
            eprintln!("  a call was answered {}", line.trim_end());
            complained = true;
        }
        line.clear();
    }
}
