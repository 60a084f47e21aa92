//! `/v2/apps`

use std::sync::Arc;

use mezzo_clock::now;
use mezzo_http::{Request, Response, header};
use mezzo_marathon_api::{
    answer::{AppEmbeds, DeploymentFacts, Facts, Problem, write_app_info, write_app_list, write_app_star},
    read_app_updates,
};
use mezzo_services_model::{App, Event, EventKind, PathId, Plan};

use super::{
    Nothing, body,
    documents::{self, Attempt},
    facts, how, produced, switch, uri, words,
};
use crate::{
    change::{DEPLOYMENT_ID, Wanted, change, deployment_result},
    http::{Failure, json},
    shared::Shared,
};

/// All apps that the filters let through.
pub(super) fn list(shared: &Shared, request: &Request) -> Result<Response, Failure> {
    let filter = documents::filter(request)?;
    let embeds = AppEmbeds::LIST.with_words(words(request, "embed"));
    Ok(produced(shared.snapshot(), move |snapshot, w| {
        let apps = snapshot.root.all_apps().map(Arc::as_ref).filter(|app| filter.matches(app));
        write_app_list(w, apps, &facts(snapshot), embeds);
    }))
}

/// All apps of a group and below.
pub(super) fn of_group(shared: &Shared, request: &Request, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    if snapshot.root.group(id).is_none() {
        return Err(Problem::NoGroup(id.clone(), None).into());
    }
    let embeds = AppEmbeds::LIST.with_words(words(request, "embed"));
    let id = id.clone();
    Ok(produced(snapshot, move |snapshot, w| {
        let group = snapshot.root.group(&id).into_iter();
        write_app_star(
            w,
            group.flat_map(|group| group.all_apps()).map(Arc::as_ref),
            &facts(snapshot),
            embeds,
        );
    }))
}

/// A new app.
pub(super) async fn create(shared: &Arc<Shared>, request: &mut Request) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let document = body(request).await?;
    let mut made = None;
    let plan = change(shared, how, |snapshot| {
        let attempt = Attempt::new(shared, how.force);
        let app = attempt.new_app(&snapshot.root, &document)?;
        let id = app.id.clone();
        if snapshot.root.app(&id).is_some() {
            return Err(Problem::AppExists(id).into());
        }
        if snapshot.root.pod(&id).is_some() {
            return Err(Problem::PodExists(id).into());
        }
        let target = attempt.with_app(&snapshot.root, app)?;
        made = Some(id.clone());
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    if how.dry_run {
        return Ok(super::groups::plan_answer(shared, &plan).await);
    }
    let app = made.and_then(|id| plan.target.app(&id).cloned());
    let app = app.ok_or_else(|| Problem::Internal("the plan lacks the app that was made".into()))?;
    posted(shared, request, app.clone());
    let mut w = mezzo_json::Writer::new();
    write_app_info(&mut w, &app, &fresh(&plan), AppEmbeds::LIST);
    Ok(json(201, w.finish()).with(header::LOCATION, app.id.as_str()).with(DEPLOYMENT_ID, &plan.id.0))
}

/// What is known of an app that has just been made: that it is being deployed.
fn fresh(plan: &Plan) -> Facts<'_> {
    Facts::new(
        now(),
        &Nothing,
        [DeploymentFacts { plan, step: 0, readiness: Vec::new(), canaries: Vec::new() }],
    )
}

/// Several apps, changed or made in one deployment.
pub(super) async fn update(
    shared: &Arc<Shared>,
    request: &mut Request,
    is_patch: bool,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let partial = is_patch || switch(request, "partialUpdate", true)?;
    let updates = read_app_updates(&body(request).await?)?;
    let plan = change(shared, how, |snapshot| {
        let attempt = Attempt::new(shared, how.force);
        let mut target = (*snapshot.root).clone();
        let mut common: Option<PathId> = None;
        for update in &updates {
            let id = update
                .id()
                .ok_or_else(|| Problem::Argument("requirement failed: id is missing".into()))??;
            if is_patch && target.app(&id).is_none() {
                return Err(Problem::NoApp(id, None).into());
            }
            target = attempt.updated(snapshot, &target, &id, update, partial)?;
            common = Some(common.map_or_else(|| id.parent(), |_| PathId::root()));
        }
        Ok(Wanted::tree(target, common.unwrap_or_else(PathId::root)))
    })
    .await?;
    if how.dry_run {
        return Ok(super::groups::plan_answer(shared, &plan).await);
    }
    Ok(deployment_result(200, &plan))
}

/// Tells of an app that was sent.
pub(super) fn posted(shared: &Shared, request: &Request, app: Arc<App>) {
    let kind = EventKind::AppPosted { client_ip: request.peer.ip().to_string(), uri: uri(request), app };
    shared.hub.publish(&Event { at: now(), kind });
}
