//! The owner of the state: gives each input to its handler, and gathers what has to be done.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use mezzo_ids::Uuid;
use mezzo_mesos::v1::{
    self,
    scheduler::{Call, call},
};
use mezzo_services_model::{DeploymentId, Event, EventKind, Group, InstanceId, PathId, RunSpec};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    Config, Effect, Input, Map, Record, Recovered, Request, Snapshot,
    backoff::Delays,
    deploy::Run,
    health::Checks,
    instances::Tally,
    kill::Kills,
    matching::Placed,
    ports::Used,
    queue::Queue,
    timers::{Timer, Timers},
    told::Told,
};

/// What every handler gets beside the machine itself: the time and a source of randomness.
pub(crate) struct Moment<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn Rng,
}

impl Moment<'_> {
    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        Uuid::from_random(bytes)
    }
}

/// The services framework. See the crate's page.
pub struct Services {
    pub(crate) config: Config,
    /// What reads see.
    pub(crate) state: Snapshot,
    pub(crate) timers: Timers,
    /// Whether the master listens.
    pub(crate) connected: bool,
    /// Whether it has listened before: then it is a return (the event has another name).
    pub(crate) was_connected: bool,
    pub(crate) region: Option<String>,
    pub(crate) runs: BTreeMap<DeploymentId, Run>,
    /// Services that deployments work on (rule 20).
    pub(crate) locks: BTreeMap<PathId, DeploymentId>,
    pub(crate) tallies: BTreeMap<PathId, Tally>,
    /// Instances that have passed their readiness checks (rule 148).
    pub(crate) ready: BTreeSet<InstanceId>,
    /// Running ones of an earlier life whose health nothing has told yet in this one (rule 144): they may well serve.
    pub(crate) unheard: BTreeSet<InstanceId>,
    /// Unreachable ones, which are forgotten in time.
    pub(crate) unreachable: BTreeSet<InstanceId>,
    /// Launched and not running yet.
    pub(crate) launching: BTreeSet<InstanceId>,
    /// Where the instances of services with constraints are; made when first needed.
    pub(crate) placed: BTreeMap<PathId, Placed>,
    pub(crate) delays: Delays,
    pub(crate) kills: Kills,
    pub(crate) queue: Queue,
    pub(crate) told: Told,
    pub(crate) checks: Checks,
    pub(crate) used_ports: Used,
    /// Services whose canaries have failed, which go back before the step ends.
    pub(crate) failed_trials: BTreeSet<PathId>,
    /// Services whose number of instances is to be looked at before the step ends.
    pub(crate) touched: BTreeSet<PathId>,
    /// Instances whose record is to be written, once per step.
    pub(crate) dirty: BTreeSet<InstanceId>,
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
}

impl Services {
    /// A machine with an empty disk.
    pub fn new(config: Config, now: Timestamp, rng: &mut dyn Rng) -> (Self, Vec<Effect>) {
        Self::recover(config, Recovered::default(), now, rng)
    }

