//! Looks on from outside, and says what must never happen: sees what schedulers, machines and disks see.

mod judge;
mod offers;
mod places;
mod sequence;
pub(crate) mod services;
mod settle;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{FrameworkId, OfferId};
use mezzo_master::{Effect, Input, StreamId};
use mezzo_mesos::v1::{self, scheduler::call};
use mezzo_time::Timestamp;

use self::{offers::Offers, tasks::Book};
use crate::{
    agent::machine::TaskKey,
    outcome::Sample,
    scheduler::offered,
    setup::{Amounts, Setup},
    world::{World, duration, nanos},
};

/// Amounts of cpus, mem, disk and gpus in thousandths.
pub(crate) type Vector = [i64; 4];

pub(crate) fn vector(amounts: &Amounts) -> Vector {
    [amounts.cpus, amounts.mem, amounts.disk, amounts.gpus].map(|amount| (amount * 1000.0).round() as i64)
}

pub(crate) fn add(to: &mut Vector, more: &Vector, sign: i64) {
    for (to, more) in to.iter_mut().zip(more) {
        *to += sign * more;
    }
}

/// Whether `all` has room for `some`.
pub(crate) fn fits(some: &Vector, all: &Vector) -> bool {
    some.iter().zip(all).all(|(some, all)| some <= all)
}

pub(crate) fn amounts(vector: &Vector) -> Amounts {
    let [cpus, mem, disk, gpus] = vector.map(|thousandths| thousandths as f64 / 1000.0);
    Amounts { cpus, mem, disk, gpus }
}

/// All that the checkers remember.
#[derive(Debug)]
pub(crate) struct Checks {
    /// Per framework and plan.
    books: Vec<Vec<Book>>,
    /// Launches that run, or of which a scheduler lacks news: all that have to come to rest.
    open: BTreeSet<TaskKey>,
    /// What all of each agent is.
    totals: Vec<Vector>,
    /// What running containers take of each agent.
    used: Vec<Vector>,
    /// The same over time, in thousandth-seconds, and when that was counted.
    used_over_time: Vec<([f64; 4], i64)>,
    running: u64,
    offers: Offers,
    bench: judge::Bench,
    /// Frameworks that an operator ended.
    torn: Vec<bool>,
    /// Agents that an operator declared gone.
    gone: Vec<bool>,
    /// Index of each framework's role among the setup's, for shares.
    role_used: BTreeMap<String, Vector>,
    /// Whose streams the master holds to be open: one for each framework that is subscribed. A scheduler
    /// does not know yet that it is a framework when its SUBSCRIBE is on its way, so it is no name for one.
    streams: BTreeMap<u64, FrameworkId>,
    pub(crate) evictions: u64,
    /// Plans with the agents that tasks of a framework that was just ended run on.
    freed_by_teardown: Vec<(usize, u32)>,
    pub(crate) services: services::Services,
}

impl Checks {
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut totals = Vec::with_capacity(setup.agents());
        for group in &setup.nodes {
            totals.extend(std::iter::repeat_n(vector(&group.resources), group.count));
        }
        Self {
            books: setup.frameworks.iter().map(|own| vec![Book::default(); own.tasks.len()]).collect(),
            open: BTreeSet::new(),
            used: vec![Vector::default(); totals.len()],
            used_over_time: vec![([0.0; 4], 0); totals.len()],
            running: 0,
            offers: Offers::new(totals.len()),
            bench: judge::Bench::new(setup),
            torn: vec![false; setup.frameworks.len()],
            gone: vec![false; totals.len()],
            role_used: Default::default(),
            streams: BTreeMap::new(),
            totals,
            evictions: 0,
            freed_by_teardown: Vec::new(),
            services: services::Services::new(setup),
        }
    }

    pub(crate) fn on_master_start(&mut self) {
        self.offers.clear();
        self.bench.clear();
    }

    pub(crate) fn on_master_end(&mut self) {
        self.offers.clear();
        self.bench.clear();
        self.streams.clear();
    }

    /// A framework's stream is open; what it was offered on an earlier one is withdrawn (rule 57).
    fn on_subscribed(&mut self, stream: u64, framework: FrameworkId) {
        self.streams.retain(|_, other| *other != framework);
        self.forget_offers(&framework);
        self.streams.insert(stream, framework);
    }

    /// A stream ended; its framework's offers are withdrawn with it, unless it has another (rule 61).
    fn on_stream_over(&mut self, stream: u64) {
        if let Some(framework) = self.streams.remove(&stream) {
            self.forget_offers(&framework);
        }
    }

    fn forget_offers(&mut self, framework: &FrameworkId) {
        self.offers.forget_framework(framework);
        self.bench.forget(framework.as_str(), &[]);
    }

    pub(crate) fn on_gone(&mut self, agent: usize) {
        self.gone[agent] = true;
    }

    pub(crate) fn on_wiped(&mut self, agent: usize) {
        self.gone[agent] = false;
        self.wiped(agent);
    }
}

