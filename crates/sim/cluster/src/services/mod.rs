//! The services node: the real machine of the services, driven as its daemon drives it, over a store that may refuse and a
//! process that may end at any moment. Its connection with the master is a [`crate::scheduler::Scheduler`] as all others.

pub(crate) mod case;
mod definition;
pub(crate) mod operator;
pub(crate) mod serving;
pub(crate) mod setup;
#[cfg(test)]
mod tests;

use mezzo_mesos::v1::{
    self,
    scheduler::{Call, event},
};
use mezzo_services::{Config, Effect, Input, Record, Request, Services, Snapshot, checker, replay};
use rand_chacha::ChaCha8Rng;

use self::{operator::Operators, setup::ServicesSetup};
use crate::{
    clock::Clock,
    event::Event,
    line::{Line, Next},
    queue::Nanos,
    random::{Actor, Draw, source},
    scheduler::Note,
    setup::Setup,
    world::{MILLI, SECOND, World},
};

/// Between attempts to write what the store refuses.
const RETRY: Nanos = SECOND;

/// What is performed in order.
#[derive(Debug)]
pub(crate) enum Work {
    Effect(Effect),
    /// Reads show this from here on.
    Show(Box<Snapshot>),
}

/// The machine with the services node.
pub(crate) struct ServicesHost {
    /// Which of the schedulers it is.
    pub(crate) scheduler: usize,
    config: Config,
    core: Option<Box<Services>>,
    rng: ChaCha8Rng,
    line: Line<Work>,
    /// What survives, as it was written.
    disk: Vec<Record>,
    /// The store takes nothing until then.
    pub(crate) refuses_until: Nanos,
    pub(crate) slow: (Nanos, Nanos),
    /// The last write was refused: changes are refused at the door.
    is_stalled: bool,
    pub(crate) clock: Clock,
    wake: Option<Nanos>,
    /// The master listens, as far as the machine was told.
    is_connected: bool,
    /// What reads see, while the process runs.
    pub(crate) shown: Option<Box<Snapshot>>,
    pub(crate) operators: Operators,
    /// Probes that found an instance.
    pub(crate) probed: u64,
}

impl ServicesHost {
    pub(crate) fn new(setup: &Setup, own: &ServicesSetup) -> Self {
        let framework = &setup.frameworks[own.framework];
        let role = framework.roles.first().cloned().unwrap_or_default();
        Self {
            scheduler: own.framework,
            config: Config { role, ..Config::default() },
            core: None,
            rng: source(setup.seed, Actor::Services),
            line: Line::default(),
            disk: Vec::new(),
            refuses_until: 0,
            slow: (0, 0),
            is_stalled: false,
            clock: Clock::default(),
            wake: None,
            is_connected: false,
            shown: None,
            operators: Operators::new(own),
            probed: 0,
        }
    }

    /// A wake-up came while the process stood still.
    pub(crate) fn forget_wake(&mut self) {
        self.wake = None;
    }

    /// Whether changes are taken.
    pub(crate) fn takes_changes(&self) -> bool {
        self.core.is_some() && !self.is_stalled
    }
}

