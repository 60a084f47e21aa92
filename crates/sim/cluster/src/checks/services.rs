//! What must be true of apps, judged by what really runs on machines and what operators were promised.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_mesos::v1::scheduler::{Call, call};
use mezzo_services_model::{Condition, Goal, InstanceId, PathId, TaskId};

use super::{add, fits, places::Places, sequence::Sequence, vector};
use crate::{
    fault::{FaultKind, Victim},
    queue::Nanos,
    services::{
        operator::Wanted,
        serving::{NEEDS, Serving},
        setup::{AppSetup, Quality, path_of},
    },
    setup::Setup,
    world::{SECOND, World},
};

/// Launches that any app may have beside those that its waits after failures allow: replacements of lost instances, and
/// those on their way when a wait began.
const LAUNCHES_BESIDE: f64 = 6.0;
/// What each failure multiplies the wait with, from one second on (rule 79).
const BACKOFF_FACTOR: f64 = 1.15;

/// An instance that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) serving: Serving,
    pub(crate) agent: usize,
    pub(super) since: Nanos,
    /// When it is or was well; never, maybe.
    pub(crate) well_at: Option<Nanos>,
}

/// Bounds that an upgrade keeps while nothing else takes instances away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    min: usize,
    max: usize,
}

/// All that is remembered of apps.
#[derive(Debug, Default)]
pub(crate) struct Services {
    pub(super) running: BTreeMap<TaskId, Running>,
    /// Tasks that ever ran.
    ran: BTreeSet<TaskId>,
    /// Tasks whose end the services, or operators, have asked for.
    asked_to_end: BTreeSet<String>,
    pub(super) watches: BTreeMap<usize, Watch>,
    /// Launches of instances that end by themselves, by app: since when, and how many.
    launches: BTreeMap<usize, (Nanos, u32)>,
    /// The framework's id, once a store was said to have it.
    kept: Option<String>,
    /// Nothing goes wrong that takes instances away.
    pub(super) is_calm: bool,
    /// Where instances are.
    pub(super) places: Places,
    /// Which apps come after which.
    pub(super) sequences: BTreeMap<usize, Sequence>,
    /// An operator's drain ends waits after failures, rightly.
    has_drains: bool,
}

impl Services {
    pub(crate) fn new(setup: &Setup) -> Self {
        let is_harmless = |kind: &FaultKind| match kind {
            FaultKind::Crash { victim, .. } | FaultKind::Pause { victim, .. } => {
                !matches!(victim, Victim::Agent(_))
            }
            FaultKind::DiskFull { victim, .. }
            | FaultKind::SlowDisk { victim, .. }
            | FaultKind::ClockJump { victim, .. } => matches!(victim, Victim::Scheduler(_)),
            _ => false,
        };
        Self {
            is_calm: setup.faults.iter().all(|fault| is_harmless(&fault.kind)),
            has_drains: setup.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Drain { .. })),
            ..Self::default()
        }
    }

    /// The instance that runs under this id, if one does.
    pub(crate) fn of_instance(&self, id: &InstanceId) -> Option<&Running> {
        self.running.values().find(|one| one.serving.task.instance() == *id)
    }

    /// Since when an instance that runs is well, or will be.
    pub(crate) fn well_at(&self, task: &TaskId) -> Option<Nanos> {
        self.running.get(task)?.well_at
    }

    /// The instances of an app that run.
    pub(crate) fn of_app<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Running> {
        self.running.values().filter(move |one| one.serving.app == path)
    }

    /// An operator asks for the end of instances, which may be put off while the master is away.
    pub(crate) fn ask_to_end(&mut self, instances: &BTreeSet<InstanceId>) {
        for id in instances {
            let task = self.of_instance(id).map(|one| one.serving.task.as_str().to_owned());
            self.asked_to_end.extend(task);
        }
    }

    /// How many run on each agent.
    pub(crate) fn on_agent(&self, agent: usize) -> usize {
        self.running.values().filter(|one| one.agent == agent).count()
    }

    /// A store says that it has the framework's id.
    pub(crate) fn on_kept(&mut self, id: &str) {
        self.kept = Some(id.to_owned());
    }

    /// The waits after failures begin anew, rightly.
    pub(crate) fn forget_launches(&mut self) {
        self.launches.clear();
    }
}

/// The number of the app at a path.
pub(crate) fn number_of(path: &str) -> Option<usize> {
    path.strip_prefix("/a")?.parse().ok()
}

