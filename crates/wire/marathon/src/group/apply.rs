//! Changes of groups: what was sent, on top of the tree as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_services_model::{App, Group, PathId};
use mezzo_time::Timestamp;
use serde_json::Value;

use crate::{
    Invalid, UnknownKey,
    app::{document::AppDocument, judge_change, read},
    json::{At, Reading},
    part::name::PATH_SEGMENTS_MAX,
    settings::{Context, Roles},
    verdict::Verdict,
};

use super::{
    document::{GroupDocument, read_group},
    tree::judge_tree,
};

/// A change of a group as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupUpdate {
    document: GroupDocument,
    /// Keys that nobody knows.
    pub unknown: Vec<UnknownKey>,
}

/// Reads the change of a group.
pub fn read_group_update(value: &Value) -> Result<GroupUpdate, Invalid> {
    let (document, unknown) = Reading::document(value, read_group)?;
    Ok(GroupUpdate { document, unknown })
}

/// Reads the one thing of a group that changes without a deployment: whether its role is enforced.
pub fn read_group_enforcement(value: &Value) -> Result<Option<bool>, Invalid> {
    let read = |at: At<'_>| at.object(|o| Some(o.read("enforceRole", |at| at.boolean())));
    Reading::document(value, read).map(|(enforce, _)| enforce)
}

impl GroupUpdate {
    /// The group that is meant, by the address `base` and the id in the document.
    pub fn target(&self, base: &PathId) -> Result<PathId, Invalid> {
        match &self.document.id {
            Some(id) => read::path(id, base, "/id"),
            None => Ok(base.clone()),
        }
    }

    /// The version that is to come back (rule 48); nothing else was sent then (rule 50).
    pub fn version(&self) -> Result<Option<Timestamp>, Invalid> {
        self.judge_alone()?;
        Ok(self.document.version)
    }

    fn judge_alone(&self) -> Result<(), Invalid> {
        let mut verdict = Verdict::default();
        judge_alone(&self.document, "", &mut verdict);
        verdict.finish()
    }

    /// The tree with the change made at the group that `base` and the document name.
    pub fn apply(&self, base: &PathId, context: &Context<'_>) -> Result<Group, Invalid> {
        self.judge_alone()?;
        let target = self.target(base)?;
        if let Some(factor) = self.document.scale_by {
            return Ok(scaled(context.root, &target, factor, context.now));
        }
        let mut verdict = Verdict::default();
        let change = Change { context, touches_services: self.document.touches_services() };
        change.judge_enforcement(&self.document, &target, "", &mut verdict);
        verdict.require(
            target.segments().count() <= PATH_SEGMENTS_MAX,
            "id",
            format!("must not have more than {PATH_SEGMENTS_MAX} path elements"),
        );
        verdict.finish()?;
        let mut verdict = Verdict::default();
        let enforced = crate::settings::top(&target.child("app"))
            .and_then(|top| context.root.group(&top))
            .map_or(context.settings.enforce_role, |group| group.enforce_role);
        let old = context.root.group(&target);
        let group = change.group(&self.document, target.clone(), old, enforced, "", &mut verdict);
        verdict.finish()?;
        let root = context.root.updated(&target, context.now, &mut |slot| slot.clone_from(&group));
        let root = with_new_top(context, root, &target);
        judge_tree(&root)?;
        Ok(root)
    }

    /// The tree with the group brought back to what it was in `then` (rule 48).
    pub fn restore(&self, base: &PathId, then: &Group, context: &Context<'_>) -> Result<Group, Invalid> {
        let target = self.target(base)?;
        let Some(old) = then.group(&target) else {
            return Err(Invalid::Argument(format!("Group {target} not available in version")));
        };
        let root = context.root.updated(&target, context.now, &mut |slot| slot.clone_from(old));
        judge_tree(&root)?;
        Ok(root)
    }
}

