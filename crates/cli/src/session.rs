//! A client's side of what runs in a container: its output, its input, its end.

use std::{collections::VecDeque, time::Duration};

use mezzo_http::{
    Body, Bytes, Client, ClientError, ClientResponse, HeaderMap, HeaderValue, Method, StatusCode,
    StreamSender, header,
};
use mezzo_mesos::v1::{
    self,
    agent::{
        Call, ProcessIo,
        call::{self, attach_container_input},
        process_io::{self, Control, Data, control, data},
    },
};
use prost::Message as _;
use tokio::task::JoinHandle;

use crate::{
    client::{self, State},
    error::{CliError, Exit},
    files::agent_address,
};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const RECORDIO: HeaderValue = HeaderValue::from_static("application/recordio");
/// Input that the agent has not taken yet; no more is read above it.
const BACKLOG_MAX: usize = 256 << 10;
/// An agent sends what it has read at once, which is some kilobytes.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// How often the agent hears that we are there, so that nothing in between takes us for gone.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(30);

/// Where a task runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) agent: String,
    pub(crate) container: v1::ContainerId,
}

impl Place {
    /// Of a task that runs.
    pub(crate) fn of_task(client: &Client, state: &State, task: &v1::Task) -> Result<Self, CliError> {
        let id = &task.task_id.value;
        if state.is_over(task) {
            return Err(CliError::new(Exit::Conflict, format!("task {id} has ended"))
                .why("only a task that runs can be entered")
                .help(format!("mezzo logs {id}")));
        }
        let container = task.statuses.iter().rev().find_map(|status| {
            status.container_status.as_ref().and_then(|status| status.container_id.clone())
        });
        let Some(container) = container else {
            return Err(CliError::new(Exit::Conflict, format!("task {id} has not started yet"))
                .why("its agent has not told of a container")
                .help(format!("mezzo why {id}")));
        };
        let agent = agent_address(state, &task.agent_id).ok_or_else(|| {
            CliError::new(Exit::Unreachable, format!("the agent of task {id} is gone"))
                .why(format!("agent {} is not registered", task.agent_id.value))
                .help("mezzo nodes")
        })?;
        Ok(Self { client: client.clone(), agent, container })
    }

    /// Starts a command beside the task, under a name that nothing there has. It ends when its output is dropped.
    pub(crate) async fn launch(
        &self,
        name: &str,
        command: v1::CommandInfo,
        terminal: Option<v1::TtyInfo>,
    ) -> Result<(Self, Output), CliError> {
        let container =
            v1::ContainerId { value: name.to_owned(), parent: Some(Box::new(self.container.clone())) };
        let info = terminal.map(|terminal| v1::ContainerInfo {
            r#type: v1::container_info::Type::Mesos as i32,
            tty_info: Some(terminal),
            ..Default::default()
        });
        let call = Call {
            r#type: Some(call::Type::LaunchNestedContainerSession as i32),
            launch_nested_container_session: Some(call::LaunchNestedContainerSession {
                container_id: container.clone(),
                command: Some(command),
                container: info,
            }),
            ..Call::default()
        };
        let output = self.stream(call, "the agent did not start the command").await?;
        Ok((Self { container, ..self.clone() }, output))
    }

    /// What the container writes from here on.
    pub(crate) async fn output(&self) -> Result<Output, CliError> {
        let call = Call {
            r#type: Some(call::Type::AttachContainerOutput as i32),
            attach_container_output: Some(call::AttachContainerOutput {
                container_id: self.container.clone(),
            }),
            ..Call::default()
        };
        self.stream(call, "the agent does not show its output").await
    }

