//! What the master knows, in parts that a snapshot can share.
//!
//! Parts are behind `Arc` and changed through `Arc::make_mut`: a snapshot clones the two lists of
//! pointers, and only parts that change while a snapshot lives are copied. Tasks live with the agent
//! they run on, because that keeps each part small.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

pub use mezzo_allocator::Quota;
use mezzo_ids::{AgentId, ExecutorId, FrameworkId, OfferId, Principal, Role, TaskId, Uuid};
use mezzo_mesos::v1;
use mezzo_resources::{Quantities, Resources};
use mezzo_time::Timestamp;

use crate::input::{LinkId, StreamId};

/// Completed frameworks kept for operators (rule 66).
pub const COMPLETED_FRAMEWORKS_MAX: usize = 50;
/// Completed tasks kept per framework (rule 66).
pub const COMPLETED_TASKS_MAX: usize = 1000;
/// Unreachable tasks kept per framework (rule 66).
pub const UNREACHABLE_TASKS_MAX: usize = 1000;

/// Everything reads can see. Cheap to clone: pointers only.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Registered agents, connected or not.
    pub agents: BTreeMap<AgentId, Arc<Agent>>,
    /// Agents of the registry that have not come back since this master started.
    pub recovered_agents: BTreeMap<AgentId, Arc<v1::AgentInfo>>,
    /// Agents marked unreachable, with when.
    pub unreachable_agents: BTreeMap<AgentId, Timestamp>,
    /// Drain state of agents that are recovered or unreachable; that of registered ones is with them.
    pub drains: BTreeMap<AgentId, Drain>,
    /// Agents marked gone, with when.
    pub gone_agents: BTreeMap<AgentId, Timestamp>,
    /// Registered frameworks: subscribed, disconnected, or known only from agents.
    pub frameworks: BTreeMap<FrameworkId, Arc<Framework>>,
    /// Ended frameworks, oldest first, at most [`COMPLETED_FRAMEWORKS_MAX`].
    pub completed_frameworks: VecDeque<Arc<Framework>>,
    /// Explicit weights.
    pub weights: BTreeMap<Role, f64>,
    /// Explicit quotas.
    pub quotas: BTreeMap<Role, Quota>,
    /// Roles with anything in them, as the allocator counts them.
    pub roles: Arc<Vec<RoleView>>,
    /// Passes of the allocator that looked at agents.
    pub allocation_runs: u64,
    /// The maintenance schedule.
    pub schedule: Arc<v1::maintenance::Schedule>,
    /// Machines that are DRAINING or DOWN.
    pub machines: Arc<Vec<Machine>>,
    /// Counters and gauges by their name in metrics.tsv.
    pub counters: Arc<crate::metrics::Counters>,
}

/// What an operator asked of an agent that is not here (rule 268).
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// Draining or drained.
    pub info: Option<v1::DrainInfo>,
    /// By an operator: drain or DEACTIVATE_AGENT.
    pub deactivated: bool,
    /// When the drain began, if that is known.
    pub started: Option<Timestamp>,
}

/// One role as /roles shows it. Amounts include descendants.
#[derive(Clone, Debug)]
pub struct RoleView {
    /// Its full path.
    pub role: Role,
    /// 1.0 unless set.
    pub weight: f64,
    /// Frameworks subscribed to it.
    pub frameworks: Vec<FrameworkId>,
    /// Used by tasks and executors, or offered.
    pub allocated: Quantities,
    /// Used by tasks and executors.
    pub used: Quantities,
    /// Offered.
    pub offered: Quantities,
    /// Reserved, used or not.
    pub reserved: Quantities,
    /// Counted against quota (rule 146).
    pub consumed: Quantities,
    /// Its dominant share, before weights.
    pub share: f64,
    /// Offer filters of its frameworks that have not ended.
    pub filters: usize,
}

/// A machine in maintenance.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its id, mode and window.
    pub info: v1::MachineInfo,
    /// Answers of frameworks to inverse offers for it.
    pub statuses: Vec<v1::allocator::InverseOfferStatus>,
}

/// One registered agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// As it registered, with its id.
    pub info: Arc<v1::AgentInfo>,
    /// Where its API is.
    pub ip: String,
    /// Where its API is.
    pub port: u16,
    /// Its software version.
    pub version: String,
    /// Its capabilities, as announced.
    pub capabilities: Arc<Vec<v1::agent_info::Capability>>,
    /// The link, while it is connected or may be resumed.
    pub link: Option<LinkId>,
    /// The link is up.
    pub connected: bool,
    /// May be offered: connected and not deactivated.
    pub active: bool,
    /// By an operator: drain or DEACTIVATE_AGENT.
    pub deactivated: bool,
    /// Draining or drained.
    pub drain: Option<v1::DrainInfo>,
    /// When the drain began.
    pub drain_started: Option<Timestamp>,
    /// First registration with this master.
    pub registered: Timestamp,
    /// Last re-registration.
    pub reregistered: Option<Timestamp>,
    /// Total, without allocation, oversubscribed ones included. Agents that have the same share it.
    pub total: Arc<Resources>,
    /// Changes with every operation of a provider.
    pub resource_version: Uuid,
    /// Tasks not yet terminal and acknowledged. A part of their own, because offers change an agent more
    /// often than its tasks do: what a reader made of them stays true, and a copy of the agent shares them.
    pub tasks: Arc<Tasks>,
    /// Executors of frameworks; command executors are not among them.
    pub executors: BTreeMap<(FrameworkId, ExecutorId), Arc<v1::ExecutorInfo>>,
    /// Operations not yet terminal and acknowledged.
    pub operations: BTreeMap<Uuid, Arc<Operation>>,
    /// Used by tasks, executors and operations per framework, allocated. A framework's only task on the
    /// agent has the same list.
    pub used: BTreeMap<FrameworkId, Arc<Resources>>,
    /// In outstanding offers, allocated.
    pub offered: Resources,
    /// Outstanding offers of this agent.
    pub offers: BTreeMap<OfferId, Arc<Offer>>,
    /// Outstanding inverse offers for this agent.
    pub inverse_offers: BTreeMap<OfferId, Arc<v1::InverseOffer>>,
    /// Planned maintenance.
    pub unavailability: Option<v1::Unavailability>,
}

