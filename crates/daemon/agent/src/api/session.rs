//! Streams out of containers.
//!
//! Containers here have no switchboard: what they write goes to files of their sandboxes, and a session
//! is a reader of these files. So a slow client never stops a container, and its output is in the log
//! files as well (rule 377). What is written to a container is in [`super::input`].

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
    time::Duration,
};

use mezzo_agent::{Answer, Input, container_text};
use mezzo_http::{Bytes, Request, Response, StatusCode, StreamSender};
use mezzo_ids::ContainerId;
use mezzo_mesos::v1::{
    self, DurationInfo,
    agent::{
        Call, ProcessIo, call,
        process_io::{Control, Data, Type, control, data},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, MissedTickBehavior},
};

use super::{
    Api,
    negotiate::{MessageType, streamed},
    overloaded, respond,
};
use crate::{core::Core, desk::Desk, sandbox};

/// Streams of output at the same time; each has two open files.
pub(super) const SESSIONS_MAX: usize = 64;
/// Output that a client has not read yet; reading of the files stops above it.
const BACKLOG_MAX: usize = 4 << 20;
/// Output read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How often the files are looked at while a client is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// ATTACH_CONTAINER_OUTPUT: 404 for an unknown container, 500 for one that is no session (rule 372).
pub(super) async fn attach_output(
    api: &Api,
    id: &ContainerId,
    request: &Request,
) -> Result<Response, Response> {
    let session = find(api, id).await?;
    let permit = permit(api)?;
    let (sender, format, response) = streamed(request, BACKLOG_MAX)?;
    let mut outputs = session.open().map_err(|error| unreadable(id, &error))?;
    for output in &mut outputs {
        output.file.seek(SeekFrom::End(0)).map_err(|error| unreadable(id, &error))?;
    }
    let ended = wait(&api.core, &api.desk, id)?;
    tokio::spawn(follow(sender, format, outputs, ended, api.heartbeat, (permit, None)));
    Ok(response)
}

/// LAUNCH_NESTED_CONTAINER_SESSION: a child whose life is that of the connection (rule 378).
pub(super) async fn launch(api: &Api, call: Call, request: &Request) -> Result<Response, Response> {
    let permit = permit(api)?;
    let (sender, format, response) = streamed(request, BACKLOG_MAX)?;
    let wanted = call.launch_nested_container_session.as_ref().map(|launch| launch.container_id.clone());
    let proto = wanted.unwrap_or_default();
    let id = container_text(&proto);
    let (launching, answer) = api.desk.request();
    api.core
        .try_send(Input::Operator { request: launching, call: Box::new(call) })
        .map_err(|_| overloaded())?;
    let (hand, started) = oneshot::channel();
    let (core, desk) = (api.core.clone(), api.desk.clone());
    // Outlives this call, so that a container is ended also when its client leaves while it starts.
    tokio::spawn(async move {
        let answer = answer.await;
        let guard = matches!(answer, Ok(Answer::Ok)).then(|| Ending { core, desk, container: Some(proto) });
        let _ = hand.send((answer, guard));
    });
    let guard = match started.await {
        Ok((Ok(Answer::Ok), Some(guard))) => guard,
        Ok((Ok(answer), _)) => return Ok(respond(answer, format)),
        Ok((Err(_), _)) | Err(_) => return Err(overloaded()),
    };
    let outputs = find(api, &id).await?.open().map_err(|error| unreadable(&id, &error))?;
    let ended = wait(&api.core, &api.desk, &id)?;
    tokio::spawn(follow(sender, format, outputs, ended, api.heartbeat, (permit, Some(guard))));
    Ok(response)
}

fn permit(api: &Api) -> Result<OwnedSemaphorePermit, Response> {
    let permit = api.sessions.clone().try_acquire_owned();
    permit.map_err(|_| {
        let text = format!("More than {SESSIONS_MAX} streams of output are open");
        Response::text(StatusCode::SERVICE_UNAVAILABLE, text)
    })
}

