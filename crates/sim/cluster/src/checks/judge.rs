//! Every pass of the allocator is judged by the independent checker, on facts that reads show, and at the
//! end nothing is overlooked.

use mezzo_allocator_checker as checker;
use mezzo_ids::{FrameworkId, OfferId, Role};
use mezzo_judge as judge;
use mezzo_master::state::{Agent, Snapshot};
use mezzo_mesos::v1::{self, scheduler::call};
use mezzo_resources::{Name, Resources, Scalar};
use mezzo_time::Timestamp;

use crate::{
    scheduler::Scheduler,
    setup::{Behaviour, Setup},
    world::World,
};

/// What a refusal counts for that says nothing, in seconds (rule 86).
const REFUSE_DEFAULT: f64 = 5.0;
/// Longer ones count as this (rule 87).
const REFUSE_MAX: f64 = 365.0 * 24.0 * 3600.0;

/// What the checker is asked about.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The cluster as it was seen last; what was refused is as the calls said.
    facts: checker::Cluster,
    /// ACCEPTs of the step that is being taken: who, what of which agent, and for how long the rest is
    /// refused.
    accepted: Vec<Accepted>,
}

#[derive(Debug)]
struct Accepted {
    offer: checker::Offer,
    tasks: Vec<String>,
    seconds: f64,
    uses_something: bool,
}

impl Bench {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self { facts: settings(setup), accepted: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.facts.refusals.clear();
        self.accepted.clear();
    }

    pub(crate) fn forget(&mut self, framework: &str, roles: &[String]) {
        self.facts.refusals.forget(framework, roles);
    }

    pub(crate) fn forget_agent(&mut self, agent: &str) {
        self.facts.refusals.forget_agent(agent);
    }

    /// What an ACCEPT left over is refused as well.
    fn judge_leftovers(&mut self, now: Timestamp, snapshot: &Snapshot, interval: i64) {
        for accepted in std::mem::take(&mut self.accepted) {
            if accepted.uses_something && accepted.seconds == 0.0 {
                continue;
            }
            let Some(agent) = snapshot.agents.get(&accepted.offer.agent) else { continue };
            let mut left = accepted.offer.resources.clone();
            let own = |framework: &FrameworkId| *framework == accepted.offer.framework;
            let launched = agent.tasks.iter().filter(|((framework, task), _)| {
                own(framework) && accepted.tasks.iter().any(|id| id == task.as_str())
            });
            let mut executors: Vec<&v1::ExecutorId> = Vec::new();
            for (_, task) in launched {
                left.subtract(&task.resources.unallocated());
                if let Some(executor) = task.info.executor_id.as_ref().filter(|id| !executors.contains(id)) {
                    executors.push(executor);
                }
            }
            for ((framework, id), executor) in &agent.executors {
                if own(framework) && executors.iter().any(|known| known.value == id.as_str()) {
                    let taken = Resources::from_proto(&executor.resources).unwrap_or_default();
                    left.subtract(&taken.unallocated());
                }
            }
            if !left.is_empty() {
                self.facts.refusals.push(checker::Refusal {
                    framework: accepted.offer.framework,
                    role: accepted.offer.role,
                    agent: accepted.offer.agent,
                    resources: left,
                    until: until(now, accepted.seconds, interval),
                });
            }
        }
    }

