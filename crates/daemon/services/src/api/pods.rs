//! `/v2/pods`

use std::{collections::BTreeSet, sync::Arc};

use mezzo_clock::now;
use mezzo_http::{Body, Request, Response, StatusCode, header};
use mezzo_json::Writer;
use mezzo_marathon_api::{
    Invalid,
    answer::{Problem, write_instance, write_instances, write_versions},
    pod::{write_pod, write_pod_status},
};
use mezzo_services_model::{
    Event, EventKind, Instance, InstanceId, PathId, Pod, RunSpec, UnreachableStrategy,
};
use serde_json::Value;

use super::{
    app_tasks::end, body, documents::Attempt, facts, groups::plan_answer, how, produced, switch, uri,
    version, written,
};
use crate::{
    change::{DEPLOYMENT_ID, Wanted, change},
    http::{Failure, json},
    shared::Shared,
    shown::Shown,
};

/// All pods.
pub(super) fn list(shared: &Shared) -> Response {
    produced(shared.snapshot(), |snapshot, w| {
        w.begin_array();
        for pod in snapshot.root.all_pods() {
            w.pause();
            write_pod(w, pod);
        }
        w.end_array();
    })
}

/// How all pods are.
pub(super) fn statuses(shared: &Shared) -> Response {
    produced(shared.snapshot(), |snapshot, w| {
        let facts = facts(snapshot);
        w.begin_array();
        for pod in snapshot.root.all_pods() {
            w.pause();
            write_pod_status(w, pod, &facts);
        }
        w.end_array();
    })
}

fn find<'a>(snapshot: &'a Shown, id: &PathId) -> Result<&'a Arc<Pod>, Failure> {
    // The one answer of the API whose message holds JSON itself.
    snapshot.root.pod(id).ok_or_else(|| Problem::NoPodNested(id.clone()).into())
}

/// One pod.
pub(super) fn show(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    let pod = find(&snapshot, id)?;
    Ok(written(|w| write_pod(w, pod)))
}

/// How one pod is.
pub(super) fn status(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    let pod = snapshot.root.pod(id).ok_or_else(|| Problem::NoPod(id.clone(), None))?;
    Ok(written(|w| write_pod_status(w, pod, &facts(&snapshot))))
}

/// When each version was made, newest first.
pub(super) fn versions(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    if snapshot.root.pod(id).is_none() {
        return Err(Problem::NoPod(id.clone(), None).into());
    }
    let versions = snapshot.versions.get(id).into_iter().flat_map(|versions| versions.keys());
    Ok(written(|w| write_versions(w, versions.rev().copied())))
}

/// The definition of a version.
pub(super) fn version_shown(shared: &Shared, id: &PathId, at: &str) -> Result<Response, Failure> {
    let at = version(at)?;
    let snapshot = shared.snapshot();
    let versions = snapshot.versions.get(id).filter(|_| snapshot.root.pod(id).is_some());
    let end = at + std::time::Duration::from_millis(1);
    match versions.and_then(|versions| versions.range(at..end).next()) {
        Some((_, RunSpec::Pod(pod))) => Ok(written(|w| write_pod(w, pod))),
        _ => Err(Problem::NoPod(id.clone(), Some(at)).into()),
    }
}

