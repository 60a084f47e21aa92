//! The owner of the master's state: dispatches inputs to one handler per event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mezzo_allocator::{Allocator, Inquiry};
use mezzo_ids::{AgentId, FrameworkId, MasterId, OfferId, Role, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::records::RegistryRecord;
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    agent, agents,
    alike::Alike,
    effect::{Answer, Effect},
    facts::Ledger,
    input::{Input, LinkId, RequestId, StreamId},
    metrics::{Counter, Counters},
    operator, query, registry, scheduler,
    state::{Agent, Framework, Snapshot},
    timers::Timer,
};

/// What an operator chose; see the flags of the same names.
#[derive(Clone, Debug)]
pub struct Config {
    /// This life of the master.
    pub id: MasterId,
    /// As told to schedulers and agents.
    pub info: v1::MasterInfo,
    /// --agent_ping_timeout
    pub agent_ping_timeout: Duration,
    /// --max_agent_ping_timeouts
    pub agent_ping_timeouts_max: u32,
    /// --agent_reregister_timeout
    pub agent_reregister_timeout: Duration,
    /// --recovery_agent_removal_limit as a share of 1.
    pub recovery_agent_removal_limit: f64,
    /// --agent_removal_rate_limit: this many per this long.
    pub agent_removal_rate_limit: Option<(u32, Duration)>,
    /// --offer_timeout
    pub offer_timeout: Option<Duration>,
    /// --root_submissions
    pub root_submissions: bool,
    /// --roles
    pub roles: Option<Vec<Role>>,
    /// --require_agent_domain
    pub require_agent_domain: bool,
    /// --max_completed_frameworks, --max_completed_tasks_per_framework, --max_unreachable_tasks_per_framework
    pub completed_frameworks_max: usize,
    /// See above.
    pub completed_tasks_max: usize,
    /// See above.
    pub unreachable_tasks_max: usize,
    /// --registry_max_agent_age, --registry_max_agent_count, --registry_gc_interval
    pub registry_agent_age_max: Duration,
    /// See above.
    pub registry_agent_count_max: usize,
    /// See above.
    pub registry_gc_interval: Duration,
    /// Path of an agent's API in the URL of its offers (rule 80).
    pub agent_url_path: String,
    /// --offer_constraints_re2_max_mem and --offer_constraints_re2_max_program_size
    pub constraint_limits: mezzo_allocator::ConstraintLimits,
    /// For the allocator.
    pub allocator: mezzo_allocator::Config,
}

/// The master. See the crate's page.
pub struct Master {
    pub(crate) config: Config,
    /// What reads can see.
    pub(crate) state: Snapshot,
    pub(crate) allocator: Allocator,
    pub(crate) alike: Alike,
    /// Where a framework's task runs (not for unreachable or completed ones).
    pub(crate) task_agents: BTreeMap<FrameworkId, BTreeMap<TaskId, AgentId>>,
    /// Which agent an outstanding offer is of.
    pub(crate) offer_agents: BTreeMap<OfferId, AgentId>,
    /// Which agent an outstanding inverse offer is for.
    pub(crate) inverse_offer_agents: BTreeMap<OfferId, AgentId>,
    /// The outstanding offers of a framework.
    pub(crate) framework_offers: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
    /// Which agent an operation is on, by its own uuid.
    pub(crate) operation_agents: BTreeMap<Uuid, AgentId>,
    pub(crate) links: BTreeMap<LinkId, AgentId>,
    /// Which registered agent has an address (rule 251).
    pub(crate) addresses: BTreeMap<(String, u16), AgentId>,
    pub(crate) streams: BTreeMap<StreamId, FrameworkId>,
    /// Whether registered agents answer pings.
    pub(crate) watches: BTreeMap<AgentId, agents::Watch>,
    /// Agents that answer no more, in the order in which the rate limit lets them go.
    pub(crate) removals: agents::Removals,
    /// When agents of the registry that have not come back become unreachable.
    pub(crate) recovery_deadline: Option<Timestamp>,
    /// What happens when, earliest first. Entries may be outdated: handlers look again.
    pub(crate) timers: BTreeSet<(Timestamp, Timer)>,
    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) next_offer: u64,
    /// Dispatched while stepping; taken by the driver.
    pub(crate) effects: Vec<Effect>,
    /// See [`Master::set_watched`].
    pub(crate) watched: bool,
    /// See [`Master::keep_facts`].
    pub(crate) ledger: Option<Box<Ledger>>,
}

/// What every handler gets beside the master itself: the time and a source of randomness.
pub(crate) struct Moment<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn Rng,
}

impl Moment<'_> {
    /// A fresh identifier from the step's random source.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        Uuid::from_random(bytes)
    }
}

impl Master {
    /// A master that has read its registry and met nobody yet.
    pub fn new(config: Config, now: Timestamp, registry: Vec<RegistryRecord>) -> Self {
        let mut master = Self {
            allocator: Allocator::new(config.allocator.clone()),
            alike: Alike::default(),
            config,
            state: Snapshot::default(),
            task_agents: BTreeMap::new(),
            offer_agents: BTreeMap::new(),
            inverse_offer_agents: BTreeMap::new(),
            framework_offers: BTreeMap::new(),
            operation_agents: BTreeMap::new(),
            links: BTreeMap::new(),
            addresses: BTreeMap::new(),
            streams: BTreeMap::new(),
            watches: BTreeMap::new(),
            removals: agents::Removals::default(),
            recovery_deadline: None,
            timers: BTreeSet::new(),
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            effects: Vec::new(),
            watched: true,
            ledger: None,
        };
        registry::recover(&mut master, now, registry);
        master.start_timers(now);
        master
    }

