//! Random stories, of which an independent checker judges every pass.

use mezzo_allocator_checker as checker;
use rand_chacha::rand_core::Rng;

use super::*;

const ROLES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/z/w", "c"];
const SECOND: i64 = 1_000_000_000;

/// An allocator, and the same facts for the checker.
struct Story {
    c: Cluster,
    facts: checker::Cluster,
    /// Which frameworks are connected, with their roles and those they suppressed.
    wishes: BTreeMap<FrameworkId, (bool, BTreeSet<Role>, BTreeSet<Role>)>,
    seed: u64,
    log: Vec<String>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut config = Config { master_domain: region("east"), ..Config::default() };
        if seed % 5 == 4 {
            config.role_sorter = Sorter::Random;
            config.framework_sorter = Sorter::Random;
        }
        config.agent_preference = [
            AgentPreference::Random,
            AgentPreference::Spread,
            AgentPreference::Pack,
            AgentPreference::MostFree(Name::from("mem")),
        ][seed as usize / 5 % 4]
            .clone();
        let mut facts = checker::Cluster::default();
        facts.settings.minimums = config.min_allocatable.clone();
        facts.settings.filter_gpus = true;
        facts.settings.region = Some("east".into());
        facts.settings.is_fair = config.role_sorter == Sorter::FairShare;
        let mut c = Cluster::with(config);
        c.rng = ChaCha8Rng::seed_from_u64(seed);
        if seed % 7 == 3 {
            // Hardly anything is done in one pass.
            c.allocator.steps_max = seed % 16;
        }
        Self { c, facts, wishes: BTreeMap::new(), seed, log: Vec::new() }
    }

    fn pick(&mut self, below: usize) -> usize {
        (self.c.rng.next_u64() % below.max(1) as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.pick(100) < percent
    }

    fn some_agent(&mut self) -> AgentId {
        AgentId::from(format!("a{}", self.pick(6)))
    }

    fn some_framework(&mut self) -> FrameworkId {
        FrameworkId::from(format!("f{}", self.pick(6)))
    }

    fn add_agent(&mut self) {
        let id = self.some_agent();
        let mut text = format!("cpus:{};mem:{};ports:[1-9]", self.pick(9), 16 * self.pick(9));
        if self.chance(20) {
            text.push_str(";gpus:2;licences:3");
        }
        if self.chance(30) {
            let role = ROLES[self.pick(ROLES.len())];
            text.push_str(&format!(";cpus({role}):2;mem({role}):64"));
        }
        let mut total = parse(&text);
        if self.chance(20) {
            total += parse("cpus:2;mem:32").map(|resource| resource.with_revocable(true));
        }
        if self.seed % 3 == 1 && self.chance(40) {
            total += shared_volume(ROLES[self.pick(ROLES.len())]);
        }
        let domain = match self.pick(4) {
            0 => region("west"),
            1 => None,
            _ => region("east"),
        };
        let attributes =
            mezzo_resources::parse_attributes(&format!("rack:r{}", self.pick(3))).expect("valid");
        let capabilities = AgentCapabilities {
            multi_role: !self.chance(10),
            hierarchical_role: !self.chance(10),
            ..AgentCapabilities::default()
        };
        self.remove_agent(&id);
        let agent = checker::Agent {
            total: total.clone(),
            is_offered: true,
            hostname: format!("{id}.example"),
            domain: domain.clone(),
            attributes: attributes.clone(),
            lacks_multi_role: !capabilities.multi_role,
            lacks_nested_roles: !capabilities.hierarchical_role,
        };
        self.facts.agents.insert(id.clone(), agent);
        self.c.agent_as(
            &id,
            AgentProfile { domain, attributes, capabilities, total, ..AgentProfile::default() },
        );
    }

    fn remove_agent(&mut self, id: &AgentId) {
        self.c.allocator.remove_agent(id);
        self.facts.agents.remove(id);
        self.facts.held.retain(|(agent, _, _), _| agent != id);
        self.facts.refusals.forget_agent(id);
    }

    fn switch_agent(&mut self) {
        let (id, active) = (self.some_agent(), self.chance(70));
        if active {
            self.c.allocator.activate_agent(&id);
        } else {
            self.c.allocator.deactivate_agent(&id);
        }
        if let Some(agent) = self.facts.agents.get_mut(&id) {
            agent.is_offered = active;
        }
    }

    fn add_framework(&mut self) {
        let id = self.some_framework();
        if self.wishes.contains_key(&id) {
            return self.remove_framework(&id);
        }
        let mut names = BTreeSet::from([ROLES[self.pick(ROLES.len())]]);
        if self.chance(30) {
            names.insert(ROLES[self.pick(ROLES.len())]);
        }
        let roles: BTreeSet<Role> = names.iter().copied().map(Role::from).collect();
        let capabilities = FrameworkCapabilities {
            revocable_resources: self.chance(40),
            gpu_resources: self.chance(40),
            shared_resources: self.chance(40),
            multi_role: roles.len() > 1,
            reservation_refinement: true,
            region_aware: self.chance(40),
        };
        let mut min_allocatable = BTreeMap::new();
        let mut message = v1::scheduler::OfferConstraints::default();
        for role in &roles {
            match self.pick(10) {
                0 => drop(min_allocatable.insert(role.clone(), vec![])),
                1 => {
                    drop(min_allocatable.insert(role.clone(), vec![amounts("cpus:3"), amounts("licences:1")]))
                }
                2..4 => {
                    let rack = format!("r{}", self.pick(3));
                    message.role_constraints.insert(role.to_string(), rack_constraint(&rack));
                }
                _ => {}
            }
        }
        let constraints =
            OfferConstraints::compile(&message, &roles, ConstraintLimits::default()).expect("valid");
        let framework = checker::Framework {
            hungry: roles.clone(),
            can: checker::Capabilities {
                revocable: capabilities.revocable_resources,
                gpus: capabilities.gpu_resources,
                shared: capabilities.shared_resources,
                multi_role: capabilities.multi_role,
                refinement: true,
                region_aware: capabilities.region_aware,
            },
            minimums: min_allocatable.clone(),
            constraints: Some(message),
        };
        self.facts.frameworks.insert(id.clone(), framework);
        self.wishes.insert(id.clone(), (true, roles.clone(), BTreeSet::new()));
        let suppressed = BTreeSet::new();
        let profile = FrameworkProfile { roles, suppressed, capabilities, min_allocatable, constraints };
        self.c.framework_as(&id, profile);
    }

    fn remove_framework(&mut self, id: &FrameworkId) {
        self.c.allocator.remove_framework(id);
        self.wishes.remove(id);
        self.facts.frameworks.remove(id);
        self.facts.held.retain(|(_, framework, _), _| framework != id);
        self.facts.refusals.retain(|refusal| refusal.framework != *id);
    }

    fn change_wishes(&mut self) {
        let id = self.some_framework();
        let what = self.pick(4);
        let one = self.chance(50);
        let allocator = &mut self.c.allocator;
        let Some((active, roles, suppressed)) = self.wishes.get_mut(&id) else { return };
        let named: BTreeSet<Role> =
            if one { roles.iter().take(1).cloned().collect() } else { BTreeSet::new() };
        let of = |role: &Role| named.is_empty() || named.contains(role);
        match what {
            0 => {
                allocator.suppress(&id, &named);
                suppressed.extend(roles.iter().filter(|role| of(role)).cloned());
            }
            1 => {
                allocator.revive(&id, &named);
                suppressed.retain(|role| !of(role));
                self.facts.refusals.retain(|refusal| refusal.framework != id || !of(&refusal.role));
            }
            2 => {
                allocator.deactivate_framework(&id);
                *active = false;
                self.facts.refusals.retain(|refusal| refusal.framework != id);
            }
            _ => {
                allocator.activate_framework(&id);
                *active = true;
            }
        }
        if let Some(framework) = self.facts.frameworks.get_mut(&id) {
            framework.hungry =
                if *active { roles.difference(suppressed).cloned().collect() } else { BTreeSet::new() };
        }
    }

    /// A framework gives back all or a part of what it holds somewhere, and may refuse it for a while.
    fn give_back(&mut self) {
        if self.facts.held.is_empty() {
            return;
        }
        let at = self.pick(self.facts.held.len());
        let Some(((agent, framework, role), held)) = self.facts.held.iter().nth(at) else { return };
        let (agent, framework, role, held) = (agent.clone(), framework.clone(), role.clone(), held.clone());
        let whole = self.chance(60);
        let back = if whole { held } else { held.iter().take(1).cloned().collect() };
        let refuse = [None, Some(0), Some(1), Some(3), Some(30)][self.pick(5)];
        let filter = refuse.map(|seconds| Filter::of_decline(Some(&filters(f64::from(seconds)))));
        let allocated = back.allocated(&role);
        self.c.allocator.recover(self.c.now, &framework, &agent, &allocated, filter);
        self.facts.give_back(&agent, &framework, &role, &back);
        let is_active = self.wishes.get(&framework).is_some_and(|(active, ..)| *active);
        if let (Some(seconds), true) = (refuse, is_active) {
            // Until a whole second: the next one, or one that is at least as far away as asked.
            let now = self.c.now.as_nanos();
            let least = if seconds == 0 { now + 1 } else { now + i64::from(seconds) * SECOND };
            let until = Timestamp::from_nanos((least + SECOND - 1) / SECOND * SECOND);
            self.facts.refusals.push(checker::Refusal { framework, role, agent, resources: back, until });
        }
    }

    fn convert(&mut self) {
        let agent = self.some_agent();
        let role = ROLES[self.pick(ROLES.len())];
        let (plain, reserved) = (parse("cpus:1"), parse(&format!("cpus({role}):1")));
        let (from, to) = if self.chance(50) { (plain, reserved) } else { (reserved, plain) };
        let is_done = self.c.allocator.convert_available(&agent, &from, &to).is_ok();
        let is_free = self.facts.free_of(&agent).contains(&from);
        assert_eq!(is_done, is_free, "{from} of {agent}");
        if let (true, Some(known)) = (is_done, self.facts.agents.get_mut(&agent)) {
            known.total.subtract(&from);
            known.total += to;
        }
    }

    fn set_quota(&mut self) {
        let role = Role::from(["a", "b", "c"][self.pick(3)]);
        let (guarantee, limit) = (self.pick(6), self.pick(12));
        let mut quota = Quota::default();
        if self.chance(60) {
            quota.guarantee = amounts(&format!("cpus:{};mem:{}", guarantee.min(limit), 16 * guarantee));
        }
        if self.chance(60) {
            quota.limit.insert(Name::from("cpus"), Scalar::from_whole(limit as u32));
        }
        self.facts.quotas.remove(&role);
        if quota != Quota::default() {
            let (guarantee, limit) = (quota.guarantee.clone(), quota.limit.clone());
            self.facts.quotas.insert(role.clone(), checker::Quota { guarantee, limit });
        }
        self.c.allocator.set_quota(&role, quota);
    }

    fn set_weight(&mut self) {
        let role = Role::from(ROLES[self.pick(ROLES.len())]);
        let weight = [0.5, 1.0, 2.0, 3.0][self.pick(4)];
        self.c.allocator.set_weight(&role, weight);
        self.facts.settings.weights.insert(role, weight);
    }

    fn step(&mut self) {
        let what = self.pick(20);
        self.log.push(format!("{what}"));
        match what {
            0..3 => self.add_agent(),
            3 => {
                let id = self.some_agent();
                self.remove_agent(&id);
            }
            4 => self.switch_agent(),
            5..8 => self.add_framework(),
            8..10 => self.change_wishes(),
            10..15 => self.give_back(),
            15 => self.convert(),
            16 if self.seed.is_multiple_of(2) => self.set_quota(),
            17 => self.set_weight(),
            _ => {
                let tenths = self.pick(15);
                self.c.wait(tenths as f64 / 10.0);
            }
        }
    }

    fn pass(&mut self) {
        let of = |allocation: Allocation| checker::Offer {
            resources: allocation.resources(),
            framework: allocation.framework,
            role: allocation.role,
            agent: allocation.agent,
        };
        let offers: Vec<checker::Offer> = self.c.pass().offers.into_iter().map(of).collect();
        let wrong = self.facts.judge(self.c.now, &offers);
        assert!(
            wrong.is_empty(),
            "seed {}, steps {:?}\noffers {offers:#?}\nbefore {:#?}\nwrong {wrong:#?}",
            self.seed,
            self.log,
            self.facts
        );
        self.facts.take(&offers);
        for agent in self.facts.agents.keys() {
            assert_eq!(self.facts.free_of(agent), self.c.allocator.available(agent), "{agent}");
        }
    }
}

