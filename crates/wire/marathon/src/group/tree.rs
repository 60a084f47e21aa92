//! The tree as a whole: what may stand beside what, and single changes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_services_model::{App, ExternalVolume, Group, PathId, Pod, VolumeSource};
use mezzo_time::Timestamp;

use crate::{Invalid, settings::Context, verdict::Verdict};

use super::apply::with_new_top;

/// Judges what stands where (rules 19 and 293). Whether dependencies go round in a circle is seen when a plan is made.
pub fn judge_tree(root: &Group) -> Result<(), Invalid> {
    let mut verdict = Verdict::default();
    for group in root.all_groups() {
        // Errors of the root have the whole document's path, those of other groups that of the list of groups.
        let path = if group.id.is_root() { "" } else { "groups" };
        if group.apps.keys().any(|id| group.pods.contains_key(id)) {
            verdict.add(path, "Applications and Pods may not share the same id");
        }
        if group.groups.keys().any(|id| group.apps.contains_key(id)) {
            verdict.add(path, "Groups and Applications may not have the same identifier.");
        }
        if group.groups.keys().any(|id| group.pods.contains_key(id)) {
            verdict.add(path, "Groups and Pods may not have the same identifier.");
        }
    }
    judge_external_volumes(root, &mut verdict);
    verdict.finish()
}

fn external_volumes(app: &App) -> impl Iterator<Item = &ExternalVolume> {
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    volumes.filter_map(|volume| match &volume.source {
        VolumeSource::External(volume) if !volume.shared => Some(volume),
        _ => None,
    })
}

fn judge_external_volumes(root: &Group, verdict: &mut Verdict) {
    let mut users: BTreeMap<&str, BTreeSet<&PathId>> = BTreeMap::new();
    for app in root.all_apps() {
        for name in external_volumes(app).filter_map(|volume| volume.name.as_deref()) {
            users.entry(name).or_default().insert(&app.id);
        }
    }
    for (name, apps) in users.iter().filter(|(_, apps)| apps.len() > 1) {
        for id in apps {
            let others: Vec<&str> = apps.iter().filter(|other| *other != id).map(|id| id.as_str()).collect();
            verdict.add(
                format!("apps/{id}/externalVolumes"),
                format!(
                    "Volume name '{name}' in {id} conflicts with volume(s) of same name in app(s): {}",
                    others.join(", ")
                ),
            );
        }
    }
}

/// The tree with an app put in or replaced. Groups that are missing are made (rule 300), and an empty group that stands at
/// the app's path gives way to it.
pub fn with_app(context: &Context<'_>, app: App) -> Result<Group, Invalid> {
    let app = Arc::new(app);
    with(context, &app.id, &mut |group| drop(group.apps.insert(app.id.clone(), Arc::clone(&app))))
}

/// The tree with a pod put in or replaced, as [`with_app`].
pub fn with_pod(context: &Context<'_>, pod: Pod) -> Result<Group, Invalid> {
    let pod = Arc::new(pod);
    with(context, &pod.id, &mut |group| drop(group.pods.insert(pod.id.clone(), Arc::clone(&pod))))
}

fn with(context: &Context<'_>, id: &PathId, put: &mut dyn FnMut(&mut Group)) -> Result<Group, Invalid> {
    let root = context.root.updated(&id.parent(), context.now, &mut |group| {
        if group.groups.get(id).is_some_and(|clash| clash.all_run_specs().next().is_none()) {
            group.groups.remove(id);
        }
        put(group);
    });
    let root = with_new_top(context, root, id);
    judge_tree(&root)?;
    Ok(root)
}

/// The tree without an app; its group stays although it may be empty (rule 301).
pub fn without_app(root: &Group, id: &PathId, now: Timestamp) -> Group {
    root.updated(&id.parent(), now, &mut |group| drop(group.apps.remove(id)))
}

/// The tree without a group and all that stands in it; without the root it is empty.
pub fn without_group(root: &Group, id: &PathId, now: Timestamp) -> Group {
    if id.is_root() {
        return Group::empty(PathId::root(), now);
    }
    root.updated(&id.parent(), now, &mut |group| drop(group.groups.remove(id)))
}

/// The tree with a top-level group that does or does not enforce its role (rules 231 and 302); where nothing was said the
/// flag decides.
pub fn with_enforcement(context: &Context<'_>, id: &PathId, enforce: Option<bool>) -> Result<Group, Invalid> {
    if id.segments().count() != 1 {
        return Err(Invalid::at(
            "/enforceRole",
            format!("enforceRole can only be set for top-level groups, and {id} is not top-level"),
        ));
    }
    let enforce = enforce.unwrap_or(context.settings.enforce_role);
    Ok(context.root.updated(id, context.now, &mut |group| group.enforce_role = enforce))
}