    /// Takes one input; the effects are to be performed in order, after those of earlier steps.
    pub fn step(&mut self, now: Timestamp, rng: &mut dyn Rng, input: Input) -> Vec<Effect> {
        let moment = &mut Moment { now, rng };
        match input {
            Input::Subscribe { stream, stream_uuid, call, principal } => {
                scheduler::on_subscribe(self, moment, stream, stream_uuid, *call, principal);
            }
            Input::SchedulerCall { request, call, stream_uuid, principal } => {
                scheduler::on_call(self, moment, request, *call, stream_uuid, principal);
            }
            Input::StreamClosed(stream) => self.on_stream_closed(moment, stream),
            Input::Operator { request, call, principal } => {
                operator::on_operator(self, moment, request, call, principal);
            }
            Input::FromAgent { link, message } => agent::on_message(self, moment, link, *message),
            Input::LinkDown(link) => agent::on_link_down(self, moment, link),
            Input::LinkResumed(link) => agent::on_link_resumed(self, link),
            Input::LinkLost(link) => agent::on_link_lost(self, moment, link),
            Input::Timer => {}
        }
        self.fire_timers(moment);
        self.allocate(moment);
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Timer`] is next useful.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.allocator.next_deadline()].into_iter().flatten().min()
    }

    /// What is known at this moment, without copying it; only the roles of a [`Master::snapshot`] are not
    /// counted here.
    pub fn state(&self) -> &Snapshot {
        &self.state
    }

    /// What reads are answered from; shares everything with the master.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            roles: Arc::new(query::roles::counted(&self.allocator)),
            allocation_runs: self.allocator.runs(),
            ..self.state.clone()
        }
    }

    /// Whether anybody gets what is published. While nobody does, events of tasks, of which there are
    /// many, are not made; those of agents and frameworks are.
    pub fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// Passes of the allocator that looked at agents.
    pub fn allocation_runs(&self) -> u64 {
        self.allocator.runs()
    }

    /// The question what a framework is not offered, by role and reason, to be gone on with by
    /// [`Master::inquire`]; `None` when it is not registered.
    pub fn inquiry(&self, framework: &FrameworkId) -> Option<Inquiry> {
        self.state.frameworks.contains_key(framework).then(|| Inquiry::new(framework.clone()))
    }

    /// Looks at about so many agents more and says whether that was the last of them. All are looked at once
    /// per role, which takes too long to do it between two inputs.
    pub fn inquire(&self, inquiry: &mut Inquiry, agents: u64) -> bool {
        self.allocator.inquire(inquiry, agents)
    }

    /// Counts one more of something.
    pub(crate) fn count(&mut self, counter: Counter) {
        self.counters().add(counter);
    }

    /// What is counted, to be changed.
    pub(crate) fn counters(&mut self) -> &mut Counters {
        Arc::make_mut(&mut self.state.counters)
    }

    /// Counts the end of a task by its state, source and reason.
    pub(crate) fn count_transition(&mut self, framework: &FrameworkId, status: &v1::TaskStatus) {
        self.counters().transition(framework, status);
    }

    /// Why a framework is not offered more, agent by agent.
    pub fn why(&self, framework: &FrameworkId) -> Vec<mezzo_allocator::Withheld> {
        self.allocator.why(framework)
    }

    pub(crate) fn answer(&mut self, request: RequestId, answer: Answer) {
        self.effects.push(Effect::Answer { request, answer });
    }

    pub(crate) fn persist(&mut self, record: mezzo_protocol::records::registry_record::Record) {
        self.effects.push(Effect::Persist(Box::new(RegistryRecord { record: Some(record) })));
    }

    /// A registered agent, to be changed.
    pub(crate) fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.note_agent(id);
        self.state.agents.get_mut(id).map(Arc::make_mut)
    }

    /// The id with this text, as it is known already if there is such a framework: equal ids that share
    /// their text are found faster.
    pub(crate) fn framework_id(&self, text: &str) -> FrameworkId {
        match self.state.frameworks.get_key_value(text) {
            Some((known, _)) => known.clone(),
            None => FrameworkId::from(text),
        }
    }

    /// A registered framework, to be changed.
    pub(crate) fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.note_framework(id);
        self.state.frameworks.get_mut(id).map(Arc::make_mut)
    }

    pub(crate) fn mint_framework(&mut self) -> FrameworkId {
        let number = self.next_framework;
        self.next_framework += 1;
        FrameworkId::from(format!("{}-{number:04}", self.config.id))
    }

    pub(crate) fn mint_agent(&mut self) -> AgentId {
        let number = self.next_agent;
        self.next_agent += 1;
        AgentId::from(format!("{}-S{number}", self.config.id))
    }

    pub(crate) fn mint_offer(&mut self) -> OfferId {
        let number = self.next_offer;
        self.next_offer += 1;
        OfferId::from([self.config.id.as_str(), "-O", &number.to_string()].concat())
    }
}