    async fn stream(&self, call: Call, refused: &str) -> Result<Output, CliError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        headers.insert(header::ACCEPT, RECORDIO);
        headers.insert("message-accept", PROTOBUF);
        let body = Body::Full(call.encode_to_vec().into());
        let answer = self.client.request(Method::POST, &self.agent, "/api/v1", headers, body).await;
        let answer = answer.map_err(|error| self.away(&error))?;
        let answer = client::accepted(answer, &self.agent, refused).await?;
        let decoder = mezzo_recordio::Decoder::new(RECORD_BYTES_MAX);
        Ok(Output { place: self.clone(), answer, decoder })
    }

    /// Opens a stream into the container's standard input.
    pub(crate) fn input(&self) -> Input {
        let (sender, body) = mezzo_http::stream(4 * BACKLOG_MAX);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, RECORDIO);
        headers.insert("message-content-type", PROTOBUF);
        headers.insert(header::ACCEPT, PROTOBUF);
        let (client, agent) = (self.client.clone(), self.agent.clone());
        let answer = tokio::spawn(async move {
            client.request(Method::POST, &agent, "/api/v1", headers, Body::Stream(body)).await
        });
        let input = Input { sender, answer, agent: self.agent.clone() };
        input.send(call::AttachContainerInput {
            r#type: Some(attach_container_input::Type::ContainerId as i32),
            container_id: Some(self.container.clone()),
            process_io: None,
        });
        input
    }

    /// Waits for the container's end: its exit code, or 128 and the signal that ended it.
    pub(crate) async fn wait(&self) -> Result<u8, CliError> {
        let call = Call {
            r#type: Some(call::Type::WaitContainer as i32),
            wait_container: Some(call::WaitContainer { container_id: self.container.clone() }),
            ..Call::default()
        };
        let answer = client::agent_call(&self.client, &self.agent, call).await?;
        let status = answer.wait_container.and_then(|end| end.exit_status);
        let status = status.ok_or_else(|| {
            CliError::new(Exit::Failed, "nobody knows how the command ended")
                .place(&self.agent)
                .why("the agent did not see its end")
        })?;
        Ok(code(status))
    }

    /// Lets the agent forget a container that has ended, and what it wrote.
    pub(crate) async fn remove(&self) {
        let call = Call {
            r#type: Some(call::Type::RemoveContainer as i32),
            remove_container: Some(call::RemoveContainer { container_id: self.container.clone() }),
            ..Call::default()
        };
        // The agent forgets it with its task at the latest.
        let _ = client::agent_call(&self.client, &self.agent, call).await;
    }

    fn away(&self, error: &ClientError) -> CliError {
        client::unreachable("the agent does not answer", &self.agent, error).help("mezzo nodes")
    }
}

/// What a container writes.
#[derive(Debug)]
pub(crate) struct Output {
    place: Place,
    answer: ClientResponse,
    decoder: mezzo_recordio::Decoder,
}

