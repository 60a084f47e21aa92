//! What is held and owed in sum, computed once per judgement.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    iter::successors,
    ops::Bound::{Included, Unbounded},
};

use mezzo_ids::{AgentId, Role};
use mezzo_resources::{Quantities, Resources};

use crate::{
    Cluster, Offer,
    cluster::{is_counted, is_within, sum},
    fair::{Client, Party},
};

/// Sums over a cluster, with offers that are held on top of it.
pub(crate) struct Sums<'a> {
    cluster: &'a Cluster,
    /// All numbers of all agents.
    total: Quantities,
    clients: BTreeMap<Client<'a>, Quantities>,
    roles: BTreeMap<&'a str, Quantities>,
    subtrees: BTreeMap<&'a str, Quantities>,
    /// By exact role: what quota counts (rule 146).
    consumed: BTreeMap<&'a str, Quantities>,
    /// What could be given to a role that is owed something.
    pub(crate) headroom: Quantities,
}

/// A role and all above it, the role first.
pub(crate) fn upward(role: &str) -> impl Iterator<Item = &str> {
    successors(Some(role), |role| Some(role.rsplit_once('/')?.0))
}

impl<'a> Sums<'a> {
    pub(crate) fn of(cluster: &'a Cluster, offers: &'a [Offer]) -> Self {
        let mut sums = Self {
            cluster,
            total: Quantities::default(),
            clients: BTreeMap::new(),
            roles: BTreeMap::new(),
            subtrees: BTreeMap::new(),
            consumed: BTreeMap::new(),
            headroom: Quantities::default(),
        };
        let mut counted: BTreeMap<&AgentId, Quantities> = BTreeMap::new();
        let held = cluster
            .held
            .iter()
            .map(|((agent, framework, role), held)| (agent, framework, role, Cow::Borrowed(held)));
        let offered = offers
            .iter()
            .map(|offer| (&offer.agent, &offer.framework, &offer.role, Cow::Owned(cluster.added_by(offer))));
        for (agent, framework, role, held) in held.chain(offered) {
            let held = &*held;
            let amounts = sum(held);
            *sums.clients.entry((framework, role)).or_default() += &amounts;
            *sums.roles.entry(role.as_str()).or_default() += &amounts;
            for above in upward(role) {
                *sums.subtrees.entry(above).or_default() += &amounts;
            }
            let amounts = sum(held.iter().filter(|resource| is_counted(resource)));
            *sums.consumed.entry(role.as_str()).or_default() += &amounts;
            *counted.entry(agent).or_default() += &amounts;
        }
        for (id, agent) in &cluster.agents {
            sums.total += &sum(&agent.total);
            let mut free = sum(agent.total.iter().filter(|resource| is_counted(resource)));
            if let Some(held) = counted.get(id) {
                free.subtract(held);
            }
            sums.headroom += &free;
            for resource in &agent.total {
                if let Some(role) = resource.top_role().filter(|_| !resource.is_revocable()) {
                    *sums.consumed.entry(role.as_str()).or_default() += &sum([resource]);
                }
            }
        }
        sums
    }

    /// Rule 146: what quota counts of a role and all below it.
    pub(crate) fn consumed(&self, role: &str) -> Quantities {
        let mut consumed = Quantities::default();
        for (_, amounts) in self.consumed.iter().filter(|(of, _)| is_within(of, role)) {
            consumed += amounts;
        }
        consumed
    }

    /// What a role is owed and does not have.
    pub(crate) fn owed(&self, role: &str) -> Quantities {
        let Some(quota) = self.cluster.quotas.get(role) else { return Quantities::default() };
        let mut owed = quota.guarantee.clone();
        owed.subtract(&self.consumed(role));
        owed
    }

    /// Rule 128: what all roles are owed.
    pub(crate) fn owed_to_all(&self) -> Quantities {
        let mut owed = Quantities::default();
        for role in self.cluster.quotas.keys() {
            owed += &self.owed(role);
        }
        owed
    }

    pub(crate) fn held_by(&self, party: &Party<'_>) -> Quantities {
        match party {
            Party::Subtree(role) => self.subtrees.get(role),
            Party::Own(role) => self.roles.get(role.as_str()),
            Party::Framework(framework, role) => self.clients.get(&(*framework, *role)),
        }
        .cloned()
        .unwrap_or_default()
    }

    /// The dominant share of amounts, divided by the party's weight (rules 121 to 125).
    pub(crate) fn share(&self, party: &Party<'_>, held: &Quantities) -> f64 {
        let settings = &self.cluster.settings;
        let weight = match party {
            Party::Subtree(role) => settings.weights.get(*role).copied().unwrap_or(1.0),
            Party::Own(_) | Party::Framework(..) => 1.0,
        };
        held.iter()
            .filter(|(name, _)| !settings.excluded.contains(name.as_str()))
            .filter(|(name, _)| !self.total.get(name).is_zero())
            .map(|(name, amount)| amount.as_f64() / self.total.get(name).as_f64() / weight)
            .fold(0.0, f64::max)
    }
}

impl Cluster {
    /// What an offer adds to the numbers that its framework holds: a shared resource counts once.
    fn added_by(&self, offer: &Offer) -> Resources {
        let resources = offer.resources.unallocated();
        let key = (offer.agent.clone(), offer.framework.clone(), offer.role.clone());
        match self.held.get(&key).filter(|_| !resources.shared().is_empty()) {
            Some(held) => resources
                .iter()
                .filter(|resource| !(resource.is_shared() && held.contains_one(resource)))
                .cloned()
                .collect(),
            None => resources,
        }
    }

    /// Everything that is held of an agent.
    pub fn held_of(&self, agent: &AgentId) -> Resources {
        let mut all = Resources::empty();
        for (_, held) in self.holders_of(agent) {
            all += held;
        }
        all
    }

    /// Who holds what of an agent.
    pub fn holders_of(
        &self,
        agent: &AgentId,
    ) -> impl Iterator<Item = (&(AgentId, mezzo_ids::FrameworkId, Role), &Resources)> {
        let first = (agent.clone(), "".into(), Role::from(""));
        self.held.range((Included(first), Unbounded)).take_while(move |((of, _, _), _)| of == agent)
    }
}
