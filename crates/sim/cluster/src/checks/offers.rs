//! Nothing is in two outstanding offers, or offered while it is used.

use std::collections::BTreeMap;

use mezzo_ids::{FrameworkId, OfferId};
use mezzo_mesos::v1;

use super::{Vector, add, fits, vector};
use crate::{scheduler::offered, world::World};

/// One outstanding offer. It is its framework's: a scheduler whose first SUBSCRIBE was slow may have two.
#[derive(Clone, Debug)]
struct Outstanding {
    framework: FrameworkId,
    agent: usize,
    amounts: Vector,
}

/// Outstanding offers, as they were sent.
#[derive(Debug)]
pub(crate) struct Offers {
    outstanding: BTreeMap<OfferId, Outstanding>,
    per_agent: Vec<Vector>,
}

impl Offers {
    pub(crate) fn new(agents: usize) -> Self {
        Self { outstanding: BTreeMap::new(), per_agent: vec![Vector::default(); agents] }
    }

    pub(crate) fn clear(&mut self) {
        self.outstanding.clear();
        self.per_agent.iter_mut().for_each(|amounts| *amounts = Vector::default());
    }

    pub(crate) fn gone(&mut self, id: &OfferId) {
        if let Some(offer) = self.outstanding.remove(id) {
            add(&mut self.per_agent[offer.agent], &offer.amounts, -1);
        }
    }

    /// A framework answered its offer.
    pub(crate) fn taken(&mut self, framework: &FrameworkId, id: &OfferId) {
        if self.outstanding.get(id).is_some_and(|offer| offer.framework == *framework) {
            self.gone(id);
        }
    }

    pub(crate) fn forget_framework(&mut self, framework: &FrameworkId) {
        let own = self.outstanding.iter().filter(|(_, offer)| offer.framework == *framework);
        for id in own.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.gone(&id);
        }
    }
}

/// The number of the agent that an offer is of: its address tells.
pub(crate) fn agent_of(offer: &v1::Offer) -> Option<usize> {
    let mut parts = offer.url.as_ref()?.address.ip.as_deref()?.split('.').skip(1).map(str::parse::<usize>);
    let mut part = || parts.next()?.ok();
    Some((part()? << 16) | (part()? << 8) | part()?)
}

impl World<'_> {
    pub(crate) fn check_offer(&mut self, scheduler: usize, offer: &v1::Offer) {
        let Some(agent) = agent_of(offer).filter(|agent| *agent < self.agents.len()) else {
            return self.violate("offers are of agents that are there", offer.hostname.clone());
        };
        let amounts = vector(&offered(offer));
        let checks = &mut self.checks;
        let mut all = checks.offers.per_agent[agent];
        add(&mut all, &amounts, 1);
        checks.offers.per_agent[agent] = all;
        add(&mut all, &checks.used[agent], 1);
        let total = checks.totals[agent];
        let id = OfferId::from(offer.id.value.as_str());
        let framework = FrameworkId::from(offer.framework_id.value.as_str());
        checks.offers.outstanding.insert(id, Outstanding { framework, agent, amounts });
        if !fits(&all, &total) {
            let what = format!(
                "{} of agent {agent} for scheduler {scheduler}: offered and used are {all:?} of {total:?}",
                offer.id.value
            );
            self.violate("nothing is offered twice", what);
        }
    }
}