fn rack_constraint(rack: &str) -> v1::scheduler::offer_constraints::RoleConstraints {
    use v1::scheduler::{
        AttributeConstraint,
        attribute_constraint::{Predicate, Selector, predicate, selector},
        offer_constraints::{RoleConstraints, role_constraints::Group},
    };
    let equals = predicate::TextEquals { value: rack.into() };
    let constraint = AttributeConstraint {
        selector: Selector { selector: Some(selector::Selector::AttributeName("rack".into())) },
        predicate: Predicate { predicate: Some(predicate::Predicate::TextEquals(equals)) },
    };
    RoleConstraints { groups: vec![Group { attribute_constraints: vec![constraint] }] }
}

#[test]
fn a_checker_finds_nothing_wrong_with_random_stories() {
    // `MEZZO_STORIES=835..836` plays one again.
    let text = std::env::var("MEZZO_STORIES").unwrap_or("0..500".into());
    let ends: Vec<u64> = text.split("..").filter_map(|end| end.parse().ok()).collect();
    for seed in ends[0]..ends[1] {
        let mut story = Story::new(seed);
        for _ in 0..60 {
            story.step();
            story.pass();
        }
        // Once every refusal has ended, a full pass leaves nothing that anybody could be given.
        story.c.wait(60.0);
        story.pass();
        story.c.wait(1.1);
        story.pass();
        // Marks are kept as long as nobody wants anything.
        while story.c.allocator.dirty_count > 0 && story.c.allocator.roles.anybody_hungry() {
            story.c.wait(0.01);
            story.pass();
        }
        assert_eq!(story.facts.overlooked(story.c.now), [], "seed {seed}, steps {:?}", story.log);
    }
}
