//! The owner of the master's state: dispatches inputs to one handler per event.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_allocator::Allocator;
use mezzo_ids::{AgentId, FrameworkId, MasterId, OfferId, Role, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::records::RegistryRecord;
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    effect::Effect,
    input::{Input, LinkId, OperatorCall, StreamId},
    state::Snapshot,
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
    /// For the allocator.
    pub allocator: mezzo_allocator::Config,
}

/// The master. See the crate's page.
pub struct Master {
    pub(crate) config: Config,
    /// What reads can see.
    pub(crate) state: Snapshot,
    pub(crate) allocator: Allocator,
    /// Where a framework's task runs (not for unreachable or completed ones).
    pub(crate) task_agents: BTreeMap<FrameworkId, BTreeMap<TaskId, AgentId>>,
    /// Which agent an outstanding offer is of.
    pub(crate) offer_agents: BTreeMap<OfferId, AgentId>,
    /// Which agent an operation is on, by its own uuid.
    pub(crate) operation_agents: BTreeMap<Uuid, AgentId>,
    pub(crate) links: BTreeMap<LinkId, AgentId>,
    pub(crate) streams: BTreeMap<StreamId, FrameworkId>,
    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) next_offer: u64,
    /// Dispatched while stepping; taken by the driver.
    pub(crate) effects: Vec<Effect>,
}

/// What every handler gets beside the master itself: the time and a source of randomness.
pub(crate) struct Moment<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn Rng,
}
