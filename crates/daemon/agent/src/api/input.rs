//! ATTACH_CONTAINER_INPUT: a client's stream into a container's standard input (rules 373 to 375).
//!
//! Nothing is queued: the next bytes of the request are read when the container has taken those before. So a
//! container that does not read stops its client and nobody else, and a client that says nothing costs its
//! connection.

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mezzo_agent::container_text;
use mezzo_container::InputEnd;
use mezzo_http::{Body, BodyError, Request, RequestStream, Response, StatusCode};
use mezzo_ids::ContainerId;
use mezzo_mesos::v1::agent::{
    Call, ProcessIo,
    call::{self, attach_container_input::Type},
    process_io::{self, control, data},
};

use super::{
    Api,
    negotiate::{MessageType, bad_request, expecting},
    session,
};
use crate::convert::window_size;

/// A stream names its container within this; a call that is sent whole has as long.
const FIRST_RECORD_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one record. Clients send what was typed, or a file in pieces of some kilobytes.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Streams of input at the same time. Each holds at most one record and what has arrived behind it.
const STREAMS_MAX: usize = 64;

/// Until a container that does not read is written to again.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// As long as a person does not notice.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The containers whose input somebody writes.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<BTreeSet<ContainerId>>);

/// The right to write one container's input, until it is dropped.
struct Writer<'a>(&'a Writers, ContainerId);