/// How many may be launched of an app whose instances all end by themselves, so long after the first.
fn launches_max(instances: u32, elapsed: Nanos) -> f64 {
    let seconds = elapsed as f64 / SECOND as f64;
    let rounds = (1.0 + (BACKOFF_FACTOR - 1.0) * seconds).ln() / BACKOFF_FACTOR.ln();
    f64::from(instances.max(1)) * (LAUNCHES_BESIDE + rounds)
}

impl World<'_> {
    pub(super) fn app_setup(&self, app: usize) -> Option<AppSetup> {
        self.setup.services.as_ref()?.apps.get(app).copied()
    }

    pub(super) fn wanted_app(&self, app: usize) -> Option<Wanted> {
        self.services.as_ref()?.operators.books.get(app)?.wanted
    }

    /// A container of an app begins to run.
    pub(crate) fn instance_runs(&mut self, agent: usize, serving: Serving, well_after: Option<Nanos>) {
        self.log(|| {
            format!("agent {agent} instance {} of make {} runs", serving.task.as_str(), serving.make)
        });
        self.count_use(agent);
        add(&mut self.checks.used[agent], &vector(&NEEDS), 1);
        let (used, total) = (self.checks.used[agent], self.checks.totals[agent]);
        if !fits(&used, &total) {
            self.violate("agents are not overbooked", format!("agent {agent}: {used:?} of {total:?}"));
        }
        let app = number_of(&serving.app);
        let is_checked = app.and_then(|app| self.app_setup(app)).is_some_and(|app| app.checked);
        let well_at = if is_checked { well_after.map(|after| self.now + after) } else { Some(self.now) };
        let (task, quality, path) = (serving.task.clone(), serving.quality, serving.app.clone());
        let make = serving.make;
        let is_first = self.checks.services.ran.insert(task.clone());
        self.checks
            .services
            .running
            .insert(task.clone(), Running { serving, agent, since: self.now, well_at });
        if !is_first {
            self.violate("a task runs once", format!("{} runs again on agent {agent}", task.as_str()));
        }
        let Some(app) = app else { return };
        self.check_place(app, &task);
        self.check_sequence(app, &task);
        *self.outcome.services.launches.entry(app).or_default() += 1;
        if quality == Quality::Crashing {
            self.count_launch(app, make);
        }
        let there = self.checks.services.of_app(&path).count();
        if let Some(watch) = self.checks.services.watches.get(&app).filter(|watch| there > watch.max) {
            let what = format!("{path}: {there} instances run, {} may", watch.max);
            self.violate("an upgrade adds no more than it may", what);
        }
    }

    fn count_launch(&mut self, app: usize, make: u32) {
        // Those of the definition before go on while their app waits for its turn in a change of several.
        let instances = self.checks.services.places.most_of(make);
        let (since, count) = self.checks.services.launches.entry(app).or_insert((self.now, 0));
        *count += 1;
        let (elapsed, count) = (self.now - *since, *count);
        if !self.checks.services.has_drains && f64::from(count) > launches_max(instances, elapsed) {
            let what = format!("{}: {count} launches within {} s", path_of(app), elapsed / SECOND);
            self.violate("failing apps are launched at growing distances", what);
        }
    }

    /// It ended, or vanished with its machine.
    pub(crate) fn instance_ends(&mut self, agent: usize, serving: &Serving, status: Option<i32>) {
        self.log(|| format!("agent {agent} instance {} ends with {status:?}", serving.task.as_str()));
        self.count_use(agent);
        add(&mut self.checks.used[agent], &vector(&NEEDS), -1);
        self.note_well(&serving.app);
        self.checks.services.running.remove(&serving.task);
        let Some(app) = number_of(&serving.app) else { return };
        let now = self.now;
        let is_well = |one: &&Running| one.well_at.is_some_and(|at| at <= now);
        let well = self.checks.services.of_app(&serving.app).filter(is_well).count();
        if let Some(watch) = self.checks.services.watches.get(&app).filter(|watch| well < watch.min) {
            let what =
                format!("{}: {well} healthy instances are left of at least {}", serving.app, watch.min);
            self.violate("an upgrade leaves as many healthy instances as it must", what);
        }
    }

    /// A change of an app was accepted. Its upgrade is watched when it was at rest and nothing else can take instances away.
    pub(crate) fn watch_upgrade(&mut self, app: usize, before: Option<Wanted>, kills: bool) {
        let services = &mut self.checks.services;
        services.watches.remove(&app);
        services.launches.remove(&app);
        let (Some(before), Some(after), Some(look)) = (before, self.wanted_app(app), self.app_setup(app))
        else {
            return;
        };
        let is_steady = |quality| matches!(quality, Quality::Good | Quality::Slow);
        let lasts = is_steady(after.quality) || (look.checked && !after.quality.is_sound());
        let (now, path) = (self.now, path_of(app));
        let at_rest = self.checks.services.of_app(&path).all(|one| {
            let is_well = one.well_at.is_some_and(|at| at <= now);
            let stays = !self.checks.services.asked_to_end.contains(one.serving.task.as_str());
            one.serving.make == before.make && is_well && stays
        }) && self.checks.services.of_app(&path).count() == before.instances as usize
            && self.known_to_run(&path) == before.instances as usize;
        let replaces = before.instances == after.instances && !kills;
        if !(self.checks.services.is_calm && replaces && at_rest && lasts && is_steady(before.quality)) {
            return;
        }
        let count = f64::from(after.instances);
        let min = (count * look.minimum_health_capacity).ceil() as usize;
        let mut max = (count * (1.0 + look.maximum_over_capacity)).floor() as usize;
        if min == max {
            // Rule 54: else nothing could ever be changed.
            max += 1;
        }
        self.checks.services.watches.insert(app, Watch { min, max });
    }

    /// Of how many instances of an app the services know that they run.
    fn known_to_run(&self, path: &str) -> usize {
        let shown = self.services.as_ref().and_then(|host| host.shown.as_ref());
        let path = PathId::parse(path, &PathId::root()).ok();
        let instances = shown.zip(path).and_then(|(shown, path)| shown.instances.get(&path));
        let conditions = instances.into_iter().flat_map(|all| all.values()).map(|one| one.condition);
        conditions.filter(|condition| *condition == Condition::Running).count()
    }

    /// What the services node says to the master.
    pub(crate) fn check_services_call(&mut self, call: &Call) {
        if call.r#type() == call::Type::Kill
            && let Some(kill) = &call.kill
        {
            let id = kill.task_id.value.clone();
            self.outcome.services.kills += 1;
            self.log(|| format!("services kill {id}"));
            self.checks.services.asked_to_end.insert(id);
        }
    }

    /// The master knows the services node by this id.
    pub(crate) fn check_services_id(&mut self, scheduler: usize, id: &str) {
        if self.services.as_ref().is_none_or(|host| host.scheduler != scheduler) {
            return;
        }
        if let Some(kept) = self.checks.services.kept.clone().filter(|kept| kept != id) {
            self.violate("the services are one framework", format!("{id} registers beside {kept}"));
        }
    }

    /// What keeps the services from being at rest.
    pub(crate) fn services_unsettled(&self) -> Vec<String> {
        let Some(host) = &self.services else { return Vec::new() };
        let mut missing = Vec::new();
        if self.schedulers[host.scheduler].is_over {
            // An operator has ended the framework.
            let left = self.checks.services.running.keys();
            return left.map(|task| format!("{} outlives its framework", task.as_str())).collect();
        }
        let Some(shown) = host.shown.as_ref().filter(|_| host.takes_changes()) else {
            return vec!["the services take no changes".to_owned()];
        };
        if host.operators.are_busy() {
            missing.push("operators wait for answers".to_owned());
        }
        missing.extend(
            shown
                .deployments
                .values()
                .map(|one| format!("deployment {} is at step {}", one.plan.id, one.step)),
        );
        for (app, book) in host.operators.books.iter().enumerate() {
            let path = path_of(app);
            let wanted = book.wanted;
            let running: Vec<&Running> = self.checks.services.of_app(&path).collect();
            let count = wanted.map_or(0, |wanted| wanted.instances) as usize;
            if running.len() != count {
                missing.push(format!("{path}: {} instances run, {count} are wanted", running.len()));
            }
            for one in running {
                let task = one.serving.task.as_str();
                if wanted.is_some_and(|wanted| one.serving.make != wanted.make) {
                    missing.push(format!("{task} is of make {}, {wanted:?} is wanted", one.serving.make));
                } else if book.restarted.is_some_and(|at| one.since < at) {
                    missing.push(format!("{task} was to be replaced"));
                } else if one.well_at.is_none_or(|at| at > self.now) {
                    missing.push(format!("{task} is not well"));
                }
            }
            let known =
                PathId::parse(&path, &PathId::root()).ok().and_then(|path| shown.instances.get(&path));
            let known = known.into_iter().flat_map(|all| all.values());
            for one in known {
                let runs = self.checks.services.of_instance(&one.id).is_some();
                if !runs || one.goal != Goal::Running {
                    let (id, condition) = (one.id.as_str(), one.condition);
                    missing.push(format!("services know {id} as {condition:?}, and it runs: {runs}"));
                }
            }
        }
        let strangers =
            self.checks.services.running.values().filter(|one| number_of(&one.serving.app).is_none());
        missing.extend(strangers.map(|one| format!("{} belongs to no app", one.serving.task.as_str())));
        missing
    }
}