/// A top-level group that was made on the way to what stands at `made` enforces its role when the flag says so (rule 232).
pub(crate) fn with_new_top(context: &Context<'_>, mut root: Group, made: &PathId) -> Group {
    let Some(top) = crate::settings::top(made) else { return root };
    if context.settings.enforce_role
        && !context.root.groups.contains_key(&top)
        && let Some(group) = root.groups.get_mut(&top)
    {
        Arc::make_mut(group).enforce_role = true;
    }
    root
}

/// `version` and `scaleBy` stand alone, even without an id (rule 50).
fn judge_alone(document: &GroupDocument, path: &str, verdict: &mut Verdict) {
    let given = [
        document.id.is_some(),
        document.apps.is_some(),
        document.groups.is_some(),
        document.dependencies.is_some(),
        document.scale_by.is_some(),
        document.version.is_some(),
        document.enforce_role.is_some(),
    ];
    let several = given.into_iter().filter(|given| *given).count() > 1;
    for (key, given) in [("version", document.version.is_some()), ("scaleBy", document.scale_by.is_some())] {
        if given && several {
            verdict.add(format!("{path}{key}"), "not allowed in conjunction with other properties.");
        }
    }
    for (index, group) in document.groups.iter().flatten().enumerate() {
        judge_alone(group, &format!("{path}groups({index})/"), verdict);
    }
}

struct Change<'a> {
    context: &'a Context<'a>,
    touches_services: bool,
}

impl Change<'_> {
    /// Rules 231 and 233, for the group at `path` of the document and all below.
    fn judge_enforcement(&self, document: &GroupDocument, id: &PathId, path: &str, verdict: &mut Verdict) {
        let top = id.segments().count() == 1;
        if document.enforce_role == Some(true) && !top {
            verdict.add(
                format!("{path}enforceRole"),
                format!("enforceRole can only be set for top-level groups, and {id} is not top-level"),
            );
        }
        if let (Some(wanted), Some(old)) = (document.enforce_role, self.context.root.group(id))
            && top
            && self.touches_services
            && wanted != old.enforce_role
        {
            verdict.add(
                format!("{path}enforceRole"),
                "enforceRole cannot be modified in a request that adds, removes or modifies services; please make these \
                 changes in separate requests.",
            );
        }
        for (index, child) in document.groups.iter().flatten().enumerate() {
            let Some(id) = child.id.as_deref().and_then(|text| PathId::parse(text, id).ok()) else {
                continue;
            };
            self.judge_enforcement(child, &id, &format!("{path}groups({index})/"), verdict);
        }
    }

    /// The group at `id` as the document wants it (rule 298). `enforced` is what its top-level group says of roles.
    fn group(
        &self,
        document: &GroupDocument,
        id: PathId,
        old: Option<&Group>,
        enforced: bool,
        path: &str,
        verdict: &mut Verdict,
    ) -> Group {
        let context = self.context;
        let top = id.segments().count() == 1;
        let enforced = match (top, old) {
            (true, old) => document
                .enforce_role
                .unwrap_or_else(|| old.map_or(context.settings.enforce_role, |old| old.enforce_role)),
            (false, _) => enforced,
        };
        let mut group = match old {
            Some(old) => old.clone(),
            None => Group::empty(id.clone(), context.now),
        };
        group.version = context.now;
        group.enforce_role = top && enforced;
        if let Some(texts) = &document.dependencies {
            group.dependencies = self.dependencies(texts, &id, path, verdict);
        }
        if let Some(apps) = &document.apps {
            group.apps = self.apps(apps, &id, enforced, path, verdict);
        }
        if let Some(children) = &document.groups {
            let mut groups = BTreeMap::new();
            for (index, child) in children.iter().enumerate() {
                let path = format!("{path}groups({index})/");
                let Some(child_id) = child_id(child.id.as_deref(), &id, &path, verdict) else { continue };
                let old = old.and_then(|old| old.groups.get(&child_id)).map(Arc::as_ref);
                let group = self.group(child, child_id.clone(), old, enforced, &path, verdict);
                groups.insert(child_id, Arc::new(group));
            }
            group.groups = groups;
        }
        group
    }

    fn dependencies(
        &self,
        texts: &[String],
        id: &PathId,
        path: &str,
        verdict: &mut Verdict,
    ) -> BTreeSet<PathId> {
        let mut dependencies = BTreeSet::new();
        for (index, text) in texts.iter().enumerate() {
            match PathId::parse(text, id) {
                Ok(dependency) => drop(dependencies.insert(dependency)),
                Err(error) => verdict.add(format!("{path}dependencies({index})"), error.to_string()),
            }
        }
        dependencies
    }

    fn apps(
        &self,
        documents: &[AppDocument],
        group: &PathId,
        enforced: bool,
        path: &str,
        verdict: &mut Verdict,
    ) -> BTreeMap<PathId, Arc<App>> {
        let mut apps = BTreeMap::new();
        for (index, document) in documents.iter().enumerate() {
            let path = format!("{path}apps({index})/");
            let Some(id) = child_id(document.id.as_deref(), group, &path, verdict) else { continue };
            let roles = Roles::under(self.context, &id, enforced);
            let read = read::complete(document.clone(), id.clone(), group, self.context, Some(roles));
            let stored = self.context.root.app(&id);
            let judged = read.and_then(|app| match stored {
                Some(stored) => judge_change(stored, &app).map(|()| kept(stored, app)),
                None => Ok(Arc::new(app)),
            });
            match judged {
                Ok(app) => drop(apps.insert(id, app)),
                // Rule 251.
                Err(invalid) => verdict.nest(&format!("apps/{id}"), &invalid),
            }
        }
        apps
    }
}

