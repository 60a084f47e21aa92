//! POST /api/v1/scheduler.

use std::sync::Arc;

use mezzo_http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use mezzo_ids::Principal;
use mezzo_master::{Input, RequestId, StreamId};
use mezzo_mesos::v1::scheduler::{Call, call::Type};

use crate::{endpoint::expect_method, format::Format, inbox::Work, shared::Shared};

/// Bytes of one call. An ACCEPT that launches 100,000 tasks of 1 KiB does not fit and can be split.
const BODY_MAX: usize = 64 << 20;
/// Names the subscription that a call belongs to.
pub(crate) const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

/// Answers a call, checking in the order of rule 1.
pub(crate) async fn handle(shared: &Shared, request: Request) -> Response {
    match call(shared, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn call(shared: &Shared, mut request: Request) -> Result<Response, Response> {
    expect_method(&request, &[Method::POST])?;
    let format = Format::of_body(&request)?;
    let body = request.bytes(BODY_MAX).await.map_err(|error| error.response())?;
    let call: Box<Call> = Box::new(format.decode(&body)?);
    let bytes = body.len();
    drop(body);
    let principal: Option<Principal> = None;
    let bad = |text| Response::text(StatusCode::BAD_REQUEST, text);
    mezzo_master::validate::scheduler_call(&call, principal.as_deref())
        .map_err(|text| bad(format!("Failed to validate scheduler::Call: {text}")))?;
    let kind = call.r#type();
    let stream_uuid = request.header(STREAM_ID).map(Arc::<str>::from);
    match kind {
        Type::Subscribe => {
            let accepted = Format::accepted(&request)?;
            if stream_uuid.is_some() {
                return Err(bad("Subscribe calls should not include the 'Mesos-Stream-Id' header".into()));
            }
            Ok(subscribe(shared, call, bytes, accepted, principal).await)
        }
        // There is one for every status of every task, and nothing to wait for: who is subscribed is told
        // at once that it was taken.
        Type::Acknowledge
            if principal.is_none()
                && let (Some(uuid), Some(framework)) = (&stream_uuid, &call.framework_id)
                && shared.streams.is_subscribed(uuid, &framework.value) =>
        {
            let request = RequestId(shared.mint());
            let input = Input::SchedulerCall { request, call, stream_uuid, principal };
            shared.inbox.push(Work::Step(input), bytes).await;
            Ok(Response::new(StatusCode::ACCEPTED, mezzo_http::Body::Empty))
        }
        kind => {
            if kind == Type::ReconcileOperations {
                Format::accepted(&request)?;
            }
            Ok(shared
                .ask(bytes, |request| Input::SchedulerCall { request, call, stream_uuid, principal })
                .await)
        }
    }
}

async fn subscribe(
    shared: &Shared,
    call: Box<Call>,
    bytes: usize,
    format: Format,
    principal: Option<Principal>,
) -> Response {
    let stream = StreamId(shared.mint());
    let stream_uuid: Arc<str> = Arc::from(shared.random_uuid().to_string());
    let mut response = shared.streams.open(stream, stream_uuid.clone(), format, &shared.inbox);
    if let Ok(value) = HeaderValue::from_str(&stream_uuid) {
        response.headers.insert(STREAM_ID, value);
    }
    shared.inbox.push(Work::Step(Input::Subscribe { stream, stream_uuid, call, principal }), bytes).await;
    response
}
