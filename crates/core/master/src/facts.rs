//! What somebody must know who judges offers without trusting the allocator.
//!
//! The [`Ledger`] notes who changed, and what was refused; [`Master::take_facts`] then shares their parts of
//! the state, so that what this costs follows what changed, and everything else is computed by whoever
//! judges, on a thread of his. Facts that nobody took are kept, so that a pass which is not judged leaves no
//! gap in what is known. All of this is from the master's own books; the allocator is not asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_allocator::Filter;
use mezzo_ids::{AgentId, FrameworkId, OfferId, Role};
use mezzo_resources::Resources;
use mezzo_time::Timestamp;

use crate::{
    master::Master,
    state::{Agent, Framework, Quota},
};

/// Agents or frameworks that are noted one by one; when more have changed, all are told.
const CHANGED_MAX: usize = 200_000;
/// Refusals that are kept until somebody takes them; the judge is told when some are missing.
const REFUSALS_MAX: usize = 200_000;

/// What is known, as far as it changed since the last facts, and the offers to be judged.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the offers were made.
    pub now: Timestamp,
    /// Whatever is not named here is not there: these are the first facts, or too much has changed.
    pub is_whole: bool,
    /// Agents as they are with these offers; `None` when they are gone.
    pub agents: Vec<(AgentId, Option<Arc<Agent>>)>,
    /// Frameworks; `None` when they are gone.
    pub frameworks: Vec<(FrameworkId, Option<Arc<Framework>>)>,
    /// Weights and quotas, if any changed.
    pub policy: Option<Policy>,
    /// What was refused or is refused no more, in order.
    pub refusals: Vec<RefusalChange>,
    /// Some refusals that end at latest then are missing.
    pub refusals_missing_until: Option<Timestamp>,
    /// The offers, in the order in which they were made; they are with their agents.
    pub offers: Vec<OfferId>,
}

/// What an operator decided on roles.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Explicit weights, flags and updates.
    pub weights: BTreeMap<Role, f64>,
    /// Quotas.
    pub quotas: BTreeMap<Role, Quota>,
}

/// News on what may not be offered again.
#[derive(Clone, Debug)]
pub enum RefusalChange {
    /// Offered resources were refused, or left over.
    Made(Refusal),
    /// Whatever a framework refused in these roles; in all of them when none is named.
    Forgotten(FrameworkId, Vec<Role>),
    /// Whatever was refused of an agent.
    AgentForgotten(AgentId),
}

/// One refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Who refused.
    pub framework: FrameworkId,
    /// Of which agent.
    pub agent: AgentId,
    /// What, with allocation roles.
    pub resources: Resources,
    /// When.
    pub at: Timestamp,
    /// For how long; zero is until the next interval (rules 86 to 88).
    pub refused_for: Duration,
}

/// Ids of what changed, most of them once.
#[derive(Debug)]
struct Changed<Id> {
    ids: Vec<Id>,
    /// The list is looked through for doubles when it is this long.
    tidy_at: usize,
}

impl<Id: Ord + Clone> Changed<Id> {
    const TIDY_MIN: usize = 1024;

    fn new() -> Self {
        Self { ids: Vec::new(), tidy_at: Self::TIDY_MIN }
    }

    fn note(&mut self, id: &Id) {
        if self.ids.last() == Some(id) {
            return;
        }
        self.ids.push(id.clone());
        if self.ids.len() >= self.tidy_at {
            self.tidy();
            self.tidy_at = (2 * self.ids.len()).max(Self::TIDY_MIN);
        }
    }

    fn tidy(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
    }

    fn take(&mut self) -> Vec<Id> {
        self.tidy();
        std::mem::replace(self, Self::new()).ids
    }
}

/// What changed since facts were last taken.
#[derive(Debug)]
pub(crate) struct Ledger {
    is_whole: bool,
    policy_changed: bool,
    agents: Changed<AgentId>,
    frameworks: Changed<FrameworkId>,
    refusals: Vec<RefusalChange>,
    missing_until: Option<Timestamp>,
    offers: Vec<OfferId>,
}

impl Ledger {
    fn new() -> Self {
        Self {
            is_whole: true,
            policy_changed: true,
            agents: Changed::new(),
            frameworks: Changed::new(),
            refusals: Vec::new(),
            missing_until: None,
            offers: Vec::new(),
        }
    }

    pub(crate) fn agent(&mut self, id: &AgentId) {
        if !self.is_whole {
            self.agents.note(id);
            self.limit();
        }
    }

    pub(crate) fn framework(&mut self, id: &FrameworkId) {
        if !self.is_whole {
            self.frameworks.note(id);
            self.limit();
        }
    }

