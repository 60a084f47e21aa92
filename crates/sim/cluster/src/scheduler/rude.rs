//! Schedulers that do not play by the rules. None of them may slow down or harm another.

use std::collections::BTreeMap;

use mezzo_mesos::v1::{
    self,
    scheduler::{
        AttributeConstraint, Call, OfferConstraints,
        attribute_constraint::{Predicate, Selector, predicate, selector},
        call,
        offer_constraints::{RoleConstraints, role_constraints::Group},
    },
};

use super::{Calls, Scheduler, Stage, decline};
use crate::{
    agent::resources,
    queue::Nanos,
    random::Draw,
    setup::{Amounts, Behaviour},
    world::SECOND,
};

/// Roles of an absurd framework beside its own.
const ROLES: usize = 20;
/// Constraints of an absurd framework.
const GROUPS: usize = 50;

pub(super) fn absurd_roles() -> impl Iterator<Item = String> {
    (0..ROLES).map(|number| format!("absurd/{}/x{number}", number % 7))
}

/// Many patterns, the last of which lets everything pass.
pub(super) fn absurd_constraints(roles: &[String]) -> OfferConstraints {
    let matches = |regex: String| AttributeConstraint {
        selector: Selector {
            selector: Some(selector::Selector::PseudoattributeType(
                selector::PseudoattributeType::Hostname as i32,
            )),
        },
        predicate: Predicate {
            predicate: Some(predicate::Predicate::TextMatches(predicate::TextMatches { regex })),
        },
    };
    let group = |regex| Group { attribute_constraints: vec![matches(regex)] };
    let groups = (0..GROUPS).map(|number| group(format!("(a|b)*{number}(.*)*c"))).chain([group(".*".into())]);
    let constraints = RoleConstraints { groups: groups.collect() };
    let role_constraints: BTreeMap<String, RoleConstraints> =
        roles.iter().map(|role| (role.clone(), constraints.clone())).collect();
    OfferConstraints { role_constraints: role_constraints.into_iter().collect() }
}

impl Scheduler {
    pub(super) fn has_manners_to_break(&self) -> bool {
        let is_rude = matches!(self.setup.behaviour, Behaviour::Flooder(_) | Behaviour::KillsAtRandom);
        is_rude && self.rude_at < self.load_ends
    }

    pub(super) fn be_rude(&mut self, now: Nanos, calls: &mut Calls) {
        match self.setup.behaviour {
            Behaviour::Flooder(rate) => {
                self.rude_at = now + SECOND / Nanos::from(rate.max(1));
                let call = self.senseless_call();
                calls.push((Box::new(call), None));
            }
            Behaviour::KillsAtRandom => {
                self.rude_at = now + 1 + self.rng.below(10 * SECOND.unsigned_abs()) as Nanos;
                if self.plans.is_empty() {
                    return;
                }
                let plan = self.rng.index(self.plans.len()) as u32;
                if matches!(self.plans[plan as usize].stage, Stage::Launched | Stage::Running) {
                    self.kill(now, self.key(plan), calls);
                }
            }
            _ => {}
        }
    }

    fn senseless_call(&mut self) -> Call {
        let text = format!("nonsense-{}", self.rng.below(1000));
        let task_id = v1::TaskId { value: text.clone() };
        let agent_id = v1::AgentId { value: text.clone() };
        let of = |kind: call::Type| Call { r#type: Some(kind as i32), ..Default::default() };
        match self.rng.below(7) {
            0 => Call { revive: Some(Default::default()), ..of(call::Type::Revive) },
            1 => Call { reconcile: Some(Default::default()), ..of(call::Type::Reconcile) },
            2 => {
                let kill = call::Kill { task_id, agent_id: None, kill_policy: None };
                Call { kill: Some(kill), ..of(call::Type::Kill) }
            }
            3 => {
                let acknowledge = call::Acknowledge { agent_id, task_id, uuid: vec![7; 16] };
                Call { acknowledge: Some(acknowledge), ..of(call::Type::Acknowledge) }
            }
            4 => {
                let offer_ids = vec![v1::OfferId { value: text }];
                let decline = call::Decline { offer_ids, filters: None };
                Call { decline: Some(decline), ..of(call::Type::Decline) }
            }
            5 => {
                let offer_ids = vec![v1::OfferId { value: text }];
                let accept = call::Accept { offer_ids, ..Default::default() };
                Call { accept: Some(accept), ..of(call::Type::Accept) }
            }
            _ => of(call::Type::Message),
        }
    }

    /// Accepts offers for tasks that no validation lets pass.
    pub(super) fn on_offers_absurdly(&mut self, offers: &[v1::Offer], calls: &mut Calls) {
        for offer in offers {
            let amounts = match self.rng.below(3) {
                0 => Amounts { cpus: 1e9, mem: 1e12, ..Amounts::default() },
                1 => Amounts { cpus: f64::MIN_POSITIVE, mem: -5.0, ..Amounts::default() },
                _ => Amounts { gpus: 0.5, cpus: 0.001, ..Amounts::default() },
            };
            if self.rng.percent(50) {
                calls.push(decline(vec![offer.id.clone()], Some(f64::NAN)));
                continue;
            }
            let task = v1::TaskInfo {
                name: "x".repeat(1000),
                task_id: v1::TaskId { value: format!("../{}", self.rng.below(3)) },
                agent_id: offer.agent_id.clone(),
                resources: resources(&amounts),
                command: Some(v1::CommandInfo::default()),
                ..Default::default()
            };
            let operation = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch as i32),
                launch: Some(v1::offer::operation::Launch { task_infos: vec![task.clone(), task] }),
                ..Default::default()
            };
            let accept = call::Accept {
                offer_ids: vec![offer.id.clone()],
                operations: vec![operation],
                filters: None,
            };
            let kind = call::Type::Accept as i32;
            calls.push((
                Box::new(Call { r#type: Some(kind), accept: Some(accept), ..Default::default() }),
                None,
            ));
        }
    }
}
