//! What a pass left out.

use mezzo_ids::AgentId;
use mezzo_resources::{Quantities, Resources, Scalar, Value};
use mezzo_time::Timestamp;

use crate::{
    Cluster, Violation,
    cluster::{is_counted, is_within, sum},
    eligible::refuses_resource,
    fair::Client,
    judge::Case,
};

impl Cluster {
    /// Who could still be given something, in the state after a pass that looked at everything. Shared
    /// resources are left out: they are offered again in every pass.
    pub fn overlooked(&self, now: Timestamp) -> Vec<Violation> {
        let mut wrong = Vec::new();
        let case = Case::new(self, now, &[], u64::MAX);
        let owed = case.before.owed_to_all();
        for (id, framework) in &self.frameworks {
            for role in &framework.hungry {
                for agent in self.agents.keys() {
                    if case.could_get((id, role), agent, &owed) {
                        let (framework, role) = (id.clone(), role.clone());
                        wrong.push(Violation::Overlooked { framework, role, agent: agent.clone() });
                    }
                }
            }
        }
        wrong
    }
}

impl<'a> Case<'a> {
    fn could_get(&self, (id, role): Client<'a>, agent: &AgentId, owed: &Quantities) -> bool {
        let cluster = self.cluster;
        let (Some(framework), Some(of)) = (cluster.frameworks.get(id), cluster.agents.get(agent)) else {
            return false;
        };
        if self.refuses_agent(framework, role, of).is_some() {
            return false;
        }
        // What a role and its ancestors are owed is not held back from it.
        let mut owed_to_others = owed.clone();
        for above in cluster.quotas.keys().filter(|above| is_within(role, above)) {
            owed_to_others.subtract(&self.before.owed(above));
        }
        let mut given = Resources::empty();
        let mut used = Quantities::default();
        for resource in cluster.free_of(agent).non_shared() {
            if refuses_resource(framework, role, &resource).is_some() {
                continue;
            }
            let Some(amount) = resource.as_scalar().filter(|_| is_counted(&resource)) else {
                given += Resources::from(resource);
                continue;
            };
            let name = resource.name().clone();
            let mut left = amount;
            if !owed_to_others.get(&name).is_zero() {
                left = left.min(self.before.headroom.get(&name).saturating_sub(owed_to_others.get(&name)));
            }
            for (above, quota) in cluster.quotas.iter().filter(|(above, _)| is_within(role, above)) {
                if let Some(limit) = quota.limit.get(&name) {
                    left = left.min(limit.saturating_sub(self.consumed[above].get(&name)));
                }
            }
            left = left.min(amount).saturating_sub(used.get(&name));
            if resource.is_exclusive() && left < amount {
                left = Scalar::ZERO;
            }
            used.add_one(&name, left);
            given += Resources::from(resource.with_value(Value::Scalar(left)));
        }
        !given.is_empty()
            && cluster.is_enough(framework, role, &sum(&given))
            && !self.is_refused((id, role), agent, &given)
    }
}
