//! One scheduler's process: what the sdk decides, and how it behaves.

pub(crate) mod host;
mod offers;
mod rude;
mod updates;

pub(crate) use offers::offered;

use std::collections::{BTreeSet, VecDeque};

use mezzo_mesos::v1::{
    self,
    scheduler::{Call, call, event},
};
use mezzo_sdk::tasks::{RECONCILE_MAX, RECONCILE_MIN, Tasks, reconcile};
use rand_chacha::ChaCha8Rng;

use crate::{
    agent::machine::TaskKey,
    outcome::TaskOutcome,
    queue::Nanos,
    random::{Actor, source},
    setup::{Behaviour, FrameworkSetup, Setup},
    world::{SECOND, nanos},
};

/// A kill that brought no end is repeated after this.
const KILL_AGAIN: Nanos = 30 * SECOND;
/// Between two questions what runs, beside what is known to run; Mesos' guide says some minutes.
const ASK_FOR_ALL_EVERY: Nanos = 600 * SECOND;
/// Without a sign of life from the master for so long a stream counts as dead (five heartbeats).
const SILENCE_MAX: Nanos = 75 * SECOND;
/// Refusals longer than this are taken back when something else is wanted.
const LONG_REFUSAL: Nanos = 30 * SECOND;
/// Who wants something and is offered nothing for so long asks again.
const OFFERLESS_MAX: Nanos = 60 * SECOND;
/// What failed is tried again after this; doubles up to the next.
const AGAIN_MIN: Nanos = SECOND / 2;
/// The longest pause between two attempts.
const AGAIN_MAX: Nanos = 30 * SECOND;

/// What a scheduler has to remember about a call until it knows that the call was taken.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// These tasks are launched with these offers.
    Accept {
        tasks: Vec<TaskKey>,
        offers: Vec<v1::OfferId>,
    },
    Decline {
        offers: Vec<v1::OfferId>,
        refuse: Option<f64>,
    },
    Revive,
    /// A call of the services node, which decides itself what follows.
    Services(Box<Call>),
}

/// Calls to be made.
pub(crate) type Calls = Vec<(Box<Call>, Option<Box<Note>>)>;

/// Where a planned task is, as its scheduler believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Planned,
    Waiting,
    Launched,
    Running,
    Unreachable,
    Done,
    Failed,
}

/// One planned task. It survives the scheduler, which keeps it in a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) stage: Stage,
    pub(crate) attempt: u32,
    pub(crate) agent: Option<v1::AgentId>,
    /// A kill was asked for.
    pub(crate) doomed: bool,
    pub(crate) outcome: TaskOutcome,
}

/// One tenant's scheduler.
pub(crate) struct Scheduler {
    pub(crate) number: u32,
    pub(crate) setup: FrameworkSetup,
    pub(crate) life: u32,
    pub(crate) is_up: bool,
    pub(crate) paused_until: Nanos,
    rng: ChaCha8Rng,
    /// The open or opening event stream.
    pub(crate) stream: Option<u64>,
    pub(crate) is_subscribed: bool,
    /// When the last SUBSCRIBE arrives: its stream cannot close before.
    subscribe_arrives: Nanos,
    heard_at: Nanos,
    failures: u32,
    retry_at: Option<Nanos>,
    pub(crate) framework_id: Option<v1::FrameworkId>,
    tasks: Tasks,
    /// This life has subscribed before.
    was_subscribed: bool,
    reconcile_at: Nanos,
    reconcile_wait: Nanos,
    /// When to ask what runs, whatever is known.
    ask_for_all_at: Nanos,
    pub(crate) plans: Vec<Plan>,
    next_submit: usize,
    waiting: VecDeque<u32>,
    kills: BTreeSet<(Nanos, TaskKey)>,
    /// Tasks that are wanted again, later.
    again: BTreeSet<(Nanos, u32)>,
    suppressed: bool,
    rude_at: Nanos,
    /// From here on everybody behaves.
    load_ends: Nanos,
    /// When it last had something to choose from.
    offered_at: Nanos,
    /// The framework has ended: torn down, or refused for good.
    pub(crate) is_over: bool,
    wake: Option<Nanos>,
    pub(crate) retries: u64,
    /// It is the connection of the services node, which decides everything else.
    pub(crate) serves: bool,
}

