//! A new tree: what it asks for is completed, planned, and taken over or refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mezzo_services_model::{ActionKind, App, DeploymentId, EventKind, Group, PathId, Plan, RunSpec};
use mezzo_time::Timestamp;

use crate::{
    Answer, Change, Effect, Record, Refusal, RequestId,
    differences::{Differences, differences},
    plan::plan,
    ports::{self, Free, Used},
    services::{Moment, Services},
    spec::{Difference, difference, with_version},
};

/// What deployments that make way for others are told (rule 23).
pub(crate) const CANCELLED: &str = "The upgrade has been cancelled";

/// A tree that may be taken over.
struct Prepared {
    plan: Plan,
    differences: Differences,
    used_ports: Used,
    /// Services that go back from a trial to the definition before it.
    back: BTreeSet<PathId>,
}

impl Services {
    pub(crate) fn answer(&mut self, request: RequestId, answer: Answer) {
        self.effects.push(Effect::Answer(request, answer));
    }

    pub(crate) fn on_change(&mut self, m: &mut Moment<'_>, request: RequestId, change: Change) {
        if change.base != self.state.root.version {
            return self.answer(request, Answer::Moved);
        }
        if let Err(refusal) = self.make_change(m, Some(request), change, CANCELLED) {
            self.answer(request, Answer::Refused(refusal));
        }
    }

    /// Takes a tree over and answers who asked, or says why not. Deployments that make way are told `reason`.
    pub(crate) fn make_change(
        &mut self,
        m: &mut Moment<'_>,
        request: Option<RequestId>,
        mut change: Change,
        reason: &str,
    ) -> Result<(), Refusal> {
        let prepared = match self.prepare(m, &mut change) {
            Ok(prepared) => prepared,
            Err(refusal) => return Err(self.refused(m, &change, refusal)),
        };
        let affected = affected(&prepared.plan);
        let conflicts: BTreeSet<DeploymentId> =
            affected.iter().filter_map(|path| self.locks.get(path)).cloned().collect();
        if !conflicts.is_empty() && !change.force {
            let reason = "App is locked by one or more deployments.";
            let plan = Arc::new(prepared.plan);
            self.publish(m, EventKind::DeploymentFailed { plan, reason: reason.into() });
            return Err(self.refused(m, &change, Refusal::Locked(conflicts.into_iter().collect())));
        }
        if change.dry_run {
            if let Some(request) = request {
                self.answer(request, Answer::Planned(Arc::new(prepared.plan)));
            }
            return Ok(());
        }
        // Those that make way leave room (rule 24).
        if self.runs.len() - conflicts.len() >= self.config.running_deployments {
            return Err(self.refused(m, &change, Refusal::TooManyDeployments));
        }
        for id in conflicts {
            self.cancel(m, &id, reason);
        }
        self.take_over(m, request, change, prepared);
        Ok(())
    }

    /// Tells subscribers of a refusal.
    fn refused(&mut self, m: &mut Moment<'_>, change: &Change, refusal: Refusal) -> Refusal {
        if !change.dry_run {
            let reason = words(&refusal);
            let (group, version) = (change.group.clone(), self.next_version(m.now));
            self.publish(m, EventKind::GroupChangeFailed { group, version, reason });
        }
        refusal
    }

    /// Versions are whole milliseconds (rule 240), and no two trees have the same.
    fn next_version(&self, now: Timestamp) -> Timestamp {
        const MILLI: i64 = 1_000_000;
        let whole = Timestamp::from_nanos(now.as_nanos() / MILLI * MILLI);
        whole.max(self.state.root.version + Duration::from_millis(1))
    }