    /// Looks at the cluster as it was before these offers, and gives the offers.
    fn learn(&mut self, snapshot: &Snapshot, sent: &[OfferId], absurd: &[&str]) -> Vec<checker::Offer> {
        let facts = &mut self.facts;
        // Agents that left and came back are offered afresh.
        facts.refusals.retain_agents(|agent| snapshot.agents.contains_key(agent));
        facts.agents.retain(|agent, _| snapshot.agents.contains_key(agent));
        facts.frameworks.retain(|framework, _| snapshot.frameworks.contains_key(framework));
        facts.held.clear();
        let mut offers = Vec::new();
        for (id, agent) in &snapshot.agents {
            match facts.agents.get_mut(id) {
                Some(known) if is_same(known, agent) => known.is_offered = agent.active,
                _ => drop(facts.agents.insert(id.clone(), judge::agent(agent))),
            }
            for (framework, used) in &agent.used {
                judge::hold(facts, id, framework, used);
            }
            for offer in agent.offers.values() {
                if sent.contains(&offer.id) {
                    offers.push(judge::offer(offer));
                } else {
                    judge::hold(facts, id, &offer.framework, &offer.resources);
                }
            }
        }
        for (id, framework) in &snapshot.frameworks {
            // The last of its patterns lets everything pass; the others only cost time.
            let is_absurd = absurd.contains(&framework.info.name.as_str());
            let mut framework = judge::framework(framework);
            if is_absurd {
                framework.constraints = None;
            }
            facts.frameworks.insert(id.clone(), framework);
        }
        offers
    }
}

/// Whether an agent is still what is known of it, but for whether it is offered.
fn is_same(known: &checker::Agent, agent: &Agent) -> bool {
    known.total == *agent.total
        && known.hostname == agent.info.hostname
        && known.domain == agent.info.domain
        && known.attributes == agent.info.attributes
}

/// When a refusal ends: at a multiple of the interval, and not before one has passed (rule 88).
fn until(now: Timestamp, seconds: f64, interval: i64) -> Timestamp {
    let seconds = if seconds.is_nan() || seconds < 0.0 { REFUSE_DEFAULT } else { seconds.min(REFUSE_MAX) };
    let least = if seconds == 0.0 { 1 } else { ((seconds * 1e9) as i64).max(interval) };
    let at = now.as_nanos() + least;
    Timestamp::from_nanos((at + interval - 1).div_euclid(interval) * interval)
}

impl World<'_> {
    fn interval(&self) -> i64 {
        i64::try_from(self.setup.master.allocation_interval.as_nanos()).unwrap_or(i64::MAX).max(1)
    }

    /// A call that the master will admit is about to be taken.
    pub(crate) fn judge_call(&mut self, now: Timestamp, call: &v1::scheduler::Call) {
        let kind = call.r#type();
        let matters = matches!(kind, call::Type::Decline | call::Type::Accept | call::Type::Revive);
        let judges = self.setup.judge_offers && matters;
        let Some(core) = self.master.core.as_ref().filter(|_| judges) else { return };
        let framework = call.framework_id.as_ref().map_or("", |id| id.value.as_str());
        let offers = core.state();
        let find = |id: &v1::OfferId| {
            let offer =
                offers.agents.values().find_map(|agent| agent.offers.get(id.value.as_str()).cloned())?;
            (offer.framework.as_str() == framework).then(|| judge::offer(&offer))
        };
        let seconds =
            |filters: Option<&v1::Filters>| filters.map_or(REFUSE_DEFAULT, v1::Filters::refuse_seconds);
        match kind {
            call::Type::Decline => {
                let Some(decline) = &call.decline else { return };
                let interval = self.interval();
                let refused: Vec<_> = decline.offer_ids.iter().filter_map(find).collect();
                let until = until(now, seconds(decline.filters.as_ref()), interval);
                self.checks.bench.facts.refusals.extend(refused.into_iter().map(|offer| checker::Refusal {
                    framework: offer.framework,
                    role: offer.role,
                    agent: offer.agent,
                    resources: offer.resources,
                    until,
                }));
            }
            call::Type::Accept => {
                let Some(accept) = &call.accept else { return };
                let offers: Vec<_> = accept.offer_ids.iter().map(find).collect();
                // Several offers at once are not played here.
                let [Some(offer)] = offers.as_slice() else { return };
                let tasks = mezzo_sdk::tasks::launched_ids(&accept.operations);
                let seconds = seconds(accept.filters.as_ref());
                let uses_something = !accept.operations.is_empty();
                let accepted = Accepted { offer: offer.clone(), tasks, seconds, uses_something };
                self.checks.bench.accepted.push(accepted);
            }
            call::Type::Revive => {
                let roles = call.revive.as_ref().map_or(&[][..], |revive| &revive.roles);
                self.checks.bench.forget(framework, roles);
            }
            _ => {}
        }
    }

    /// After a step: `sent` are the offers it made.
    pub(crate) fn judge_step(&mut self, now: Timestamp, sent: &[OfferId]) {
        if !self.setup.judge_offers || (sent.is_empty() && self.checks.bench.accepted.is_empty()) {
            return;
        }
        let interval = self.interval();
        let Some(state) = self.master.core.as_ref().map(|core| core.state()) else { return };
        let bench = &mut self.checks.bench;
        bench.judge_leftovers(now, state, interval);
        if sent.is_empty() || !are_set(&self.setup, state) {
            return;
        }
        bench.facts.refusals.expire(recently(now, interval));
        let offers = bench.learn(state, sent, &absurd(&self.schedulers));
        // All that was sent has to be among what reads show.
        if offers.len() < sent.len() {
            return;
        }
        let wrong = bench.facts.judge(now, &offers);
        if let Some(first) = wrong.first() {
            let what = format!("{first}; {} in all", wrong.len());
            self.violate("offers are what the rules give", what);
        }
    }

    /// With everything at rest, nobody could be given anything that he was not.
    pub(crate) fn judge_rest(&mut self, now: Timestamp) -> Vec<String> {
        if !self.setup.judge_offers {
            return Vec::new();
        }
        let interval = self.interval();
        let Some(state) = self.master.core.as_ref().map(|core| core.state()) else { return Vec::new() };
        let bench = &mut self.checks.bench;
        bench.learn(state, &[], &absurd(&self.schedulers));
        bench.facts.overlooked(recently(now, interval)).into_iter().map(|wrong| wrong.to_string()).collect()
    }
}

