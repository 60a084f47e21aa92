//! Operators of the services node: what they ask, what they were promised, and what they see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_services::{Answer, Change, Input, Kill, Request, RequestId, Snapshot, checker};
use mezzo_services_model::{ActionKind, App, AppCommand, Condition, Goal, InstanceId, PathId, Plan, Step};

use super::{
    definition::definition,
    serving::read_command,
    setup::{Order, OrderKind, Quality, ServicesSetup, path_of},
};
use crate::{
    checks::services::number_of,
    event::Event,
    queue::Nanos,
    world::{MILLI, SECOND, World},
};

/// Between two attempts to ask.
const AGAIN: Nanos = 2 * SECOND;
/// While another change waits for its answer: the daemon takes one after the other.
const TURN: Nanos = 20 * MILLI;
/// Attempts after which an operator gives up what need not be.
const TRIES_MAX: u32 = 30;

/// An app as it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) make: u32,
    pub(crate) quality: Quality,
    pub(crate) instances: u32,
}

/// What operators know of one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// As the last answer promised, or none.
    pub(crate) wanted: Option<Wanted>,
    /// Asked for, and never answered: it may have happened.
    doubtful: Vec<Option<Wanted>>,
    /// Instances that ran then are to be replaced.
    pub(crate) restarted: Option<Nanos>,
}

/// A request without its answer.
#[derive(Debug)]
struct Asked {
    order: usize,
    app: usize,
    candidates: Vec<Candidate>,
}

/// What an order makes of one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    app: usize,
    wanted: Option<Wanted>,
    /// All instances are replaced although the definition stays.
    restarts: bool,
}

impl Candidate {
    fn new(app: usize, wanted: Option<Wanted>) -> Self {
        Self { app, wanted, restarts: false }
    }
}

/// All operators.
#[derive(Debug)]
pub(crate) struct Operators {
    pub(crate) books: Vec<Book>,
    asked: BTreeMap<RequestId, Asked>,
    requests: u64,
    makes: u32,
    /// Attempts by order; none when it is over.
    tries: Vec<Option<u32>>,
}

impl Operators {
    pub(crate) fn new(setup: &ServicesSetup) -> Self {
        Self {
            books: vec![Book::default(); setup.apps.len()],
            asked: BTreeMap::new(),
            requests: 0,
            makes: 0,
            tries: vec![Some(0); setup.orders.len()],
        }
    }

    /// Whether something is still to be asked or answered.
    pub(crate) fn are_busy(&self) -> bool {
        !self.asked.is_empty() || self.tries.iter().any(Option::is_some)
    }
}

/// What is sent for an order.
struct Asking {
    request: Request,
    /// None when definitions stay.
    candidates: Vec<Candidate>,
}

