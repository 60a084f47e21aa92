//! Judges every allocation, with --check_allocations.
//!
//! The deciding thread hands on [`Facts`] and never waits: when the judge is behind, a pass is counted as
//! skipped, and what it changed is told with the next one. The judge keeps books of its own
//! (`mezzo-allocator-checker`), and what it finds is an error in the log and a number in the metrics, never
//! the end of anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use mezzo_allocator::Sorter;
use mezzo_allocator_checker as checker;
use mezzo_ids::{OfferId, Role};
use mezzo_judge as judge;
use mezzo_master::{
    Master,
    facts::{Facts, RefusalChange},
};
use mezzo_resources::Resources;
use mezzo_time::Timestamp;
use tracing::{error, warn};

/// Passes that may wait for the judge.
const WAITING_MAX: usize = 16;
/// Agents and offers that may wait for the judge beside those of one pass: each is a part of the state that
/// is copied when it changes meanwhile.
const WAITING_PARTS_MAX: usize = 50_000;
/// How much of a large pass is compared for fairness, some tenths of a second.
const STEPS_MAX: u64 = 1 << 18;
/// Findings of one pass that are logged one by one.
const LOGGED_MAX: usize = 10;
/// Refusals that an allocator has to remember per framework, role and agent; it may forget some of more.
const REFUSALS_OF_ONE_MAX: usize = 64;
/// Refusals that are remembered here; beyond it they are forgotten, and fairness is not judged until the last
/// of them has ended.
const REFUSALS_MAX: usize = 1_000_000;

/// What metrics show.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Passes that were judged.
    checks: AtomicU64,
    /// Passes that were not, because the judge was behind.
    skipped: AtomicU64,
    /// Things that were wrong.
    violations: AtomicU64,
    waiting: AtomicUsize,
    waiting_parts: AtomicUsize,
}

impl Counts {
    /// By the name of the metric.
    pub(crate) fn values(&self) -> [(&'static str, f64); 3] {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        [
            ("allocator/checks", value(&self.checks)),
            ("allocator/checks_skipped", value(&self.skipped)),
            ("allocator/check_violations", value(&self.violations)),
        ]
    }

    fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < WAITING_MAX
            && self.waiting_parts.load(Ordering::Relaxed) < WAITING_PARTS_MAX
    }
}

fn parts(facts: &Facts) -> usize {
    facts.agents.len() + facts.frameworks.len() + facts.refusals.len() + facts.offers.len()
}

/// The deciding thread's end.
pub(crate) struct Witness {
    judge: Sender<Facts>,
    counts: Arc<Counts>,
}

impl Witness {
    /// Starts the judge; it ends when the witness is dropped.
    pub(crate) fn start(settings: &mezzo_master::Config, counts: Arc<Counts>) -> std::io::Result<Self> {
        let (judge, waiting) = channel();
        let (books, of_judge) = (Books::new(settings), counts.clone());
        thread::Builder::new().name("judge".into()).spawn(move || judge_all(books, &waiting, &of_judge))?;
        Ok(Self { judge, counts })
    }

