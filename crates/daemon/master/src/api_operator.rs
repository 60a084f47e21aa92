//! POST /api/v1: the v1 operator API.

use std::{sync::Arc, time::Duration};

use mezzo_http::{Body, Method, Request, Response, StatusCode};
use mezzo_master::{
    OperatorCall,
    query::{self, View},
    state::Snapshot,
};
use mezzo_mesos::v1::master::{
    Call, Response as Answer,
    call::Type,
    response::{self, GetFlags, GetLoggingLevel},
};

use crate::{
    AGENT_URL_PATH, big_answer,
    endpoint::expect_method,
    files,
    format::Format,
    inbox::Work,
    operator_stream::{BACKLOG_MAX, NewSubscriber},
    process, shape,
    shared::{Shared, plain},
    v0::metrics,
};

/// Bytes of one call: the largest are maintenance schedules and quotas of whole clusters.
const BODY_MAX: usize = 16 << 20;

/// Answers a call, checking in the order of rule 1.
pub(crate) async fn handle(shared: &Arc<Shared>, request: Request) -> Response {
    match call(shared, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn call(shared: &Arc<Shared>, mut request: Request) -> Result<Response, Response> {
    expect_method(&request, &[Method::POST])?;
    let format = Format::of_body(&request)?;
    let body = request.bytes(BODY_MAX).await.map_err(|error| error.response())?;
    let call: Call = format.decode(&body)?;
    let kind = shape::master_call(&call).map_err(|text| Response::text(StatusCode::BAD_REQUEST, text))?;
    let format = Format::accepted(&request)?;
    let bytes = body.len();
    drop(body);
    answer(shared, kind, call, bytes, format).await
}

#[expect(deprecated, reason = "Mesos still takes the old calls for quota")]
async fn answer(
    shared: &Arc<Shared>,
    kind: Type,
    call: Call,
    bytes: usize,
    format: Format,
) -> Result<Response, Response> {
    let small = |answer: Answer| Ok(Response::content(format.content_type(), format.encode(&answer)));
    match kind {
        Type::Unknown => Err(plain(StatusCode::NOT_IMPLEMENTED)),
        Type::GetHealth => small(query::get_health()),
        Type::GetVersion => small(query::get_version(process::version_info())),
        Type::GetMaster => small(query::get_master(shared.info.clone(), shared.started, shared.elected)),
        Type::GetFlags => small(Answer {
            r#type: Some(response::Type::GetFlags.into()),
            get_flags: Some(GetFlags { flags: shared.process.flags().to_vec() }),
            ..Default::default()
        }),
        Type::GetLoggingLevel => small(Answer {
            r#type: Some(response::Type::GetLoggingLevel.into()),
            get_logging_level: Some(GetLoggingLevel { level: shared.process.verbosity() }),
            ..Default::default()
        }),
        Type::SetLoggingLevel => {
            if let Some(set) = call.set_logging_level {
                let duration = Duration::from_nanos(u64::try_from(set.duration.nanoseconds).unwrap_or(0));
                shared.process.set_verbosity(set.level, duration);
            }
            Ok(Response::new(StatusCode::OK, Body::Empty))
        }
        Type::GetMetrics => {
            let values = metrics::values(shared).await?;
            small(query::get_metrics(&values))
        }
        Type::ListFiles => files::list(shared, &call.list_files.unwrap_or_default().path, format).await,
        Type::ReadFile => files::read(shared, call.read_file.unwrap_or_default(), format).await,
        Type::Subscribe => {
            let (sender, response) = Response::stream(format.content_type(), BACKLOG_MAX);
            shared
                .inbox
                .push(
                    Work::Watch(NewSubscriber { sender, format, watching: shared.subscribers.watch() }),
                    bytes,
                )
                .await;
            Ok(response)
        }
        Type::GetState | Type::GetTasks | Type::GetAgents | Type::GetFrameworks | Type::GetExecutors => {
            let snapshot = shared.snapshot().await?;
            Ok(big_answer::respond(shared, kind, snapshot, format))
        }
        Type::GetOperations
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule
        | Type::GetQuota => {
            let snapshot = shared.snapshot().await?;
            Ok(Response::produced(format.content_type(), move |out| {
                out.write(&format.encode(&read(kind, &snapshot)))
            }))
        }
        Type::UpdateWeights
        | Type::ReserveResources
        | Type::UnreserveResources
        | Type::CreateVolumes
        | Type::DestroyVolumes
        | Type::GrowVolume
        | Type::ShrinkVolume
        | Type::UpdateMaintenanceSchedule
        | Type::StartMaintenance
        | Type::StopMaintenance
        | Type::DrainAgent
        | Type::DeactivateAgent
        | Type::ReactivateAgent
        | Type::UpdateQuota
        | Type::SetQuota
        | Type::RemoveQuota
        | Type::Teardown
        | Type::MarkAgentGone => Ok(shared.change(bytes, OperatorCall::V1(Box::new(call))).await),
    }
}

/// The reading calls whose answers are small.
fn read(kind: Type, snapshot: &Snapshot) -> Answer {
    let view = View { snapshot, agent_url_path: AGENT_URL_PATH };
    match kind {
        Type::GetOperations => view.get_operations(),
        Type::GetRoles => view.get_roles(),
        Type::GetWeights => view.get_weights(),
        Type::GetMaintenanceStatus => view.get_maintenance_status(),
        Type::GetMaintenanceSchedule => view.get_maintenance_schedule(),
        _ => view.get_quota(),
    }
}
