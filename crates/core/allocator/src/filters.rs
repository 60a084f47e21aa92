//! Remembered refusals of offers.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use mezzo_ids::Role;
use mezzo_mesos::v1;
use mezzo_time::Timestamp;

use crate::{
    Allocator,
    agent::{Agent, Refusal, refuser},
    amounts::Common,
    bundle::Bundle,
};

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

    /// For how long; zero is until the next interval.
    pub fn refused_for(self) -> Duration {
        self.refuse
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

/// When refusals end. The refusals themselves are with their agents.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    /// Those of refusals that were forgotten are still here, but never more than the live ones and
    /// [`STALE_ENDINGS_MAX`].
    endings: BTreeMap<Timestamp, Vec<(u32, u32)>>,
    len: usize,
    /// How many refusals count.
    live: usize,
}

impl Endings {
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.endings.first_key_value().map(|(at, _)| *at)
    }

    fn add(&mut self, expires: Timestamp, agent: u32, client: u32) {
        self.endings.entry(expires).or_default().push((agent, client));
        self.len += 1;
    }
}

/// The keys of a client's refusals.
fn keys(client: u32) -> RangeInclusive<(u32, u32)> {
    (client, 0)..=(client, u32::MAX)
}

impl Agent {
    /// Rule 89: whether all of `common` and of the special resources was refused.
    pub(crate) fn was_refused(
        &self,
        client: u32,
        epoch: u64,
        common: &Common,
        rare: impl Fn(&Refusal) -> bool,
    ) -> bool {
        self.refusers & refuser(client) != 0
            && self.rest.refusals.range(keys(client)).any(|(_, refusal)| {
                refusal.epoch == epoch
                    && refusal.bundle.common.iter().zip(common).all(|(refused, wanted)| refused >= wanted)
                    && rare(refusal)
            })
    }
}

impl Allocator {
    pub(crate) fn add_filter(&mut self, agent: u32, client: u32, bundle: Bundle, expires: Timestamp) {
        let epoch = self.roles.clients[client].epoch;
        let known = &mut self.agents[agent];
        known.refusers |= refuser(client);
        let refusals = &mut known.rest.refusals;
        let (mut kept, mut gone, mut oldest, mut next) = (0, Vec::new(), None, 0);
        for (key, old) in refusals.range(keys(client)) {
            let is_covered = old.expires <= expires && bundle.contains(&old.bundle);
            if old.epoch != epoch || is_covered {
                gone.push((*key, old.epoch == epoch));
            } else {
                kept += 1;
                oldest = oldest.or(Some(*key));
            }
            next = key.1.saturating_add(1);
        }
        if kept >= FILTERS_MAX {
            gone.extend(oldest.map(|key| (key, true)));
        }
        let mut ended = 0;
        for (key, counted) in gone {
            refusals.remove(&key);
            ended += usize::from(counted);
        }
        refusals.insert((client, next), Refusal { bundle, expires, epoch });
        let refusals = &mut self.roles.clients[client].refusals;
        *refusals = *refusals + 1 - ended;
        self.endings.live = self.endings.live + 1 - ended;
        self.endings.add(expires, agent, client);
        if self.endings.len > 2 * self.endings.live + STALE_ENDINGS_MAX {
            self.sweep_filters();
        }
    }

    /// Forgets what does not count any more.
    fn sweep_filters(&mut self) {
        let mut endings = Endings { live: self.endings.live, ..Endings::default() };
        let slots: Vec<u32> = self.agents.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let clients = &self.roles.clients;
            let agent = &mut self.agents[slot];
            agent.refusers = 0;
            agent.rest.refusals.retain(|(client, _), refusal| {
                let counts = clients.get(*client).is_some_and(|known| known.epoch == refusal.epoch);
                if counts {
                    endings.add(refusal.expires, slot, *client);
                    agent.refusers |= refuser(*client);
                }
                counts
            });
        }
        self.endings = endings;
    }

    /// Forgets those of a framework in a role.
    pub(crate) fn clear_filters_of_client(&mut self, client: u32) {
        self.endings.live -= self.roles.clients[client].refusals;
        self.roles.begin_epoch(client);
    }

    /// Forgets those for an agent.
    pub(crate) fn clear_filters_for(&mut self, agent: u32) {
        for ((client, _), refusal) in std::mem::take(&mut self.agents[agent].rest.refusals) {
            self.forget_refusal(client, &refusal);
        }
    }

    fn forget_refusal(&mut self, client: u32, refusal: &Refusal) {
        if let Some(known) = self.roles.clients.get_mut(client)
            && known.epoch == refusal.epoch
        {
            known.refusals -= 1;
            self.endings.live -= 1;
        }
    }

    /// Ends what is over and says which agents and clients it was about, sorted.
    pub(crate) fn expire_filters(&mut self, now: Timestamp) -> Vec<(u32, u32)> {
        let mut ended = Vec::new();
        while let Some(due) = self.endings.endings.first_entry().filter(|due| *due.key() <= now) {
            let endings = due.remove();
            self.endings.len -= endings.len();
            for (agent, client) in endings {
                if self.end_filters(agent, client, now) {
                    ended.push((agent, client));
                }
            }
        }
        ended.sort_unstable();
        ended.dedup();
        ended
    }

    /// Ends what is over of one agent and client, and says whether that was anything that counted.
    fn end_filters(&mut self, agent: u32, client: u32, now: Timestamp) -> bool {
        let Some(known) = self.agents.get_mut(agent) else { return false };
        let refusals = &mut known.rest.refusals;
        let over: Vec<(u32, u32)> = refusals
            .range(keys(client))
            .filter(|(_, refusal)| refusal.expires <= now)
            .map(|(key, _)| *key)
            .collect();
        let over: Vec<Refusal> = over.iter().filter_map(|key| refusals.remove(key)).collect();
        if refusals.is_empty() {
            known.refusers = 0;
        }
        let before = self.endings.live;
        known.settled = 0;
        for refusal in &over {
            self.forget_refusal(client, refusal);
        }
        self.endings.live < before
    }

    /// Filters that have not ended, by role.
    pub(crate) fn count_filters(&self) -> BTreeMap<Role, usize> {
        let mut counts = BTreeMap::new();
        for (_, client) in self.roles.clients.iter().filter(|(_, client)| client.refusals > 0) {
            *counts.entry(self.roles.nodes[client.role].role.clone()).or_default() += client.refusals;
        }
        counts
    }
}
