//! Streams into and out of containers.
//!
//! Containers here have no switchboard between them and their output: it goes to files. A client that
//! wants to attach is told so in the words of rule 372.

use std::time::Duration;

use mezzo_agent::Input;
use mezzo_http::{Request, Response, StatusCode};
use mezzo_ids::ContainerId;
use mezzo_mesos::v1::agent::{Call, call::Type};

use super::{
    Api,
    negotiate::{MessageType, bad_request, streamed_format},
    respond,
};

/// A stream names its container within this; a call that is sent whole has as long.
const FIRST_RECORD_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the record that names the container: a few ids, whatever comes behind it.
const FIRST_RECORD_BYTES_MAX: usize = 64 << 10;

/// ATTACH_CONTAINER_OUTPUT: 404 for an unknown container, 500 for one without a switchboard.
pub(super) async fn attach_output(api: &Api, id: &ContainerId) -> Result<Response, Response> {
    let state = api.snapshot().await?;
    if !state.containers.contains_key(id) {
        return Ok(Response::text(StatusCode::NOT_FOUND, format!("Container {id} cannot be found")));
    }
    Ok(no_switchboard(id))
}

/// ATTACH_CONTAINER_INPUT, whose first record names the container (rule 373).
pub(super) async fn attach_input(
    api: &Api,
    mut request: Request,
    records: MessageType,
) -> Result<Response, Response> {
    let mut stream = request.stream();
    let mut decoder = mezzo_recordio::Decoder::new(FIRST_RECORD_BYTES_MAX);
    let first = async {
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => return Ok(record),
                Ok(None) => {}
                Err(error) => return Err(bad_request(format!("Failed to read the first record: {error}"))),
            }
            match stream.next().await {
                Some(Ok(bytes)) => decoder.push(&bytes),
                Some(Err(error)) => return Err(error.response()),
                None => return Err(bad_request("Expecting the first record to be a call")),
            }
        }
    };
    let first = tokio::time::timeout(FIRST_RECORD_TIMEOUT, first);
    let first = first.await.map_err(|_| mezzo_http::BodyError::Timeout.response())??;
    let call: Call = records.decode(&first)?;
    let kind = call.r#type();
    if kind != Type::AttachContainerInput {
        let text = format!(
            "Streaming 'Content-Type' application/recordio is not supported for {} call",
            kind.as_str_name()
        );
        return Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let Some(id) = call.attach_container_input.and_then(|attach| attach.container_id) else {
        return Err(super::negotiate::expecting("agent::Call", "attach_container_input.container_id"));
    };
    attach_output(api, &mezzo_agent::container_text(&id)).await
}

/// LAUNCH_NESTED_CONTAINER_SESSION.
pub(super) async fn launch(api: &Api, call: Call, request: &Request) -> Result<Response, Response> {
    let format = streamed_format(request);
    let call = Box::new(call);
    Ok(respond(api.ask(|request| Input::Operator { request, call }).await?, format))
}

fn no_switchboard(id: &ContainerId) -> Response {
    let text = format!("Container {id} has no I/O switchboard: its output is in files of its sandbox");
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}