/// The stored definition where it is the same as the one that was read, and else that one with the stored versions.
fn kept(stored: &Arc<App>, app: App) -> Arc<App> {
    let app = App { version: stored.version, version_info: stored.version_info, ..app };
    if **stored == app { Arc::clone(stored) } else { Arc::new(app) }
}

/// The path of what stands directly in a group (rule 303).
fn child_id(text: Option<&str>, group: &PathId, path: &str, verdict: &mut Verdict) -> Option<PathId> {
    let Some(text) = text else {
        verdict.add(format!("{path}id"), "not defined");
        return None;
    };
    match PathId::parse(text, group) {
        Ok(id) if !id.is_root() && id.parent() == *group => {
            if id.segments().count() <= PATH_SEGMENTS_MAX {
                return Some(id);
            }
            let error = format!("must not have more than {PATH_SEGMENTS_MAX} path elements");
            verdict.add(format!("{path}id"), error);
        }
        Ok(_) => verdict.add(
            format!("{path}id"),
            format!("Identifier is not child of {group}. Hint: use relative paths."),
        ),
        Err(error) => verdict.add(format!("{path}id"), error.to_string()),
    }
    None
}

/// The tree with the instances of all apps below a group multiplied and rounded up (rule 49).
fn scaled(root: &Group, id: &PathId, factor: f64, now: Timestamp) -> Group {
    fn scale(group: &Group, factor: f64, now: Timestamp) -> Group {
        let app = |app: &Arc<App>| {
            // Marathon's numbers of instances have 31 bits; the cast saturates.
            let instances = ((f64::from(app.instances) * factor).ceil() as u32).min(i32::MAX as u32);
            match instances == app.instances {
                true => Arc::clone(app),
                false => Arc::new(App { instances, ..App::clone(app) }),
            }
        };
        Group {
            apps: group.apps.iter().map(|(id, old)| (id.clone(), app(old))).collect(),
            groups: group
                .groups
                .iter()
                .map(|(id, child)| (id.clone(), Arc::new(scale(child, factor, now))))
                .collect(),
            version: now,
            ..group.clone()
        }
    }
    match root.group(id) {
        Some(group) => {
            let group = scale(group, factor, now);
            root.updated(id, now, &mut |slot| slot.clone_from(&group))
        }
        None => root.clone(),
    }
}