impl World<'_> {
    /// Looks at an input of the master before it takes it, and spoils it when that is wanted.
    pub(crate) fn before_step(&mut self, now: Timestamp, input: Input) -> Input {
        match &input {
            Input::StreamClosed(StreamId(stream)) => self.checks.on_stream_over(*stream),
            Input::SchedulerCall { call, stream_uuid, .. } => {
                self.before_call(now, call, stream_uuid.as_deref())
            }
            _ => {}
        }
        if self.setup.plant.is_some() { self.mutate_input(input) } else { input }
    }

    fn before_call(&mut self, now: Timestamp, call: &v1::scheduler::Call, stream_uuid: Option<&str>) {
        let named = call.framework_id.as_ref().map_or("", |id| id.value.as_str());
        let stream = stream_uuid.and_then(crate::master::streams::of_uuid);
        let admitted = stream.and_then(|stream| self.checks.streams.get(&stream));
        let Some(framework) = admitted.filter(|id| id.as_str() == named).cloned() else { return };
        self.judge_call(now, call);
        let ids = match call.r#type() {
            call::Type::Accept => call.accept.as_ref().map(|accept| &accept.offer_ids),
            call::Type::Decline => call.decline.as_ref().map(|decline| &decline.offer_ids),
            _ => None,
        };
        for id in ids.into_iter().flatten() {
            self.checks.offers.taken(&framework, &OfferId::from(id.value.as_str()));
        }
    }

    /// Looks at what the master decided, and spoils it when that is wanted.
    pub(crate) fn after_step(&mut self, now: Timestamp, mut effects: Vec<Effect>) -> Vec<Effect> {
        if self.setup.plant.is_some() {
            effects = self.mutate_effects(effects);
        }
        let mut sent = Vec::new();
        for effect in &effects {
            let Effect::Event { stream, event } = effect else {
                if let Effect::CloseStream(StreamId(stream)) = effect {
                    self.checks.on_stream_over(*stream);
                }
                continue;
            };
            if let Some(subscribed) = &event.subscribed {
                let framework = FrameworkId::from(subscribed.framework_id.value.as_str());
                self.checks.on_subscribed(stream.0, framework);
            }
            let Some(scheduler) = self.streams.get(&stream.0).map(|stream| stream.scheduler as usize) else {
                continue;
            };
            if let Some(subscribed) = &event.subscribed {
                self.check_services_id(scheduler, &subscribed.framework_id.value);
            }
            if let Some(offers) = &event.offers {
                for offer in &offers.offers {
                    self.check_offer(scheduler, offer);
                    sent.push(OfferId::from(offer.id.value.as_str()));
                }
            }
            // An agent that is gone or unreachable is a fresh one when it comes back.
            if let Some(failure) = event.failure.as_ref().filter(|failure| failure.executor_id.is_none())
                && let Some(agent) = &failure.agent_id
            {
                self.checks.bench.forget_agent(&agent.value);
            }
            if let Some(rescind) = &event.rescind {
                self.checks.offers.gone(&OfferId::from(rescind.offer_id.value.as_str()));
            }
        }
        self.judge_step(now, &sent);
        effects
    }

    /// What a scheduler hears.
    pub(crate) fn checks_on_event(&mut self, scheduler: usize, event: &v1::scheduler::Event) {
        if let Some(update) = &event.update {
            self.check_heard(&update.status);
            if self.services.as_ref().is_some_and(|host| host.scheduler == scheduler) {
                self.checks.services.on_heard(&update.status);
            }
        }
        if self.is_logging {
            self.log_event(scheduler, event);
        }
    }

    fn log_event(&mut self, scheduler: usize, event: &v1::scheduler::Event) {
        let line = if let Some(offers) = &event.offers {
            let of = |offer: &v1::Offer| format!("{} ({} cpus)", offer.hostname, offered(offer).cpus);
            format!("is offered {}", offers.offers.iter().map(of).collect::<Vec<_>>().join(", "))
        } else if let Some(update) = &event.update {
            let status = &update.status;
            let reason = status.reason.and_then(|reason| v1::task_status::Reason::try_from(reason).ok());
            let reason = reason.map_or("", |reason| reason.as_str_name());
            format!(
                "hears {} {} {reason} {}",
                status.task_id.value,
                status.state().as_str_name(),
                status.message.as_deref().unwrap_or_default()
            )
        } else if let Some(rescind) = &event.rescind {
            format!("loses offer {}", rescind.offer_id.value)
        } else if let Some(error) = &event.error {
            format!("hears ERROR {}", error.message)
        } else if event.r#type() == v1::scheduler::event::Type::Heartbeat {
            return;
        } else {
            format!("hears {}", event.r#type().as_str_name())
        };
        self.log(|| format!("scheduler {scheduler} {line}"));
    }

    pub(crate) fn sample(&mut self) {
        let mut used = Vector::default();
        for of in &self.checks.used {
            add(&mut used, of, 1);
        }
        let mut total = Vector::default();
        for of in &self.checks.totals {
            add(&mut total, of, 1);
        }
        let share = |of: &Vector| {
            let shares = of.iter().zip(&total).filter(|(_, total)| **total > 0);
            shares.map(|(of, total)| *of as f64 / *total as f64).fold(0.0, f64::max)
        };
        let shares = self.checks.role_used.iter().filter(|(_, of)| of.iter().any(|of| *of > 0));
        let sample = Sample {
            at: duration(self.now),
            used: amounts(&used),
            shares: shares.map(|(role, of)| (role.clone(), share(of))).collect(),
            running: self.checks.running,
            waiting: self.schedulers.iter().map(|state| state.waiting() as u64).sum(),
        };
        self.outcome.samples.push(sample);
        self.log_waiting();
        let every = nanos(self.setup.sample_every).max(1);
        self.queue.push(self.now + every, crate::event::Event::Sample);
    }

    /// Puts what was counted into the outcome.
    pub(crate) fn close_books(&mut self) {
        let mut capacity = Vector::default();
        for of in &self.checks.totals {
            add(&mut capacity, of, 1);
        }
        self.outcome.capacity = amounts(&capacity);
        for agent in 0..self.agents.len() {
            self.count_use(agent);
        }
        let node_use = self.checks.used_over_time.iter().map(|([cpus, mem, disk, gpus], _)| Amounts {
            cpus: *cpus,
            mem: *mem,
            disk: *disk,
            gpus: *gpus,
        });
        self.outcome.node_use = node_use.collect();
        self.outcome.tasks = self
            .schedulers
            .iter()
            .map(|state| state.plans.iter().map(|plan| plan.outcome).collect())
            .collect();
        self.outcome.retries = self.schedulers.iter().map(|state| state.retries).sum();
        self.outcome.evictions = self.checks.evictions;
    }
}