/// The tasks of one agent.
pub type Tasks = BTreeMap<(FrameworkId, TaskId), Arc<Task>>;

impl Agent {
    /// Its tasks, to be changed.
    pub(crate) fn tasks_mut(&mut self) -> &mut Tasks {
        Arc::make_mut(&mut self.tasks)
    }

    /// A framework uses more.
    pub(crate) fn hold(&mut self, framework: &FrameworkId, resources: &Arc<Resources>) {
        match self.used.get_mut(framework) {
            Some(used) => *Arc::make_mut(used) += &**resources,
            None => {
                self.used.insert(framework.clone(), resources.clone());
            }
        }
    }

    /// A framework uses less.
    pub(crate) fn release(&mut self, framework: &FrameworkId, resources: &Resources) {
        let Some(used) = self.used.get_mut(framework) else { return };
        // Of its only task: not worth a copy to subtract from.
        let is_all = std::ptr::eq(&**used, resources);
        if !is_all {
            Arc::make_mut(used).subtract(resources);
        }
        if is_all || used.is_empty() {
            self.used.remove(framework);
        }
    }
}

/// One task. The proto is what reads and events show; the rest is what the core decides on.
#[derive(Clone, Debug)]
pub struct Task {
    /// As operators see it; `statuses` are collapsed (rule 218) and carry no data (rule 217).
    pub info: v1::Task,
    /// Allocated to the offer's role. Tasks that have the same share it.
    pub resources: Arc<Resources>,
    /// Whether its resources have gone back (it is terminal).
    pub recovered: bool,
    /// A KILL is outstanding, to be sent again on re-registration (rule 224).
    pub kill: Option<Option<v1::KillPolicy>>,
}

/// One operation on resources.
#[derive(Clone, Debug)]
pub struct Operation {
    /// As operators see it.
    pub info: v1::Operation,
    /// Taken from the framework's or agent's resources, allocated.
    pub consumed: Resources,
    /// Whether its resources have gone back.
    pub recovered: bool,
}

/// One outstanding offer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// Of which agent.
    pub agent: AgentId,
    /// For which of its roles.
    pub role: Role,
    /// Allocated to that role.
    pub resources: Resources,
    /// When it is rescinded, with --offer_timeout.
    pub expires: Option<Timestamp>,
}

/// One framework.
#[derive(Clone, Debug)]
pub struct Framework {
    /// As subscribed, id filled in.
    pub info: Arc<v1::FrameworkInfo>,
    /// Its roles: `roles`, or the one `role`.
    pub roles: Vec<Role>,
    /// Authenticated principal of its subscription.
    pub principal: Option<Principal>,
    /// Its capabilities as a set.
    pub capabilities: Capabilities,
    /// The open event stream and the text of its Mesos-Stream-Id.
    pub stream: Option<(StreamId, Arc<str>)>,
    /// Gets offers.
    pub active: bool,
    /// Known only from agents since this master started (rule 65).
    pub recovered: bool,
    /// Offer constraints as subscribed.
    pub constraints: Option<Arc<v1::scheduler::OfferConstraints>>,
    /// Roles it suppressed.
    pub suppressed: Vec<Role>,
    /// First subscription with this master.
    pub registered: Timestamp,
    /// Last re-subscription.
    pub reregistered: Option<Timestamp>,
    /// End, for completed ones.
    pub unregistered: Option<Timestamp>,
    /// When it is removed unless it comes back.
    pub failover_deadline: Option<Timestamp>,
    /// Oldest first, at most [`COMPLETED_TASKS_MAX`].
    pub completed_tasks: VecDeque<Arc<Task>>,
    /// Oldest first, at most [`UNREACHABLE_TASKS_MAX`].
    pub unreachable_tasks: VecDeque<Arc<Task>>,
}

/// Capabilities of a framework; unknown ones are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// May be offered revocable resources.
    pub revocable_resources: bool,
    /// Wants TASK_KILLING.
    pub task_killing_state: bool,
    /// May be offered agents with gpus.
    pub gpu_resources: bool,
    /// May be offered shared volumes.
    pub shared_resources: bool,
    /// Knows DROPPED, UNREACHABLE, GONE, GONE_BY_OPERATOR, UNKNOWN.
    pub partition_aware: bool,
    /// Uses `roles`.
    pub multi_role: bool,
    /// Gets resources with the reservations stack.
    pub reservation_refinement: bool,
    /// May be offered agents of other regions.
    pub region_aware: bool,
}
