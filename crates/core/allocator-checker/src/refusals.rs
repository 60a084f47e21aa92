//! What was refused, found by who refused it.

use std::{borrow::Borrow, collections::BTreeMap};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_time::Timestamp;

use crate::Refusal;

/// All refusals that were not taken back.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    all: BTreeMap<FrameworkId, BTreeMap<AgentId, BTreeMap<Role, Vec<Refusal>>>>,
    len: usize,
    /// Not later than the first end of any of them.
    first_end: Option<Timestamp>,
}

impl Refusals {
    /// One more.
    pub fn push(&mut self, refusal: Refusal) {
        self.len += 1;
        self.first_end = Some(self.first_end.map_or(refusal.until, |end| end.min(refusal.until)));
        let own = self.all.entry(refusal.framework.clone()).or_default();
        let own = own.entry(refusal.agent.clone()).or_default();
        own.entry(refusal.role.clone()).or_default().push(refusal);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.all.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).flatten()
    }

    /// What a framework refused of an agent in a role, oldest first.
    pub fn of(&self, framework: &str, role: &str, agent: &str) -> &[Refusal] {
        let own = self.all.get(framework).and_then(|own| own.get(agent));
        own.and_then(|own| own.get(role)).map_or(&[], Vec::as_slice)
    }

    /// Keeps those for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&Refusal) -> bool) {
        let (mut len, mut first_end) = (0, None::<Timestamp>);
        self.all.retain(|_, own| {
            own.retain(|_, own| {
                own.retain(|_, own| {
                    own.retain(&mut keep);
                    len += own.len();
                    first_end = own.iter().map(|refusal| refusal.until).chain(first_end).min();
                    !own.is_empty()
                });
                !own.is_empty()
            });
            !own.is_empty()
        });
        (self.len, self.first_end) = (len, first_end);
    }

    /// Those that end until `now` are over.
    pub fn expire(&mut self, now: Timestamp) {
        if self.first_end.is_some_and(|end| end <= now) {
            self.retain(|refusal| refusal.until > now);
        }
    }

    /// A framework takes back what it refused in these roles; in all of them when none is named.
    pub fn forget(&mut self, framework: &str, roles: &[impl Borrow<str>]) {
        let Some(own) = self.all.get_mut(framework) else { return };
        let mut forgotten = 0;
        for own in own.values_mut() {
            own.retain(|role, refusals| {
                let keeps = !roles.is_empty() && roles.iter().all(|other| other.borrow() != role.as_str());
                forgotten += if keeps { 0 } else { refusals.len() };
                keeps
            });
        }
        own.retain(|_, own| !own.is_empty());
        if own.is_empty() {
            self.all.remove(framework);
        }
        self.len -= forgotten;
    }

    /// Whatever was refused of an agent is so no more.
    pub fn forget_agent(&mut self, agent: &str) {
        let mut forgotten = 0;
        self.all.retain(|_, own| {
            forgotten += own.remove(agent).map_or(0, |own| own.values().map(Vec::len).sum());
            !own.is_empty()
        });
        self.len -= forgotten;
    }

    /// Keeps what was refused of agents for which `is_there` holds.
    pub fn retain_agents(&mut self, is_there: impl Fn(&AgentId) -> bool) {
        let mut forgotten = 0;
        self.all.retain(|_, own| {
            own.retain(|agent, own| {
                let keeps = is_there(agent);
                forgotten += if keeps { 0 } else { own.values().map(Vec::len).sum() };
                keeps
            });
            !own.is_empty()
        });
        self.len -= forgotten;
    }

    /// None is left.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Extend<Refusal> for Refusals {
    fn extend<I: IntoIterator<Item = Refusal>>(&mut self, refusals: I) {
        refusals.into_iter().for_each(|refusal| self.push(refusal));
    }
}

#[cfg(test)]
mod tests {
    use mezzo_resources::parse_resources;

    use super::*;

    fn refusals() -> Refusals {
        let mut all = Refusals::default();
        for (framework, role, agent, until) in
            [("f1", "a", "a1", 10), ("f1", "b", "a1", 20), ("f1", "a", "a1", 30), ("f2", "a", "a2", 40)]
        {
            all.push(Refusal {
                framework: framework.into(),
                role: role.into(),
                agent: agent.into(),
                resources: parse_resources("cpus:1", "*").expect("valid"),
                until: Timestamp::from_nanos(until),
            });
        }
        all
    }

    fn ends(all: &Refusals) -> Vec<i64> {
        let mut ends: Vec<_> = all.iter().map(|refusal| refusal.until.as_nanos()).collect();
        ends.sort_unstable();
        assert_eq!((all.len(), all.is_empty()), (ends.len(), ends.is_empty()));
        ends
    }

    #[test]
    fn they_are_found_and_forgotten() {
        let all = refusals();
        let found: Vec<_> = all.of("f1", "a", "a1").iter().map(|refusal| refusal.until.as_nanos()).collect();
        assert_eq!(found, [10, 30]);
        assert!(all.of("f1", "a", "a2").is_empty() && all.of("f3", "a", "a1").is_empty());
        let after = |change: fn(&mut Refusals)| {
            let mut all = refusals();
            change(&mut all);
            ends(&all)
        };
        assert_eq!(after(|all| all.expire(Timestamp::from_nanos(9))), [10, 20, 30, 40]);
        assert_eq!(after(|all| all.expire(Timestamp::from_nanos(20))), [30, 40]);
        assert_eq!(after(|all| all.forget("f1", &["a"])), [20, 40]);
        assert_eq!(after(|all| all.forget("f1", &[] as &[&str])), [40]);
        assert_eq!(after(|all| all.forget_agent("a1")), [40]);
        assert_eq!(after(|all| all.retain_agents(|agent| agent.as_str() == "a1")), [10, 20, 30]);
        assert_eq!(after(|all| all.retain(|refusal| refusal.role.as_str() == "b")), [20]);
        assert_eq!(after(Refusals::clear), []);
        // What comes later may end earlier.
        let mut all = refusals();
        all.expire(Timestamp::from_nanos(30));
        let early = Refusal { until: Timestamp::from_nanos(35), ..all.of("f2", "a", "a2")[0].clone() };
        all.extend([early]);
        all.expire(Timestamp::from_nanos(35));
        assert_eq!(ends(&all), [40]);
    }
}
