//! One pass: guarantees first, then fair shares.
//!
//! A pass looks at what changed. An agent that changed is offered to everybody; a framework that wants
//! more than before is shown every free agent; a refusal that ended brings its framework and agent
//! together again. Whoever is not looked at had his chance, and the reason why he took nothing stands.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use mezzo_resources::{Resource, Resources};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    Allocator, Sorter,
    amounts::{Amounts, Common},
    bundle::{Bundle, rare_amounts},
    classes::{ClassSet, MIXED, bit},
    offerable::{Stage, Taken, part_of, reaches},
    offers::{Allocations, Given},
    order::{Sorters, Walker, shuffle},
    rare::Rare,
    roles::{ROOT, RoleNode, Roles},
    visits::Visit,
};

/// Least time between two passes while resources keep coming back. The first to come back after a
/// quiet moment is offered at once; under load, what comes back together is offered together.
const PASS_GAP: Duration = Duration::from_millis(1);
/// How often a pass asks somebody, or looks at what somebody asks for, before the rest is left to the next
/// pass, some tenths of a second at most. A cluster of 100,000 agents needs less than that; frameworks with
/// absurd constraints may need any number.
pub(crate) const STEPS_MAX: u64 = 1 << 20;
/// So many agents are read before they are visited.
const READ_AHEAD: usize = 16;

/// What is going on in a pass.
pub(crate) struct Pass<'a> {
    pub(crate) rng: &'a mut dyn Rng,
    walker: Walker,
    pub(crate) newcomers: Vec<u32>,
    given: Vec<Given>,
    /// Shared volumes that were offered in this pass (rule 110).
    shared: BTreeMap<u32, Resources>,
    /// Roles with a guarantee and somebody who wants something, in order while nobody gets anything.
    guaranteed: Vec<u32>,
    is_ordered: bool,
    /// Roles with a guarantee and somebody in or below them who wants something.
    owed: Vec<u32>,
    /// Classes of frameworks with minimums of their own, and of those that may have what is revocable.
    own_minimum: ClassSet,
    revocable: ClassSet,
    /// Of the agent that is visited: see [`crate::agent::Agent::settled`].
    settled: u64,
    /// Whether quota kept something of it from somebody.
    is_held_back: Cell<bool>,
    /// Clients that were asked, and what [`crate::kinds::Kinds::steps`] was at the start.
    steps: u64,
    steps_before: u64,
    /// Kept for its memory.
    taken: Taken,
}

/// Why clients are asked one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Those of exactly one role, toward its guarantee.
    Guarantee,
    /// All, as long as what is left is worth a look for everybody.
    Everybody,
    /// Those that [`Interest::Some`] tells, as long as anything is left.
    Some,
}

/// For whom an agent is worth a look.
#[derive(Debug)]
enum Interest {
    Everybody,
    /// For these classes, and for everybody in or below the roles.
    Some {
        classes: ClassSet,
        roles: Vec<u32>,
    },
}

/// What is left of an agent, to leave out whole roles that a limit keeps from all of it.
struct Left {
    common: Common,
    /// Special resources, when some of them are numbers.
    rare: Rare,
    own_minimum: ClassSet,
    revocable: ClassSet,
}

impl Left {
    /// As [`Left::is_too_little`]; notes that quota holds something back.
    fn is_spent(&self, node: &RoleNode, minimums: &[Amounts], is_held_back: &Cell<bool>) -> bool {
        let is_spent = self.is_too_little(node, minimums);
        is_held_back.set(is_spent || is_held_back.get());
        is_spent
    }