/// What has ended since then counts as if it had not, when somebody seems to be overlooked: his turn comes
/// with the next pass.
fn recently(now: Timestamp, interval: i64) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(3 * interval))
}

/// Whether the master has taken what the operator chose.
fn are_set(setup: &Setup, state: &Snapshot) -> bool {
    setup.roles.iter().all(|role| {
        (role.weight == 1.0 || state.weights.contains_key(role.name.as_str()))
            && (!role.has_quota() || state.quotas.contains_key(role.name.as_str()))
    })
}

/// Names of frameworks whose constraints let everything pass.
fn absurd(schedulers: &[Scheduler]) -> Vec<&str> {
    let absurd = schedulers.iter().filter(|scheduler| scheduler.setup.behaviour == Behaviour::Absurd);
    absurd.map(|scheduler| scheduler.setup.name.as_str()).collect()
}

/// What the operator chose, as he meant it.
fn settings(setup: &Setup) -> checker::Cluster {
    let defaults = mezzo_allocator::Config::default();
    let mut facts = checker::Cluster::default();
    facts.settings.minimums = defaults.min_allocatable;
    facts.settings.filter_gpus = true;
    facts.settings.is_fair = setup.master.sorter == mezzo_allocator::Sorter::FairShare;
    for role in &setup.roles {
        if role.weight != 1.0 {
            facts.settings.weights.insert(Role::from(role.name.as_str()), role.weight);
        }
        if !role.has_quota() {
            continue;
        }
        let amount = |(name, amount): (&String, &f64)| (Name::from(name.as_str()), Scalar::from_f64(*amount));
        let quota = checker::Quota {
            guarantee: role.guarantee.iter().map(amount).collect(),
            limit: role.limit.iter().map(amount).collect(),
        };
        facts.quotas.insert(Role::from(role.name.as_str()), quota);
    }
    facts
}
