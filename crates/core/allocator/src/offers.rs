//! What a pass gave, as it is told to others.

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::Resources;

use crate::{
    Allocator, InverseAllocation,
    bundle::{Bundle, Order},
};

/// Resources to be offered to a framework in one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// What, as numbers: whoever needs a list makes it.
    bundle: Bundle,
    order: Order,
}

impl Allocation {
    /// What is to be offered, allocated to the role.
    pub fn resources(&self) -> Resources {
        self.bundle.resources(self.order, Some(&self.role))
    }
}

/// What a pass decided. The framework holds it until it is recovered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocations {
    /// Sorted by framework and role; those of one framework and role in an order that only depends on how
    /// the agents came.
    pub offers: Vec<Allocation>,
    /// Requests to vacate agents.
    pub inverse_offers: Vec<InverseAllocation>,
}

/// Something that was given to a client in a pass.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) client: u32,
    pub(crate) agent: u32,
    pub(crate) bundle: Bundle,
}

impl Allocator {
    /// What was given, by names.
    pub(crate) fn offers(&self, given: Vec<Given>) -> Vec<Allocation> {
        let mut clients: Vec<u32> = given.iter().map(|given| given.client).collect();
        clients.sort_unstable();
        clients.dedup();
        let name = |client: &u32| {
            let known = &self.roles.clients[*client];
            (&known.id, &self.roles.nodes[known.role].role)
        };
        clients.sort_by(|one, other| name(one).cmp(&name(other)));
        let mut rank = vec![0_u32; clients.iter().max().map_or(0, |most| *most as usize + 1)];
        for (at, client) in clients.iter().enumerate() {
            rank[*client as usize] = at as u32;
        }
        // What both stages gave of one agent comes together.
        let mut order: Vec<(u32, u32, u32)> =
            given.iter().zip(0..).map(|(given, at)| (rank[given.client as usize], given.agent, at)).collect();
        order.sort_unstable();
        let mut offers: Vec<Allocation> = Vec::with_capacity(given.len());
        let mut given: Vec<Option<Given>> = given.into_iter().map(Some).collect();
        let mut last = None;
        for (rank, agent, at) in order {
            let Some(Given { client, bundle, .. }) = given[at as usize].take() else { continue };
            match offers.last_mut() {
                Some(offer) if last == Some((rank, agent)) => offer.bundle.add(bundle),
                _ => {
                    let (framework, role) = name(&client);
                    let known = &self.agents[agent];
                    offers.push(Allocation {
                        framework: framework.clone(),
                        role: role.clone(),
                        agent: known.id.clone(),
                        bundle,
                        order: known.order,
                    });
                }
            }
            last = Some((rank, agent));
        }
        offers
    }
}