    /// Whether the limits of a role leave nobody in or below it enough to be offered.
    fn is_too_little(&self, node: &RoleNode, minimums: &[Amounts]) -> bool {
        let Some(quota) = node.quota.as_ref().filter(|quota| !quota.quota.limit.is_empty()) else {
            return false;
        };
        if minimums.is_empty() || self.own_minimum & node.hungry.signature != 0 {
            return false;
        }
        let mut most = Amounts::of_common(self.common);
        for (most, left) in most.common.iter_mut().zip(node.left_of_limit(quota)) {
            *most = (*most).min(left);
        }
        for resource in self.rare.iter().filter(|resource| resource.as_scalar().is_some()) {
            let is_possible = match resource.top_role() {
                Some(role) => is_within(role, &node.role) || is_within(&node.role, role),
                None => !resource.is_revocable() || self.revocable & node.hungry.signature != 0,
            };
            if is_possible {
                most.add(&rare_amounts([resource]));
            }
        }
        !minimums.iter().any(|minimum| reaches(&most, minimum))
    }
}

/// Whether `role` is `above` or lies below it.
fn is_within(role: &str, above: &str) -> bool {
    role.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Allocator {
    /// Gives what can be given. Costs what changed since the last call; calling it when nothing did is
    /// cheap and harmless.
    pub fn allocate(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Allocations {
        if self.is_paused(now) {
            return Allocations::default();
        }
        for agent in self.inverse.expire(now) {
            self.consider_inverse(agent);
        }
        let ended = self.expire_filters(now);
        if self.full_pass_due().is_some_and(|due| due <= now) {
            self.last_full_pass = now;
            self.changed = false;
            self.all_dirty = true;
        }
        if !self.roles.anybody_hungry() || (!self.has_marks() && ended.is_empty()) {
            // Marks of agents are kept: whoever wants something next is shown all free ones anyway.
            let inverse_offers = self.ask_to_vacate();
            return Allocations { offers: Vec::new(), inverse_offers };
        }
        self.last_pass = now;
        self.runs += 1;
        self.roles.settle(&self.measure);
        let mut pass = Pass {
            rng,
            walker: std::mem::take(&mut self.walker),
            newcomers: Vec::new(),
            given: Vec::new(),
            shared: BTreeMap::new(),
            guaranteed: self.guaranteed_roles(),
            is_ordered: false,
            owed: self.owed_roles(),
            own_minimum: self.classes.which(|class| class.own_minimum),
            revocable: self.classes.which(|class| class.capabilities.revocable_resources),
            settled: 0,
            is_held_back: Cell::new(false),
            steps: 0,
            steps_before: self.kinds.steps,
            taken: Taken::default(),
        };
        let visits = self.plan_visits(ended, &mut pass);
        let visits = self.serve_guarantees_of(&visits, &mut pass);
        self.serve_shares_of(visits, &mut pass);
        let Pass { walker, given, .. } = pass;
        self.walker = walker;
        // Whoever was given something of an agent in this pass is asked to vacate it too.
        let inverse_offers = self.ask_to_vacate();
        Allocations { offers: self.offers(given), inverse_offers }
    }

    /// Stage 1: returns the visits for stage 2.
    fn serve_guarantees_of<'a>(&mut self, visits: &'a [Visit], pass: &mut Pass<'_>) -> &'a [Visit] {
        if self.roles.required.is_zero() || pass.guaranteed.is_empty() {
            return visits;
        }
        for (i, visit) in visits.iter().enumerate() {
            if i % READ_AHEAD == 0 {
                if !self.is_owed_to_any(&pass.guaranteed) {
                    break;
                }
                self.read_ahead(&visits[i..visits.len().min(i + READ_AHEAD)]);
            }
            if self.is_exhausted(pass) {
                let (now, later) = visits.split_at(i);
                self.postpone(later);
                pass.steps = 0;
                pass.steps_before = self.kinds.steps;
                return now;
            }
            pass.settled = self.settled(visit.agent);
            self.serve_guarantees(*visit, pass);
        }
        visits
    }

    /// Stage 2.
    fn serve_shares_of(&mut self, visits: &[Visit], pass: &mut Pass<'_>) {
        for (i, visit) in visits.iter().enumerate() {
            if self.is_exhausted(pass) {
                return self.postpone(&visits[i..]);
            }
            if i % READ_AHEAD == 0 {
                self.read_ahead(&visits[i..visits.len().min(i + READ_AHEAD)]);
            }
            pass.settled = self.settled(visit.agent);
            match visit.newcomers {
                None => self.serve_everybody(visit.agent, pass),
                Some(range) => self.serve_newcomers(visit.agent, range, pass),
            }
        }
    }

    fn is_exhausted(&self, pass: &Pass<'_>) -> bool {
        pass.steps + self.kinds.steps - pass.steps_before > self.steps_max
    }

    /// Leaves agents to the next pass.
    fn postpone(&mut self, visits: &[Visit]) {
        for visit in visits {
            self.agents[visit.agent].settled = 0;
            let is_free = self.agents[visit.agent].is_free();
            self.set_agent_dirty(visit.agent, is_free);
        }
    }

    /// When [`Allocator::allocate`] can next bring something; not in the future when there is work.
    /// `None` when only another event can.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if let Some((needed, until)) = self.pause {
            return Some(if self.agents.len() < needed { until } else { Timestamp::ZERO });
        }
        if !self.inverse_dirty.is_empty() {
            return Some(Timestamp::ZERO);
        }
        let wanted = self.roles.anybody_hungry();
        let pending = (wanted && self.has_marks()).then(|| self.last_pass + PASS_GAP);
        let filters = self.endings.next().filter(|_| wanted);
        let full = self.full_pass_due();
        [pending, filters, full, self.inverse.next_ending()].into_iter().flatten().min()
    }

    /// Whether somebody has to be looked at.
    fn has_marks(&self) -> bool {
        self.dirty_count > 0 || (!self.free.is_empty() && (self.all_dirty || !self.dirty_clients.is_empty()))
    }

    /// Quota couples agents: what came back on one may allow more on another. Shared volumes may be
    /// offered again in every run. Without both, looking at what changed finds all there is.
    fn full_pass_due(&self) -> Option<Timestamp> {
        if self.free.is_empty() || !self.roles.anybody_hungry() {
            return None;
        }
        let coupled = self.changed && !self.roles.quotas.is_empty();
        let sharing = self.sharing.iter().any(|agent| self.agents[*agent].is_free())
            && self.classes.which(|class| class.capabilities.shared_resources) != 0
            && self.frameworks.iter().any(|(_, framework)| {
                framework.active
                    && framework.profile.as_ref().is_some_and(|known| known.capabilities.shared_resources)
            });
        (coupled || sharing).then(|| self.last_full_pass + self.config.allocation_interval)
    }

    pub(crate) fn is_paused(&mut self, now: Timestamp) -> bool {
        let Some((needed, until)) = self.pause else { return false };
        if self.agents.len() >= needed || now >= until {
            self.pause = None;
            self.consider_all();
        }
        self.pause.is_some()
    }

    fn sorters(&self) -> Sorters {
        Sorters { roles: self.config.role_sorter, frameworks: self.config.framework_sorter }
    }

    /// The pass since which an agent is settled, if it is.
    pub(crate) fn settled(&self, agent: u32) -> u64 {
        let settled = self.agents[agent].settled;
        if settled >= self.all_grown { settled } else { 0 }
    }

    /// Which of `classes` an agent is for.
    pub(crate) fn admitted(&mut self, agent: u32, classes: ClassSet) -> ClassSet {
        let Self { kinds, agents, classes: all, config, roles, .. } = self;
        kinds.admitted(&mut agents[agent], all, config, classes, &roles.mixed.wanting)
    }

    /// Whether an agent is for the class of a client.
    fn admits(&mut self, agent: u32, client: u32) -> bool {
        let Self { kinds, agents, classes: all, config, roles, .. } = self;
        kinds.admits(&mut agents[agent], all, config, roles.clients[client].class)
    }

    /// Roles with a guarantee and frameworks that want something.
    fn guaranteed_roles(&self) -> Vec<u32> {
        let wants = |id: &u32| {
            let node = &self.roles.nodes[*id];
            node.hungry_own.total > 0 && node.quota.as_ref().is_some_and(|quota| !quota.guarantee.is_zero())
        };
        self.roles.quotas.values().copied().filter(wants).collect()
    }

    /// Roles with a guarantee and frameworks in or below them that want something.
    fn owed_roles(&self) -> Vec<u32> {
        let wants = |id: &u32| {
            let node = &self.roles.nodes[*id];
            node.hungry.total > 0 && node.quota.as_ref().is_some_and(|quota| !quota.guarantee.is_zero())
        };
        self.roles.quotas.values().copied().filter(wants).collect()
    }

    /// Whether the guarantee of one of these roles is not met.
    fn is_owed_to_any(&self, roles: &[u32]) -> bool {
        roles.iter().any(|role| self.is_owed(*role))
    }

    fn is_owed(&self, role: u32) -> bool {
        self.roles.nodes[role].quota.as_ref().is_some_and(|quota| !quota.missing.is_zero())
    }

    /// Stage 1: offers one agent to roles whose guarantee is not met.
    fn serve_guarantees(&mut self, visit: Visit, pass: &mut Pass<'_>) {
        let agent = visit.agent;
        if !self.agents[agent].is_free() {
            return;
        }
        let classes = self.admitted(agent, self.roles.nodes[ROOT].hungry.signature);
        if !pass.is_ordered {
            pass.is_ordered = true;
            match self.config.role_sorter {
                Sorter::FairShare => {
                    let Self { roles, measure, .. } = self;
                    pass.guaranteed.sort_by(|one, other| roles.compare_roles(*one, *other, measure));
                }
                Sorter::Random => shuffle(&mut pass.guaranteed, pass.rng),
            }
        }
        for i in 0..pass.guaranteed.len() {
            let role = pass.guaranteed[i];
            if !self.is_owed(role) || self.roles.nodes[role].hungry_own.signature & classes == 0 {
                continue;
            }
            match visit.newcomers {
                Some((from, to)) => {
                    for at in from..to {
                        let client = pass.newcomers[at as usize];
                        if self.roles.clients[client].role == role && self.admits(agent, client) {
                            self.try_offer(client, agent, Stage::Guarantees, pass);
                        }
                    }
                }
                None => self.walk(agent, role, classes, Round::Guarantee, pass),
            }
            if !self.agents[agent].is_free() {
                break;
            }
        }
        self.roles.settle(&self.measure);
    }

    /// Stage 2: offers one agent around.
    fn serve_everybody(&mut self, agent: u32, pass: &mut Pass<'_>) {
        pass.is_held_back.set(false);
        self.ask_everybody(agent, pass);
        self.roles.settle(&self.measure);
        let known = &mut self.agents[agent];
        // Shared volumes are offered again in every pass.
        let is_settled = !pass.is_held_back.get() && !known.available.rare.has_shared();
        known.settled = if is_settled { self.runs } else { 0 };
    }

    fn ask_everybody(&mut self, agent: u32, pass: &mut Pass<'_>) {
        if !self.agents[agent].is_free() {
            return;
        }
        let classes = self.admitted(agent, self.roles.nodes[ROOT].hungry.signature);
        if classes == 0 {
            return;
        }
        let mut interest = self.interest(agent, pass);
        if let Interest::Everybody = interest {
            self.walk(agent, ROOT, classes, Round::Everybody, pass);
            interest = self.interest(agent, pass);
        }
        if let Interest::Some { classes: some, roles } = interest {
            if some & classes != 0 && !roles.is_empty() && self.sorters().are_fair() {
                return self.ask_both(agent, (some & classes, &roles), classes, pass);
            }
            for role in roles {
                self.walk(agent, role, classes, Round::Some, pass);
            }
            if some & classes != 0 {
                self.walk(agent, ROOT, some & classes, Round::Some, pass);
            }
        }
    }

    /// Asks clients of some classes, and everybody in or below some roles, in one order: whoever has what is
    /// reserved for him does not come first to what is left beside it.
    fn ask_both(
        &mut self,
        agent: u32,
        (some, within): (ClassSet, &[u32]),
        classes: ClassSet,
        pass: &mut Pass<'_>,
    ) {
        let sorters = self.sorters();
        let mut clients = Vec::new();
        let mut walker = std::mem::take(&mut pass.walker);
        for (from, classes) in std::iter::once((ROOT, some)).chain(within.iter().map(|role| (*role, classes)))
        {
            let Self { roles, measure, .. } = self;
            walker.start(roles, from, classes, measure, sorters);
            while let Some(client) = walker.next(roles, measure, sorters, pass.rng, |_, _| false) {
                clients.push(client);
            }
        }
        pass.walker = walker;
        clients.sort_unstable();
        clients.dedup();
        clients.sort_by(|one, other| self.roles.compare(*one, *other, &self.measure));
        for client in clients {
            pass.steps += 1;
            let is_asked = self.roles.clients[client].grown > pass.settled && self.admits(agent, client);
            if is_asked && self.agents[agent].is_free() {
                self.try_offer(client, agent, Stage::Shares, pass);
            }
        }
    }

    /// Stage 2 for an agent that only some have to be asked about.
    fn serve_newcomers(&mut self, agent: u32, (from, to): (u32, u32), pass: &mut Pass<'_>) {
        let mut clients: Vec<u32> = pass.newcomers[from as usize..to as usize].to_vec();
        if clients.len() > 1 {
            match self.config.role_sorter {
                Sorter::FairShare => {
                    clients.sort_by(|one, other| self.roles.compare(*one, *other, &self.measure));
                }
                Sorter::Random => shuffle(&mut clients, pass.rng),
            }
        }
        for client in clients {
            pass.steps += 1;
            if self.agents[agent].is_free() && self.admits(agent, client) {
                self.try_offer(client, agent, Stage::Shares, pass);
            }
        }
        self.roles.settle(&self.measure);
    }

    /// For whom what is left of an agent is worth a look.
    fn interest(&self, agent: u32, pass: &Pass<'_>) -> Interest {
        let known = &self.agents[agent];
        if !known.is_free() {
            return Interest::Some { classes: 0, roles: Vec::new() };
        }
        if self.minimums.is_empty() {
            return Interest::Everybody;
        }
        let mut plain = known.available.common;
        let required = self.roles.required.common.iter().zip(self.headroom.common);
        for (amount, (required, headroom)) in plain.iter_mut().zip(required) {
            let left = (headroom - required).max(0);
            if *required > 0 && left < *amount {
                *amount = left;
                pass.is_held_back.set(true);
            }
        }
        let rare = &known.available.rare;
        let is_enough = if rare.counted().is_zero() {
            let common =
                |minimum: &Amounts| plain.iter().zip(minimum.common).all(|(free, least)| *free >= least);
            self.minimums.iter().any(|minimum| minimum.rare.is_empty() && common(minimum))
        } else {
            let mut free = Amounts::of_common(plain);
            free.add(rare.counted());
            self.minimums.iter().any(|minimum| reaches(&free, minimum))
        };
        if is_enough {
            return Interest::Everybody;
        }
        let (mut classes, mut roles) = (pass.own_minimum, Vec::new());
        if rare.has_revocable() {
            classes |= pass.revocable;
        }
        for role in rare.owners().iter().filter_map(|role| self.roles.find_above(role)) {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        // What is kept free for a guarantee is there for whoever is in or below its role.
        for role in &pass.owed {
            if self.is_owed(*role) && !roles.contains(role) {
                roles.push(*role);
            }
        }
        if roles.len() > 1 {
            roles.sort_by(|one, other| self.roles.compare_roles(*one, *other, &self.measure));
        }
        Interest::Some { classes, roles }
    }

    /// Asks clients below a role in order, as long as something is left that anybody may want.
    fn walk(&mut self, agent: u32, from: u32, classes: ClassSet, round: Round, pass: &mut Pass<'_>) {
        let sorters = self.sorters();
        let mut left = self.left(agent, pass);
        let (mut few, classes_of_tree) = match self.few(agent, from, classes) {
            Some(few) => (few, classes & !MIXED),
            None => (Vec::new(), classes),
        };
        let mut walker = std::mem::take(&mut pass.walker);
        if round == Round::Guarantee {
            walker.start_own(&mut self.roles, from, classes_of_tree, &self.measure, sorters);
        } else {
            walker.start(&mut self.roles, from, classes_of_tree, &self.measure, sorters);
        }
        let mut ahead = None;
        loop {
            let Self { roles, measure, minimums, .. } = self;
            let is_spent =
                |roles: &Roles, id: u32| left.is_spent(&roles.nodes[id], minimums, &pass.is_held_back);
            ahead = ahead.or_else(|| walker.next(roles, measure, sorters, pass.rng, is_spent));
            let of_few = few.last().copied();
            let client = match (ahead, of_few) {
                (Some(ahead), Some(other)) if roles.compare(other, ahead, measure).is_ge() => Some(ahead),
                (Some(ahead), None) => Some(ahead),
                (_, other) => other,
            };
            let Some(client) = client else { break };
            pass.steps += 1;
            let known = &roles.clients[client];
            let is_few = Some(client) == of_few;
            if is_few {
                few.pop();
            } else {
                ahead = None;
            }
            let is_asked = known.grown > pass.settled
                && (round != Round::Guarantee || known.role == from)
                && !(is_few && roles.up_from(known.role).any(|id| is_spent(roles, id)))
                && (bit(known.class) != MIXED || self.admits(agent, client));
            let stage = if round == Round::Guarantee { Stage::Guarantees } else { Stage::Shares };
            if !is_asked || !self.try_offer(client, agent, stage, pass) {
                continue;
            }
            if !self.goes_on(agent, from, classes, round, pass) {
                break;
            }
            left = self.left(agent, pass);
            let is_spent =
                |roles: &Roles, id: u32| left.is_spent(&roles.nodes[id], &self.minimums, &pass.is_held_back);
            if self.roles.up_from(from).any(|id| is_spent(&self.roles, id)) {
                break;
            }
            walker.leave(&self.roles, is_spent);
        }
        pass.walker = walker;
    }

    /// Clients in or below a role whose classes the tree does not tell apart and that an agent is for, the
    /// first to be served last, when they are so few that a walk would ask many others for each of them.
    fn few(&self, agent: u32, from: u32, classes: ClassSet) -> Option<Vec<u32>> {
        let mixed = &self.roles.mixed;
        let Sorters { roles, frameworks } = self.sorters();
        if classes & MIXED == 0 || (roles, frameworks) != (Sorter::FairShare, Sorter::FairShare) {
            return None;
        }
        let most = mixed.len().isqrt();
        let classes = self.kinds.few_mixed(&self.agents[agent], &mixed.wanting, most)?;
        let mut clients: Vec<u32> = classes.into_iter().flat_map(|class| mixed.of_class(class)).collect();
        if clients.len() > 2 * most {
            return None;
        }
        clients.retain(|client| {
            let role = self.roles.clients[*client].role;
            from == ROOT || self.roles.up_from(role).any(|id| id == from)
        });
        clients.sort_by(|one, other| self.roles.compare(*other, *one, &self.measure));
        Some(clients)
    }

    fn left(&self, agent: u32, pass: &Pass<'_>) -> Left {
        let Bundle { common, rare } = &self.agents[agent].available;
        Left {
            common: *common,
            rare: if rare.has_scalars() { rare.clone() } else { Rare::default() },
            own_minimum: pass.own_minimum,
            revocable: pass.revocable,
        }
    }

    /// Whether what is left of an agent, of which something was given, is worth asking more of those that
    /// are asked.
    fn goes_on(&self, agent: u32, from: u32, classes: ClassSet, round: Round, pass: &Pass<'_>) -> bool {
        let Bundle { common, rare } = &self.agents[agent].available;
        match round {
            // Only what quota counts brings a guarantee further.
            Round::Guarantee => self.is_owed(from) && (*common != [0; 4] || !rare.counted().is_zero()),
            Round::Everybody => matches!(self.interest(agent, pass), Interest::Everybody),
            Round::Some => match self.interest(agent, pass) {
                Interest::Everybody => true,
                Interest::Some { classes: some, .. } if from == ROOT => some & classes != 0,
                Interest::Some { roles, .. } => roles.contains(&from),
            },
        }
    }

    /// Gives a client what it can be given of an agent; says whether that was anything.
    fn try_offer(&mut self, client: u32, agent: u32, stage: Stage, pass: &mut Pass<'_>) -> bool {
        let mut taken = std::mem::take(&mut pass.taken);
        let shared = if pass.shared.is_empty() { None } else { pass.shared.get(&agent) };
        let is_given = self.offerable(client, agent, stage, shared, &mut taken).is_ok();
        if taken.is_cut && stage == Stage::Shares {
            pass.is_held_back.set(true);
            self.agents[agent].settled = 0;
        }
        if is_given {
            self.give(client, agent, &taken, pass);
        }
        pass.taken = taken;
        is_given
    }

    fn give(&mut self, client: u32, agent: u32, taken: &Taken, pass: &mut Pass<'_>) {
        let bundle = self.take_available(agent, taken);
        if bundle.rare.has_shared() {
            let shared = pass.shared.entry(agent).or_default();
            for resource in bundle.rare.iter().filter(|resource| resource.is_shared()) {
                shared.add_one(resource);
            }
        }
        self.charge(client, agent, bundle.clone());
        self.roles.count_allocation(client);
        self.refresh_free(agent);
        self.consider_inverse(agent);
        pass.given.push(Given { client, agent, bundle });
        pass.is_ordered = false;
    }

    /// Takes out of what is available of an agent; shared resources stay.
    fn take_available(&mut self, agent: u32, taken: &Taken) -> Bundle {
        let known = &mut self.agents[agent];
        let free = &mut known.available;
        for (at, given) in taken.common.into_iter().enumerate() {
            free.common[at] -= given;
            self.headroom.common[at] -= given;
        }
        if taken.rare.is_empty() {
            return Bundle::of_common(taken.common);
        }
        let is_all = taken.rare.len() == free.rare.len()
            && !free.rare.has_shared()
            && taken.rare.iter().all(|take| take.part.is_none());
        let rare = if is_all {
            std::mem::take(&mut free.rare)
        } else {
            let is_whole = |at: usize| taken.rare.iter().any(|take| take.at == at && take.part.is_none());
            let is_shared = |at: usize| free.rare.iter().nth(at).is_some_and(Resource::is_shared);
            let others: Vec<Resource> = taken
                .rare
                .iter()
                .filter(|take| take.part.is_some() || is_shared(take.at))
                .filter_map(|take| part_of(&free.rare, *take))
                .collect();
            let mut rare = Resources::empty();
            free.rare.change(|free| {
                let mut at = 0;
                rare = free.extract(|resource| {
                    at += 1;
                    !resource.is_shared() && is_whole(at - 1)
                });
                for part in &others {
                    if !part.is_shared() {
                        free.subtract_one(part);
                    }
                    rare.add_one(part);
                }
            });
            Rare::from(rare)
        };
        self.headroom.subtract(rare.counted());
        Bundle { common: taken.common, rare }
    }
}
