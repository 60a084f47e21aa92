//! An offer that is being used up.

use std::sync::Arc;

use mezzo_mesos::v1;
use mezzo_resources::{InvalidResource, Ranges, Resource, Resources, Scalar, Value};
use mezzo_services_model::{AgentRef, InstanceId, Resources as Share};

use super::reserved;

/// An offer and what is left of it. Several instances may be placed on one, one after the other.
#[derive(Clone, Debug)]
pub struct Opened {
    offer: Arc<v1::Offer>,
    role: String,
    agent: AgentRef,
    pub(super) left: Resources,
}

impl Opened {
    /// Reads an offer once for all services.
    pub fn new(offer: Arc<v1::Offer>) -> Result<Self, InvalidResource> {
        let left = Resources::from_proto(&offer.resources)?;
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        let domain = offer.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        let agent = AgentRef {
            id: offer.agent_id.value.clone(),
            host: offer.hostname.clone(),
            region: domain.map(|domain| domain.region.name.clone()),
            zone: domain.map(|domain| domain.zone.name.clone()),
            attributes: offer.attributes.clone(),
        };
        Ok(Self { role: role.unwrap_or_else(|| "*".into()), agent, left, offer })
    }

    /// The offer as it came.
    pub fn offer(&self) -> &Arc<v1::Offer> {
        &self.offer
    }

    /// The role it is for.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Where it is.
    pub fn agent(&self) -> &AgentRef {
        &self.agent
    }

    /// The same for another role.
    pub(crate) fn set_role(&mut self, role: &str) {
        if self.role != role {
            self.role = role.to_owned();
        }
    }

    /// Less than there is.
    pub(crate) fn take_away(&mut self, used: &Resources) {
        self.left.subtract(used);
    }

    /// What an instance held is free again, for everybody.
    pub(crate) fn give_back(&mut self, share: &Share, ports: impl Iterator<Item = u16>) {
        let numbers = [
            ("cpus", Scalar::from_f64(share.cpus)),
            ("mem", Scalar::from_f64(share.mem)),
            ("disk", Scalar::from_f64(share.disk)),
            ("gpus", Scalar::from_whole(share.gpus)),
        ];
        for (name, amount) in numbers.into_iter().filter(|(_, amount)| !amount.is_zero()) {
            self.left.add_one(&Resource::scalar(name, amount));
        }
        let ports = Ranges::merged(ports.map(|port| (port.into(), port.into())));
        if !ports.is_empty() {
            self.left.add_one(&Resource::new("ports", Value::Ranges(ports)));
        }
    }

    /// Whether it holds what is reserved for this instance: such offers are given to it first (rule 168).
    pub fn keeps_for(&self, framework: &v1::FrameworkId, instance: &InstanceId) -> bool {
        self.left.iter().any(|resource| reserved::keeper(resource, framework) == Some(instance.as_str()))
    }

    /// The instances of ours for which something in it is reserved, sorted, each once.
    pub fn keepers(&self, framework: &v1::FrameworkId) -> Vec<InstanceId> {
        let mut all: Vec<&str> =
            self.left.iter().filter_map(|resource| reserved::keeper(resource, framework)).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().filter_map(|id| InstanceId::parse(id).ok()).collect()
    }

    /// Takes out what is kept for these instances.
    pub(crate) fn take_kept(&mut self, framework: &v1::FrameworkId, instances: &[InstanceId]) -> Resources {
        self.left.extract(|resource| {
            reserved::keeper(resource, framework)
                .is_some_and(|keeper| instances.iter().any(|instance| instance.as_str() == keeper))
        })
    }

    /// How much of a number there is in what `usable` allows.
    pub(super) fn free(&self, name: &str, usable: impl Fn(&Resource) -> bool) -> Scalar {
        self.left
            .iter()
            .filter(|resource| resource.name().as_str() == name && usable(resource))
            .filter_map(Resource::as_scalar)
            .sum()
    }
}