fn unreadable(id: &ContainerId, error: &io::Error) -> Response {
    tracing::debug!(container = %id, %error, "open output of a session");
    let text = format!("Failed to open the output of container {id}: {error}");
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// Where a session's output is.
pub(super) struct Session {
    work_dir: String,
    sandbox: Arc<str>,
    terminal: bool,
}

impl Session {
    fn open(&self) -> io::Result<Vec<Output>> {
        let (work_dir, folder) = (Path::new(&self.work_dir), Path::new(&*self.sandbox));
        let open = |name, kind| -> io::Result<Output> {
            Ok(Output { kind, file: sandbox::open_output(work_dir, folder, name)? })
        };
        let mut outputs = vec![open("stdout", data::Type::Stdout)?];
        // A terminal has one output (rule 376).
        if !self.terminal {
            outputs.push(open("stderr", data::Type::Stderr)?);
        }
        Ok(outputs)
    }
}

/// A container that streams may be had of: one with a terminal, or of a session (rule 372).
pub(super) async fn find(api: &Api, id: &ContainerId) -> Result<Session, Response> {
    let state = api.snapshot().await?;
    let Some(container) = state.containers.get(id) else {
        return Err(Response::text(StatusCode::NOT_FOUND, format!("Container {id} cannot be found")));
    };
    let input = api.launches.containers().input(id).ok().flatten();
    let terminal = input.is_some_and(|input| input.is_terminal());
    if !container.session && !terminal {
        let text = format!("Container {id} has no I/O switchboard: its output is in files of its sandbox");
        return Err(Response::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    Ok(Session { work_dir: state.config.work_dir.clone(), sandbox: container.sandbox.clone(), terminal })
}

/// Resolves when the container has ended.
pub(super) fn wait(
    core: &Core,
    desk: &Desk,
    id: &ContainerId,
) -> Result<oneshot::Receiver<Answer>, Response> {
    let call = Call {
        r#type: Some(call::Type::WaitContainer as i32),
        wait_container: Some(call::WaitContainer { container_id: mezzo_agent::container_proto(id) }),
        ..Call::default()
    };
    let (request, ended) = desk.request();
    core.try_send(Input::Operator { request, call: Box::new(call) }).map_err(|_| overloaded())?;
    Ok(ended)
}

/// Kills a session's container when it is dropped.
#[derive(Debug)]
struct Ending {
    core: Core,
    desk: Arc<Desk>,
    container: Option<v1::ContainerId>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(container_id) = self.container.take() else { return };
        let call = Call {
            r#type: Some(call::Type::KillContainer as i32),
            kill_container: Some(call::KillContainer { container_id, signal: None }),
            ..Call::default()
        };
        // Nobody waits for the answer.
        let (request, _) = self.desk.request();
        self.core.send(Input::Operator { request, call: Box::new(call) });
    }
}

/// One stream of a container.
struct Output {
    kind: data::Type,
    file: File,
}

/// Sends what the container writes until it has ended or the client has gone.
async fn follow(
    sender: StreamSender,
    format: MessageType,
    mut outputs: Vec<Output>,
    mut ended: oneshot::Receiver<Answer>,
    heartbeat: Duration,
    (_permit, mut guard): (OwnedSemaphorePermit, Option<Ending>),
) {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = Instant::now() + heartbeat;
    let mut last = false;
    loop {
        if sender.backlog() < BACKLOG_MAX / 2 {
            let reading = tokio::task::spawn_blocking(move || {
                let pieces: Vec<_> = outputs.iter_mut().map(Output::read).collect();
                (outputs, pieces)
            });
            let Ok((back, pieces)) = reading.await else { return };
            outputs = back;
            let mut quiet = true;
            for (kind, piece) in pieces {
                let Some(bytes) = piece else { continue };
                quiet = false;
                if send(&sender, format, &data_record(kind, bytes)).is_err() {
                    return;
                }
            }
            if !quiet {
                continue;
            }
            if last {
                // Its end is known and all of its output has been sent.
                if let Some(guard) = &mut guard {
                    guard.container = None;
                }
                return sender.finish();
            }
        }
        if Instant::now() >= beat {
            beat = Instant::now() + heartbeat;
            if send(&sender, format, &heartbeat_record(heartbeat)).is_err() {
                return;
            }
        }
        tokio::select! {
            () = sender.closed() => return,
            _ = &mut ended, if !last => last = true,
            _ = look.tick() => {}
        }
    }
}

impl Output {
    fn read(&mut self) -> (data::Type, Option<Vec<u8>>) {
        let mut buffer = vec![0; CHUNK_BYTES];
        match self.file.read(&mut buffer) {
            Ok(count) if count > 0 => {
                buffer.truncate(count);
                (self.kind, Some(buffer))
            }
            // The end so far; a file that cannot be read has no more to say.
            Ok(_) | Err(_) => (self.kind, None),
        }
    }
}

fn send(sender: &StreamSender, format: MessageType, record: &ProcessIo) -> Result<(), mezzo_http::SendError> {
    sender.try_send(Bytes::from(mezzo_recordio::record(&format.encode(record))))
}

fn data_record(kind: data::Type, bytes: Vec<u8>) -> ProcessIo {
    ProcessIo {
        r#type: Some(Type::Data as i32),
        data: Some(Data { r#type: Some(kind as i32), data: Some(bytes) }),
        control: None,
    }
}

fn heartbeat_record(interval: Duration) -> ProcessIo {
    let nanoseconds = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
    let heartbeat = control::Heartbeat { interval: Some(DurationInfo { nanoseconds }) };
    ProcessIo {
        r#type: Some(Type::Control as i32),
        data: None,
        control: Some(Control {
            r#type: Some(control::Type::Heartbeat as i32),
            tty_info: None,
            heartbeat: Some(heartbeat),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_376_records_are_data_and_heartbeats() {
        let json = |record: &ProcessIo| String::from_utf8(mezzo_json::to_vec(record)).expect("text");
        assert_eq!(
            json(&data_record(data::Type::Stdout, b"out\n".to_vec())),
            r#"{"type":"DATA","data":{"type":"STDOUT","data":"b3V0Cg=="}}"#
        );
        assert_eq!(
            json(&heartbeat_record(Duration::from_secs(30))),
            r#"{"type":"CONTROL","control":{"type":"HEARTBEAT","heartbeat":{"interval":{"nanoseconds":30000000000}}}}"#
        );
    }
}
