//! `/v2/groups`

use std::sync::Arc;

use mezzo_http::{Body, Request, Response, StatusCode, header};
use mezzo_marathon_api::{
    answer::{
        AppEmbeds, GroupEmbeds, Problem, write_app_infos, write_group, write_steps_only, write_versions,
    },
    read_group_enforcement, read_group_update,
};
use mezzo_services_model::{Group, PathId, Plan};
use mezzo_time::Timestamp;

use super::{body, documents::Attempt, facts, how, produced, version, words, written};
use crate::{
    change::{How, Wanted, change, deployment_result},
    http::Failure,
    outlook::look_out,
    shared::Shared,
    shown::Shown,
};

/// The plan of a change that is only tried.
pub(super) async fn plan_answer(shared: &Arc<Shared>, plan: &Arc<Plan>) -> Response {
    let outlook = look_out(shared, plan).await;
    let outlook = outlook.as_ref().map(Vec::as_slice).map_err(String::as_str);
    written(|w| write_steps_only(w, plan, outlook))
}

fn embeds(request: &Request) -> GroupEmbeds {
    GroupEmbeds::from_words(words(request, "embed"))
}

/// A group with what is asked for.
pub(super) fn show(shared: &Shared, request: &Request, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    if snapshot.root.group(id).is_none() {
        return Err(Problem::NoGroup(id.clone(), None).into());
    }
    let (id, embeds) = (id.clone(), embeds(request));
    Ok(produced(snapshot, move |snapshot, w| {
        if let Some(group) = snapshot.root.group(&id) {
            write_group(w, group, &facts(snapshot), embeds);
        }
    }))
}

/// The apps of a group and below.
pub(super) fn apps(shared: &Shared, request: &Request, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    if snapshot.root.group(id).is_none() {
        return Err(Problem::NoGroup(id.clone(), None).into());
    }
    let (id, embeds) = (id.clone(), embeds(request).app);
    let embeds = AppEmbeds { counts: true, deployments: true, ..embeds };
    Ok(produced(snapshot, move |snapshot, w| {
        let group = snapshot.root.group(&id).into_iter();
        write_app_infos(
            w,
            group.flat_map(|group| group.all_apps()).map(Arc::as_ref),
            &facts(snapshot),
            embeds,
        );
    }))
}

/// The versions of the tree in which there was such a group, newest first.
pub(super) fn versions(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    let versions: Vec<Timestamp> = snapshot
        .roots
        .iter()
        .rev()
        .filter(|(_, root)| root.group(id).is_some())
        .map(|(version, _)| *version)
        .collect();
    if versions.is_empty() {
        return Err(Problem::NoGroup(id.clone(), None).into());
    }
    Ok(written(|w| write_versions(w, versions)))
}

/// The tree of a version. A stamp in the API has milliseconds; those within are one.
pub(super) fn root_at(snapshot: &Shown, at: Timestamp) -> Option<Arc<Group>> {
    let end = at + std::time::Duration::from_millis(1);
    snapshot.roots.range(at..end).next().map(|(_, root)| root.clone())
}

/// A group as it was in a version of the tree.
pub(super) fn version_shown(
    shared: &Shared,
    request: &Request,
    id: &PathId,
    at: &str,
) -> Result<Response, Failure> {
    let at = version(at)?;
    let snapshot = shared.snapshot();
    let root = root_at(&snapshot, at).filter(|root| root.group(id).is_some());
    let root = root.ok_or_else(|| Problem::NoGroup(id.clone(), Some(at)))?;
    let (id, embeds) = (id.clone(), embeds(request));
    Ok(produced(snapshot, move |snapshot, w| {
        if let Some(group) = root.group(&id) {
            write_group(w, group, &facts(snapshot), embeds);
        }
    }))
}

/// A new group, with all in it.
pub(super) async fn create(
    shared: &Arc<Shared>,
    request: &mut Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let document = read_group_update(&body(request).await?)?;
    let made = document.target(id)?;
    let plan = change(shared, how, |snapshot| {
        if snapshot.root.group(&made).is_some() {
            return Err(Problem::GroupExists(made.clone()).into());
        }
        if snapshot.root.app(&made).is_some() {
            return Err(Problem::AppAtGroup(made.clone()).into());
        }
        let target = Attempt::new(shared, how.force).with_group(snapshot, id, &document)?;
        Ok(Wanted::tree(target, made.clone()))
    })
    .await?;
    if how.dry_run {
        return Ok(plan_answer(shared, &plan).await);
    }
    Ok(deployment_result(201, &plan).with(header::LOCATION, made.as_str()))
}

/// Replaces what is in a group, goes back to a version of it, or multiplies its instances.
pub(super) async fn update(
    shared: &Arc<Shared>,
    request: &mut Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let document = read_group_update(&body(request).await?)?;
    let meant = document.target(id)?;
    let plan = change(shared, how, |snapshot| {
        let target = Attempt::new(shared, how.force).with_group(snapshot, id, &document)?;
        Ok(Wanted::tree(target, meant.clone()))
    })
    .await?;
    Ok(if how.dry_run { plan_answer(shared, &plan).await } else { deployment_result(200, &plan) })
}

/// Changes whether a top-level group names the role of everything in it.
pub(super) async fn patch(
    shared: &Arc<Shared>,
    request: &mut Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let enforce = read_group_enforcement(&body(request).await?)?;
    change(shared, How::default(), |snapshot| {
        if snapshot.root.group(id).is_none() {
            return Err(Problem::NoGroup(id.clone(), None).into());
        }
        let target = Attempt::new(shared, false).with_enforcement(&snapshot.root, id, enforce)?;
        Ok(Wanted::tree(target, id.clone()))
    })
    .await?;
    Ok(Response::new(StatusCode::OK, Body::Empty))
}

/// Ends everything in a group; the root is emptied.
pub(super) async fn delete(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let plan = change(shared, how, |snapshot| {
        if snapshot.root.group(id).is_none() {
            return Err(Problem::NoGroup(id.clone(), None).into());
        }
        let target = Attempt::new(shared, how.force).without_group(&snapshot.root, id)?;
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    Ok(if how.dry_run { plan_answer(shared, &plan).await } else { deployment_result(200, &plan) })
}
