//! The facts.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::{Name, Quantities, Resource, Resources, Scalar};
use mezzo_time::Timestamp;

use crate::Refusals;

/// What an operator chose.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of roles; 1 where none is named.
    pub weights: BTreeMap<Role, f64>,
    /// Names that do not count for shares.
    pub excluded: BTreeSet<String>,
    /// One of these must be reached; none when empty.
    pub minimums: Vec<Quantities>,
    /// Agents with gpus are for frameworks that want some.
    pub filter_gpus: bool,
    /// Where the master is.
    pub region: Option<String>,
    /// Whether shares decide who comes first.
    pub is_fair: bool,
}

/// One agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// All it has.
    pub total: Resources,
    /// It may be offered.
    pub is_offered: bool,
    /// What constraints call HOSTNAME.
    pub hostname: String,
    /// Its region and zone.
    pub domain: Option<v1::DomainInfo>,
    /// What constraints look at.
    pub attributes: Vec<v1::Attribute>,
    /// It cannot serve frameworks with several roles.
    pub lacks_multi_role: bool,
    /// It does not know roles with a slash.
    pub lacks_nested_roles: bool,
}

/// What a framework can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// REVOCABLE_RESOURCES
    pub revocable: bool,
    /// GPU_RESOURCES
    pub gpus: bool,
    /// SHARED_RESOURCES
    pub shared: bool,
    /// MULTI_ROLE
    pub multi_role: bool,
    /// RESERVATION_REFINEMENT
    pub refinement: bool,
    /// REGION_AWARE
    pub region_aware: bool,
}

/// One framework.
#[derive(Clone, Debug, Default)]
pub struct Framework {
    /// Roles that it wants offers for at the moment.
    pub hungry: BTreeSet<Role>,
    /// What it can do.
    pub can: Capabilities,
    /// Its own minimums per role.
    pub minimums: BTreeMap<Role, Vec<Quantities>>,
    /// Which agents it wants, as it said.
    pub constraints: Option<v1::scheduler::OfferConstraints>,
}

/// What a role is owed and may not exceed.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    /// Owed.
    pub guarantee: Quantities,
    /// Not to be exceeded; a missing name is unlimited.
    pub limit: BTreeMap<Name, Scalar>,
}

/// A refusal that was made.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Who refused.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// From when on it may be offered again.
    pub until: Timestamp,
}

/// What a framework is to be given of an agent in a role.
#[derive(Clone, Debug)]
pub struct Offer {
    /// To whom.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// What; allocation roles do not matter.
    pub resources: Resources,
}

/// Everything that an allocation depends on.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// What an operator chose.
    pub settings: Settings,
    /// Agents.
    pub agents: BTreeMap<AgentId, Agent>,
    /// Frameworks.
    pub frameworks: BTreeMap<FrameworkId, Framework>,
    /// Quotas.
    pub quotas: BTreeMap<Role, Quota>,
    /// Who holds what, without allocation roles.
    pub held: BTreeMap<(AgentId, FrameworkId, Role), Resources>,
    /// Refusals that were not taken back.
    pub refusals: Refusals,
}

/// Whether `role` is `above` or lies below it.
pub(crate) fn is_within(role: &str, above: &str) -> bool {
    role == above || role.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// Numbers that quota looks at when they are held: neither reserved nor revocable.
pub(crate) fn is_counted(resource: &Resource) -> bool {
    resource.reservations().is_empty() && !resource.is_revocable() && resource.as_scalar().is_some()
}

pub(crate) fn sum<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Quantities {
    resources
        .into_iter()
        .filter_map(|resource| Some((resource.name().clone(), resource.as_scalar()?)))
        .collect()
}

impl Cluster {
    /// Offers were made: they are held.
    pub fn take(&mut self, offers: &[Offer]) {
        for offer in offers {
            let key = (offer.agent.clone(), offer.framework.clone(), offer.role.clone());
            *self.held.entry(key).or_default() += offer.resources.unallocated();
        }
    }

    /// Something came back.
    pub fn give_back(&mut self, agent: &AgentId, framework: &FrameworkId, role: &Role, back: &Resources) {
        let key = (agent.clone(), framework.clone(), role.clone());
        if let Some(held) = self.held.get_mut(&key) {
            held.subtract(&back.unallocated());
            if held.is_empty() {
                self.held.remove(&key);
            }
        }
    }

    /// What nobody holds of an agent; shared resources are always there.
    pub fn free_of(&self, agent: &AgentId) -> Resources {
        let Some(known) = self.agents.get(agent) else { return Resources::empty() };
        let mut free = known.total.clone();
        free.subtract(&self.held_of(agent).non_shared());
        free
    }
}
