//! `/v2/apps/{id}`

use std::{collections::BTreeSet, sync::Arc};

use mezzo_http::{Request, Response, header};
use mezzo_marathon_api::{
    answer::{AppEmbeds, Problem, write_app_single},
    read_app_update,
};
use mezzo_services_model::PathId;

use super::{
    apps::posted, body, documents::Attempt, facts, groups::plan_answer, how, switch, words, written,
};
use crate::{
    change::{Wanted, change, deployment_result},
    http::Failure,
    shared::Shared,
};

/// One app with all about it.
pub(super) fn show(shared: &Shared, request: &Request, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    let app = snapshot.root.app(id).ok_or_else(|| Problem::NoApp(id.clone(), None))?;
    let embeds = AppEmbeds::SINGLE.with_words(words(request, "embed"));
    Ok(written(|w| write_app_single(w, app, &facts(&snapshot), embeds)))
}

/// Changes an app, or makes it.
pub(super) async fn update(
    shared: &Arc<Shared>,
    request: &mut Request,
    id: &PathId,
    is_patch: bool,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let partial = is_patch || switch(request, "partialUpdate", true)?;
    let document = read_app_update(&body(request).await?)?;
    let mut is_new = false;
    let plan = change(shared, how, |snapshot| {
        is_new = snapshot.root.app(id).is_none();
        if is_new && is_patch {
            return Err(Problem::NoApp(id.clone(), None).into());
        }
        let attempt = Attempt::new(shared, how.force);
        let target = attempt.updated(snapshot, &snapshot.root, id, &document, partial)?;
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    if how.dry_run {
        return Ok(plan_answer(shared, &plan).await);
    }
    if let Some(app) = plan.target.app(id) {
        posted(shared, request, app.clone());
    }
    let response = deployment_result(if is_new { 201 } else { 200 }, &plan);
    Ok(if is_new { response.with(header::LOCATION, id.as_str()) } else { response })
}

/// Ends an app. Deployments of it are cancelled unless told otherwise.
pub(super) async fn delete(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, true)?;
    let plan = change(shared, how, |snapshot| {
        if snapshot.root.app(id).is_none() {
            return Err(Problem::NoApp(id.clone(), None).into());
        }
        let target = Attempt::new(shared, how.force).without_app(&snapshot.root, id)?;
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    Ok(if how.dry_run { plan_answer(shared, &plan).await } else { deployment_result(200, &plan) })
}

/// Replaces all instances without another definition.
pub(super) async fn restart(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let plan = change(shared, how, |snapshot| {
        if snapshot.root.app(id).is_none() {
            return Err(Problem::NoApp(id.clone(), None).into());
        }
        let mut wanted = Wanted::tree((*snapshot.root).clone(), id.parent());
        wanted.restart = BTreeSet::from([id.clone()]);
        Ok(wanted)
    })
    .await?;
    Ok(if how.dry_run { plan_answer(shared, &plan).await } else { deployment_result(200, &plan) })
}