impl Output {
    /// The next bytes, and whether they are of standard error; `None` after the container's end.
    pub(crate) async fn next(&mut self) -> Result<Option<(bool, Vec<u8>)>, CliError> {
        loop {
            while let Some(record) = self.decoder.next_record().map_err(|error| self.broken(&error))? {
                let io = ProcessIo::decode(record).map_err(|error| self.broken(&error))?;
                // The others are heartbeats.
                if let Some(data) = io.data {
                    let is_error = data.r#type() == data::Type::Stderr;
                    return Ok(Some((is_error, data.data.unwrap_or_default())));
                }
            }
            match self.answer.chunk().await {
                Some(Ok(bytes)) => self.decoder.push(&bytes),
                Some(Err(error)) => return Err(self.broken(&error)),
                None => return Ok(None),
            }
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> CliError {
        CliError::new(Exit::Unreachable, "the session broke off")
            .place(format!("http://{}", self.place.agent))
            .why(format!("{error}; an agent that restarts ends its sessions"))
            .help("try again when the agent is back:  mezzo nodes")
    }
}

/// A stream into a container. Dropping it ends the stream, but not the container's input.
#[derive(Debug)]
pub(crate) struct Input {
    sender: StreamSender,
    answer: JoinHandle<Result<ClientResponse, ClientError>>,
    agent: String,
}

impl Input {
    /// Whether more shall be read for it.
    pub(crate) fn has_room(&self) -> bool {
        self.sender.backlog() < BACKLOG_MAX
    }

    /// Bytes for the container; none at all end its input unless it has a terminal.
    pub(crate) fn write(&self, bytes: Vec<u8>) {
        self.send_io(ProcessIo {
            r#type: Some(process_io::Type::Data as i32),
            data: Some(Data { r#type: Some(data::Type::Stdin as i32), data: Some(bytes) }),
            control: None,
        });
    }

    /// Tells how large our terminal is.
    pub(crate) fn resize(&self, size: v1::tty_info::WindowSize) {
        self.control(Control {
            r#type: Some(control::Type::TtyInfo as i32),
            tty_info: Some(v1::TtyInfo { window_size: Some(size) }),
            heartbeat: None,
        });
    }

    /// Tells that we are there.
    pub(crate) fn beat(&self) {
        let nanoseconds = i64::try_from(HEARTBEAT.as_nanos()).unwrap_or(i64::MAX);
        let interval = Some(v1::DurationInfo { nanoseconds });
        self.control(Control {
            r#type: Some(control::Type::Heartbeat as i32),
            tty_info: None,
            heartbeat: Some(control::Heartbeat { interval }),
        });
    }

    /// Resolves when the agent takes no more: the container has ended or closed its input, or the agent
    /// refuses. To be called once.
    pub(crate) async fn closed(&mut self) -> Result<(), CliError> {
        let answer = match (&mut self.answer).await {
            Ok(Ok(answer)) => answer,
            // The connection broke: the output tells why.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        // A short command may have ended before its input came: its end says how.
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        client::accepted(answer, &self.agent, "the agent takes no input for it").await.map(|_| ())
    }

    fn control(&self, control: Control) {
        self.send_io(ProcessIo {
            r#type: Some(process_io::Type::Control as i32),
            data: None,
            control: Some(control),
        });
    }

    fn send_io(&self, io: ProcessIo) {
        self.send(call::AttachContainerInput {
            r#type: Some(attach_container_input::Type::ProcessIo as i32),
            container_id: None,
            process_io: Some(io),
        });
    }

    fn send(&self, attach: call::AttachContainerInput) {
        let call = Call {
            r#type: Some(call::Type::AttachContainerInput as i32),
            attach_container_input: Some(attach),
            ..Call::default()
        };
        // A stream that has ended is noticed by `closed`.
        let _ = self.sender.try_send(Bytes::from(mezzo_recordio::record(&call.encode_to_vec())));
    }
}

/// The exit code for a wait status.
fn code(status: i32) -> u8 {
    let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    match status & 0x7f {
        0 => byte(status >> 8),
        signal => byte(128 + signal),
    }
}

/// Joins pieces of keys: a sequence of keys that means to leave is taken out of what is typed.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    began: bool,
}

/// Ctrl-P and Ctrl-Q, as everywhere else.
const LEAVE: [u8; 2] = [0x10, 0x11];

impl Leaving {
    /// What is to be sent of the typed bytes, and whether to leave after it.
    pub(crate) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut sent = VecDeque::with_capacity(typed.len() + 1);
        for &byte in typed {
            match (self.began, byte) {
                (true, byte) if byte == LEAVE[1] => return (sent.into(), true),
                (false, byte) if byte == LEAVE[0] => {
                    self.began = true;
                    continue;
                }
                (true, _) => {
                    sent.push_back(LEAVE[0]);
                    self.began = byte == LEAVE[0];
                    if !self.began {
                        sent.push_back(byte);
                    }
                    continue;
                }
                _ => sent.push_back(byte),
            }
        }
        (sent.into(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_becomes_an_exit_code() {
        assert_eq!([code(0), code(3 << 8), code(9), code(15 | 0x80)], [0, 3, 137, 143]);
    }

    #[test]
    fn two_keys_in_a_row_leave_and_everything_else_is_typed() {
        let mut keys = Leaving::default();
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(keys.filter(b"\x11d"), (Vec::new(), true));
    }
}
