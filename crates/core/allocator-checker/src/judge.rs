//! What is wrong with the offers of a pass.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Quantities, Resources, Scalar};
use mezzo_time::Timestamp;

use crate::{
    Cluster, Framework, Offer, Refusal,
    cluster::{is_counted, is_within, sum},
    eligible::{Patterns, refuses_resource},
    fair::Client,
    sums::{Consumption, Shares},
};

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

/// What came of looking at the offers of a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What is wrong.
    pub wrong: Vec<Violation>,
    /// Whether everybody was compared with everybody.
    pub is_complete: bool,
}

impl Cluster {
    /// What is wrong with the offers of one pass; the cluster is as it was before the pass.
    pub fn judge(&self, now: Timestamp, offers: &[Offer]) -> Vec<Violation> {
        self.judge_within(now, offers, u64::MAX).wrong
    }

    /// As [`Cluster::judge`], but fairness is judged in so many steps: a step looks at one offer as one that
    /// somebody else could have had.
    pub fn judge_within(&self, now: Timestamp, offers: &[Offer], steps: u64) -> Judgement {
        let case = Case::new(self, now, offers, steps);
        let mut wrong = Vec::new();
        self.judge_amounts(offers, &mut wrong);
        for offer in offers {
            case.judge_offer(offer, &mut wrong);
        }
        case.judge_quota(offers, &mut wrong);
        if self.settings.is_fair {
            case.judge_fairness(offers, &mut wrong);
        }
        Judgement { wrong, is_complete: case.steps.get() > 0 }
    }

    fn judge_amounts(&self, offers: &[Offer], wrong: &mut Vec<Violation>) {
        let mut by_agent: BTreeMap<&AgentId, (Resources, usize)> = BTreeMap::new();
        for offer in offers {
            let (offered, shared) = by_agent.entry(&offer.agent).or_default();
            let resources = offer.resources.unallocated();
            *shared += resources.shared().len();
            *offered += resources;
        }
        for (agent, (offered, shared)) in by_agent {
            if !self.free_of(agent).non_shared().contains(&offered.non_shared()) {
                wrong.push(Violation::Exceeded { agent: agent.clone(), offered: offered.clone() });
            }
            if shared > offered.shared().len() {
                wrong.push(Violation::SharedTwice { agent: agent.clone() });
            }
        }
    }
}