impl World<'_> {
    pub(crate) fn on_order(&mut self, number: usize) {
        let Some(order) = self.setup.services.as_ref().and_then(|own| own.orders.get(number)).copied() else {
            return;
        };
        let is_paused = self
            .services
            .as_ref()
            .is_some_and(|host| self.schedulers[host.scheduler].paused_until > self.now);
        let Some(host) = &mut self.services else { return };
        let Some(tries) = host.operators.tries[number] else { return };
        let Some(shown) = host.shown.clone().filter(|_| host.takes_changes() && !is_paused) else {
            self.outcome.services.turned_away += 1;
            if tries >= TRIES_MAX && !order.kind.insists() {
                host.operators.tries[number] = None;
                return;
            }
            host.operators.tries[number] = Some(tries + 1);
            return self.queue.push(self.now + AGAIN, Event::Order(number as u32));
        };
        // The last word comes last.
        let own = self.setup.services.iter().flat_map(|own| &own.orders);
        let others_wait =
            own.zip(&host.operators.tries).any(|(order, tries)| tries.is_some() && !order.kind.insists());
        if order.kind.insists() && others_wait {
            return self.queue.push(self.now + AGAIN, Event::Order(number as u32));
        }
        if host.operators.asked.values().any(|asked| !asked.candidates.is_empty()) {
            return self.queue.push(self.now + TURN, Event::Order(number as u32));
        }
        self.see_promises(&shown);
        let Some(Asking { request, candidates }) = self.asking(&shown, &order) else {
            if let Some(host) = &mut self.services {
                host.operators.tries[number] = None;
            }
            return;
        };
        self.log(|| format!("ORDER {order:?}"));
        let mut touched: BTreeSet<usize> =
            candidates.iter().map(|candidate| candidate.app).chain([order.app]).collect();
        let force = order.force || order.kind.insists();
        if force {
            let paths: Vec<PathId> = touched.iter().filter_map(|app| app_path(*app)).collect();
            let others = paths.iter().flat_map(|path| in_the_way(&shown, path));
            let others: Vec<usize> = others.filter_map(|other| number_of(other.as_str())).collect();
            touched.extend(others);
        }
        self.checks.services.forget_deployments(&touched, force);
        let Some(host) = &mut self.services else { return };
        host.operators.requests += 1;
        let id = RequestId(host.operators.requests);
        host.operators.asked.insert(id, Asked { order: number, app: order.app, candidates });
        let life = self.schedulers[host.scheduler].life;
        let input = Box::new(Input::Request(id, request));
        self.queue.push(self.now + MILLI, Event::ServicesInput { life, input });
    }

    fn asking(&mut self, shown: &Snapshot, order: &Order) -> Option<Asking> {
        let own = self.setup.services.as_ref()?;
        let host = self.services.as_mut()?;
        let path = app_path(order.app)?;
        let role = host.config.role.clone();
        let known = known_app(shown, order.app);
        let plant = self.setup.plant;
        let makes = &mut host.operators.makes;
        let mut fresh = |instances, quality| {
            *makes += 1;
            Wanted { make: *makes, quality, instances }
        };
        let mut change = Change {
            base: shown.root.version,
            target: shown.root.clone(),
            group: PathId::root(),
            restart: Default::default(),
            kill: Default::default(),
            force: order.force,
            dry_run: false,
            principal: None,
        };
        let of_this = |wanted| vec![Candidate::new(order.app, wanted)];
        let restarted = |app, wanted| Candidate { app, wanted: Some(wanted), restarts: true };
        let candidates = match order.kind {
            OrderKind::Put { instances, quality } => of_this(Some(fresh(instances, quality))),
            OrderKind::PutAll { instances, quality } => {
                let mut new = |app| Candidate::new(app, Some(fresh(instances, quality)));
                (0..own.apps.len()).map(&mut new).collect()
            }
            OrderKind::Upgrade { quality } => of_this(Some(fresh(known?.instances, quality))),
            OrderKind::Mend => {
                let known = known?;
                let mut all = match (known.quality.is_sound(), is_cut_short(shown, &path)) {
                    (false, _) => of_this(Some(fresh(known.instances, Quality::Good))),
                    (true, true) => vec![restarted(order.app, known)],
                    (true, false) => return None,
                };
                change.force = true;
                // Others in the deployments that make way are begun again.
                let others = in_the_way(shown, &path).filter_map(|other| number_of(other.as_str()));
                let others: BTreeSet<usize> = others.filter(|other| *other != order.app).collect();
                all.extend(others.into_iter().filter_map(|app| Some(restarted(app, known_app(shown, app)?))));
                all
            }
            OrderKind::Scale { instances } => of_this(Some(Wanted { instances, ..known? })),
            OrderKind::Restart => vec![restarted(order.app, known?)],
            OrderKind::Delete => known.map(|_| of_this(None))?,
            OrderKind::KillAndScale { count } => {
                let known = known?;
                change.kill = running(shown, &path).take(count as usize).collect();
                self.checks.services.ask_to_end(&change.kill);
                let instances = known.instances.saturating_sub(change.kill.len() as u32);
                of_this(Some(Wanted { instances, ..known }))
            }
            OrderKind::Kill { count } => {
                let instances: BTreeSet<_> = running(shown, &path).take(count as usize).collect();
                self.checks.services.ask_to_end(&instances);
                let request = Request::Kill(Kill { instances, wipe: false });
                return Some(Asking { request, candidates: Vec::new() });
            }
            OrderKind::ResetDelay => {
                let request = Request::ResetDelay { run_spec: path };
                return Some(Asking { request, candidates: Vec::new() });
            }
            OrderKind::Revert => {
                let plan = shown.deployments.values().find(|one| apps_of(&one.plan).contains(&path))?;
                let request = Request::CancelDeployment { id: plan.plan.id.clone(), force: false };
                let before = |path: &PathId| plan.plan.original.app(path).and_then(|app| wanted_of(app));
                let all = apps_of(&plan.plan).into_iter();
                let candidates =
                    all.filter_map(|path| Some(Candidate::new(number_of(path.as_str())?, before(&path))));
                let candidates: Vec<_> = candidates.collect();
                candidates.iter().for_each(|one| self.checks.services.note_again(one.wanted));
                return Some(Asking { request, candidates });
            }
        };
        let mut target = None;
        for candidate in &candidates {
            let path = app_path(candidate.app)?;
            let is_known = |wanted: &Wanted| {
                known_app(shown, candidate.app).is_some_and(|known| known.make == wanted.make)
            };
            if candidate.restarts || order.force {
                self.checks.services.note_again(candidate.wanted.filter(is_known));
            }
            self.checks.services.note_asked(candidate.wanted);
            if candidate.restarts {
                change.restart.insert(path);
                continue;
            }
            let look = own.apps.get(candidate.app)?;
            let app = candidate.wanted.map(|wanted| Arc::new(definition(&path, &role, look, &wanted, plant)));
            let root = target.as_ref().unwrap_or(&*shown.root);
            target = Some(root.updated(&path.parent(), shown.root.version, &mut |group| match &app {
                Some(app) => {
                    group.apps.insert(path.clone(), app.clone());
                }
                None => {
                    group.apps.remove(&path);
                }
            }));
        }
        change.target = target.map_or(change.target, Arc::new);
        Some(Asking { request: Request::Change(Box::new(change)), candidates })
    }

    /// What was promised is there, and what was asked without an answer happened as a whole or not at all.
    fn see_promises(&mut self, shown: &Snapshot) {
        let Some(host) = &mut self.services else { return };
        let mut broken = Vec::new();
        for (number, book) in host.operators.books.iter_mut().enumerate() {
            let Ok(path) = PathId::parse(&path_of(number), &PathId::root()) else { continue };
            let found = shown.root.app(&path).map(|app| wanted_of(app)).unwrap_or_default();
            if found != book.wanted && book.doubtful.contains(&found) {
                book.wanted = found;
            } else if found != book.wanted {
                broken.push(format!("{path} is {found:?} and was promised as {:?}", book.wanted));
            }
            book.doubtful.clear();
        }
        for what in broken {
            self.violate("what was promised is kept", what);
        }
    }

    pub(crate) fn on_services_answer(&mut self, request: RequestId, answer: Answer) {
        let Some(host) = &mut self.services else { return };
        let Some(asked) = host.operators.asked.remove(&request) else { return };
        self.log(|| match &answer {
            Answer::Planned(plan) => format!("ANSWER to order {}: {}", asked.order, plan.id),
            other => format!("ANSWER to order {}: {other:?}", asked.order),
        });
        let insists = self.setup.services.as_ref().is_some_and(|own| own.orders[asked.order].kind.insists());
        let Some(host) = &mut self.services else { return };
        match answer {
            Answer::Moved => return self.queue.push(self.now + MILLI, Event::Order(asked.order as u32)),
            Answer::Refused(_) => {
                self.outcome.services.refused += 1;
                if insists {
                    return self.queue.push(self.now + AGAIN, Event::Order(asked.order as u32));
                }
            }
            // Kills take instances away, and the end of a wait begins it anew.
            Answer::Done => self.watch_upgrade(asked.app, None, true),
            Answer::Planned(plan) => {
                self.outcome.services.taken += 1;
                let wrong = checker::check_plan(&plan);
                let kind = self.setup.services.as_ref().map(|own| own.orders[asked.order].kind);
                let kills = matches!(kind, Some(OrderKind::KillAndScale { .. }));
                let mut before = Vec::new();
                for candidate in &asked.candidates {
                    let book = &mut host.operators.books[candidate.app];
                    before.push((candidate.app, book.wanted));
                    book.wanted = candidate.wanted;
                    // What comes later may have cancelled it.
                    book.restarted = candidate.restarts.then_some(self.now);
                }
                if !wrong.is_empty() {
                    self.violate("plans make sense", wrong.join("; "));
                }
                for (app, before) in before {
                    self.watch_upgrade(app, before, kills);
                    if matches!(kind, Some(OrderKind::PutAll { .. })) {
                        self.watch_sequence(app);
                    }
                }
            }
        }
        if let Some(host) = &mut self.services {
            host.operators.tries[asked.order] = None;
        }
    }

    /// The process has ended: who waits for an answer gets none.
    pub(crate) fn orders_unanswered(&mut self) {
        let Some(host) = &mut self.services else { return };
        for asked in std::mem::take(&mut host.operators.asked).into_values() {
            for candidate in &asked.candidates {
                host.operators.books[candidate.app].doubtful.push(candidate.wanted);
            }
            // Whether it happened shows when it is asked again, if that is worth it.
            let insists =
                self.setup.services.as_ref().is_some_and(|own| own.orders[asked.order].kind.insists());
            if insists {
                self.queue.push(self.now + AGAIN, Event::Order(asked.order as u32));
            } else {
                host.operators.tries[asked.order] = None;
            }
        }
    }
}