    /// Completes the tree of a change, and plans it.
    fn prepare(&mut self, m: &mut Moment<'_>, change: &mut Change) -> Result<Prepared, Refusal> {
        let version = self.next_version(m.now);
        let original = self.state.root.clone();
        let mut differences = differences(&original, &change.target);
        for path in &change.restart {
            let known = differences.added.contains_key(path) || differences.changed.contains_key(path);
            if let (false, Some(old), Some(new)) =
                (known, original.run_spec(path), change.target.run_spec(path))
            {
                differences.changed.insert(path.clone(), (old, new));
            }
        }
        check_ids(&change.target, &differences)?;
        let used_ports = self.assign_ports(&mut differences)?;
        let mut replaced = BTreeMap::new();
        let (mut back, mut restart) = (BTreeSet::new(), change.restart.clone());
        for (path, spec) in &mut differences.added {
            *spec = with_version(spec, version, version, version);
            replaced.insert(path.clone(), spec.clone());
        }
        for (path, (old, new)) in &mut differences.changed {
            let info = old.version_info();
            if let Some(report) = self.trial(old) {
                if self.base(report).is_some_and(|base| difference(&base, new) != Difference::Config) {
                    back.insert(path.clone());
                } else if difference(old, new) == Difference::Scale {
                    // The trial goes on with another number.
                    restart.insert(path.clone());
                }
            }
            *new = match (difference(old, new), change.restart.contains(path)) {
                (Difference::None, false) => old.clone(),
                (Difference::None, true) => with_version(new, version, info.last_scaling_at, version),
                (Difference::Silent, false) => {
                    with_version(new, old.version(), info.last_scaling_at, info.last_config_change_at)
                }
                (Difference::Scale, false) => with_version(new, version, version, info.last_config_change_at),
                _ => with_version(new, version, version, version),
            };
            replaced.insert(path.clone(), new.clone());
        }
        complete(Some(&original), &mut change.target, &replaced, version);
        let target = change.target.clone();
        let id = DeploymentId(m.uuid().to_string().into());
        // What is cancelled half-way is done to the end, or old instances would stay beside new ones (F212).
        restart.extend(differences.changed.keys().filter(|path| self.is_being_replaced(path)).cloned());
        let plan = plan(id, &original, &target, &differences, &restart).map_err(|_| {
            let text = "Dependency graph has cyclic dependencies.".to_owned();
            Refusal::Invalid(BTreeMap::from([("/".to_owned(), vec![text])]))
        })?;
        Ok(Prepared { plan, differences, used_ports, back })
    }

    /// Whether a deployment that runs replaces the instances of a service, now or in a later step.
    fn is_being_replaced(&self, path: &PathId) -> bool {
        let run = self.locks.get(path).and_then(|id| self.runs.get(id));
        let actions = run.into_iter().flat_map(|run| &run.plan.steps).flat_map(|step| &step.actions);
        actions.into_iter().any(|action| action.run_spec == *path && action.kind == ActionKind::Restart)
    }

    fn assign_ports(&self, differences: &mut Differences) -> Result<Used, Refusal> {
        let mut used = self.used_ports.clone();
        for spec in differences.removed.values() {
            ports::give_back(&mut used, spec);
        }
        for (old, _) in differences.changed.values() {
            ports::give_back(&mut used, old);
        }
        for spec in differences.added.values().chain(differences.changed.values().map(|(_, new)| new)) {
            ports::take(&mut used, spec);
        }
        let mut free = Free::new(&self.config.service_ports);
        let mut fill = |new: &mut RunSpec, old: Option<&App>| -> Result<(), Refusal> {
            let RunSpec::App(app) = new else { return Ok(()) };
            if ports::is_open(app) {
                let app = Arc::make_mut(app);
                ports::assign(app, old, &self.config.service_ports, &mut free, &mut used)
                    .map_err(|_| Refusal::NoServicePort)?;
            }
            Ok(())
        };
        for spec in differences.added.values_mut() {
            fill(spec, None)?;
        }
        for (old, new) in differences.changed.values_mut() {
            let old = if let RunSpec::App(app) = old { Some(&**app) } else { None };
            fill(new, old)?;
        }
        Ok(used)
    }

    /// From here on the new tree is the tree.
    fn take_over(
        &mut self,
        m: &mut Moment<'_>,
        request: Option<RequestId>,
        change: Change,
        prepared: Prepared,
    ) {
        let Prepared { plan, differences, used_ports, back } = prepared;
        let plan = Arc::new(plan);
        self.used_ports = used_ports;
        let news = differences.added.values().chain(differences.changed.values().map(|(_, new)| new));
        for spec in news {
            self.placed.remove(spec.id());
            self.keep_definition(spec);
            if let Some(principal) = change.principal.as_ref().filter(|_| spec.version() == plan.version) {
                self.keep_principal(spec.id(), spec.version(), principal);
            }
        }
        self.change_trials(m, &differences, &back, &change.restart);
        self.state.root = plan.target.clone();
        Arc::make_mut(&mut self.state.roots).insert(plan.version, plan.target.clone());
        self.records.push(Record::Root(plan.target.clone()));
        for path in change.kill {
            let Some(resident) =
                path.run_spec().ok().and_then(|id| self.wanted(&id)).map(|spec| spec.is_resident())
            else {
                continue;
            };
            let goal = if resident {
                mezzo_services_model::Goal::Stopped
            } else {
                mezzo_services_model::Goal::Decommissioned
            };
            self.end(m, &path, goal);
        }
        self.publish(m, EventKind::GroupChanged { group: change.group, version: plan.version });
        if let Some(request) = request {
            self.answer(request, Answer::Planned(plan.clone()));
        }
        self.begin_deployment(m, plan);
        self.forget_old_roots();
    }
}

