//! `/v2/apps/{id}/tasks`

use std::{collections::BTreeSet, sync::Arc};

use mezzo_http::{Request, Response};
use mezzo_json::Writer;
use mezzo_marathon_api::answer::{Problem, write_task, write_task_list};
use mezzo_services::{Answer, Kill, Request as Asked};
use mezzo_services_model::{Condition, InstanceId, PathId, TaskId};

use super::{documents::Attempt, facts, produced, switch, written};
use crate::{
    change::{How, Wanted, ask, change, deployment_result, refused},
    http::Failure,
    shared::Shared,
    shown::Shown,
};

/// How kills are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct HowToKill {
    /// Want fewer, instead of others in their place.
    pub(super) scale: bool,
    /// Give up volumes.
    pub(super) wipe: bool,
    /// Cancel deployments that are in the way of scaling.
    pub(super) force: bool,
}

impl HowToKill {
    /// As the query says it (marathon rule 191).
    pub(super) fn read(request: &Request) -> Result<Self, Failure> {
        let scale = switch(request, "scale", false)?;
        let wipe = switch(request, "wipe", false)?;
        let force = switch(request, "force", false)?;
        if scale && wipe {
            return Err(Problem::ScaleAndWipe.into());
        }
        Ok(Self { scale, wipe, force })
    }
}

/// The tasks of an app.
pub(super) fn list(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    if snapshot.root.app(id).is_none() {
        return Err(Problem::NoApp(id.clone(), None).into());
    }
    let id = id.clone();
    Ok(produced(snapshot, move |snapshot, w| {
        let app = snapshot.root.app(&id).map(Arc::as_ref);
        write_task_list(w, app, &facts(snapshot), false, |_| true);
    }))
}

/// The tasks of all apps of a group.
pub(super) fn of_group(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    if snapshot.root.group(id).is_none() {
        return Err(Problem::NoGroup(id.clone(), None).into());
    }
    let id = id.clone();
    Ok(produced(snapshot, move |snapshot, w| {
        let apps = snapshot.root.group(&id).into_iter().flat_map(|group| group.all_apps()).map(Arc::as_ref);
        write_task_list(w, apps, &facts(snapshot), false, |_| true);
    }))
}

/// Kills all tasks of an app, or those on one host.
pub(super) async fn kill_all(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
) -> Result<Response, Failure> {
    let how = HowToKill::read(request)?;
    // A star is any host (marathon rule 192).
    let host = request.parameter("host").filter(|host| *host != "*");
    let snapshot = shared.snapshot();
    if snapshot.root.app(id).is_none() {
        return Err(Problem::NoApp(id.clone(), None).into());
    }
    let instances = snapshot.instances.get(id).into_iter().flat_map(|instances| instances.values());
    let meant = instances.filter(|instance| {
        let at = instance.agent.as_ref().map(|agent| agent.host.as_str());
        host.is_none_or(|host| at == Some(host))
    });
    let meant: BTreeSet<InstanceId> = meant.map(|instance| instance.id.clone()).collect();
    kill(shared, &snapshot, how, meant).await
}

/// Kills one task of an app.
pub(super) async fn kill_one(
    shared: &Arc<Shared>,
    request: &Request,
    id: &PathId,
    task: &str,
) -> Result<Response, Failure> {
    let how = HowToKill::read(request)?;
    let snapshot = shared.snapshot();
    let app = snapshot.root.app(id).ok_or_else(|| Problem::NoApp(id.clone(), None))?;
    // One of another app is as good as none (marathon rule 193), and so is what is no id.
    let found = TaskId::parse(task).ok().and_then(|task| {
        let instance = snapshot.instances.get(id)?.get(&task.instance())?;
        Some((instance, instance.tasks.values().find(|own| own.id == task)?))
    });
    let (instance, one) = found.ok_or_else(|| Problem::NoTask(task.to_owned()))?;
    let meant = BTreeSet::from([instance.id.clone()]);
    if how.scale {
        return kill(shared, &snapshot, how, meant).await;
    }
    let response = written(|w| {
        w.begin_object();
        w.key("task");
        write_task(w, one, instance, app, &facts(&snapshot), false);
        w.end_object();
    });
    end(shared, meant, how.wipe).await?;
    Ok(response)
}

/// Kills instances of apps, and answers with their tasks or with the deployment that scales.
pub(super) async fn kill(
    shared: &Arc<Shared>,
    snapshot: &Shown,
    how: HowToKill,
    meant: BTreeSet<InstanceId>,
) -> Result<Response, Failure> {
    if how.scale {
        return scale_down(shared, how, meant).await;
    }
    let response = written(|w| write_tasks(w, snapshot, &meant));
    end(shared, meant, how.wipe).await?;
    Ok(response)
}

/// The tasks of some instances of apps.
fn write_tasks(w: &mut Writer<'_>, snapshot: &Shown, meant: &BTreeSet<InstanceId>) {
    let facts = facts(snapshot);
    w.begin_object();
    w.key("tasks");
    w.begin_array();
    for id in meant {
        let Ok(path) = id.run_spec() else { continue };
        let instance = snapshot.instances.get(&path).and_then(|instances| instances.get(id));
        if let (Some(app), Some(instance)) = (snapshot.root.app(&path), instance) {
            for task in instance.tasks.values() {
                write_task(w, task, instance, app, &facts, false);
            }
        }
    }
    w.end_array();
    w.end_object();
}

/// Has instances end, and others take their place.
pub(super) async fn end(shared: &Shared, instances: BTreeSet<InstanceId>, wipe: bool) -> Result<(), Failure> {
    if instances.is_empty() {
        return Ok(());
    }
    match ask(shared, Asked::Kill(Kill { instances, wipe })).await? {
        Answer::Refused(refusal) => Err(refused(shared, refusal)),
        Answer::Done | Answer::Planned(_) | Answer::Moved => Ok(()),
    }
}

/// Wants as many fewer as are active and not on their way out (marathon rule 190).
async fn scale_down(
    shared: &Arc<Shared>,
    how: HowToKill,
    meant: BTreeSet<InstanceId>,
) -> Result<Response, Failure> {
    let deploy = How { force: how.force, dry_run: false };
    let plan = change(shared, deploy, |snapshot| {
        let attempt = Attempt::new(shared, how.force);
        let mut target = (*snapshot.root).clone();
        let mut group: Option<PathId> = None;
        let paths: BTreeSet<PathId> = meant.iter().filter_map(|id| id.run_spec().ok()).collect();
        for path in paths {
            let own = snapshot.instances.get(&path).into_iter().flat_map(|instances| instances.values());
            let fewer = own
                .filter(|instance| meant.contains(&instance.id))
                .filter(|one| one.condition.is_active() && one.condition != Condition::Killing)
                .count();
            let fewer = u32::try_from(fewer).unwrap_or(u32::MAX);
            let Some(instances) = target.app(&path).map(|app| app.instances) else { continue };
            target = attempt.scaled(&target, &path, instances.saturating_sub(fewer));
            group = Some(group.map_or_else(|| path.parent(), |_| PathId::root()));
        }
        let mut wanted = Wanted::tree(target, group.unwrap_or_else(PathId::root));
        wanted.kill = meant.clone();
        Ok(wanted)
    })
    .await?;
    Ok(deployment_result(200, &plan))
}