fn app_path(app: usize) -> Option<PathId> {
    PathId::parse(&path_of(app), &PathId::root()).ok()
}

fn known_app(shown: &Snapshot, app: usize) -> Option<Wanted> {
    wanted_of(shown.root.app(&app_path(app)?)?)
}

/// The apps that a plan does something to.
fn apps_of(plan: &Plan) -> BTreeSet<PathId> {
    plan.steps.iter().flat_map(|step| &step.actions).map(|action| action.run_spec.clone()).collect()
}

/// The apps of deployments that have to make way for a change of this one.
fn in_the_way(shown: &Snapshot, path: &PathId) -> impl Iterator<Item = PathId> {
    let plans = shown.deployments.values().map(|one| apps_of(&one.plan));
    plans.filter(|apps| apps.contains(path)).flatten()
}

/// Whether old instances are left that no deployment replaces.
fn is_cut_short(shown: &Snapshot, path: &PathId) -> bool {
    let Some(app) = shown.root.app(path) else { return false };
    let mut all = shown.instances.get(path).into_iter().flat_map(|all| all.values());
    let is_replaced = |step: &Step| {
        step.actions.iter().any(|action| action.run_spec == *path && action.kind == ActionKind::Restart)
    };
    all.any(|one| one.version < app.version_info.last_config_change_at && one.goal == Goal::Running)
        && !shown.deployments.values().any(|one| one.plan.steps.iter().any(is_replaced))
}

/// What a definition says, as operators see it.
fn wanted_of(app: &App) -> Option<Wanted> {
    let Some(AppCommand::Shell(text)) = &app.command else { return None };
    let (make, quality) = read_command(text)?;
    Some(Wanted { make, quality, instances: app.instances })
}

fn running<'a>(shown: &'a Snapshot, path: &PathId) -> impl Iterator<Item = InstanceId> + 'a {
    let all = shown.instances.get(path).into_iter().flat_map(|all| all.values());
    all.filter(|one| one.condition == Condition::Running && one.goal == Goal::Running)
        .map(|one| one.id.clone())
}