impl Scheduler {
    /// A second pause within the first is part of it: what was held up would lose its order otherwise.
    pub(crate) fn pause(&mut self, now: Nanos, until: Nanos) {
        if self.paused_until <= now {
            self.paused_until = until;
        }
    }

    /// A wake-up came while the process stood still.
    pub(crate) fn forget_wake(&mut self) {
        self.wake = None;
    }

    pub(crate) fn new(setup: &Setup, number: usize) -> Self {
        let own = setup.frameworks[number].clone();
        let plans = vec![Plan::default(); own.tasks.len()];
        let joins = nanos(own.joins);
        Self {
            number: number as u32,
            setup: own,
            life: 0,
            is_up: true,
            paused_until: 0,
            rng: source(setup.seed, Actor::Scheduler(number)),
            stream: None,
            is_subscribed: false,
            subscribe_arrives: 0,
            heard_at: 0,
            failures: 0,
            retry_at: Some(joins),
            framework_id: None,
            tasks: Tasks::default(),
            was_subscribed: false,
            reconcile_at: 0,
            reconcile_wait: nanos(RECONCILE_MIN),
            ask_for_all_at: ASK_FOR_ALL_EVERY,
            plans,
            next_submit: 0,
            waiting: VecDeque::new(),
            kills: BTreeSet::new(),
            again: BTreeSet::new(),
            suppressed: false,
            rude_at: 0,
            load_ends: nanos(setup.load),
            offered_at: 0,
            is_over: false,
            wake: None,
            retries: 0,
            serves: setup.services.as_ref().is_some_and(|services| services.framework == number),
        }
    }

    fn key(&self, plan: u32) -> TaskKey {
        TaskKey { framework: self.number, plan, attempt: self.plans[plan as usize].attempt }
    }

    /// How many tasks wait to be launched.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many of its plans have been wanted so far.
    pub(crate) fn submitted(&self) -> usize {
        self.next_submit
    }

    /// The first of those that wait, as plans.
    pub(crate) fn waiting_for(&self, most: usize) -> Vec<String> {
        self.waiting.iter().take(most).map(|plan| format!("t{}-{plan}", self.number)).collect()
    }

    /// Whether everything it was asked to run is over, or runs as it should for ever.
    pub(crate) fn is_content(&self) -> bool {
        let settled = |(plan, state): (&crate::setup::TaskPlan, &Plan)| match state.stage {
            Stage::Done | Stage::Failed => true,
            Stage::Running => plan.run.is_none() && plan.kill_after.is_none(),
            _ => false,
        };
        self.is_over || self.setup.tasks.iter().zip(&self.plans).all(settled)
    }

    /// What is not over that should be, for people.
    pub(crate) fn restless(&self) -> impl Iterator<Item = (TaskKey, Stage)> {
        let open = |plan: &Plan| !matches!(plan.stage, Stage::Done | Stage::Failed);
        let plans = self.plans.iter().enumerate().filter(move |(_, plan)| open(plan));
        plans.map(|(index, plan)| (self.key(index as u32), plan.stage))
    }