impl World<'_> {
    /// The life of the services node's process.
    pub(crate) fn services_life(&self) -> Option<u32> {
        self.services.as_ref().map(|host| self.schedulers[host.scheduler].life)
    }

    /// The services node, if this scheduler is it.
    pub(crate) fn services_of(&mut self, scheduler: usize) -> Option<&mut ServicesHost> {
        self.services.as_deref_mut().filter(|host| host.scheduler == scheduler)
    }

    fn is_services(&self, scheduler: usize) -> bool {
        self.services.as_ref().is_some_and(|host| host.scheduler == scheduler)
    }

    /// The first start, and what operators will ask.
    pub(crate) fn services_plan(&mut self) {
        let Some(scheduler) = self.services.as_ref().map(|host| host.scheduler) else { return };
        let orders = self.setup.services.iter().flat_map(|own| &own.orders);
        for (number, order) in orders.enumerate() {
            let at = MILLI * Nanos::try_from(order.at_ms).unwrap_or(Nanos::MAX / MILLI / 4);
            self.queue.push(at, Event::Order(number as u32));
        }
        self.services_start(scheduler);
    }

    /// The process starts, with what its store has.
    pub(crate) fn services_start(&mut self, scheduler: usize) {
        if !self.is_services(scheduler) {
            return;
        }
        let Some(host) = &mut self.services else { return };
        let recovered = replay(&host.disk);
        let framework = recovered.framework.clone();
        host.clock.start(self.now);
        let clock = host.clock.at(self.now);
        let (core, effects) = Services::recover(host.config.clone(), recovered, clock, &mut host.rng);
        host.core = Some(Box::new(core));
        self.schedulers[scheduler].framework_id = framework.map(|value| v1::FrameworkId { value });
        self.services_take(effects);
        self.services_arm();
    }

    /// The process ends; what the running write covers is there as a whole, or not at all.
    pub(crate) fn services_crash(&mut self, scheduler: usize) {
        if !self.is_services(scheduler) {
            return;
        }
        let Some(host) = &mut self.services else { return };
        let covered = host.line.end();
        let has_written = host.refuses_until <= self.now && self.disk_rng.percent(50);
        if has_written {
            let records = covered.into_iter().filter_map(|work| match work {
                Work::Effect(Effect::Persist(records)) => Some(records),
                _ => None,
            });
            host.disk.extend(records.flatten());
        }
        host.core = None;
        host.shown = None;
        host.wake = None;
        host.is_connected = false;
        host.is_stalled = false;
        self.checks.services.forget_launches();
        self.orders_unanswered();
    }

    pub(crate) fn services_step(&mut self, input: Input) {
        let Some(host) = &mut self.services else { return };
        let clock = host.clock.at(self.now);
        let Some(core) = &mut host.core else { return };
        let before = core.snapshot();
        // What an operator kills is taken away by nobody else.
        let is_kill = match &input {
            Input::Request(_, Request::Change(change)) => !change.kill.is_empty(),
            Input::Request(_, Request::Kill(_)) => true,
            _ => false,
        };
        let effects = core.step(clock, &mut host.rng, input);
        let wrong = checker::check_step(&before, &core.snapshot());
        if !wrong.is_empty() && !is_kill {
            self.violate("an upgrade keeps its bounds", wrong.join("; "));
        }
        self.services_take(effects);
        self.services_arm();
    }

    /// What reads show changes with the records, before anybody has an answer.
    fn services_take(&mut self, effects: Vec<Effect>) {
        let Some(host) = &mut self.services else { return };
        let Some(core) = &host.core else { return };
        let shown = Work::Show(Box::new(core.snapshot()));
        let at = effects.iter().take_while(|effect| matches!(effect, Effect::Persist(_))).count();
        let mut work: Vec<Work> = effects.into_iter().map(Work::Effect).collect();
        work.insert(at, shown);
        host.line.extend(work);
        self.services_perform();
    }

    fn services_perform(&mut self) {
        loop {
            let Some(host) = &mut self.services else { return };
            match host.line.next(|work| matches!(work, Work::Effect(Effect::Persist(_)))) {
                Next::Nothing => return,
                Next::Perform(work) => self.perform_services(work),
                Next::Write => return self.services_write(0),
            }
        }
    }

    fn services_write(&mut self, after: Nanos) {
        let Some(life) = self.services_life() else { return };
        let mut sync = crate::network::draw(&mut self.disk_rng, self.setup.sync);
        if let Some((slow, until)) = self.services.as_ref().map(|host| host.slow)
            && until > self.now
        {
            sync = sync.max(slow);
        }
        self.queue.push(self.now + after + sync, Event::ServicesSynced { life });
    }

    /// A write is over, or was refused and is tried again with everything behind it waiting.
    pub(crate) fn on_services_synced(&mut self) {
        let Some(host) = &mut self.services else { return };
        if host.core.is_none() {
            return;
        }
        if host.refuses_until > self.now {
            host.is_stalled = true;
            self.log(|| "services cannot write their records".to_owned());
            return self.services_write(RETRY);
        }
        host.is_stalled = false;
        let life = Some(self.schedulers[host.scheduler].life);
        let written = host.line.written();
        let plant = self.setup.plant;
        for work in &written {
            if let Work::Effect(Effect::Persist(records)) = work {
                for record in records {
                    if let Record::Framework(id) = record {
                        self.checks.services.on_kept(id);
                    }
                }
                host.disk.extend(records.iter().filter(|record| !is_lost(plant, record)).cloned());
            }
        }
        for work in written {
            if self.services_life() == life {
                self.perform_services(work);
            }
        }
        if self.services_life() == life {
            self.services_perform();
        }
    }

    fn perform_services(&mut self, work: Work) {
        match work {
            Work::Show(snapshot) => {
                if let Some(host) = &mut self.services {
                    host.shown = Some(snapshot);
                }
            }
            Work::Effect(Effect::Persist(_)) => {}
            Work::Effect(Effect::Call(call)) => self.services_call(call),
            Work::Effect(Effect::Answer(request, answer)) => self.on_services_answer(request, answer),
            Work::Effect(Effect::Publish(event)) => {
                self.log(|| format!("services tell {}", told(&event.kind)))
            }
            Work::Effect(Effect::Probe(probe)) => self.services_probe(probe),
        }
    }

    fn services_call(&mut self, call: Box<Call>) {
        let Some(scheduler) = self.services.as_ref().map(|host| host.scheduler) else { return };
        self.check_services_call(&call);
        if !self.schedulers[scheduler].is_subscribed {
            let life = self.schedulers[scheduler].life;
            let input = Box::new(Input::CallFailed(call));
            return self.queue.push(self.now, Event::ServicesInput { life, input });
        }
        self.scheduler_calls(scheduler, vec![(call.clone(), Some(Box::new(Note::Services(call))))]);
    }

    /// A call was refused, or nobody knows whether it came through.
    pub(crate) fn services_call_failed(&mut self, call: Call, refused: bool) {
        let call = Box::new(call);
        self.services_step(if refused { Input::CallFailed(call) } else { Input::CallLost(call) });
    }

    /// What the master says.
    pub(crate) fn services_hear(&mut self, scheduler: usize, event: &v1::scheduler::Event) {
        if !self.is_services(scheduler) {
            return;
        }
        let input = match event.r#type() {
            event::Type::Subscribed => event.subscribed.as_ref().map(|subscribed| Input::Subscribed {
                framework: subscribed.framework_id.clone(),
                master: "master".into(),
                region: None,
            }),
            event::Type::Offers => event.offers.as_ref().map(|offers| {
                Input::Offers(offers.offers.iter().cloned().map(std::sync::Arc::new).collect())
            }),
            event::Type::Rescind => {
                event.rescind.as_ref().map(|rescind| Input::Rescinded(rescind.offer_id.clone()))
            }
            event::Type::Update => {
                event.update.as_ref().map(|update| Input::Update(Box::new(update.status.clone())))
            }
            _ => None,
        };
        let Some(input) = input else { return };
        if matches!(input, Input::Subscribed { .. })
            && let Some(host) = &mut self.services
        {
            host.is_connected = true;
        }
        self.services_step(input);
    }

    pub(crate) fn services_disconnected(&mut self, scheduler: usize) {
        if self.is_services(scheduler)
            && let Some(host) = &mut self.services
            && std::mem::take(&mut host.is_connected)
        {
            self.services_step(Input::Disconnected);
        }
    }

    pub(crate) fn services_arm(&mut self) {
        let Some(life) = self.services_life() else { return };
        let Some(host) = &mut self.services else { return };
        let Some(due) = host.core.as_ref().and_then(|core| core.next_deadline()) else { return };
        let at = host.clock.due(self.now, due);
        if host.wake.is_none_or(|wake| at < wake) {
            host.wake = Some(at);
            self.queue.push(at, Event::ServicesWake { life });
        }
    }

    pub(crate) fn on_services_wake(&mut self) {
        let Some(host) = &mut self.services else { return };
        if host.wake != Some(self.now) {
            return;
        }
        host.wake = None;
        let clock = host.clock.at(self.now);
        if host.core.as_ref().and_then(|core| core.next_deadline()).is_some_and(|due| due <= clock) {
            self.services_step(Input::Timer);
        } else {
            self.services_arm();
        }
    }
}

/// Records that a planted mistake keeps from the store.
fn is_lost(plant: Option<crate::Plant>, record: &Record) -> bool {
    match plant {
        Some(crate::Plant::ForgetfulStore) => matches!(record, Record::Instance(_)),
        Some(crate::Plant::LostFrameworkId) => matches!(record, Record::Framework(_)),
        _ => false,
    }
}

/// An event's name and the app it is about.
fn told(kind: &mezzo_services_model::EventKind) -> String {
    use mezzo_services_model::EventKind as Kind;
    match kind {
        Kind::TaskStatus { task, state, .. } => format!("{} {state}", task.as_str()),
        Kind::DeploymentInfo { plan, step } => format!("{} begins step {step}", plan.id),
        Kind::DeploymentSucceeded { plan } => format!("{} succeeded", plan.id),
        Kind::DeploymentFailed { plan, reason } => format!("{} failed: {reason}", plan.id),
        Kind::UnhealthyInstanceKilled { instance, .. } => {
            format!("{} is unhealthy and killed", instance.as_str())
        }
        Kind::HealthStatusChanged { instance, alive, .. } => format!("{} well: {alive}", instance.as_str()),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
        }
    }
}
