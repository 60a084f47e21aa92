//! From documents to trees: what was sent is read against what is there.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_clock::now;
use mezzo_http::Request;
use mezzo_marathon_api::{
    AppFilter, AppUpdate, Context, GroupUpdate, Invalid, LabelSelector, Settings,
    answer::Problem,
    judge_change, judge_tree, millis,
    pod::{judge_pod_change, read_pod, with_pod},
};
use mezzo_services_model::{App, Group, PathId, Pod};
use mezzo_time::Timestamp;
use serde_json::Value;

use crate::{config::Config, http::Failure, shared::Shared, shown::Shown};

/// What documents are read against, of the whole process.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings {
        role: config.core.role.clone(),
        network: config.default_network_name.clone(),
        bridge: config.bridge_name.clone(),
        features: config.features.iter().cloned().collect::<BTreeSet<_>>(),
        enforce_role: config.new_group_enforce_role,
    }
}

/// One attempt at a change: what it is read against, and the tree so far.
pub(super) struct Attempt<'a> {
    settings: &'a Settings,
    apps_max: Option<usize>,
    now: Timestamp,
    force: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(shared: &'a Shared, force: bool) -> Self {
        Self { settings: &shared.settings, apps_max: shared.config.apps_max, now: stamp(), force }
    }

    fn context<'c>(&'c self, root: &'c Group) -> Context<'c> {
        Context { settings: self.settings, root, now: self.now, force: self.force }
    }

    /// The app of a document, for a tree without it.
    pub(super) fn new_app(&self, root: &Group, document: &Value) -> Result<App, Failure> {
        Ok(mezzo_marathon_api::read_app(document, &PathId::root(), &self.context(root))?)
    }

    /// The tree with a change of one app made; without the app a new one.
    pub(super) fn updated(
        &self,
        snapshot: &Shown,
        root: &Group,
        id: &PathId,
        update: &AppUpdate,
        partial: bool,
    ) -> Result<Group, Failure> {
        let stored = root.app(id);
        let app = match update.version()? {
            // A version that comes back comes back whole (marathon rule 47).
            Some(version) => {
                let kept = snapshot.versions.get(id).and_then(|kept| super::app_versions::at(kept, version));
                let Some(then) = kept else {
                    return Err(Problem::NoApp(id.clone(), Some(version)).into());
                };
                App { version: self.now, ..(**then).clone() }
            }
            None => update.apply(stored, id, partial, &self.context(root))?,
        };
        if let Some(stored) = stored {
            judge_change(stored, &app)?;
        }
        self.with_app(root, app)
    }

    /// The tree with an app put in or replaced.
    pub(super) fn with_app(&self, root: &Group, app: App) -> Result<Group, Failure> {
        let tree = mezzo_marathon_api::with_app(&self.context(root), app)?;
        self.count(root, &tree)?;
        Ok(tree)
    }

    /// The pod of a document.
    pub(super) fn pod(&self, root: &Group, document: &Value) -> Result<Pod, Failure> {
        Ok(read_pod(document, &PathId::root(), &self.context(root))?)
    }

    /// The tree with a pod put in or replaced.
    pub(super) fn with_pod(&self, root: &Group, pod: Pod) -> Result<Group, Failure> {
        if let Some(stored) = root.pod(&pod.id) {
            judge_pod_change(stored, &pod)?;
        }
        Ok(with_pod(&self.context(root), pod)?)
    }

    /// The tree with a group changed as its document says, or brought back to a version.
    pub(super) fn with_group(
        &self,
        snapshot: &Shown,
        base: &PathId,
        update: &GroupUpdate,
    ) -> Result<Group, Failure> {
        let root = &snapshot.root;
        let tree = match update.version()? {
            Some(version) => {
                let target = update.target(base)?;
                let then = super::groups::root_at(snapshot, version)
                    .ok_or(Problem::NoGroupVersion(target, version))?;
                update.restore(base, &then, &self.context(root))?
            }
            None => update.apply(base, &self.context(root))?,
        };
        self.count(root, &tree)?;
        Ok(tree)
    }

    /// The tree with a top-level group that does or does not name the role of what stands in it.
    pub(super) fn with_enforcement(
        &self,
        root: &Group,
        id: &PathId,
        enforce: Option<bool>,
    ) -> Result<Group, Failure> {
        Ok(mezzo_marathon_api::with_enforcement(&self.context(root), id, enforce)?)
    }

    /// The tree without an app.
    pub(super) fn without_app(&self, root: &Group, id: &PathId) -> Result<Group, Failure> {
        judged(mezzo_marathon_api::without_app(root, id, self.now))
    }

    /// The tree without a pod; its group stays.
    pub(super) fn without_pod(&self, root: &Group, id: &PathId) -> Result<Group, Failure> {
        judged(root.updated(&id.parent(), self.now, &mut |group| {
            group.pods.remove(id);
        }))
    }

    /// The tree without a group and all in it.
    pub(super) fn without_group(&self, root: &Group, id: &PathId) -> Result<Group, Failure> {
        judged(mezzo_marathon_api::without_group(root, id, self.now))
    }

    /// The tree with another number of instances of an app.
    pub(super) fn scaled(&self, root: &Group, id: &PathId, instances: u32) -> Group {
        root.updated(&id.parent(), self.now, &mut |group| {
            if let Some(app) = group.apps.get_mut(id) {
                *app = Arc::new(App { instances, version: self.now, ..(**app).clone() });
            }
        })
    }

    /// Whether there are more apps than there may be.
    fn count(&self, before: &Group, after: &Group) -> Result<(), Failure> {
        let Some(max) = self.apps_max else { return Ok(()) };
        let count = after.all_apps().count();
        if count <= max || count <= before.all_apps().count() {
            return Ok(());
        }
        let text = format!(
            "This Marathon instance may only handle up to {max} Apps! (Override with command line option --max_apps)"
        );
        Err(Invalid::at("/", text).into())
    }
}

fn judged(root: Group) -> Result<Group, Failure> {
    judge_tree(&root)?;
    Ok(root)
}

/// The version of what is made at this moment.
fn stamp() -> Timestamp {
    millis(now())
}

/// Which apps a list shows.
pub(super) fn filter(request: &Request) -> Result<AppFilter, Failure> {
    let text = |name: &str| request.parameter(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let labels = text("label").map(|text| LabelSelector::parse(&text)).transpose();
    let labels = labels.map_err(|error| Failure::from(Problem::Argument(error.to_string())))?;
    Ok(AppFilter { cmd: text("cmd"), id: text("id"), labels })
}

/// A body that has to be a list of texts, and is something else.
pub(super) fn no_ids() -> Failure {
    Invalid::Json([("/ids".to_owned(), vec!["error.expected.jsarray".to_owned()])].into()).into()
}
