//! What of one agent one framework can be given.

use mezzo_resources::{Quantities, Resource, Resources, Scalar, Value};

use crate::{
    Allocator, FrameworkCapabilities, Reason,
    amounts::{Amounts, Common},
    bundle::is_quota_counted,
    quota::Bounds,
    roles::Client,
};

/// Which half of a pass (rule 127).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Guarantees,
    Shares,
}

/// A special resource of an agent to be given: which, and how much of a number when not all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RareTake {
    pub(crate) at: usize,
    pub(crate) part: Option<i64>,
}

/// What is to be given.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) common: Common,
    pub(crate) rare: Vec<RareTake>,
    /// Quota keeps something back that could be given otherwise.
    pub(crate) is_cut: bool,
    /// All numbers of it.
    sum: Amounts,
}

impl Taken {
    fn clear(&mut self) {
        self.common = [0; 4];
        self.rare.clear();
        self.is_cut = false;
        self.sum.common = [0; 4];
        self.sum.rare = Quantities::EMPTY;
    }

    fn is_empty(&self) -> bool {
        self.common == [0; 4] && self.rare.is_empty()
    }
}

/// One of an agent's special resources, or the part of it that is taken.
pub(crate) fn part_of(rare: &Resources, take: RareTake) -> Option<Resource> {
    let resource = rare.iter().nth(take.at)?.clone();
    Some(match take.part {
        Some(part) => resource.with_value(Value::Scalar(Scalar::from_thousandths(part))),
        None => resource,
    })
}

impl Allocator {
    /// What of an agent a client can be given, or why nothing. Looks neither at whether the client wants
    /// anything nor at whether the agent is for its class.
    pub(crate) fn offerable(
        &self,
        client_slot: u32,
        agent_slot: u32,
        stage: Stage,
        shared_given: Option<&Resources>,
        taken: &mut Taken,
    ) -> Result<(), Reason> {
        taken.clear();
        let client = &self.roles.clients[client_slot];
        let agent = &self.agents[agent_slot];
        let capabilities = self.classes.get(client.class).map(|class| class.capabilities).unwrap_or_default();
        let free = &agent.available;
        let mut bounds = Bounds::default();
        if !self.roles.quotas.is_empty() {
            bounds.lower_to_limits(&self.roles, client.role);
            match stage {
                Stage::Shares => bounds.lower_to_headroom(&self.roles, client.role, &self.headroom),
                Stage::Guarantees => self.lower_to_guarantee(client, agent_slot, &mut bounds),
            }
        }
        let mut is_mine = false;
        for (at, amount) in free.common.into_iter().enumerate().filter(|(_, amount)| *amount > 0) {
            is_mine = true;
            let given = amount.min(bounds.common[at]);
            bounds.common[at] -= given;
            taken.is_cut |= given < amount;
            taken.common[at] = given;
            taken.sum.common[at] = given;
        }
        if !free.rare.is_empty() {
            let role = &self.roles.nodes[client.role].role;
            for (at, resource) in free.rare.iter().enumerate() {
                if !is_usable(resource, role, capabilities)
                    || shared_given.is_some_and(|given| given.contains_one(resource))
                {
                    continue;
                }
                is_mine = true;
                let amount = resource.as_scalar().map(Scalar::thousandths);
                let given = match amount {
                    Some(amount) if is_quota_counted(resource) => {
                        let given = bounds.take(resource, amount);
                        taken.is_cut |= given < amount;
                        if given == 0 {
                            continue;
                        }
                        Some(given)
                    }
                    // Nobody's guarantee is met with what may be taken back.
                    _ if stage == Stage::Guarantees && resource.is_revocable() => continue,
                    amount => amount,
                };
                taken.rare.push(RareTake { at, part: given.filter(|_| given != amount) });
                if let Some(given) = given {
                    taken.sum.add_one(resource.name(), Scalar::from_thousandths(given));
                }
            }
        }
        if !is_mine {
            return Err(Reason::NothingFree);
        }
        if taken.is_empty()
            || (stage == Stage::Guarantees && !self.brings_guarantee_further(client, taken, agent_slot))
        {
            return Err(Reason::Quota);
        }
        if !self.reaches_minimum(client, &taken.sum) {
            return Err(if taken.is_cut { Reason::Quota } else { Reason::BelowMinimum });
        }
        let is_refused = agent.was_refused(client_slot, client.epoch, &taken.common, |refusal| {
            taken.rare.iter().all(|take| {
                part_of(&free.rare, *take).is_some_and(|part| refusal.bundle.rare.contains_one(&part))
            })
        });
        if is_refused { Err(Reason::Filtered) } else { Ok(()) }
    }

    /// Stage 1: up to what the guarantee misses; names without guarantee come along as far as others'
    /// guarantees allow.
    fn lower_to_guarantee(&self, client: &Client, agent: u32, bounds: &mut Bounds) {
        let Some(quota) = &self.roles.nodes[client.role].quota else { return };
        let required = &self.roles.required;
        let left = |name: &str| (self.headroom.get(name) - required.get(name)).max(0);
        for at in 0..4 {
            if quota.guarantee.common[at] > 0 {
                bounds.common[at] = bounds.common[at].min(quota.missing.common[at]);
            } else if required.common[at] > 0 {
                let left = (self.headroom.common[at] - required.common[at]).max(0);
                bounds.common[at] = bounds.common[at].min(left);
            }
        }
        if required.rare.is_empty() && quota.guarantee.rare.is_empty() {
            return;
        }
        for resource in self.agents[agent].available.rare.iter().filter(|r| is_quota_counted(r)) {
            let name = resource.name();
            if !quota.guarantee.rare.get(name).is_zero() {
                bounds.lower(name, quota.missing.get(name));
            } else if !required.rare.get(name).is_zero() {
                bounds.lower(name, left(name));
            }
        }
    }

    /// Whether something of what is taken counts for the guarantee of the role.
    fn brings_guarantee_further(&self, client: &Client, taken: &Taken, agent: u32) -> bool {
        let Some(quota) = &self.roles.nodes[client.role].quota else { return false };
        let rare = &self.agents[agent].available.rare;
        (0..4).any(|at| quota.guarantee.common[at] > 0 && taken.common[at] > 0)
            || taken.rare.iter().any(|take| {
                rare.iter().nth(take.at).is_some_and(|resource| {
                    is_quota_counted(resource) && quota.guarantee.get(resource.name()) > 0
                })
            })
    }

    /// Rule 105.
    fn reaches_minimum(&self, client: &Client, sum: &Amounts) -> bool {
        let minimums = client.minimum.as_deref().unwrap_or(&self.minimums);
        minimums.is_empty() || minimums.iter().any(|minimum| reaches(sum, minimum))
    }
}

/// Whether every amount of a minimum is there.
pub(crate) fn reaches(sum: &Amounts, minimum: &Amounts) -> bool {
    sum.common.iter().zip(minimum.common).all(|(amount, least)| *amount >= least)
        && sum.rare.contains(&minimum.rare)
}

/// Rules 108 and 129.
fn is_usable(resource: &Resource, role: &str, can: FrameworkCapabilities) -> bool {
    resource.is_allocatable_to(role)
        && (can.revocable_resources || !resource.is_revocable())
        && (can.shared_resources || !resource.is_shared())
        && (can.reservation_refinement || !resource.has_refined_reservation())
}
