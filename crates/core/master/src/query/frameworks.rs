//! GET_FRAMEWORKS.

use std::collections::BTreeMap;

use mezzo_ids::FrameworkId;
use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetFrameworks, Type, get_frameworks},
    },
};
use mezzo_resources::{Form, Resources};

use super::{View, response};
use crate::{
    events::framework_view,
    offers::offer_message,
    state::{Agent, Framework, Offer},
    status::time_info,
};

/// What one framework holds, over all agents.
#[derive(Default)]
struct Holdings<'a> {
    used: Resources,
    offered: Resources,
    offers: Vec<(&'a Offer, &'a Agent)>,
    inverse_offers: Vec<&'a v1::InverseOffer>,
}

impl<'a> View<'a> {
    /// Registered frameworks and, oldest first, completed ones.
    pub fn get_frameworks(&self) -> Response {
        Response { get_frameworks: Some(self.frameworks_list()), ..response(Type::GetFrameworks) }
    }

    pub(super) fn frameworks_list(&self) -> GetFrameworks {
        GetFrameworks {
            frameworks: self.frameworks().collect(),
            completed_frameworks: self.completed_frameworks().collect(),
            ..Default::default()
        }
    }

    pub(super) fn frameworks(self) -> impl Iterator<Item = get_frameworks::Framework> + 'a {
        // One pass over the agents, because frameworks times agents would be too many.
        let mut holdings = self.holdings();
        self.snapshot
            .frameworks
            .iter()
            .map(move |(id, framework)| self.full(framework, holdings.remove(id).unwrap_or_default()))
    }

    pub(super) fn completed_frameworks(self) -> impl Iterator<Item = get_frameworks::Framework> + 'a {
        self.snapshot
            .completed_frameworks
            .iter()
            .map(move |framework| self.full(framework, Holdings::default()))
    }

    fn holdings(self) -> BTreeMap<&'a FrameworkId, Holdings<'a>> {
        let mut holdings = BTreeMap::<_, Holdings<'a>>::new();
        for agent in self.snapshot.agents.values() {
            for (framework, used) in &agent.used {
                holdings.entry(framework).or_default().used += &**used;
            }
            for offer in agent.offers.values() {
                let held = holdings.entry(&offer.framework).or_default();
                held.offered += &offer.resources;
                held.offers.push((offer, agent));
            }
        }
        for offer in self.snapshot.agents.values().flat_map(|agent| agent.inverse_offers.values()) {
            let asked = self.snapshot.frameworks.get_key_value(offer.framework_id.value.as_str());
            if let Some((framework, _)) = asked {
                holdings.entry(framework).or_default().inverse_offers.push(offer);
            }
        }
        holdings
    }

    fn full(&self, framework: &Framework, held: Holdings<'_>) -> get_frameworks::Framework {
        let offers = held.offers.into_iter().map(|(offer, agent)| v1::Offer {
            resources: offer.resources.to_proto(Form::PostRefinement),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(offer.role.to_string()) }),
            ..offer_message(offer, framework, agent, self.agent_url_path)
        });
        get_frameworks::Framework {
            offers: offers.collect(),
            inverse_offers: held.inverse_offers.into_iter().cloned().collect(),
            allocated_resources: held.used.to_proto(Form::Endpoint),
            offered_resources: held.offered.to_proto(Form::Endpoint),
            unregistered_time: framework.unregistered.map(time_info),
            offer_constraints: Some(framework.constraints.as_deref().cloned().unwrap_or_default()),
            ..framework_view(framework)
        }
    }
}
