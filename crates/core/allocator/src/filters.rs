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

/// Endings of filters that were cleared stay until they come up, which may be a year; more than this
/// many are swept out.
const STALE_ENDINGS_MAX: usize = 1024;

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
    /// How many there are.
    live: usize,
    /// When each ends. Those that went before are still here, but never more than the live ones and
    /// [`STALE_ENDINGS_MAX`].
    endings: BTreeMap<Timestamp, Vec<(FrameworkId, AgentId, Role)>>,
    endings_len: usize,
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
        let before = refusals.len();
        refusals.retain(|old| old.expires > expires || !resources.contains(&old.resources));
        if refusals.len() >= FILTERS_MAX {
            refusals.remove(0);
        }
        refusals.push(Refusal { resources, expires });
        self.live = self.live + refusals.len() - before;
        let ending = (framework.clone(), agent.clone(), role.clone());
        self.endings.entry(expires).or_default().push(ending);
        self.endings_len += 1;
        if self.endings_len > 2 * self.live + STALE_ENDINGS_MAX {
            self.sweep_endings();
        }
    }

    fn sweep_endings(&mut self) {
        self.endings.clear();
        self.endings_len = self.live;
        for (framework, entry) in &self.refusals {
            for ((agent, role), refusals) in entry {
                for refusal in refusals {
                    let ending = (framework.clone(), agent.clone(), role.clone());
                    self.endings.entry(refusal.expires).or_default().push(ending);
                }
            }
        }
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
        let live = &mut self.live;
        entry.retain(|(agent, role), refusals| {
            let gone = gone(agent, role);
            if gone {
                *live -= refusals.len();
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
        while let Some(due) = self.endings.first_entry().filter(|due| *due.key() <= now) {
            let endings = due.remove();
            self.endings_len -= endings.len();
            for (framework, agent, role) in endings {
                if self.end(&framework, &agent, &role, now) {
                    agents.insert(agent);
                }
            }
        }
        agents
    }

    /// Ends what is over of one framework, agent and role, and says whether that was anything.
    fn end(&mut self, framework: &FrameworkId, agent: &AgentId, role: &Role, now: Timestamp) -> bool {
        let Some(entry) = self.refusals.get_mut(framework) else { return false };
        let key = (agent.clone(), role.clone());
        let Some(refusals) = entry.get_mut(&key) else { return false };
        let before = refusals.len();
        refusals.retain(|refusal| refusal.expires > now);
        let ended = before - refusals.len();
        self.live -= ended;
        if refusals.is_empty() {
            entry.remove(&key);
        }
        if entry.is_empty() {
            self.refusals.remove(framework);
        }
        ended > 0
    }

    pub(crate) fn count_by_role(&self) -> BTreeMap<Role, usize> {
        let mut counts = BTreeMap::new();
        for ((_, role), refusals) in self.refusals.values().flatten() {
            *counts.entry(role.clone()).or_default() += refusals.len();
        }
        counts
    }

    pub(crate) fn next_ending(&self) -> Option<Timestamp> {
        self.endings.first_key_value().map(|(at, _)| *at)
    }
}
