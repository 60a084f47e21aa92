//! What is wrong with the offers of a pass, and what they left out.

use std::collections::BTreeMap;

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Quantities, Resources, Scalar, Value};
use mezzo_time::Timestamp;

use crate::{
    Cluster, Framework, Offer,
    cluster::{is_counted, is_within, sum},
    eligible::refuses_resource,
    fair::{Client, parties},
};

/// Shares that differ by less count as equal: they are ratios of large numbers.
const SHARE_MIN: f64 = 1e-9;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Violation {
    /// An offer to somebody who does not want any.
    #[error("{framework} wants no offers for {role}")]
    Unwanted {
        /// To whom.
        framework: FrameworkId,
        /// For which role.
        role: Role,
    },
    /// More is offered of an agent than is free of it.
    #[error("more is offered of {agent} than is free: {offered}")]
    Exceeded {
        /// Which agent.
        agent: AgentId,
        /// All that is offered of it.
        offered: Resources,
    },
    /// One shared resource is offered twice.
    #[error("a shared resource of {agent} is offered twice (rule 110)")]
    SharedTwice {
        /// Which agent.
        agent: AgentId,
    },
    /// It is not for this framework.
    #[error("{agent} is offered to {framework} for {role} against rule {rule}")]
    NotFor {
        /// Which agent.
        agent: AgentId,
        /// To whom.
        framework: FrameworkId,
        /// For which role.
        role: Role,
        /// Which rule is against it.
        rule: u16,
    },
    /// A limit is exceeded by what was given.
    #[error("{role} is above its limit of {name} (rule 130)")]
    Limit {
        /// Which role.
        role: Role,
        /// Of what.
        name: String,
    },
    /// What is owed to some was given to others.
    #[error("{name} that is owed to others was given away (rule 128)")]
    Headroom {
        /// Of what.
        name: String,
    },
    /// Somebody could have been given something.
    #[error("{framework} could be given something of {agent} for {role}")]
    Overlooked {
        /// To whom.
        framework: FrameworkId,
        /// For which role.
        role: Role,
        /// Of which agent.
        agent: AgentId,
    },
    /// Somebody was served although another, who could have had the same, has less.
    #[error("{ahead} was served for {ahead_role} before {behind} for {behind_role}, who has less (rule 121)")]
    Unfair {
        /// Who was served.
        ahead: FrameworkId,
        /// For which role.
        ahead_role: Role,
        /// Who has less.
        behind: FrameworkId,
        /// For which role.
        behind_role: Role,
    },
}

impl Cluster {
    /// What is wrong with the offers of one pass; the cluster is as it was before the pass.
    pub fn judge(&self, now: Timestamp, offers: &[Offer]) -> Vec<Violation> {
        let mut wrong = Vec::new();
        let mut after = self.clone();
        after.take(offers);
        self.judge_amounts(offers, &mut wrong);
        for offer in offers {
            self.judge_offer(now, offer, &mut wrong);
        }
        self.judge_quota(&after, offers, &mut wrong);
        if self.settings.is_fair {
            self.judge_fairness(now, &after, offers, &mut wrong);
        }
        wrong
    }

    fn judge_amounts(&self, offers: &[Offer], wrong: &mut Vec<Violation>) {
        let mut by_agent: BTreeMap<&AgentId, Resources> = BTreeMap::new();
        for offer in offers {
            *by_agent.entry(&offer.agent).or_default() += offer.resources.unallocated();
        }
        for (agent, offered) in by_agent {
            if !self.free_of(agent).non_shared().contains(&offered.non_shared()) {
                wrong.push(Violation::Exceeded { agent: agent.clone(), offered: offered.clone() });
            }
            let shared = offers.iter().filter(|offer| offer.agent == *agent);
            let times: usize = shared.map(|offer| offer.resources.shared().len()).sum();
            if times > offered.shared().len() {
                wrong.push(Violation::SharedTwice { agent: agent.clone() });
            }
        }
    }

    fn judge_offer(&self, now: Timestamp, offer: &Offer, wrong: &mut Vec<Violation>) {
        let Offer { framework, role, agent, resources } = offer;
        let unwanted = Violation::Unwanted { framework: framework.clone(), role: role.clone() };
        let not_for = |rule| Violation::NotFor {
            agent: agent.clone(),
            framework: framework.clone(),
            role: role.clone(),
            rule,
        };
        let (Some(known), Some(of)) = (self.frameworks.get(framework), self.agents.get(agent)) else {
            wrong.push(unwanted);
            return;
        };
        if !known.hungry.contains(role) {
            wrong.push(unwanted);
        }
        let against = resources.iter().filter_map(|resource| refuses_resource(known, role, resource));
        wrong.extend(self.refuses_agent(known, role, of).into_iter().chain(against).map(not_for));
        if !self.is_enough(known, role, &sum(resources)) {
            wrong.push(not_for(105));
        }
        if self.is_refused(now, framework, role, agent, &resources.unallocated()) {
            wrong.push(not_for(89));
        }
    }

    /// Rule 105.
    fn is_enough(&self, framework: &Framework, role: &Role, amounts: &Quantities) -> bool {
        let minimums = framework.minimums.get(role).unwrap_or(&self.settings.minimums);
        minimums.is_empty() || minimums.iter().any(|minimum| amounts.contains(minimum))
    }

    /// Rule 89.
    fn is_refused(
        &self,
        now: Timestamp,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
        resources: &Resources,
    ) -> bool {
        self.refusals.iter().any(|refusal| {
            refusal.until > now
                && (&refusal.framework, &refusal.role, &refusal.agent) == (framework, role, agent)
                && refusal.resources.contains(resources)
        })
    }

