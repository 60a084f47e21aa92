//! /api/v1/executor: event streams and calls of executors.

use mezzo_agent::{Answer, Input};
use mezzo_http::{Request, Response, StatusCode, header};
use mezzo_mesos::v1::executor::{Call, call::Type};

use super::{
    Api,
    negotiate::{Accepts, accepted, body, check_head, expecting},
    respond,
};

const ACCEPTS: Accepts = Accepts { recordio: false };

pub(super) async fn handle(api: &Api, request: Request) -> Response {
    match answer(api, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn answer(api: &Api, mut request: Request) -> Result<Response, Response> {
    let claims = match &api.tokens {
        Some(tokens) => Some(tokens.check(request.header(header::AUTHORIZATION))?),
        None => None,
    };
    let head = check_head(&request, ACCEPTS)?;
    let body = body(&mut request).await?;
    let call: Call = head.sent.decode(&body)?;
    match call.r#type.and_then(|kind| Type::try_from(kind).ok()) {
        None => Err(expecting("Executor::Call", "type")),
        Some(Type::Unknown) => Err(Response::text(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented.")),
        Some(Type::Subscribe) if call.subscribe.is_none() => Err(expecting("Executor::Call", "subscribe")),
        Some(Type::Subscribe) => {
            let format = accepted(&request, ACCEPTS)?;
            // The stream exists before the core hears of it, so that no event can be lost.
            let (stream, response) = api.desk.open_stream(format);
            let call = Box::new(call);
            let answer = api.ask(|request| Input::ExecutorSubscribe { stream, call, request, claims }).await;
            if !matches!(answer, Ok(Answer::Ok)) {
                api.desk.close_stream(stream);
                return Err(respond(answer?, format));
            }
            let (desk, core) = (api.desk.clone(), api.core.clone());
            tokio::spawn(async move {
                desk.stream_closed(stream).await;
                if core.try_send(Input::StreamClosed(stream)).is_err() {
                    tracing::warn!(stream = stream.0, "end of a stream is lost, the agent is far behind");
                }
            });
            Ok(response)
        }
        Some(_) => {
            let format = accepted(&request, ACCEPTS)?;
            let call = Box::new(call);
            Ok(respond(api.ask(|request| Input::ExecutorCall { request, call, claims }).await?, format))
        }
    }
}