/// A new pod.
pub(super) async fn create(shared: &Arc<Shared>, request: &mut Request) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let document = body(request).await?;
    let mut made = None;
    let plan = change(shared, how, |snapshot| {
        let attempt = Attempt::new(shared, how.force);
        let pod = attempt.pod(&snapshot.root, &document)?;
        let id = pod.id.clone();
        if snapshot.root.pod(&id).is_some() {
            return Err(Problem::PodExists(id).into());
        }
        if snapshot.root.app(&id).is_some() {
            return Err(Problem::AppExists(id).into());
        }
        let target = attempt.with_pod(&snapshot.root, pod)?;
        made = Some(id.clone());
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    if how.dry_run {
        return Ok(plan_answer(shared, &plan).await);
    }
    let pod = made.and_then(|id| plan.target.pod(&id).cloned());
    let pod = pod.ok_or_else(|| Problem::Internal("the plan lacks the pod that was made".into()))?;
    let (client_ip, uri) = who(request);
    shared.hub.publish(&Event { at: now(), kind: EventKind::PodCreated { client_ip, uri } });
    let mut w = Writer::new();
    write_pod(&mut w, &pod);
    Ok(json(201, w.finish()).with(header::LOCATION, pod.id.as_str()).with(DEPLOYMENT_ID, &plan.id.0))
}

/// Another definition, whole.
pub(super) async fn update(
    shared: &Arc<Shared>,
    request: &mut Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let document = body(request).await?;
    let plan = change(shared, how, |snapshot| {
        let attempt = Attempt::new(shared, how.force);
        let pod = attempt.pod(&snapshot.root, &document)?;
        // Marathon rule 285.
        if pod.id != *id {
            return Err(Problem::PodIdDiffers { path: id.clone(), body: pod.id }.into());
        }
        find(snapshot, id)?;
        let target = attempt.with_pod(&snapshot.root, pod)?;
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    if how.dry_run {
        return Ok(plan_answer(shared, &plan).await);
    }
    let pod = plan.target.pod(id);
    let pod = pod.ok_or_else(|| Problem::Internal("the plan lacks the pod that was changed".into()))?;
    let (client_ip, uri) = who(request);
    shared.hub.publish(&Event { at: now(), kind: EventKind::PodUpdated { client_ip, uri } });
    let mut w = Writer::new();
    write_pod(&mut w, pod);
    Ok(json(200, w.finish()).with(DEPLOYMENT_ID, &plan.id.0))
}

/// Ends a pod.
pub(super) async fn delete(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = how(request, false)?;
    let plan = change(shared, how, |snapshot| {
        find(snapshot, id)?;
        let target = Attempt::new(shared, how.force).without_pod(&snapshot.root, id)?;
        Ok(Wanted::tree(target, id.parent()))
    })
    .await?;
    if how.dry_run {
        return Ok(plan_answer(shared, &plan).await);
    }
    let (client_ip, uri) = who(request);
    shared.hub.publish(&Event { at: now(), kind: EventKind::PodDeleted { client_ip, uri } });
    Ok(Response::new(StatusCode::ACCEPTED, Body::Empty)
        .with(header::LOCATION, &plan.id.0)
        .with(DEPLOYMENT_ID, &plan.id.0))
}

/// Kills one instance; another takes its place.
pub(super) async fn kill_one(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
    instance: &str,
) -> Result<Response, Failure> {
    let wipe = switch(request, "wipe", false)?;
    let key = instance_id(instance)?;
    let snapshot = shared.snapshot();
    let (one, strategy) =
        instance_of(&snapshot, id, &key).ok_or_else(|| Problem::NoTask(instance.to_owned()))?;
    let response = written(|w| write_instance(w, one, strategy));
    end(shared, BTreeSet::from([key]), wipe).await?;
    Ok(response)
}

/// Kills the instances that the body lists.
pub(super) async fn kill_some(
    shared: &Arc<Shared>,
    request: &mut Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let wipe = switch(request, "wipe", false)?;
    let document = body(request).await?;
    let list: Option<Vec<&str>> =
        document.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let list = list.ok_or_else(super::documents::no_ids)?;
    let keys = list.into_iter().map(instance_id).collect::<Result<BTreeSet<_>, _>>()?;
    let snapshot = shared.snapshot();
    let found: Vec<(&Instance, UnreachableStrategy)> =
        keys.iter().filter_map(|key| instance_of(&snapshot, id, key)).collect();
    let strategy = found.first().map_or(UnreachableStrategy::DEFAULT, |(_, strategy)| *strategy);
    let response = written(|w| write_instances(w, found.iter().map(|(one, _)| *one), strategy));
    end(shared, found.iter().map(|(one, _)| one.id.clone()).collect(), wipe).await?;
    Ok(response)
}

fn instance_id(text: &str) -> Result<InstanceId, Failure> {
    InstanceId::parse(text).map_err(|error| Invalid::Argument(error.to_string()).into())
}

fn instance_of<'a>(
    snapshot: &'a Shown,
    id: &PathId,
    key: &InstanceId,
) -> Option<(&'a Instance, UnreachableStrategy)> {
    let pod = snapshot.root.pod(id)?;
    Some((snapshot.instances.get(id)?.get(key)?, pod.unreachable_strategy))
}

fn who(request: &Request) -> (String, String) {
    (request.peer.ip().to_string(), uri(request))
}
