//! What is held and owed in sum, computed once per judgement.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    iter::successors,
    ops::Bound::{Included, Unbounded},
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Quantities, Resource, Resources};

use crate::{
    Cluster, Offer, Settings,
    cluster::{is_counted, is_within, sum},
    fair::{Client, Party},
};

/// A role and all above it, the role first.
pub(crate) fn upward(role: &str) -> impl Iterator<Item = &str> {
    successors(Some(role), |role| Some(role.rsplit_once('/')?.0))
}

/// What quota looks at, with offers that are held on top of the cluster. Nothing is summed up where there
/// is no quota.
pub(crate) struct Consumption<'a> {
    cluster: &'a Cluster,
    /// By exact role: what quota counts (rule 146).
    roles: BTreeMap<&'a str, Quantities>,
    /// What could be given to a role that is owed something.
    pub(crate) headroom: Quantities,
}

impl<'a> Consumption<'a> {
    pub(crate) fn of(cluster: &'a Cluster, offers: &'a [Offer]) -> Self {
        let mut sums = Self { cluster, roles: BTreeMap::new(), headroom: Quantities::default() };
        if cluster.quotas.is_empty() {
            return sums;
        }
        let mut counted: BTreeMap<&AgentId, Quantities> = BTreeMap::new();
        for (agent, _, role, held) in held(cluster, offers) {
            let amounts = sum(held.iter().filter(|resource| is_counted(resource)));
            *sums.roles.entry(role.as_str()).or_default() += &amounts;
            *counted.entry(agent).or_default() += &amounts;
        }
        for (id, agent) in &cluster.agents {
            let mut free = sum(agent.total.iter().filter(|resource| is_counted(resource)));
            if let Some(held) = counted.get(id) {
                free.subtract(held);
            }
            sums.headroom += &free;
            for resource in &agent.total {
                if let Some(role) = resource.top_role().filter(|_| !resource.is_revocable()) {
                    *sums.roles.entry(role.as_str()).or_default() += &sum([resource]);
                }
            }
        }
        sums
    }

    /// Rule 146: what quota counts of a role and all below it.
    pub(crate) fn of_role(&self, role: &str) -> Quantities {
        let mut consumed = Quantities::default();
        for (_, amounts) in self.roles.iter().filter(|(of, _)| is_within(of, role)) {
            consumed += amounts;
        }
        consumed
    }

    /// What a role is owed and does not have.
    pub(crate) fn owed(&self, role: &str) -> Quantities {
        let Some(quota) = self.cluster.quotas.get(role) else { return Quantities::default() };
        let mut owed = quota.guarantee.clone();
        owed.subtract(&self.of_role(role));
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
}

/// Who holds what, with offers that are held on top of the cluster.
#[derive(Default)]
pub(crate) struct Shares<'a> {
    settings: Option<&'a Settings>,
    /// All numbers of all agents.
    total: Quantities,
    clients: BTreeMap<Client<'a>, Quantities>,
    roles: BTreeMap<&'a str, Quantities>,
    subtrees: BTreeMap<&'a str, Quantities>,
}

impl<'a> Shares<'a> {
    pub(crate) fn of(cluster: &'a Cluster, offers: &'a [Offer]) -> Self {
        let mut sums = Self { settings: Some(&cluster.settings), ..Self::default() };
        for (_, framework, role, held) in held(cluster, offers) {
            let own = sums.clients.entry((framework, role)).or_default();
            for resource in &*held {
                if let Some(amount) = resource.as_scalar() {
                    own.add_one(resource.name(), amount);
                }
            }
        }
        for ((_, role), amounts) in &sums.clients {
            *sums.roles.entry(role.as_str()).or_default() += amounts;
            for above in upward(role) {
                *sums.subtrees.entry(above).or_default() += amounts;
            }
        }
        for agent in cluster.agents.values() {
            sums.total += &sum(&agent.total);
        }
        sums
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
        let Some(settings) = self.settings else { return 0.0 };
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

/// Everything that is held: of which agent, by whom, in which role.
fn held<'a>(
    cluster: &'a Cluster,
    offers: &'a [Offer],
) -> impl Iterator<Item = (&'a AgentId, &'a FrameworkId, &'a Role, Cow<'a, Resources>)> {
    let held = cluster
        .held
        .iter()
        .map(|((agent, framework, role), held)| (agent, framework, role, Cow::Borrowed(held)));
    held.chain(
        offers.iter().map(|offer| (&offer.agent, &offer.framework, &offer.role, cluster.added_by(offer))),
    )
}

impl Cluster {
    /// What an offer adds to the numbers that its framework holds: a shared resource counts once.
    fn added_by<'a>(&self, offer: &'a Offer) -> Cow<'a, Resources> {
        if !offer.resources.iter().any(Resource::is_shared) {
            return Cow::Borrowed(&offer.resources);
        }
        let resources = offer.resources.unallocated();
        let key = (offer.agent.clone(), offer.framework.clone(), offer.role.clone());
        Cow::Owned(match self.held.get(&key) {
            Some(held) => resources
                .into_iter()
                .filter(|resource| !(resource.is_shared() && held.contains_one(resource)))
                .collect(),
            None => resources,
        })
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
    ) -> impl Iterator<Item = (&(AgentId, FrameworkId, Role), &Resources)> {
        let first = (agent.clone(), "".into(), Role::from(""));
        self.held.range((Included(first), Unbounded)).take_while(move |((of, _, _), _)| of == agent)
    }
}