/// The services that a plan works on.
pub(crate) fn affected(plan: &Plan) -> BTreeSet<PathId> {
    plan.steps.iter().flat_map(|step| &step.actions).map(|action| action.run_spec.clone()).collect()
}

/// A refusal in words.
pub(crate) fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Locked(ids) => {
            let ids: Vec<&str> = ids.iter().map(|id| &*id.0).collect();
            format!("App is locked by one or more deployments: {}", ids.join(", "))
        }
        Refusal::TooManyDeployments => "Max number of running deployments reached".into(),
        Refusal::Invalid(errors) => errors.values().flatten().cloned().collect::<Vec<_>>().join(" "),
        Refusal::NoServicePort => "All service ports are already in use".into(),
        Refusal::SecretUsed(users) => {
            let users: Vec<&str> = users.iter().map(PathId::as_str).collect();
            format!("Needed by {}", users.join(", "))
        }
        Refusal::TooManySecrets(text) | Refusal::Unknown(text) => text.clone(),
    }
}

/// One id, one thing (rule 19).
fn check_ids(target: &Group, differences: &Differences) -> Result<(), Refusal> {
    let refused =
        |text: &str| Err(Refusal::Invalid(BTreeMap::from([("/".to_owned(), vec![text.to_owned()])])));
    let specs = differences.added.keys().chain(differences.changed.keys());
    for path in specs.chain(&differences.groups) {
        let (app, pod) = (target.app(path).is_some(), target.pod(path).is_some());
        if app && pod {
            return refused("Applications and Pods may not share the same id");
        }
        if (app || pod) && target.group(path).is_some() {
            return refused("Groups and Applications may not have the same identifier.");
        }
    }
    Ok(())
}

/// Puts completed definitions into the tree; groups that are as they were are the ones that were. A tree that nobody else
/// holds is changed where it is: a copy of a group with ten thousand apps takes longer than all else of a plan.
fn complete(
    old: Option<&Arc<Group>>,
    new: &mut Arc<Group>,
    replaced: &BTreeMap<PathId, RunSpec>,
    version: Timestamp,
) {
    let same = old.is_some_and(|old| Arc::ptr_eq(old, new));
    // What lies below `/a` begins with `/a/`, and stands together.
    let id = new.id.clone();
    let mut below = replaced.range(id.child("")..).take_while(|(path, _)| path.is_below(&id)).peekable();
    if same && below.peek().is_none() {
        return;
    }
    let group = Arc::make_mut(new);
    group.version = version;
    for (path, better) in below {
        match better {
            RunSpec::App(better) => {
                if let Some(app) = group.apps.get_mut(path) {
                    *app = better.clone();
                }
            }
            RunSpec::Pod(better) => {
                if let Some(pod) = group.pods.get_mut(path) {
                    *pod = better.clone();
                }
            }
        }
    }
    for (id, child) in &mut group.groups {
        complete(old.and_then(|old| old.groups.get(id)), child, replaced, version);
    }
    if let Some(old) = old
        && !id.is_root()
        && is_same(old, group)
    {
        *new = old.clone();
    }
}

/// Whether two groups hold the very same members.
fn is_same(a: &Group, b: &Group) -> bool {
    fn members<T>(a: &BTreeMap<PathId, Arc<T>>, b: &BTreeMap<PathId, Arc<T>>) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && Arc::ptr_eq(x, y))
    }
    a.dependencies == b.dependencies
        && a.enforce_role == b.enforce_role
        && members(&a.apps, &b.apps)
        && members(&a.pods, &b.pods)
        && members(&a.groups, &b.groups)
}