    /// Hands on the offers of the step that was just taken, if it made any.
    pub(crate) fn look(&self, master: &mut Master, now: Timestamp) {
        if !master.has_offers_to_judge() {
            return;
        }
        // Nobody else adds, so there is still room when the facts come.
        if self.counts.has_room()
            && let Some(facts) = master.take_facts(now)
        {
            self.counts.waiting.fetch_add(1, Ordering::Relaxed);
            self.counts.waiting_parts.fetch_add(parts(&facts), Ordering::Relaxed);
            if self.judge.send(facts).is_ok() {
                return;
            }
        }
        master.pass_over_offers();
        self.counts.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

fn judge_all(mut books: Books, waiting: &Receiver<Facts>, counts: &Counts) {
    while let Ok(facts) = waiting.recv() {
        let parts = parts(&facts);
        let wrong = books.judge(facts);
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
        counts.waiting_parts.fetch_sub(parts, Ordering::Relaxed);
        counts.violations.fetch_add(wrong.len() as u64, Ordering::Relaxed);
        counts.checks.fetch_add(1, Ordering::Relaxed);
        for violation in wrong.iter().take(LOGGED_MAX) {
            error!(%violation, "an allocation breaks a rule");
        }
        if wrong.len() > LOGGED_MAX {
            error!(more = wrong.len() - LOGGED_MAX, "an allocation breaks more rules");
        }
    }
}

/// What the judge knows.
struct Books {
    cluster: checker::Cluster,
    interval: Duration,
    is_fair: bool,
    /// Refusals that end at latest then are not known, so that who seems to be passed over may have refused.
    unknown_until: Timestamp,
}

impl Books {
    fn new(settings: &mezzo_master::Config) -> Self {
        let allocator = &settings.allocator;
        let mut cluster = checker::Cluster::default();
        cluster.settings.excluded.clone_from(&allocator.fair_sharing_excluded_names);
        cluster.settings.minimums.clone_from(&allocator.min_allocatable);
        cluster.settings.filter_gpus = allocator.filter_gpu_resources;
        let domain = allocator.master_domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        cluster.settings.region = domain.map(|domain| domain.region.name.clone());
        let is_fair = [allocator.role_sorter, allocator.framework_sorter] == [Sorter::FairShare; 2];
        let interval = allocator.allocation_interval;
        Self { cluster, interval, is_fair, unknown_until: Timestamp::ZERO }
    }

    /// Takes facts into the books and judges the offers among them.
    fn judge(&mut self, facts: Facts) -> Vec<checker::Violation> {
        let now = facts.now;
        let offers = self.learn(facts);
        self.cluster.settings.is_fair = self.is_fair && self.unknown_until <= now;
        let mut wrong = self.cluster.judge_within(now, &offers, STEPS_MAX).wrong;
        wrong.retain(|violation| !self.may_be_forgotten(violation));
        self.cluster.take(&offers);
        wrong
    }

    /// Whether more was refused than an allocator has to remember.
    fn may_be_forgotten(&self, violation: &checker::Violation) -> bool {
        let checker::Violation::NotFor { agent, framework, role, rule: 89 } = violation else { return false };
        self.cluster.refusals.of(framework, role, agent).len() >= REFUSALS_OF_ONE_MAX
    }

    fn learn(&mut self, facts: Facts) -> Vec<checker::Offer> {
        let cluster = &mut self.cluster;
        if facts.is_whole {
            cluster.agents.clear();
            cluster.frameworks.clear();
            cluster.held.clear();
        }
        let fresh: BTreeSet<OfferId> = facts.offers.into_iter().collect();
        let mut offers = Vec::new();
        for (id, agent) in facts.agents {
            let held: Vec<_> = cluster.holders_of(&id).map(|(key, _)| key.clone()).collect();
            for key in held {
                cluster.held.remove(&key);
            }
            let Some(agent) = agent else {
                cluster.agents.remove(&id);
                continue;
            };
            for (framework, used) in &agent.used {
                judge::hold(cluster, &id, framework, used);
            }
            for offer in agent.offers.values() {
                if fresh.contains(&offer.id) {
                    offers.push(judge::offer(offer));
                } else {
                    judge::hold(cluster, &id, &offer.framework, &offer.resources);
                }
            }
            cluster.agents.insert(id, judge::agent(&agent));
        }
        for (id, framework) in facts.frameworks {
            match framework {
                Some(framework) => drop(cluster.frameworks.insert(id, judge::framework(&framework))),
                None => drop(cluster.frameworks.remove(&id)),
            }
        }
        if let Some(policy) = facts.policy {
            cluster.settings.weights = policy.weights;
            let quota = |quota: mezzo_allocator::Quota| checker::Quota {
                guarantee: quota.guarantee,
                limit: quota.limit,
            };
            let quotas = policy.quotas.into_iter().map(|(role, of)| (role, quota(of)));
            cluster.quotas = quotas.collect();
        }
        if let Some(until) = facts.refusals_missing_until {
            self.unknown_until = self.unknown_until.max(until);
        }
        for change in facts.refusals {
            self.on_refusal(change);
        }
        self.cluster.refusals.expire(facts.now);
        if self.cluster.refusals.len() > REFUSALS_MAX {
            warn!("too many refusals to judge fairness");
            let forgotten = self.cluster.refusals.iter().map(|refusal| refusal.until);
            self.unknown_until = forgotten.fold(self.unknown_until, Timestamp::max);
            self.cluster.refusals.clear();
        }
        offers
    }

    fn on_refusal(&mut self, change: RefusalChange) {
        let refusals = &mut self.cluster.refusals;
        match change {
            RefusalChange::Made(refusal) => {
                let until = until(refusal.at, refusal.refused_for, self.interval);
                let mut by_role: BTreeMap<Role, Resources> = BTreeMap::new();
                for resource in &refusal.resources {
                    *by_role.entry(judge::role_of(resource)).or_default() += judge::plain(resource);
                }
                refusals.extend(by_role.into_iter().map(|(role, resources)| checker::Refusal {
                    framework: refusal.framework.clone(),
                    role,
                    agent: refusal.agent.clone(),
                    resources,
                    until,
                }));
            }
            RefusalChange::Forgotten(framework, roles) => refusals.forget(&framework, &roles),
            RefusalChange::AgentForgotten(agent) => refusals.forget_agent(&agent),
        }
    }
}

/// When a refusal ends: at a multiple of the interval, and not before one has passed (rule 88).
fn until(at: Timestamp, refused_for: Duration, interval: Duration) -> Timestamp {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let interval = nanos(interval).max(1);
    let least = if refused_for.is_zero() { 1 } else { nanos(refused_for).max(interval) };
    let at = at.as_nanos().saturating_add(least);
    Timestamp::from_nanos(at.saturating_add(interval - 1).div_euclid(interval).saturating_mul(interval))
}

#[cfg(test)]
pub(crate) mod tests;
