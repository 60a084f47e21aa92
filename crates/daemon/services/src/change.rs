//! Changes of definitions: made on a copy of the tree, handed to the core, and made again when the tree has moved.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_http::{HeaderName, Response};
use mezzo_json::Writer;
use mezzo_marathon_api::answer::{Problem, write_deployment_result};
use mezzo_services::{Answer, Change, Refusal, Request};
use mezzo_services_model::{Group, InstanceId, PathId, Plan};

use crate::{
    http::{Failure, json},
    shared::{NoAnswer, Shared},
    shown::Shown,
};

/// How often a change is made again. Changes of this process wait for each other, so the tree moves under one only through
/// what the core does itself.
const TRIES_MAX: usize = 8;

/// A change as a request wants it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) target: Group,
    /// The group that events name.
    pub(crate) group: PathId,
    pub(crate) restart: BTreeSet<PathId>,
    pub(crate) kill: BTreeSet<InstanceId>,
}

impl Wanted {
    /// This tree, and nothing else.
    pub(crate) fn tree(target: Group, group: PathId) -> Self {
        Self { target, group, restart: BTreeSet::new(), kill: BTreeSet::new() }
    }
}

/// How a change is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
}

/// Has a change made, and gives its plan.
pub(crate) async fn change(
    shared: &Arc<Shared>,
    how: How,
    mut make: impl FnMut(&Shown) -> Result<Wanted, Failure>,
) -> Result<Arc<Plan>, Failure> {
    // One after the other: two at once could only make one of them start again. Whoever waits too long is refused.
    let turn = tokio::time::timeout(shared.config.request_timeout, shared.changes.lock()).await;
    let _turn = turn.map_err(|_| unavailable(NoAnswer::Busy))?;
    for _ in 0..TRIES_MAX {
        let snapshot = shared.snapshot();
        let wanted = make(&snapshot)?;
        let change = Change {
            base: snapshot.root.version,
            target: Arc::new(wanted.target),
            group: wanted.group,
            restart: wanted.restart,
            kill: wanted.kill,
            force: how.force,
            dry_run: how.dry_run,
            // Nobody else is let in.
            principal: shared.config.credentials.as_ref().map(|credentials| credentials.user.clone()),
        };
        drop(snapshot);
        match ask(shared, Request::Change(Box::new(change))).await? {
            Answer::Planned(plan) => return Ok(plan),
            Answer::Moved => {}
            Answer::Done => return Err(Problem::Internal("a change has no plan".into()).into()),
            Answer::Refused(refusal) => return Err(refused(shared, refusal)),
        }
    }
    Err(Problem::Unavailable("The definitions change too often at the moment. Try again.".into()).into())
}

/// Asks the core for anything.
pub(crate) async fn ask(shared: &Shared, request: Request) -> Result<Answer, Failure> {
    shared.ask(request).await.map_err(unavailable)
}

/// The answer to a refusal.
pub(crate) fn refused(shared: &Shared, refusal: Refusal) -> Failure {
    let problem = match refusal {
        Refusal::Locked(deployments) => Problem::Locked(deployments),
        Refusal::TooManyDeployments => Problem::TooManyDeployments(shared.config.core.running_deployments),
        Refusal::Invalid(details) => Problem::Invalid(details),
        Refusal::NoServicePort => Problem::NoServicePort(shared.config.core.service_ports.clone()),
        Refusal::SecretUsed(users) => Problem::SecretUsed(users),
        Refusal::TooManySecrets(text) => Problem::Argument(text),
        Refusal::Unknown(text) => Problem::Absent(text),
    };
    problem.into()
}

fn unavailable(why: NoAnswer) -> Failure {
    let text = match why {
        NoAnswer::Timeout => {
            "The change was not finished in time. It may still happen: look at /v2/deployments before trying again."
        }
        NoAnswer::Busy => "Changes cannot be taken at the moment. Nothing has changed; try again.",
        NoAnswer::Stopping => "The services are stopping.",
    };
    Problem::Unavailable(text.into()).into()
}

/// The header with the id of a deployment.
pub(crate) const DEPLOYMENT_ID: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// The answer that names a deployment.
pub(crate) fn deployment_result(status: u16, plan: &Plan) -> Response {
    let mut w = Writer::new();
    write_deployment_result(&mut w, plan.version, &plan.id);
    json(status, w.finish()).with(DEPLOYMENT_ID, &plan.id.0)
}