/// The offers of one pass, and what they are judged by.
pub(crate) struct Case<'a> {
    pub(crate) cluster: &'a Cluster,
    now: Timestamp,
    /// What quota looks at, before and after the pass.
    pub(crate) before: Consumption<'a>,
    pub(crate) after: Consumption<'a>,
    /// Who holds which share after the pass.
    pub(crate) shares: Shares<'a>,
    /// What every role with a quota consumes after the pass.
    pub(crate) consumed: BTreeMap<&'a Role, Quantities>,
    patterns: RefCell<Patterns<'a>>,
    steps: Cell<u64>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(cluster: &'a Cluster, now: Timestamp, offers: &'a [Offer], steps: u64) -> Self {
        let after = Consumption::of(cluster, offers);
        Self {
            cluster,
            now,
            before: Consumption::of(cluster, &[]),
            consumed: cluster.quotas.keys().map(|role| (role, after.of_role(role))).collect(),
            after,
            shares: if cluster.settings.is_fair { Shares::of(cluster, offers) } else { Shares::default() },
            patterns: RefCell::default(),
            steps: Cell::new(steps),
        }
    }

    /// Whether there is a step left, which is taken.
    pub(crate) fn spend(&self) -> bool {
        self.steps.set(self.steps.get().saturating_sub(1));
        self.steps.get() > 0
    }

    fn judge_offer(&self, offer: &'a Offer, wrong: &mut Vec<Violation>) {
        let Offer { framework, role, agent, resources } = offer;
        let unwanted = Violation::Unwanted { framework: framework.clone(), role: role.clone() };
        let not_for = |rule| Violation::NotFor {
            agent: agent.clone(),
            framework: framework.clone(),
            role: role.clone(),
            rule,
        };
        let cluster = self.cluster;
        let (Some(known), Some(of)) = (cluster.frameworks.get(framework), cluster.agents.get(agent)) else {
            wrong.push(unwanted);
            return;
        };
        if !known.hungry.contains(role) {
            wrong.push(unwanted);
        }
        let against = resources.iter().filter_map(|resource| refuses_resource(known, role, resource));
        wrong.extend(self.refuses_agent(known, role, of).into_iter().chain(against).map(not_for));
        if !cluster.is_enough(known, role, &sum(resources)) {
            wrong.push(not_for(105));
        }
        if self.is_refused((framework, role), agent, &resources.unallocated()) {
            wrong.push(not_for(89));
        }
    }

    pub(crate) fn refuses_agent(
        &self,
        framework: &'a Framework,
        role: &Role,
        agent: &crate::Agent,
    ) -> Option<u16> {
        self.cluster.refuses_agent(framework, role, agent, &mut self.patterns.borrow_mut())
    }

    fn refusals_of(&self, (framework, role): Client<'_>, agent: &AgentId) -> impl Iterator<Item = &Refusal> {
        let all = self.cluster.refusals.of(framework, role, agent);
        all.iter().filter(|refusal| refusal.until > self.now)
    }

    /// Rule 89.
    pub(crate) fn is_refused(&self, client: Client<'_>, agent: &AgentId, resources: &Resources) -> bool {
        self.refusals_of(client, agent).any(|refusal| refusal.resources.contains(resources))
    }

    fn judge_quota(&self, offers: &[Offer], wrong: &mut Vec<Violation>) {
        let quotas = &self.cluster.quotas;
        for (role, quota) in quotas {
            let (before, consumed) = (self.before.of_role(role), &self.consumed[role]);
            for (name, limit) in &quota.limit {
                if consumed.get(name) > *limit && consumed.get(name) > before.get(name) {
                    wrong.push(Violation::Limit { role: role.clone(), name: name.to_string() });
                }
            }
        }
        let (owed, free) = (self.after.owed_to_all(), &self.after.headroom);
        for (name, _) in owed.iter().filter(|(name, amount)| free.get(name) < *amount) {
            // Too little is there for all. It is wrong when somebody got some that was not owed to him.
            let beyond = offers.iter().any(|offer| {
                let given = sum(offer.resources.iter().filter(|resource| is_counted(resource)));
                let above = quotas.keys().filter(|above| is_within(&offer.role, above));
                let was_owed: Scalar = above.map(|above| self.before.owed(above).get(name)).sum();
                !given.get(name).is_zero() && was_owed < given.get(name)
            });
            if beyond {
                wrong.push(Violation::Headroom { name: name.to_string() });
            }
        }
    }

    /// Whether a client could have been given all of somebody's offer.
    pub(crate) fn could_take(&self, (id, role): Client<'a>, offer: &Offer) -> bool {
        let cluster = self.cluster;
        let (Some(framework), Some(agent)) = (cluster.frameworks.get(id), cluster.agents.get(&offer.agent))
        else {
            return false;
        };
        let resources = &offer.resources;
        self.refuses_agent(framework, role, agent).is_none()
            && resources.iter().all(|resource| {
                !resource.is_shared() && refuses_resource(framework, role, resource).is_none()
            })
            && cluster.is_enough(framework, role, &sum(resources))
            && self.refusals_of((id, role), &offer.agent).next().is_none()
            && self.is_beside_quota(role, resources)
    }

    /// Whether quota could not keep any of this from a role, whatever the others held when it was asked: a
    /// guarantee or limit that allows it may have forbidden it until a moment ago, and agents are looked at
    /// again for that only once an interval (rule 84).
    fn is_beside_quota(&self, role: &Role, resources: &Resources) -> bool {
        let counted = sum(resources.iter().filter(|resource| is_counted(resource)));
        self.cluster.quotas.iter().all(|(above, quota)| {
            counted.iter().all(|(name, _)| {
                quota.guarantee.get(name).is_zero()
                    && !(is_within(role, above) && quota.limit.contains_key(name))
            })
        })
    }
}

impl Cluster {
    /// Rule 105.
    pub(crate) fn is_enough(&self, framework: &Framework, role: &Role, amounts: &Quantities) -> bool {
        let minimums = framework.minimums.get(role).unwrap_or(&self.settings.minimums);
        minimums.is_empty() || minimums.iter().any(|minimum| amounts.contains(minimum))
    }
}
