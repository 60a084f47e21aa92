//! /api/v1: calls of operators and tools.

use std::time::Duration;

use mezzo_agent::{Input, container_text, query};
use mezzo_http::{Body, Request, Response, StatusCode};
use mezzo_mesos::v1::{
    Flag, Metric, VersionInfo,
    agent::{
        Call, Response as Answer,
        call::{PruneImages, Type},
        response::{self, Type as T},
    },
};

use super::{
    Api, containers, files, input, metrics,
    negotiate::{Accepts, accepted, body, check_head, expecting, only_streams},
    respond, session, v0,
};

const ACCEPTS: Accepts = Accepts { recordio: true };
const CALL: &str = "agent::Call";

pub(super) async fn handle(api: &Api, request: Request) -> Response {
    match answer(api, request).await {
        Ok(response) | Err(response) => response,
    }
}

/// Deletes images that no container has. An agent without images has none to delete.
async fn prune_images(api: &Api, prune: PruneImages) -> Response {
    let Some(images) = api.launches.images().cloned() else {
        return Response::new(StatusCode::OK, Body::Empty);
    };
    match tokio::task::spawn_blocking(move || images.prune(&prune.excluded_images)).await {
        Ok(Ok(())) => Response::new(StatusCode::OK, Body::Empty),
        Ok(Err(why)) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, why),
        Err(_) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, "Pruning images was broken off"),
    }
}

async fn answer(api: &Api, mut request: Request) -> Result<Response, Response> {
    let head = check_head(&request, ACCEPTS)?;
    if head.streamed {
        return input::attach(api, request, head.sent).await;
    }
    let body = body(&mut request).await?;
    let call: Call = head.sent.decode(&body)?;
    let Some(kind) = call.r#type.and_then(|kind| Type::try_from(kind).ok()) else {
        return Err(expecting(CALL, "type"));
    };
    validate(&call, kind)?;
    let format = accepted(&request, ACCEPTS)?;
    if kind == Type::AttachContainerInput {
        let text = "Expecting 'Content-Type' to be application/recordio for ATTACH_CONTAINER_INPUT call";
        return Err(Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let streams = matches!(kind, Type::AttachContainerOutput | Type::LaunchNestedContainerSession);
    if only_streams(&request) && !streams {
        let text = format!("Streaming response is not supported for {} call", kind.as_str_name());
        return Err(Response::text(StatusCode::NOT_ACCEPTABLE, text));
    }
    let typed = |kind: T| Answer { r#type: Some(kind as i32), ..Answer::default() };
    Ok(match kind {
        Type::Unknown => Response::text(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented."),
        Type::GetFlags => {
            let flags =
                api.flags.iter().map(|(name, value)| Flag { name: name.clone(), value: Some(value.clone()) });
            let get_flags = Some(response::GetFlags { flags: flags.collect() });
            format.response(&Answer { get_flags, ..typed(T::GetFlags) })
        }
        Type::GetVersion => {
            let get_version = Some(response::GetVersion { version_info: version() });
            format.response(&Answer { get_version, ..typed(T::GetVersion) })
        }
        Type::GetMetrics => {
            let all = metrics::all(api, &api.snapshot().await?);
            let metrics = all.into_iter().map(|(name, value)| Metric { name, value: Some(value) }).collect();
            let get_metrics = Some(response::GetMetrics { metrics });
            format.response(&Answer { get_metrics, ..typed(T::GetMetrics) })
        }
        Type::GetLoggingLevel => {
            let get_logging_level = Some(response::GetLoggingLevel { level: (api.verbosity.get)() });
            format.response(&Answer { get_logging_level, ..typed(T::GetLoggingLevel) })
        }
        Type::SetLoggingLevel => {
            if let Some(set) = call.set_logging_level {
                let duration = Duration::from_nanos(u64::try_from(set.duration.nanoseconds).unwrap_or(0));
                (api.verbosity.set)(set.level, duration);
            }
            Response::new(StatusCode::OK, Body::Empty)
        }
        Type::PruneImages => prune_images(api, call.prune_images.unwrap_or_default()).await,
        Type::ListFiles => files::list(api, call, format).await?,
        Type::ReadFile => files::read_call(api, call, format).await?,
        Type::GetContainers => {
            let state = api.snapshot().await?;
            let mut answer = query::answer(&state, &call).unwrap_or_default();
            let shown = answer.get_containers.take();
            answer.get_containers = shown.map(|shown| containers::with_statistics(api, &state, shown));
            format.response(&answer)
        }
        Type::GetHealth
        | Type::GetState
        | Type::GetTasks
        | Type::GetExecutors
        | Type::GetFrameworks
        | Type::GetAgent
        | Type::GetOperations
        | Type::GetResourceProviders => match query::answer(&api.snapshot().await?, &call) {
            Some(answer) => format.response(&answer),
            None => Response::text(StatusCode::NOT_IMPLEMENTED, "501 Not Implemented."),
        },
        Type::AttachContainerOutput => {
            let wanted = call.attach_container_output.map(|attach| attach.container_id).unwrap_or_default();
            session::attach_output(api, &container_text(&wanted), &request).await?
        }
        Type::LaunchNestedContainerSession => session::launch(api, call, &request).await?,
        // Everything about containers, and what the core knows to refuse.
        _ => {
            let call = Box::new(call);
            respond(api.ask(|request| Input::Operator { request, call }).await?, format)
        }
    })
}

/// Parts that a call cannot do without; those of container calls are the core's to check.
fn validate(call: &Call, kind: Type) -> Result<(), Response> {
    let missing = match kind {
        Type::GetMetrics => call.get_metrics.is_none().then_some("get_metrics"),
        Type::SetLoggingLevel => call.set_logging_level.is_none().then_some("set_logging_level"),
        Type::ListFiles => call.list_files.is_none().then_some("list_files"),
        Type::ReadFile => call.read_file.is_none().then_some("read_file"),
        Type::AttachContainerOutput => {
            call.attach_container_output.is_none().then_some("attach_container_output")
        }
        Type::AttachContainerInput => {
            call.attach_container_input.is_none().then_some("attach_container_input")
        }
        Type::LaunchNestedContainerSession => {
            call.launch_nested_container_session.is_none().then_some("launch_nested_container_session")
        }
        _ => None,
    };
    missing.map_or(Ok(()), |field| Err(expecting(CALL, field)))
}

/// What this software says of itself.
fn version() -> VersionInfo {
    let build = v0::build();
    VersionInfo {
        version: build.version.into(),
        build_date: Some(build.date.into()),
        build_time: Some(build.time),
        build_user: Some(build.user.into()),
        ..VersionInfo::default()
    }
}
