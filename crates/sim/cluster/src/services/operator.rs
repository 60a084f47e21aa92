//! Operators of the services node: what they ask, what they were promised, and what they see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mezzo_services::{Answer, Change, Input, Kill, Request, RequestId, Snapshot, checker};
use mezzo_services_model::{
    App, AppCommand, AppHealthCheck, Backoff, Condition, Goal, Group, HealthProtocol, InstanceId,
    KillSelection, Network, PathId, PortRef, Resources, UnreachableStrategy, UpgradeStrategy, VersionInfo,
};
use mezzo_time::Timestamp;

use super::{
    serving::{NEEDS, command, read_command},
    setup::{AppSetup, Order, OrderKind, Quality, ServicesSetup, path_of},
};
use crate::{
    Plant,
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
    candidate: Candidate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidate {
    Definition(Option<Wanted>),
    /// Definitions stay.
    Nothing,
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
    candidate: Candidate,
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
        if host.operators.asked.values().any(|asked| asked.candidate != Candidate::Nothing) {
            return self.queue.push(self.now + TURN, Event::Order(number as u32));
        }
        self.see_promises(&shown);
        let Some(Asking { request, candidate }) = self.asking(&shown, &order) else {
            if let Some(host) = &mut self.services {
                host.operators.tries[number] = None;
            }
            return;
        };
        self.log(|| format!("ORDER {order:?}"));
        let Some(host) = &mut self.services else { return };
        host.operators.requests += 1;
        let id = RequestId(host.operators.requests);
        host.operators.asked.insert(id, Asked { order: number, app: order.app, candidate });
        let life = self.schedulers[host.scheduler].life;
        let input = Box::new(Input::Request(id, request));
        self.queue.push(self.now + MILLI, Event::ServicesInput { life, input });
    }

    fn asking(&mut self, shown: &Snapshot, order: &Order) -> Option<Asking> {
        let own = self.setup.services.as_ref()?;
        let look = *own.apps.get(order.app)?;
        let host = self.services.as_mut()?;
        let path = PathId::parse(&path_of(order.app), &PathId::root()).ok()?;
        let current = shown.root.app(&path).cloned();
        let role = host.config.role.clone();
        let known = current.as_deref().and_then(wanted_of);
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
        };
        let wanted = match order.kind {
            OrderKind::Put { instances, quality } => Some(fresh(instances, quality)),
            OrderKind::Upgrade { quality } => Some(fresh(known?.instances, quality)),
            OrderKind::Mend => {
                let known = known.filter(|known| !known.quality.is_sound())?;
                change.force = true;
                Some(fresh(known.instances, Quality::Good))
            }
            OrderKind::Scale { instances } => Some(Wanted { instances, ..known? }),
            OrderKind::Restart => {
                change.restart.insert(path.clone());
                Some(known?)
            }
            OrderKind::Delete => known.map(|_| None)?,
            OrderKind::KillAndScale { count } => {
                let known = known?;
                change.kill = running(shown, &path).take(count as usize).collect();
                self.checks.services.ask_to_end(&change.kill);
                let instances = known.instances.saturating_sub(change.kill.len() as u32);
                Some(Wanted { instances, ..known })
            }
            OrderKind::Kill { count } => {
                let instances: BTreeSet<_> = running(shown, &path).take(count as usize).collect();
                self.checks.services.ask_to_end(&instances);
                let request = Request::Kill(Kill { instances, wipe: false });
                return Some(Asking { request, candidate: Candidate::Nothing });
            }
            OrderKind::ResetDelay => {
                let request = Request::ResetDelay { run_spec: path };
                return Some(Asking { request, candidate: Candidate::Nothing });
            }
            OrderKind::Revert => {
                let works_on = |plan: &mezzo_services_model::Plan| {
                    plan.steps.iter().flat_map(|step| &step.actions).any(|action| action.run_spec == path)
                };
                let plan = &shown.deployments.values().find(|one| works_on(&one.plan))?.plan;
                let request = Request::CancelDeployment { id: plan.id.clone(), force: false };
                let before = plan.original.app(&path).and_then(|app| wanted_of(app));
                return Some(Asking { request, candidate: Candidate::Definition(before) });
            }
        };
        let app = wanted.map(|wanted| Arc::new(definition(&path, &role, &look, &wanted, plant)));
        let mut put = |group: &mut Group| match &app {
            Some(app) => {
                group.apps.insert(path.clone(), app.clone());
            }
            None => {
                group.apps.remove(&path);
            }
        };
        if change.restart.is_empty() {
            let parent = path.parent();
            change.target = Arc::new(shown.root.updated(&parent, shown.root.version, &mut put));
        }
        let request = Request::Change(Box::new(change));
        Some(Asking { request, candidate: Candidate::Definition(wanted) })
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
                let book = &mut host.operators.books[asked.app];
                let before = book.wanted;
                if let Candidate::Definition(wanted) = asked.candidate {
                    book.wanted = wanted;
                }
                let kind = self.setup.services.as_ref().map(|own| own.orders[asked.order].kind);
                // What comes later may have cancelled it.
                book.restarted = (kind == Some(OrderKind::Restart)).then_some(self.now);
                let kills = matches!(kind, Some(OrderKind::KillAndScale { .. }));
                if !wrong.is_empty() {
                    self.violate("plans make sense", wrong.join("; "));
                }
                self.watch_upgrade(asked.app, before, kills);
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
            let book = &mut host.operators.books[asked.app];
            match asked.candidate {
                Candidate::Definition(wanted) => book.doubtful.push(wanted),
                Candidate::Nothing => {}
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

fn definition(path: &PathId, role: &str, look: &AppSetup, wanted: &Wanted, plant: Option<Plant>) -> App {
    let check = AppHealthCheck {
        protocol: HealthProtocol::Http,
        command: None,
        port: Some(PortRef::Number(80)),
        path: Some("/".into()),
        ipv6: false,
        ignore_http_1xx: false,
        grace_period: Duration::from_secs(30),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(3),
        delay: Duration::ZERO,
        max_consecutive_failures: 3,
    };
    let hasty = plant == Some(Plant::HastyUpgrade);
    App {
        id: path.clone(),
        command: Some(AppCommand::Shell(command(wanted.make, wanted.quality))),
        user: None,
        env: Default::default(),
        instances: wanted.instances,
        resources: Resources { cpus: NEEDS.cpus, mem: NEEDS.mem, disk: NEEDS.disk, gpus: 0 },
        resource_limits: None,
        executor: String::new(),
        executor_resources: None,
        constraints: Default::default(),
        canary: None,
        fetch: Vec::new(),
        port_definitions: Vec::new(),
        require_ports: false,
        container: None,
        networks: vec![Network::host()],
        health_checks: if look.checked { vec![check] } else { Vec::new() },
        check: None,
        readiness_checks: Vec::new(),
        kill_grace_period: None,
        dependencies: Default::default(),
        backoff: match plant {
            Some(Plant::NoBackoff) => {
                Backoff { first: Duration::from_millis(1), factor: 1.0, ..Backoff::default() }
            }
            _ => Backoff::default(),
        },
        upgrade_strategy: UpgradeStrategy {
            minimum_health_capacity: if hasty { 0.0 } else { look.minimum_health_capacity },
            maximum_over_capacity: look.maximum_over_capacity,
        },
        labels: Default::default(),
        accepted_resource_roles: None,
        unreachable_strategy: match look.unreachable_s {
            None => UnreachableStrategy::Disabled,
            Some((inactive, expunge)) => UnreachableStrategy::Enabled {
                inactive_after: Duration::from_secs(inactive),
                expunge_after: Duration::from_secs(expunge),
            },
        },
        kill_selection: KillSelection::default(),
        tty: None,
        secrets: Default::default(),
        role: role.to_owned(),
        version: Timestamp::ZERO,
        version_info: VersionInfo {
            last_scaling_at: Timestamp::ZERO,
            last_config_change_at: Timestamp::ZERO,
        },
    }
}