    fn judge_quota(&self, after: &Self, offers: &[Offer], wrong: &mut Vec<Violation>) {
        for (role, quota) in &self.quotas {
            let (before, consumed) = (self.consumed(role), after.consumed(role));
            for (name, limit) in &quota.limit {
                if consumed.get(name) > *limit && consumed.get(name) > before.get(name) {
                    wrong.push(Violation::Limit { role: role.clone(), name: name.to_string() });
                }
            }
        }
        let owed = after.owed_to_all();
        let free = after.headroom();
        for (name, _) in owed.iter().filter(|(name, amount)| free.get(name) < *amount) {
            // Too little is there for all. It is wrong when somebody got some that was not owed to him.
            let beyond = offers.iter().any(|offer| {
                let given = sum(offer.resources.iter().filter(|resource| is_counted(resource)));
                let above = self.quotas.keys().filter(|above| is_within(&offer.role, above));
                let was_owed: Scalar = above.map(|above| self.owed(above).get(name)).sum();
                !given.get(name).is_zero() && was_owed < given.get(name)
            });
            if beyond {
                wrong.push(Violation::Headroom { name: name.to_string() });
            }
        }
    }

    /// Who could still be given something, in the state after a pass that looked at everything. Shared
    /// resources are left out: they are offered again in every pass.
    pub fn overlooked(&self, now: Timestamp) -> Vec<Violation> {
        let mut wrong = Vec::new();
        let owed = self.owed_to_all();
        let headroom = self.headroom();
        for (id, framework) in &self.frameworks {
            for role in &framework.hungry {
                for agent in self.agents.keys() {
                    if self.could_get(now, (id, role), agent, &owed, &headroom) {
                        let (framework, role) = (id.clone(), role.clone());
                        wrong.push(Violation::Overlooked { framework, role, agent: agent.clone() });
                    }
                }
            }
        }
        wrong
    }

    fn could_get(
        &self,
        now: Timestamp,
        (id, role): Client<'_>,
        agent: &AgentId,
        owed: &Quantities,
        headroom: &Quantities,
    ) -> bool {
        let (Some(framework), Some(of)) = (self.frameworks.get(id), self.agents.get(agent)) else {
            return false;
        };
        if self.refuses_agent(framework, role, of).is_some() {
            return false;
        }
        // What a role and its ancestors are owed is not held back from it.
        let mut owed_to_others = owed.clone();
        for above in self.quotas.keys().filter(|above| is_within(role, above)) {
            owed_to_others.subtract(&self.owed(above));
        }
        let mut given = Resources::empty();
        let mut used = Quantities::default();
        for resource in self.free_of(agent).non_shared() {
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
                left = left.min(headroom.get(&name).saturating_sub(owed_to_others.get(&name)));
            }
            for (above, quota) in self.quotas.iter().filter(|(above, _)| is_within(role, above)) {
                if let Some(limit) = quota.limit.get(&name) {
                    left = left.min(limit.saturating_sub(self.consumed(above).get(&name)));
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
            && self.is_enough(framework, role, &sum(&given))
            && !self.is_refused(now, id, role, agent, &given)
    }

    /// Whoever was served last had no more than anybody who could have had the same instead. Which offer
    /// was the last is not known, so somebody is unfairly ahead when every one of his offers was wrong.
    /// Where quota decides, shares do not.
    fn judge_fairness(&self, now: Timestamp, after: &Self, offers: &[Offer], wrong: &mut Vec<Violation>) {
        if !self.quotas.is_empty() {
            return;
        }
        for (behind, framework) in &self.frameworks {
            for behind_role in &framework.hungry {
                let other: Client<'_> = (behind, behind_role);
                for ahead in offers {
                    let one: Client<'_> = (&ahead.framework, &ahead.role);
                    if one != other && self.is_ahead(now, after, offers, one, other) {
                        wrong.push(Violation::Unfair {
                            ahead: ahead.framework.clone(),
                            ahead_role: ahead.role.clone(),
                            behind: behind.clone(),
                            behind_role: behind_role.clone(),
                        });
                    }
                }
            }
        }
    }

    fn is_ahead(
        &self,
        now: Timestamp,
        after: &Self,
        offers: &[Offer],
        one: Client<'_>,
        other: Client<'_>,
    ) -> bool {
        let (ours, theirs) = parties(one, other);
        let their_share = after.share(&theirs, &after.held_by(&theirs));
        let our_held = after.held_by(&ours);
        // One agent is offered around in one order, so what comes of it counts as one.
        let mut by_agent: BTreeMap<&AgentId, Vec<&Offer>> = BTreeMap::new();
        for offer in offers.iter().filter(|offer| ours.includes((&offer.framework, &offer.role))) {
            by_agent.entry(&offer.agent).or_default().push(offer);
        }
        by_agent.values().all(|offers| {
            let mut before = our_held.clone();
            for offer in offers {
                before.subtract(&sum(&offer.resources));
            }
            after.share(&ours, &before) > their_share + SHARE_MIN
                && offers.iter().all(|offer| self.could_take(now, other, offer))
        })
    }

    /// Whether a client could have been given all of somebody's offer.
    fn could_take(&self, now: Timestamp, (id, role): Client<'_>, offer: &Offer) -> bool {
        let (Some(framework), Some(agent)) = (self.frameworks.get(id), self.agents.get(&offer.agent)) else {
            return false;
        };
        let resources = offer.resources.unallocated();
        self.refuses_agent(framework, role, agent).is_none()
            && resources.iter().all(|resource| {
                !resource.is_shared() && refuses_resource(framework, role, resource).is_none()
            })
            && self.is_enough(framework, role, &sum(&resources))
            && !self.refusals.iter().any(|refusal| {
                refusal.until > now
                    && (&refusal.framework, &refusal.role, &refusal.agent) == (id, role, &offer.agent)
            })
    }
}
