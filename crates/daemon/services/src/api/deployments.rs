//! `/v2/deployments`

use mezzo_http::{Body, Request, Response, StatusCode};
use mezzo_marathon_api::answer::{Problem, write_deployments};
use mezzo_services::{Answer, Request as Asked};
use mezzo_services_model::DeploymentId;

use super::{deployments, produced, switch};
use crate::{
    change::{ask, deployment_result, refused},
    http::Failure,
    shared::Shared,
};

/// Those that run.
pub(super) fn list(shared: &Shared) -> Response {
    produced(shared.snapshot(), |snapshot, w| write_deployments(w, deployments(snapshot)))
}

/// Goes back to where a deployment began, or with force only ends it.
pub(super) async fn cancel(shared: &Shared, request: &Request, id: &str) -> Result<Response, Failure> {
    let force = switch(request, "force", false)?;
    let key = DeploymentId(id.into());
    if !shared.snapshot().deployments.contains_key(&key) {
        return Err(Problem::NoDeployment(id.to_owned()).into());
    }
    match ask(shared, Asked::CancelDeployment { id: key, force }).await? {
        Answer::Planned(plan) if !force => Ok(deployment_result(200, &plan)),
        Answer::Refused(mezzo_services::Refusal::Unknown(_)) => {
            Err(Problem::NoDeployment(id.to_owned()).into())
        }
        Answer::Refused(refusal) => Err(refused(shared, refusal)),
        Answer::Planned(_) | Answer::Done | Answer::Moved => {
            Ok(Response::new(StatusCode::ACCEPTED, Body::Empty))
        }
    }
}