    pub(crate) fn bare(config: Config, root: Arc<Group>) -> Self {
        let tokens = config.launch_tokens;
        Self {
            config,
            state: Snapshot {
                framework: None,
                roots: Arc::new(BTreeMap::from([(root.version, root.clone())])),
                root,
                versions: Map::new_sync(),
                instances: Map::new_sync(),
                deployments: Arc::default(),
                health: Map::new_sync(),
                failures: Map::new_sync(),
                canaries: Map::new_sync(),
                principals: Map::new_sync(),
                secrets: Map::new_sync(),
                queue: Map::new_sync(),
            },
            timers: Timers::default(),
            connected: false,
            was_connected: false,
            region: None,
            runs: BTreeMap::new(),
            locks: BTreeMap::new(),
            tallies: BTreeMap::new(),
            ready: BTreeSet::new(),
            unheard: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            launching: BTreeSet::new(),
            placed: BTreeMap::new(),
            delays: Delays::default(),
            kills: Kills::default(),
            queue: Queue::new(tokens),
            told: Told::default(),
            checks: Checks::default(),
            used_ports: Used::default(),
            failed_trials: BTreeSet::new(),
            touched: BTreeSet::new(),
            dirty: BTreeSet::new(),
            records: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Takes one input and returns what has to be done, in order: what is to be durable comes first.
    pub fn step(&mut self, now: Timestamp, rng: &mut dyn Rng, input: Input) -> Vec<Effect> {
        let m = &mut Moment { now, rng };
        match input {
            Input::Timer => {}
            Input::Request(id, Request::Change(change)) => self.on_change(m, id, *change),
            Input::Request(id, Request::Kill(kill)) => self.on_kill_request(m, id, &kill),
            Input::Request(id, Request::CancelDeployment { id: deployment, force }) => {
                self.on_cancel(m, id, &deployment, force);
            }
            Input::Request(id, Request::SetSecret(secret)) => self.on_set_secret(id, secret),
            Input::Request(id, Request::RemoveSecret { name, force }) => {
                self.on_remove_secret(id, &name, force);
            }
            Input::Request(id, Request::ResetDelay { run_spec }) => self.on_reset_delay(m, id, &run_spec),
            Input::Subscribed { framework, master, region } => {
                self.on_subscribed(m, framework, master, region)
            }
            Input::Disconnected => {
                self.connected = false;
                self.publish(m, EventKind::SchedulerDisconnected);
            }
            Input::Offers(offers) => self.on_offers(m, offers),
            // Offers are used or declined in the step that brings them: none is held.
            Input::Rescinded(_) => {}
            Input::Update(status) => self.on_update(m, *status),
            Input::Message { executor, agent, data } => {
                let (executor_id, agent_id) = (executor.value, agent.value);
                self.publish(m, EventKind::FrameworkMessage { executor_id, agent_id, message: data });
            }
            Input::CallFailed(call) => self.on_call_failed(m, &call),
            Input::CallLost(call) => self.on_call_lost(m, *call),
            Input::Probed(probe, outcome) => self.on_probed(m, probe, outcome),
        }
        // Whatever woke us: what is due is done.
        while let Some(timer) = self.timers.pop(now) {
            self.on_timer(m, timer);
        }
        self.finish(m)
    }

    /// When [`Input::Timer`] is next useful.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What reads see. Costs nothing, whatever the number of services.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    fn on_timer(&mut self, m: &mut Moment<'_>, timer: Timer) {
        match timer {
            Timer::Backoff => self.on_backoff_timer(m),
            Timer::Canary(path) => _ = self.touched.insert(path),
            Timer::CanaryCheck(path) => self.on_canary_check_due(&path),
            Timer::Check(instance, index) => self.on_check_due(m, &instance, index),
            Timer::Delay(path) => self.on_delay_over(m, &path),
            Timer::Expunge => self.on_expunge_timer(m),
            Timer::Inactive(instance) => self.on_inactive_due(m, &instance),
            Timer::Kills => self.on_kills_timer(m),
            Timer::Overdue => self.on_overdue_timer(m),
            Timer::Ready(instance) => self.on_readiness_due(m, &instance),
            Timer::Reconcile => self.on_reconcile_timer(m),
            Timer::Constraints | Timer::Revive => {}
            Timer::Scale => self.on_scale_timer(m),
            Timer::Tokens => self.on_tokens_timer(m),
        }
    }

    /// The end of each step: services that were touched are set right, then calls are made that follow from that.
    pub(crate) fn finish(&mut self, m: &mut Moment<'_>) -> Vec<Effect> {
        self.settle(m);
        while let Some(path) = self.failed_trials.pop_first() {
            self.roll_back(m, &path);
            self.settle(m);
        }
        self.send_kills(m);
        self.tell_constraints(m);
        self.ask_for_offers(m);
        self.show_queue(m);
        let mut records = mem::take(&mut self.records);
        for id in mem::take(&mut self.dirty) {
            records.push(match self.instance(&id) {
                Some(instance) => Record::Instance(Box::new((**instance).clone())),
                None => Record::InstanceGone(id),
            });
        }
        let mut effects = Vec::with_capacity(self.effects.len() + 1);
        if !records.is_empty() {
            effects.push(Effect::Persist(records));
        }
        effects.append(&mut self.effects);
        effects
    }

    pub(crate) fn publish(&mut self, m: &Moment<'_>, kind: EventKind) {
        self.effects.push(Effect::Publish(Event { at: m.now, kind }));
    }

    /// Says something to the master, in our name.
    pub(crate) fn call(&mut self, kind: call::Type, fill: impl FnOnce(&mut Call)) {
        let framework_id = self.state.framework.clone().map(|value| v1::FrameworkId { value });
        let mut call = Call { framework_id, r#type: Some(kind.into()), ..Default::default() };
        fill(&mut call);
        self.effects.push(Effect::Call(Box::new(call)));
    }

    /// The definition that is wanted.
    pub(crate) fn wanted(&self, path: &PathId) -> Option<RunSpec> {
        self.state.root.run_spec(path)
    }

    /// The definition of some version; the wanted one when that is not kept any more.
    pub(crate) fn definition(&self, path: &PathId, version: Timestamp) -> Option<RunSpec> {
        let kept = self.state.versions.get(path).and_then(|versions| versions.get(&version));
        kept.cloned().or_else(|| self.wanted(path))
    }
}