impl Writers {
    fn enter(&self, id: &ContainerId) -> Result<Writer<'_>, Response> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains(id) {
            let text = format!("Multiple input connections are not allowed: container {id} has one");
            return Err(Response::text(StatusCode::CONFLICT, text));
        }
        if all.len() >= STREAMS_MAX {
            let text = format!("More than {STREAMS_MAX} streams of input are open");
            return Err(Response::text(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        all.insert(id.clone());
        Ok(Writer(self, id.clone()))
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Answers when the client has ended its stream, or the container has ended.
pub(super) async fn attach(
    api: &Api,
    mut request: Request,
    format: MessageType,
) -> Result<Response, Response> {
    let mut records = Records::new(request.stream(), format);
    let first = tokio::time::timeout(FIRST_RECORD_TIMEOUT, records.next());
    let first = first.await.map_err(|_| BodyError::Timeout.response())??;
    let id = container(first.ok_or_else(|| bad_request("Expecting the first record to be a call"))?)?;
    session::find(api, &id).await?;
    let _writer = api.writers.enter(&id)?;
    let input = match api.launches.containers().input(&id) {
        Ok(Some(input)) => input,
        Ok(None) => {
            let text = format!("The standard input of container {id} is closed");
            return Err(Response::text(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
        Err(error) => return Err(Response::text(StatusCode::NOT_FOUND, error.to_string())),
    };
    let failed = |error: io::Error| {
        tracing::debug!(container = %id, %error, "write to a container");
        let text = format!("Failed to write to container {id}: {error}");
        Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
    };
    let ended = session::wait(&api.core, &api.desk, &id)?;
    let forward = async {
        while let Some(call) = records.next().await? {
            match wanted(call)? {
                Wanted::Nothing => {}
                Wanted::Write(bytes) if bytes.is_empty() && !input.is_terminal() => {
                    // Rule 374. What comes behind it has nowhere to go.
                    api.launches.containers().close_input(&id);
                    return Ok(());
                }
                Wanted::Write(bytes) => match write(&input, &bytes).await {
                    Ok(()) => {}
                    // Its program has closed it, and may go on without.
                    Err(error) if is_closed(&error) => return Ok(()),
                    Err(error) => return Err(failed(error)),
                },
                Wanted::Resize(size) => input.resize(size).map_err(failed)?,
            }
        }
        Ok(())
    };
    tokio::select! {
        done = forward => done?,
        _ = ended => {}
    }
    Ok(Response::new(StatusCode::OK, Body::Empty))
}

/// The calls of a stream.
struct Records {
    stream: RequestStream,
    decoder: mezzo_recordio::Decoder,
    format: MessageType,
}

impl Records {
    fn new(stream: RequestStream, format: MessageType) -> Self {
        Self { stream, decoder: mezzo_recordio::Decoder::new(RECORD_BYTES_MAX), format }
    }

    /// `None` after the last.
    async fn next(&mut self) -> Result<Option<Call>, Response> {
        let broken = |error: mezzo_recordio::Error| bad_request(format!("Failed to read a record: {error}"));
        loop {
            if let Some(record) = self.decoder.next_record().map_err(broken)? {
                return Ok(Some(self.format.decode(&record)?));
            }
            match self.stream.next().await {
                Some(Ok(bytes)) => self.decoder.push(&bytes),
                Some(Err(error)) => return Err(error.response()),
                None => return self.decoder.finish().map(|()| None).map_err(broken),
            }
        }
    }
}

/// The container that the first record names.
fn container(call: Call) -> Result<ContainerId, Response> {
    let attach = body(call)?;
    if attach.r#type() != Type::ContainerId {
        return Err(bad_request("Expecting 'attach_container_input.type' to be CONTAINER_ID"));
    }
    let Some(id) = attach.container_id else {
        return Err(lacking("attach_container_input.container_id"));
    };
    Ok(container_text(&id))
}

/// What a later record asks for.
#[derive(Debug, PartialEq)]
enum Wanted {
    Nothing,
    Write(Vec<u8>),
    Resize(mezzo_container::WindowSize),
}

fn wanted(call: Call) -> Result<Wanted, Response> {
    let attach = body(call)?;
    if attach.r#type() != Type::ProcessIo {
        return Err(bad_request("Expecting 'attach_container_input.type' to be PROCESS_IO"));
    }
    let Some(io) = attach.process_io else { return Err(lacking("attach_container_input.process_io")) };
    let kind = io.r#type();
    let ProcessIo { data, control, .. } = io;
    match kind {
        process_io::Type::Data => {
            let Some(data) = data else { return Err(lacking("process_io.data")) };
            if data.r#type() != data::Type::Stdin {
                return Err(bad_request("Expecting 'process_io.data.type' to be STDIN"));
            }
            Ok(Wanted::Write(data.data.unwrap_or_default()))
        }
        process_io::Type::Control => {
            let Some(control) = control else { return Err(lacking("process_io.control")) };
            match control.r#type() {
                control::Type::Heartbeat => Ok(Wanted::Nothing),
                control::Type::TtyInfo => {
                    let Some(terminal) = control.tty_info else {
                        return Err(lacking("process_io.control.tty_info"));
                    };
                    Ok(terminal
                        .window_size
                        .as_ref()
                        .map_or(Wanted::Nothing, |size| Wanted::Resize(window_size(size))))
                }
                control::Type::Unknown => Err(lacking("process_io.control.type")),
            }
        }
        process_io::Type::Unknown => Err(lacking("process_io.type")),
    }
}

fn body(call: Call) -> Result<call::AttachContainerInput, Response> {
    let kind = call.r#type();
    if kind != call::Type::AttachContainerInput {
        // Rule 44.
        let text = format!(
            "Streaming 'Content-Type' application/recordio is not supported for {} call",
            kind.as_str_name()
        );
        return Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    call.attach_container_input.ok_or_else(|| lacking("attach_container_input"))
}

fn lacking(field: &str) -> Response {
    expecting("agent::Call", field)
}

/// Writes all of it. A container that does not read is asked again at growing intervals: what waits in the
/// kernel feeds one that reads for longer than the first of them.
async fn write(input: &InputEnd, mut bytes: &[u8]) -> io::Result<()> {
    let mut pause = PAUSE_MIN;
    while !bytes.is_empty() {
        match input.write(bytes) {
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                pause = PAUSE_MIN;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Nobody reads any more: a closed pipe, or a terminal that has been left.
fn is_closed(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::PIPE | Errno::IO))
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::{
        self,
        agent::process_io::{Control, Data},
    };

    use super::*;

    fn attach(kind: Type, process_io: Option<ProcessIo>) -> Call {
        Call {
            r#type: Some(call::Type::AttachContainerInput as i32),
            attach_container_input: Some(call::AttachContainerInput {
                r#type: Some(kind as i32),
                container_id: None,
                process_io,
            }),
            ..Call::default()
        }
    }

    fn control(kind: control::Type, rows: Option<u32>) -> Call {
        let size = rows.map(|rows| v1::tty_info::WindowSize { rows, columns: 100_000 });
        attach(
            Type::ProcessIo,
            Some(ProcessIo {
                r#type: Some(process_io::Type::Control as i32),
                data: None,
                control: Some(Control {
                    r#type: Some(kind as i32),
                    tty_info: size.map(|size| v1::TtyInfo { window_size: Some(size) }),
                    heartbeat: None,
                }),
            }),
        )
    }

    fn data(kind: data::Type) -> Call {
        attach(
            Type::ProcessIo,
            Some(ProcessIo {
                r#type: Some(process_io::Type::Data as i32),
                data: Some(Data { r#type: Some(kind as i32), data: Some(b"x".to_vec()) }),
                control: None,
            }),
        )
    }

    fn status(result: Result<impl Sized, Response>) -> u16 {
        result.err().map_or(200, |response| response.status.as_u16())
    }

    #[test]
    fn rule_373_the_first_record_names_the_container_and_the_others_are_input() {
        assert_eq!(status(container(data(data::Type::Stdin))), 400);
        assert_eq!(status(container(attach(Type::ContainerId, None))), 400);
        assert_eq!(status(container(Call::default())), 415);
        assert_eq!(status(wanted(attach(Type::ContainerId, None))), 400);
        assert_eq!(status(wanted(attach(Type::ProcessIo, None))), 400);
        assert_eq!(status(wanted(attach(Type::ProcessIo, Some(ProcessIo::default())))), 400);
        assert_eq!(status(wanted(data(data::Type::Stdout))), 400);
        assert_eq!(wanted(data(data::Type::Stdin)).expect("data"), Wanted::Write(b"x".to_vec()));
        assert_eq!(wanted(control(control::Type::Heartbeat, None)).expect("alive"), Wanted::Nothing);
        assert_eq!(status(wanted(control(control::Type::TtyInfo, None))), 400);
        let size = mezzo_container::WindowSize { rows: 25, columns: u16::MAX };
        assert_eq!(wanted(control(control::Type::TtyInfo, Some(25))).expect("size"), Wanted::Resize(size));
    }

    #[test]
    fn rule_375_a_second_input_is_refused_while_the_first_is_open() {
        let writers = Writers::default();
        let id = ContainerId::from("c");
        let first = writers.enter(&id).expect("the first");
        assert_eq!(status(writers.enter(&id)), 409);
        drop(first);
        assert_eq!(status(writers.enter(&id)), 200);
        let ids: Vec<ContainerId> = (0..STREAMS_MAX).map(|n| n.to_string().as_str().into()).collect();
        let _all: Vec<_> = ids.iter().map(|id| writers.enter(id).ok()).collect();
        assert_eq!(status(writers.enter(&id)), 503);
    }
}
