//! Endpoints that change something: each is the v1 call of the same meaning, in an older dress (rule 17).

use std::sync::Arc;

use mezzo_http::{Bytes, Request, Response, StatusCode, parse_query};
use mezzo_json::FromJson;
use mezzo_master::OperatorCall;
use mezzo_mesos::v1::{
    self,
    master::{
        Call,
        call::{
            CreateVolumes, DestroyVolumes, ReserveResources, SetQuota, StartMaintenance, StopMaintenance,
            Teardown, Type, UnreserveResources, UpdateMaintenanceSchedule, UpdateWeights,
        },
    },
};

use crate::{endpoint::Endpoint, shared::Shared};

/// Bytes of one request; the largest are maintenance schedules of whole clusters.
const BODY_MAX: usize = 16 << 20;

async fn body(request: &mut Request) -> Result<Bytes, Response> {
    request.bytes(BODY_MAX).await.map_err(|error| error.response())
}

fn bad(text: String) -> Response {
    Response::text(StatusCode::BAD_REQUEST, text)
}

async fn change(shared: &Shared, bytes: usize, kind: Type, call: Call) -> Result<Response, Response> {
    let call = Call { r#type: Some(kind.into()), ..call };
    Ok(shared.change(bytes, OperatorCall::V1(Box::new(call))).await)
}

/// A form's fields; the first of each name counts.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Self {
        Self(parse_query(&String::from_utf8_lossy(body)))
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Result<&str, Response> {
        self.find(name).ok_or_else(|| bad(format!("Missing '{name}' query parameter in the request body")))
    }

    fn resources(&self, name: &str) -> Result<Vec<v1::Resource>, Response> {
        let text = self.get(name)?;
        mezzo_json::list_from_slice(text.as_bytes()).map_err(|error| {
            bad(format!("Error in parsing '{name}' query parameter in the request body: {error}"))
        })
    }
}

/// POST /reserve, /unreserve, /create-volumes, /destroy-volumes.
pub(super) async fn resources(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    mut request: Request,
) -> Result<Response, Response> {
    let body = body(&mut request).await?;
    let form = Form::read(&body);
    let agent_id = v1::AgentId { value: form.get("slaveId")?.to_owned() };
    let (kind, call) = match endpoint {
        Endpoint::Reserve => {
            let source = if form.find("source").is_some() { form.resources("source")? } else { Vec::new() };
            let reserve = ReserveResources { agent_id, source, resources: form.resources("resources")? };
            (Type::ReserveResources, Call { reserve_resources: Some(reserve), ..Default::default() })
        }
        Endpoint::Unreserve => {
            let unreserve = UnreserveResources { agent_id, resources: form.resources("resources")? };
            (Type::UnreserveResources, Call { unreserve_resources: Some(unreserve), ..Default::default() })
        }
        Endpoint::CreateVolumes => {
            let create = CreateVolumes { agent_id, volumes: form.resources("volumes")? };
            (Type::CreateVolumes, Call { create_volumes: Some(create), ..Default::default() })
        }
        _ => {
            let destroy = DestroyVolumes { agent_id, volumes: form.resources("volumes")? };
            (Type::DestroyVolumes, Call { destroy_volumes: Some(destroy), ..Default::default() })
        }
    };
    change(shared, body.len(), kind, call).await
}

/// POST /teardown.
pub(super) async fn teardown(shared: &Arc<Shared>, mut request: Request) -> Result<Response, Response> {
    let body = body(&mut request).await?;
    let framework_id = v1::FrameworkId { value: Form::read(&body).get("frameworkId")?.to_owned() };
    let call = Call { teardown: Some(Teardown { framework_id }), ..Default::default() };
    change(shared, body.len(), Type::Teardown, call).await
}

fn list<T: FromJson>(body: &[u8]) -> Result<Vec<T>, Response> {
    mezzo_json::list_from_slice(body).map_err(|error| bad(error.to_string()))
}

/// POST /machine/down and /machine/up.
pub(super) async fn machines(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    mut request: Request,
) -> Result<Response, Response> {
    let body = body(&mut request).await?;
    let machines = list(&body)?;
    let (kind, call) = match endpoint {
        Endpoint::MachineDown => {
            let start_maintenance = Some(StartMaintenance { machines });
            (Type::StartMaintenance, Call { start_maintenance, ..Default::default() })
        }
        _ => {
            let stop_maintenance = Some(StopMaintenance { machines });
            (Type::StopMaintenance, Call { stop_maintenance, ..Default::default() })
        }
    };
    change(shared, body.len(), kind, call).await
}

/// POST /maintenance/schedule.
pub(super) async fn schedule(shared: &Arc<Shared>, mut request: Request) -> Result<Response, Response> {
    let body = body(&mut request).await?;
    let schedule = mezzo_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let update_maintenance_schedule = Some(UpdateMaintenanceSchedule { schedule });
    let call = Call { update_maintenance_schedule, ..Default::default() };
    change(shared, body.len(), Type::UpdateMaintenanceSchedule, call).await
}

/// PUT /weights.
pub(super) async fn weights(shared: &Arc<Shared>, mut request: Request) -> Result<Response, Response> {
    let body = body(&mut request).await?;
    let weight_infos = mezzo_json::list_from_slice(&body).map_err(|error| {
        if error.is_syntax() {
            let text = String::from_utf8_lossy(&body);
            bad(format!("Failed to parse update weights request JSON '{text}': {error}"))
        } else {
            bad(format!("Failed to convert weights JSON array to protobuf: {error}"))
        }
    })?;
    let call = Call { update_weights: Some(UpdateWeights { weight_infos }), ..Default::default() };
    change(shared, body.len(), Type::UpdateWeights, call).await
}

/// POST /quota.
#[expect(deprecated, reason = "Mesos still takes the old calls for quota")]
pub(super) async fn set_quota(shared: &Arc<Shared>, mut request: Request) -> Result<Response, Response> {
    let body = body(&mut request).await?;
    let quota_request = mezzo_json::from_slice(&body).map_err(|error| {
        let text = String::from_utf8_lossy(&body);
        let attempt = if error.is_syntax() { "parse" } else { "validate" };
        bad(format!("Failed to {attempt} set quota request JSON '{text}': {error}"))
    })?;
    let call = Call { set_quota: Some(SetQuota { quota_request }), ..Default::default() };
    change(shared, body.len(), Type::SetQuota, call).await
}

/// DELETE /quota/{role}.
pub(super) async fn remove_quota(
    shared: &Arc<Shared>,
    role: &str,
    request: Request,
) -> Result<Response, Response> {
    if role.is_empty() {
        let path = full_path(&request.path);
        return Err(bad(format!(
            "Failed to parse remove quota request for path '{path}': expected 3 tokens, found 2 tokens"
        )));
    }
    Ok(shared.change(role.len(), OperatorCall::RemoveQuota(role.to_owned())).await)
}

/// With the process in front, as Mesos' texts show it.
fn full_path(path: &str) -> String {
    if path.starts_with("/master/") { path.to_owned() } else { format!("/master{path}") }
}
