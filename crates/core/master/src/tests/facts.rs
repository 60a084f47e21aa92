//! Facts for a judge of offers: told piece by piece they make up what the master knows.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_mesos::v1::{self, scheduler::call};

use crate::{
    facts::{Facts, RefusalChange},
    state::{Agent, Framework},
    testing::{World, accept, call, framework_info, task},
};

/// What somebody knows who was told facts only.
#[derive(Default)]
pub(super) struct Told {
    agents: BTreeMap<AgentId, Arc<Agent>>,
    frameworks: BTreeMap<FrameworkId, Arc<Framework>>,
}

impl Told {
    /// Takes facts, and compares what is known with what is.
    pub(super) fn take(&mut self, world: &mut World) -> Facts {
        let facts = world.master.take_facts(world.now).expect("facts are kept");
        if facts.is_whole {
            *self = Self::default();
        }
        for (id, agent) in &facts.agents {
            match agent {
                Some(agent) => drop(self.agents.insert(id.clone(), agent.clone())),
                None => drop(self.agents.remove(id)),
            }
        }
        for (id, framework) in &facts.frameworks {
            match framework {
                Some(framework) => drop(self.frameworks.insert(id.clone(), framework.clone())),
                None => drop(self.frameworks.remove(id)),
            }
        }
        let state = &world.master.state;
        assert!(self.agents.keys().eq(state.agents.keys()));
        for (known, agent) in self.agents.values().zip(state.agents.values()) {
            let parts =
                |agent: &Agent| (agent.total.clone(), agent.used.clone(), agent.active, agent.info.clone());
            assert_eq!(parts(known), parts(agent));
            assert!(known.offers.keys().eq(agent.offers.keys()));
        }
        assert!(self.frameworks.keys().eq(state.frameworks.keys()));
        for (known, framework) in self.frameworks.values().zip(state.frameworks.values()) {
            let parts =
                |of: &Framework| (of.roles.clone(), of.suppressed.clone(), of.active, of.capabilities);
            assert_eq!(parts(known), parts(framework));
        }
        facts
    }
}

fn refusals(facts: &Facts) -> Vec<String> {
    let line = |change: &RefusalChange| match change {
        RefusalChange::Made(refusal) => format!(
            "{} refuses {} of {} for {:?}",
            refusal.framework,
            refusal.resources.unallocated(),
            refusal.agent,
            refusal.refused_for
        ),
        RefusalChange::Forgotten(framework, roles) => format!("{framework} forgets {roles:?}"),
        RefusalChange::AgentForgotten(agent) => format!("{agent} is forgotten"),
    };
    facts.refusals.iter().map(line).collect()
}

#[test]
fn the_first_facts_are_all_there_is_and_later_ones_what_changed() {
    let mut world = World::new();
    world.agent("cpus:4;mem:4096");
    world.agent("cpus:4;mem:4096");
    world.master.keep_facts();
    let mut told = Told::default();
    let facts = told.take(&mut world);
    assert!(facts.is_whole && facts.policy.is_some());
    assert_eq!((facts.agents.len(), facts.frameworks.len(), facts.offers.len()), (2, 0, 0));
    let scheduler = world.framework();
    assert!(world.master.has_offers_to_judge());
    let facts = told.take(&mut world);
    assert!(!facts.is_whole && facts.policy.is_none());
    assert_eq!((facts.agents.len(), facts.frameworks.len(), facts.offers.len()), (2, 1, 2));
    assert!(!world.master.has_offers_to_judge());
    let offer = world.offers(&scheduler).remove(0);
    world.launch(&scheduler, &offer, vec![task("t", &offer, "cpus:1;mem:32")]);
    // The rest is offered again in the same step. Nobody judges it, but what changed is told later.
    assert!(world.master.has_offers_to_judge());
    world.master.pass_over_offers();
    assert!(!world.master.has_offers_to_judge());
    let facts = told.take(&mut world);
    assert_eq!((facts.agents.len(), facts.frameworks.len(), facts.offers.len()), (1, 0, 0));
}

#[test]
fn refusals_are_told_in_order() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    let scheduler = world.framework();
    world.master.keep_facts();
    let offer = world.offer(&scheduler);
    let decline = |offer: &v1::Offer| {
        let (offer_ids, filters) = (vec![offer.id.clone()], Some(v1::Filters { refuse_seconds: Some(9.0) }));
        call(call::Type::Decline, |call| call.decline = Some(call::Decline { offer_ids, filters }))
    };
    world.call(&scheduler, decline(&offer));
    world.call(&scheduler, call(call::Type::Revive, |_| {}));
    let offer = world.offer(&scheduler);
    // With zero seconds the rest of an ACCEPT without operations is refused until the next interval.
    world.call(&scheduler, accept(&[&offer], Vec::new()));
    let facts = Told::default().take(&mut world);
    assert_eq!(
        refusals(&facts),
        [
            "m-0000 refuses cpus:4; mem:4096 of m-S0 for 9s",
            "m-0000 forgets [\"*\"]",
            "m-0000 refuses cpus:4; mem:4096 of m-S0 for 0ns",
        ],
        "{}",
        agent.id
    );
    world.close(&scheduler);
    let again = v1::FrameworkInfo { failover_timeout: Some(0.0), ..framework_info() };
    world.subscribe(again).expect("valid");
    let facts = world.master.take_facts(world.now).expect("facts are kept");
    assert!(refusals(&facts).iter().all(|line| line.contains("forgets")), "{:?}", refusals(&facts));
}