    fn limit(&mut self) {
        if self.agents.ids.len() > 2 * CHANGED_MAX || self.frameworks.ids.len() > 2 * CHANGED_MAX {
            self.is_whole = true;
            self.agents = Changed::new();
            self.frameworks = Changed::new();
        }
    }

    pub(crate) fn policy(&mut self) {
        self.policy_changed = true;
    }

    pub(crate) fn offer(&mut self, id: &OfferId) {
        self.offers.push(id.clone());
    }

    pub(crate) fn refusal(&mut self, change: RefusalChange) {
        if self.refusals.len() == REFUSALS_MAX {
            let ends = self.refusals.iter().filter_map(|change| match change {
                RefusalChange::Made(refusal) => Some(refusal.ends_before()),
                _ => None,
            });
            self.missing_until = ends.chain(self.missing_until).max();
            self.refusals.clear();
        }
        self.refusals.push(change);
    }
}

impl Refusal {
    /// The longest interval that anybody rounds up to (rule 88) is far below a day.
    fn ends_before(&self) -> Timestamp {
        self.at + self.refused_for + Duration::from_secs(24 * 3600)
    }
}

impl Master {
    /// Keeps [`Facts`] from here on: all that is known is in the first of them.
    pub fn keep_facts(&mut self) {
        self.ledger = Some(Box::new(Ledger::new()));
    }

    /// Whether offers were made since facts were last taken or passed over.
    pub fn has_offers_to_judge(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| !ledger.offers.is_empty())
    }

    /// The offers of the last step are not judged by anybody; what changed is told later.
    pub fn pass_over_offers(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.offers.clear();
        }
    }

    /// What changed since the last time, and the offers of the last step. To be taken right after it, before
    /// the next, because agents are shown as they are.
    pub fn take_facts(&mut self, now: Timestamp) -> Option<Facts> {
        let ledger = self.ledger.as_mut()?;
        let state = &self.state;
        let (agents, frameworks) = if ledger.is_whole {
            (
                state.agents.iter().map(|(id, agent)| (id.clone(), Some(agent.clone()))).collect(),
                state.frameworks.iter().map(|(id, known)| (id.clone(), Some(known.clone()))).collect(),
            )
        } else {
            let agent = |id: AgentId| {
                let agent = state.agents.get(&id).cloned();
                (id, agent)
            };
            let framework = |id: FrameworkId| {
                let framework = state.frameworks.get(&id).cloned();
                (id, framework)
            };
            (
                ledger.agents.take().into_iter().map(agent).collect(),
                ledger.frameworks.take().into_iter().map(framework).collect(),
            )
        };
        let policy = std::mem::take(&mut ledger.policy_changed).then(|| {
            let mut weights = self.config.allocator.weights.clone();
            weights.extend(state.weights.clone());
            Policy { weights, quotas: state.quotas.clone() }
        });
        Some(Facts {
            now,
            is_whole: std::mem::take(&mut ledger.is_whole),
            agents,
            frameworks,
            policy,
            refusals: std::mem::take(&mut ledger.refusals),
            refusals_missing_until: ledger.missing_until.take(),
            offers: std::mem::take(&mut ledger.offers),
        })
    }

    /// Gives offered resources back; under a filter they are refused.
    pub(crate) fn return_offered(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        filter: Option<Filter>,
    ) {
        self.allocator.recover(now, framework, agent, resources, filter);
        if let (Some(ledger), Some(filter)) = (&mut self.ledger, filter) {
            ledger.refusal(RefusalChange::Made(Refusal {
                framework: framework.clone(),
                agent: agent.clone(),
                resources: resources.clone(),
                at: now,
                refused_for: filter.refused_for(),
            }));
        }
    }

    /// What a framework refused in these roles counts no more; in all of them when none is named.
    pub(crate) fn note_forgotten(&mut self, framework: &FrameworkId, roles: impl IntoIterator<Item = Role>) {
        if let Some(ledger) = &mut self.ledger {
            ledger.refusal(RefusalChange::Forgotten(framework.clone(), roles.into_iter().collect()));
        }
    }

    /// What was refused of an agent counts no more.
    pub(crate) fn note_agent_forgotten(&mut self, agent: &AgentId) {
        if let Some(ledger) = &mut self.ledger {
            ledger.refusal(RefusalChange::AgentForgotten(agent.clone()));
        }
    }

    pub(crate) fn note_agent(&mut self, id: &AgentId) {
        if let Some(ledger) = &mut self.ledger {
            ledger.agent(id);
        }
    }

    pub(crate) fn note_framework(&mut self, id: &FrameworkId) {
        if let Some(ledger) = &mut self.ledger {
            ledger.framework(id);
        }
    }

    pub(crate) fn note_policy(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.policy();
        }
    }
}