    pub(crate) fn info(&self) -> v1::FrameworkInfo {
        use v1::framework_info::{Capability, capability::Type};
        let mut capabilities = vec![Type::MultiRole, Type::TaskKillingState, Type::ReservationRefinement];
        let optional = [
            (self.setup.partition_aware, Type::PartitionAware),
            (self.setup.gpus, Type::GpuResources),
            (self.setup.region_aware, Type::RegionAware),
        ];
        capabilities.extend(optional.into_iter().filter(|(has, _)| *has).map(|(_, kind)| kind));
        let mut roles = self.setup.roles.clone();
        if self.setup.behaviour == Behaviour::Absurd {
            roles.extend(rude::absurd_roles());
        }
        v1::FrameworkInfo {
            user: "sim".into(),
            name: self.setup.name.clone(),
            id: self.framework_id.clone(),
            roles,
            failover_timeout: Some(self.setup.failover_timeout.as_secs_f64()),
            checkpoint: Some(true),
            capabilities: capabilities
                .into_iter()
                .map(|kind| Capability { r#type: Some(kind as i32) })
                .collect(),
            ..Default::default()
        }
    }

    fn subscribe_call(&self) -> Call {
        let suppressed_roles = if self.suppressed { self.setup.roles.clone() } else { Vec::new() };
        let absurd = self.setup.behaviour == Behaviour::Absurd;
        Call {
            r#type: Some(call::Type::Subscribe as i32),
            framework_id: self.framework_id.clone(),
            subscribe: Some(Box::new(call::Subscribe {
                framework_info: self.info(),
                suppressed_roles,
                offer_constraints: absurd.then(|| rude::absurd_constraints(&self.setup.roles)),
            })),
            ..Default::default()
        }
    }

    /// When something is to be done by itself.
    fn next_deadline(&self) -> Option<Nanos> {
        if !self.is_up || self.is_over {
            return None;
        }
        let submit = self.setup.tasks.get(self.next_submit).map(|plan| nanos(plan.submit));
        let again = self.again.first().map(|(at, _)| *at);
        let submit = [submit, again].into_iter().flatten().min();
        if self.stream.is_none() {
            return [self.retry_at, submit].into_iter().flatten().min();
        }
        let silence = Some(self.heard_at + SILENCE_MAX);
        if !self.is_subscribed || self.serves {
            return [silence, submit].into_iter().flatten().min();
        }
        let kill = self.kills.first().map(|(at, _)| *at);
        let rude = self.has_manners_to_break().then_some(self.rude_at);
        [submit, silence, kill, rude, Some(self.reconcile_at)].into_iter().flatten().min()
    }

    /// Does what is due; true when the stream has to be given up.
    fn on_time(&mut self, now: Nanos, calls: &mut Calls) -> bool {
        self.submit(now, calls);
        if !self.is_subscribed || self.serves {
            return self.stream.is_some() && self.heard_at + SILENCE_MAX <= now;
        }
        if self.heard_at + SILENCE_MAX <= now {
            return true;
        }
        while let Some((at, key)) = self.kills.first().copied().filter(|(at, _)| *at <= now) {
            self.kills.remove(&(at, key));
            self.kill(now, key, calls);
        }
        if self.reconcile_at <= now {
            // A REVIVE that was overtaken by the SUPPRESS before it would be missed for ever.
            if !self.waiting.is_empty() && self.offered_at + OFFERLESS_MAX <= now {
                calls.push((revive(), Some(Box::new(Note::Revive))));
            }
            // An agent that comes back to a new master is no news to who does not know of partitions.
            if !self.setup.partition_aware && self.ask_for_all_at <= now {
                calls.push((Box::new(reconcile(Vec::new())), None));
                self.ask_for_all_at = now + ASK_FOR_ALL_EVERY;
            }
            match self.tasks.reconcile() {
                Some(call) => {
                    calls.push((Box::new(call), None));
                    self.reconcile_wait = (self.reconcile_wait * 2).min(nanos(RECONCILE_MAX));
                    self.reconcile_at = now + self.reconcile_wait;
                }
                None => self.reconcile_at = now + nanos(RECONCILE_MAX),
            }
        }
        if self.has_manners_to_break() && self.rude_at <= now {
            self.be_rude(now, calls);
        }
        false
    }

    fn submit(&mut self, now: Nanos, calls: &mut Calls) {
        let before = self.waiting.len();
        while let Some((at, plan)) = self.again.first().copied().filter(|(at, _)| *at <= now) {
            self.again.remove(&(at, plan));
            self.want_again(plan);
        }
        while let Some(plan) = self.setup.tasks.get(self.next_submit)
            && nanos(plan.submit) <= now
        {
            self.want(self.next_submit as u32);
            self.next_submit += 1;
        }
        if self.waiting.len() > before {
            self.ask_for_offers(calls);
        }
    }

    fn want(&mut self, plan: u32) {
        self.plans[plan as usize].stage = Stage::Waiting;
        self.waiting.push_back(plan);
    }

    /// Something is wanted: refusals and silence would stand in the way.
    fn ask_for_offers(&mut self, calls: &mut Calls) {
        let refuses_long = nanos(self.setup.refuse) >= LONG_REFUSAL;
        if self.is_subscribed && (self.suppressed || refuses_long) {
            self.suppressed = false;
            calls.push((revive(), Some(Box::new(Note::Revive))));
        }
    }

    /// Nothing is wanted.
    fn hush(&mut self, calls: &mut Calls) {
        if self.setup.suppresses && self.waiting.is_empty() && !self.suppressed {
            self.suppressed = true;
            let kind = call::Type::Suppress as i32;
            let suppress = Some(call::Suppress::default());
            calls.push((Box::new(Call { r#type: Some(kind), suppress, ..Default::default() }), None));
        }
    }

    fn kill(&mut self, now: Nanos, key: TaskKey, calls: &mut Calls) {
        let plan = &mut self.plans[key.plan as usize];
        let id = key.text();
        if plan.attempt == key.attempt
            && matches!(plan.stage, Stage::Launched | Stage::Running | Stage::Unreachable)
        {
            plan.doomed = true;
        } else if !self.tasks.is_live(&id) {
            return;
        }
        let kill = call::Kill {
            task_id: v1::TaskId { value: id },
            agent_id: plan.agent.clone().filter(|_| plan.attempt == key.attempt),
            kill_policy: None,
        };
        let kind = call::Type::Kill as i32;
        calls.push((Box::new(Call { r#type: Some(kind), kill: Some(kill), ..Default::default() }), None));
        if self.kills.iter().all(|(_, known)| *known != key) {
            self.kills.insert((now + KILL_AGAIN, key));
        }
    }

    /// The master took the subscription.
    fn on_subscribed(&mut self, now: Nanos, framework: v1::FrameworkId, calls: &mut Calls) {
        let takeover = !self.was_subscribed && self.framework_id.is_some();
        self.was_subscribed = true;
        self.framework_id = Some(framework);
        self.is_subscribed = true;
        self.failures = 0;
        if self.serves {
            return;
        }
        self.tasks.ask_all();
        // Beside what a successor asks: a store tells which tasks there must be, and who does not know of
        // partitions may have missed that a lost task runs again.
        if takeover || !self.setup.partition_aware {
            calls.push((Box::new(reconcile(Vec::new())), None));
        }
        calls.extend(self.tasks.reconcile().map(|call| (Box::new(call), None)));
        self.reconcile_wait = nanos(RECONCILE_MIN);
        self.reconcile_at = now + self.reconcile_wait;
        self.rude_at = now + SECOND;
        if self.waiting.is_empty() {
            self.hush(calls);
        } else if self.suppressed {
            self.ask_for_offers(calls);
        }
    }

    /// One event from the master.
    fn on_event(&mut self, now: Nanos, event: &v1::scheduler::Event, calls: &mut Calls) {
        self.heard_at = now;
        match event.r#type() {
            event::Type::Subscribed => {
                if let Some(subscribed) = &event.subscribed {
                    self.on_subscribed(now, subscribed.framework_id.clone(), calls);
                }
            }
            event::Type::Offers | event::Type::Update if self.serves => {}
            event::Type::Offers => {
                if let Some(offers) = &event.offers {
                    self.offered_at = now;
                    self.on_offers(now, &offers.offers, calls);
                }
            }
            event::Type::Update => {
                if let Some(update) = &event.update {
                    self.on_update(now, &update.status, calls);
                }
            }
            event::Type::Error => {
                let failed_over =
                    event.error.as_ref().is_some_and(|error| error.message.contains("failed over"));
                self.is_over |= !failed_over;
            }
            _ => {}
        }
    }

    /// Nobody knows whether a call was taken, or it was refused as a whole.
    fn on_unanswered(&mut self, note: Note, calls: &mut Calls) {
        match note {
            Note::Accept { tasks, offers } => {
                self.tasks.unsure(tasks.into_iter().map(TaskKey::text));
                // Whatever was not used goes back.
                calls.push(decline(offers, None));
            }
            Note::Decline { offers, refuse } => calls.push(decline(offers, refuse)),
            Note::Revive if !self.waiting.is_empty() => calls.push((revive(), Some(Box::new(Note::Revive)))),
            // The services node has heard of it.
            Note::Revive | Note::Services(_) => {}
        }
    }
}

fn revive() -> Box<Call> {
    let kind = call::Type::Revive as i32;
    Box::new(Call { r#type: Some(kind), revive: Some(call::Revive::default()), ..Default::default() })
}

fn decline(offers: Vec<v1::OfferId>, refuse: Option<f64>) -> (Box<Call>, Option<Box<Note>>) {
    let filters = refuse.map(|seconds| v1::Filters { refuse_seconds: Some(seconds) });
    let kind = call::Type::Decline as i32;
    let decline = call::Decline { offer_ids: offers.clone(), filters };
    let call = Call { r#type: Some(kind), decline: Some(decline), ..Default::default() };
    (Box::new(call), Some(Box::new(Note::Decline { offers, refuse })))
}
