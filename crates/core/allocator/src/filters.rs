//! Remembered refusals of offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::Resources;
use mezzo_time::Timestamp;

/// What counts when nothing usable was said (rules 86, 87).
const REFUSE_DEFAULT: Duration = Duration::from_secs(5);
/// Longer refusals count as this (rule 87).
const REFUSE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Refusals kept per framework, role and agent. Each needs an offer that the others let pass, so more
/// than a few means a framework that declines ever more different things; the oldest goes then.
const FILTERS_MAX: usize = 64;

/// For how long refused resources are not offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Zero: only until the next interval, so that a scheduler which always declines at once cannot
    /// keep the master busy.
    refuse: Duration,
}

impl Filter {
    /// Of a DECLINE, or of an ACCEPT that used nothing (rules 86, 87, 104).
    pub fn of_decline(filters: Option<&v1::Filters>) -> Self {
        let seconds = filters.map_or(REFUSE_DEFAULT.as_secs_f64(), v1::Filters::refuse_seconds);
        let refuse = if seconds.is_nan() || seconds < 0.0 {
            REFUSE_DEFAULT
        } else {
            Duration::from_secs_f64(seconds.min(REFUSE_MAX.as_secs_f64()))
        };
        Self { refuse }
    }

    /// Of what an ACCEPT left over after using something (rule 102). With refuse_seconds 0 the rest is
    /// offered again at once: the framework made progress, so this is no endless exchange.
    pub fn of_leftover(filters: Option<&v1::Filters>) -> Option<Self> {
        Some(Self::of_decline(filters)).filter(|filter| !filter.refuse.is_zero())
    }

    /// When it ends: never before one interval has passed (rule 88), and at a multiple of the
    /// interval, so that many filters end together and wake the master once.
    pub(crate) fn expires(self, now: Timestamp, interval: Duration) -> Timestamp {
        if self.refuse.is_zero() {
            return round_up(now + Duration::from_nanos(1), interval);
        }
        round_up(now + self.refuse.max(interval), interval)
    }
}

fn round_up(time: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(1);
    let rest = time.as_nanos().rem_euclid(interval);
    if rest == 0 { time } else { time + Duration::from_nanos((interval - rest).unsigned_abs()) }
}

#[derive(Debug)]
struct Refusal {
    /// Without allocation.
    resources: Resources,
    expires: Timestamp,
}

/// All refusals, by framework, agent and role.
#[derive(Debug, Default)]
pub(crate) struct FilterBook {
    refusals: BTreeMap<FrameworkId, BTreeMap<(AgentId, Role), Vec<Refusal>>>,
    /// When entries of [`FilterBook::refusals`] end; exactly those, so it cannot outgrow them.
    endings: BTreeSet<(Timestamp, FrameworkId, AgentId, Role)>,
}

impl FilterBook {
    pub(crate) fn add(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        role: &Role,
        resources: Resources,
        expires: Timestamp,
    ) {
        let entry = self.refusals.entry(framework.clone()).or_default();
        let refusals = entry.entry((agent.clone(), role.clone())).or_default();
        let ending = |at| (at, framework.clone(), agent.clone(), role.clone());
        let before: Vec<Timestamp> = refusals.iter().map(|refusal| refusal.expires).collect();
        refusals.retain(|old| old.expires > expires || !resources.contains(&old.resources));
        if refusals.len() >= FILTERS_MAX {
            refusals.remove(0);
        }
        refusals.push(Refusal { resources, expires });
        for at in before {
            if !refusals.iter().any(|refusal| refusal.expires == at) {
                self.endings.remove(&ending(at));
            }
        }
        self.endings.insert(ending(expires));
    }

    /// Rule 89.
    pub(crate) fn blocks(
        &self,
        framework: &FrameworkId,
        agent: &AgentId,
        role: &Role,
        resources: &Resources,
    ) -> bool {
        self.refusals
            .get(framework)
            .and_then(|entry| entry.get(&(agent.clone(), role.clone())))
            .is_some_and(|refusals| refusals.iter().any(|old| old.resources.contains(resources)))
    }

    /// Forgets those of a framework; of the named roles only, if any are named.
    pub(crate) fn clear_framework(&mut self, framework: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
        self.clear(framework, |_, role| roles.is_none_or(|roles| roles.contains(role)));
    }

    /// Forgets those for an agent.
    pub(crate) fn clear_agent(&mut self, agent: &AgentId) {
        let frameworks: Vec<_> = self.refusals.keys().cloned().collect();
        for framework in frameworks {
            self.clear(&framework, |of, _| of == agent);
        }
    }

    fn clear(&mut self, framework: &FrameworkId, gone: impl Fn(&AgentId, &Role) -> bool) {
        let Some(entry) = self.refusals.get_mut(framework) else { return };
        let endings = &mut self.endings;
        entry.retain(|(agent, role), refusals| {
            let gone = gone(agent, role);
            if gone {
                for refusal in refusals {
                    endings.remove(&(refusal.expires, framework.clone(), agent.clone(), role.clone()));
                }
            }
            !gone
        });
        if entry.is_empty() {
            self.refusals.remove(framework);
        }
    }

    /// Ends what is over and says which agents it was about.
    pub(crate) fn expire(&mut self, now: Timestamp) -> BTreeSet<AgentId> {
        let mut agents = BTreeSet::new();
        while let Some((at, ..)) = self.endings.first() {
            if *at > now {
                break;
            }
            let Some((_, framework, agent, role)) = self.endings.pop_first() else { break };
            if let Some(entry) = self.refusals.get_mut(&framework) {
                let key = (agent, role);
                if let Some(refusals) = entry.get_mut(&key) {
                    refusals.retain(|refusal| refusal.expires > now);
                    if refusals.is_empty() {
                        entry.remove(&key);
                    }
                }
                if entry.is_empty() {
                    self.refusals.remove(&framework);
                }
                agents.insert(key.0);
            }
        }
        agents
    }

    pub(crate) fn next_ending(&self) -> Option<Timestamp> {
        self.endings.first().map(|(at, ..)| *at)
    }
}
