//! Agents that exist only as links: real connections to a real master, answered here.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail};
use mezzo_link::{AgentSession, Frames, HELLO_HEADER, Outcome, PATH, UPGRADE, opening};
use mezzo_mesos::v1;
use mezzo_protocol::link::{
    AgentDescription, Register, StatusUpdate, ToAgent, ToMaster, to_agent, to_master,
};

use crate::client::scalar;

/// One link, opened and speaking.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    frames: Frames,
    unsent: Vec<u8>,
    pub(crate) session: AgentSession,
}

/// A link that is being opened, in two steps, so that many can be opened at once.
pub(crate) struct Opening {
    stream: TcpStream,
    frames: Frames,
}

impl Opening {
    /// Connects and asks for the link.
    pub(crate) fn ask(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\
             {HELLO_HEADER}: {}\r\n\r\n",
            opening::hello(None)
        );
        stream.write_all(request.as_bytes())?;
        Ok(Self { stream, frames: Frames::new() })
    }

    /// Reads the answer and the Welcome.
    pub(crate) fn finish(mut self) -> Result<Link> {
        let mut head = Vec::new();
        let end = loop {
            let mut piece = [0; 1024];
            match self.stream.read(&mut piece)? {
                0 => bail!("the master closed the link at once"),
                size => head.extend_from_slice(&piece[..size]),
            }
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            bail!("no upgrade: {}", String::from_utf8_lossy(&head).lines().next().unwrap_or_default());
        }
        self.frames.push(&head[end..]);
        let body = loop {
            if let Some(body) = self.frames.next_frame()? {
                break body;
            }
            read_some(&mut self.stream, &mut self.frames)?;
        };
        let Outcome::Fresh { id } = opening::on_welcome(&body, None)? else {
            bail!("resumed a fresh session")
        };
        let session = AgentSession::new(id);
        Ok(Link { stream: self.stream, frames: self.frames, unsent: Vec::new(), session })
    }
}

impl Link {
    pub(crate) fn open(port: u16) -> Result<Self> {
        Opening::ask(port)?.finish()
    }

    pub(crate) fn send(&mut self, message: to_master::Message) -> Result<()> {
        let frame = self.session.send(ToMaster { message: Some(message) })?;
        Ok(self.stream.write_all(&frame)?)
    }

    /// Adds a message to what the next [`Link::flush`] writes.
    pub(crate) fn queue(&mut self, message: to_master::Message) -> Result<()> {
        let frame = self.session.send(ToMaster { message: Some(message) })?;
        self.unsent.extend_from_slice(&frame);
        Ok(())
    }

    /// The next message that has come whole.
    pub(crate) fn buffered(&mut self) -> Result<Option<ToAgent>> {
        while let Some(body) = self.frames.next_frame()? {
            if let Some(message) = self.session.on_frame(&body)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Waits for bytes.
    pub(crate) fn read(&mut self) -> Result<()> {
        read_some(&mut self.stream, &mut self.frames)
    }

    /// Writes what is queued, and an acknowledgement when one is due.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.session.acknowledgement_due() {
            self.acknowledge()?;
        }
        if !self.unsent.is_empty() {
            self.stream.write_all(&self.unsent)?;
            self.unsent.clear();
        }
        Ok(())
    }

    /// The next message; acknowledges on the way.
    pub(crate) fn next(&mut self) -> Result<ToAgent> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(message);
            }
            self.flush()?;
            self.read()?;
        }
    }

    pub(crate) fn acknowledge(&mut self) -> Result<()> {
        if let Some(frame) = self.session.acknowledgement() {
            self.stream.write_all(&frame)?;
        }
        Ok(())
    }

    /// Registers and gives the id that the master minted.
    pub(crate) fn register(&mut self, description: AgentDescription) -> Result<v1::AgentId> {
        self.send(to_master::Message::Register(Register { agent: Some(description) }))?;
        self.registered()
    }

    /// Waits for the answer to Register or Reregister.
    pub(crate) fn registered(&mut self) -> Result<v1::AgentId> {
        loop {
            if let Some(to_agent::Message::Registered(registered)) = self.next()?.message {
                return registered.agent_id.context("no agent id");
            }
        }
    }
}

fn read_some(stream: &mut TcpStream, frames: &mut Frames) -> Result<()> {
    let mut buffer = [0; 1 << 16];
    match stream.read(&mut buffer)? {
        0 => bail!("the master closed the link"),
        size => frames.push(&buffer[..size]),
    }
    Ok(())
}

/// What the `n`th simulated agent says of itself.
pub(crate) fn description(n: usize) -> AgentDescription {
    let resources = vec![scalar("cpus", 64.0), scalar("mem", 65536.0), scalar("disk", 1_000_000.0)];
    AgentDescription {
        info: Some(v1::AgentInfo {
            hostname: format!("node-{n}.example"),
            port: Some(5051),
            resources: resources.clone(),
            ..Default::default()
        }),
        ip: format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255),
        port: 5051,
        version: "1.11.0".into(),
        capabilities: mezzo_agent::capabilities(),
        resources,
        resource_version_uuid: vec![7; 16],
        ..Default::default()
    }
}

/// An update of a task as an agent sends it; `sequence` makes its uuid.
pub(crate) fn update(
    framework: &v1::FrameworkId,
    task: &v1::TaskInfo,
    state: v1::TaskState,
    sequence: u64,
) -> to_master::Message {
    let mut uuid = vec![0; 16];
    uuid[..8].copy_from_slice(&sequence.to_le_bytes());
    to_master::Message::StatusUpdate(StatusUpdate {
        framework_id: Some(framework.clone()),
        executor_id: Some(v1::ExecutorId { value: task.task_id.value.clone() }),
        status: Some(v1::TaskStatus {
            task_id: task.task_id.clone(),
            state: state.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            agent_id: Some(task.agent_id.clone()),
            uuid: Some(uuid),
            timestamp: Some(1.0),
            ..Default::default()
        }),
        latest_state: state.into(),
    })
}
