//! One pass: guarantees first, then fair shares.
//!
//! A pass looks at what changed. An agent that changed is offered to everybody; a framework that wants
//! more than before is shown every free agent; a refusal that ended brings its framework and agent
//! together again. Whoever is not looked at had his chance, and the reason why he took nothing stands.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_resources::{Name, Resource, Resources};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    AgentPreference, Allocator, InverseAllocation,
    amounts::{Amounts, Common, place},
    bundle::{Bundle, is_quota_counted, rare_amounts},
    classes::{Class, MIXED, bit},
    offerable::{Stage, Taken, part_of, reaches},
    order::{Sorters, Walker, shuffle},
    roles::{ROOT, RoleNode, Roles},
};

/// Least time between two passes while resources keep coming back. The first to come back after a
/// quiet moment is offered at once; under load, what comes back together is offered together.
const PASS_GAP: Duration = Duration::from_millis(1);
/// When more than this many frameworks in roles want more than before, every free agent is offered to
/// everybody: that costs no more than asking so many one by one.
const NEWCOMERS_MAX: usize = 8;

/// Agents are visited in random order, so each is read this many visits early: its parts then come from
/// memory together, not one after the other when they are needed.
const READ_AHEAD: usize = 2;

/// Resources to be offered to a framework in one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// Allocated to the role.
    pub resources: Resources,
}

/// What a pass decided. The framework holds it until it is recovered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocations {
    /// Sorted by framework, role and agent.
    pub offers: Vec<Allocation>,
    /// Requests to vacate agents.
    pub inverse_offers: Vec<InverseAllocation>,
}

/// An agent to be looked at in a pass.
#[derive(Clone, Copy, Debug)]
struct Visit {
    agent: u32,
    /// Clients to offer it to, as a part of [`Pass::newcomers`]; `None` for everybody.
    newcomers: Option<(u32, u32)>,
}

/// Something that was given to a client in a pass.
struct Given {
    client: u32,
    agent: u32,
    resources: Resources,
}

/// What is going on in a pass.
struct Pass<'a> {
    rng: &'a mut dyn Rng,
    walker: Walker,
    newcomers: Vec<u32>,
    given: Vec<Given>,
    /// Shared volumes that were offered in this pass (rule 110).
    shared: BTreeMap<u32, Resources>,
    /// Roles with a guarantee and somebody who wants something, in order while nobody gets anything.
    guaranteed: Vec<u32>,
    is_ordered: bool,
    /// Roles with a guarantee and somebody in or below them who wants something.
    owed: Vec<u32>,
    /// Classes of frameworks with minimums of their own, and of those that may have what is revocable.
    own_minimum: u64,
    revocable: u64,
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
        classes: u64,
        roles: Vec<u32>,
    },
}

/// What is left of an agent, to leave out whole roles that a limit keeps from all of it.
struct Left {
    common: Common,
    rare: Vec<Resource>,
    minimums: Arc<[Amounts]>,
    own_minimum: u64,
    revocable: u64,
}

impl Left {
    /// Whether the limits of a role leave nobody in or below it enough to be offered.
    fn is_too_little(&self, node: &RoleNode) -> bool {
        let Some(quota) = node.quota.as_ref().filter(|quota| !quota.quota.limit.is_empty()) else {
            return false;
        };
        if self.minimums.is_empty() || self.own_minimum & node.hungry.signature != 0 {
            return false;
        }
        let mut most = Amounts::of_common(self.common);
        for (name, limit) in &quota.quota.limit {
            if let Some(at) = place(name) {
                most.common[at] = most.common[at].min((limit.thousandths() - node.consumed(name)).max(0));
            }
        }
        for resource in &self.rare {
            let is_possible = match resource.top_role() {
                Some(role) => is_within(role, &node.role) || is_within(&node.role, role),
                None => !resource.is_revocable() || self.revocable & node.hungry.signature != 0,
            };
            if is_possible {
                most.add(&rare_amounts([resource]));
            }
        }
        !self.minimums.iter().any(|minimum| reaches(&most, minimum))
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
            taken: Taken::default(),
        };
        let visits = self.plan_visits(ended, &mut pass);
        if !self.roles.required.is_zero() && !pass.guaranteed.is_empty() {
            for visit in &visits {
                self.serve_guarantees(*visit, &mut pass);
            }
        }
        for (i, visit) in visits.iter().enumerate() {
            if let Some(ahead) = visits.get(i + READ_AHEAD) {
                self.read_ahead(ahead.agent);
            }
            match visit.newcomers {
                None => self.serve_everybody(visit.agent, &mut pass),
                Some(range) => self.serve_newcomers(visit.agent, range, &mut pass),
            }
        }
        let Pass { walker, given, .. } = pass;
        self.walker = walker;
        // Whoever was given something of an agent in this pass is asked to vacate it too.
        let inverse_offers = self.ask_to_vacate();
        Allocations { offers: self.offers(given), inverse_offers }
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

    /// Which agents this pass looks at, for whom, and in which order; takes all marks away.
    fn plan_visits(&mut self, ended: Vec<(u32, u32)>, pass: &mut Pass<'_>) -> Vec<Visit> {
        for client in std::mem::take(&mut self.dirty_clients) {
            if let Some(known) = self.roles.clients.get_mut(client)
                && std::mem::take(&mut known.dirty)
                && known.hungry
            {
                pass.newcomers.push(client);
            }
        }
        let everybody = |agent| Visit { agent, newcomers: None };
        let mut visits: Vec<Visit> = Vec::new();
        let is_full = self.all_dirty || pass.newcomers.len() > NEWCOMERS_MAX;
        for agent in std::mem::take(&mut self.dirty) {
            if let Some(known) = self.agents.get_mut(agent)
                && std::mem::take(&mut known.dirty)
                && known.is_free()
                && !is_full
            {
                visits.push(everybody(agent));
            }
        }
        self.dirty_count = 0;
        self.all_dirty = false;
        if is_full {
            visits.extend(self.free.iter().copied().map(everybody));
        } else {
            self.plan_newcomers(ended, pass, &mut visits);
        }
        shuffle(&mut visits, pass.rng);
        self.prefer_agents(&mut visits);
        visits
    }

    /// Adds visits for those that want more than before.
    fn plan_newcomers(&mut self, ended: Vec<(u32, u32)>, pass: &mut Pass<'_>, visits: &mut Vec<Visit>) {
        let mut seen: Vec<u32> = visits.iter().map(|visit| visit.agent).collect();
        seen.sort_unstable();
        let wanting = pass.newcomers.clone();
        let mut ended = ended.into_iter().peekable();
        while let Some((agent, client)) = ended.next() {
            let from = pass.newcomers.len() as u32;
            let mut clients = vec![client];
            while let Some((_, client)) = ended.next_if(|(other, _)| *other == agent) {
                clients.push(client);
            }
            clients.retain(|client| {
                !wanting.contains(client) && self.roles.clients.get(*client).is_some_and(|known| known.hungry)
            });
            if clients.is_empty()
                || !self.agents.get(agent).is_some_and(|known| known.is_free())
                || seen.binary_search(&agent).is_ok()
            {
                continue;
            }
            pass.newcomers.extend(wanting.iter().copied().chain(clients));
            visits.push(Visit { agent, newcomers: Some((from, pass.newcomers.len() as u32)) });
        }
        if wanting.is_empty() {
            return;
        }
        let mut seen: Vec<u32> = visits.iter().map(|visit| visit.agent).collect();
        seen.sort_unstable();
        let classes = wanting.iter().fold(0, |all, client| all | bit(self.roles.clients[*client].class));
        for i in 0..self.free.len() {
            let agent = self.free[i];
            if seen.binary_search(&agent).is_err() && self.admitted(agent, classes) != 0 {
                visits.push(Visit { agent, newcomers: Some((0, wanting.len() as u32)) });
            }
        }
    }

    /// Brings preferred agents to the front.
    fn prefer_agents(&self, visits: &mut [Visit]) {
        let used = |visit: &Visit| {
            let agent = &self.agents[visit.agent];
            let of_total = agent.total.common.iter().zip(agent.available.common);
            of_total.fold(0.0_f64, |most, (total, free)| {
                if *total == 0 { most } else { most.max(1.0 - free as f64 / *total as f64) }
            })
        };
        match &self.config.agent_preference {
            AgentPreference::Random => {}
            AgentPreference::Spread => visits.sort_by(|one, other| used(one).total_cmp(&used(other))),
            AgentPreference::Pack => visits.sort_by(|one, other| used(other).total_cmp(&used(one))),
            AgentPreference::MostFree(name) => {
                let name: &Name = name;
                visits.sort_by_key(|visit| {
                    std::cmp::Reverse(self.agents[visit.agent].available.amounts().get(name))
                });
            }
        }
    }

    /// Touches the parts of an agent that a visit needs.
    fn read_ahead(&self, agent: u32) {
        let Some(known) = self.agents.get(agent) else { return };
        let first = known.available.rare.iter().next().map(|resource| resource.is_revocable());
        let parts = (known.available.common[0], known.in_use[3], known.held.len(), known.refusals.len());
        std::hint::black_box((first, parts, known.classes_known, known.total.common[0], known.free_at));
    }

    /// Which of `classes` an agent is for; looks at each once.
    fn admitted(&mut self, agent: u32, classes: u64) -> u64 {
        let known = &mut self.agents[agent];
        let mut unknown = classes & !known.classes_known & !bit(MIXED);
        while unknown != 0 {
            let class = unknown.trailing_zeros() as u8;
            unknown &= unknown - 1;
            known.classes_known |= bit(class);
            let admits = |class: &Class| known.admits(class, &self.config).is_ok();
            if self.classes.get(class).is_some_and(admits) {
                known.classes_admitted |= bit(class);
            } else {
                known.classes_admitted &= !bit(class);
            }
        }
        (known.classes_admitted | bit(MIXED)) & classes
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

    /// Stage 1: offers one agent to roles whose guarantee is not met.
    fn serve_guarantees(&mut self, visit: Visit, pass: &mut Pass<'_>) {
        let agent = visit.agent;
        let classes = self.admitted(agent, self.roles.nodes[ROOT].hungry.signature);
        if !pass.is_ordered {
            pass.is_ordered = true;
            match self.config.role_sorter {
                crate::Sorter::FairShare => {
                    let Self { roles, measure, .. } = self;
                    pass.guaranteed.sort_by(|one, other| roles.compare_roles(*one, *other, measure));
                }
                crate::Sorter::Random => shuffle(&mut pass.guaranteed, pass.rng),
            }
        }
        for i in 0..pass.guaranteed.len() {
            let role = pass.guaranteed[i];
            let is_missing =
                self.roles.nodes[role].quota.as_ref().is_some_and(|quota| !quota.missing.is_zero());
            if !is_missing || self.roles.nodes[role].hungry_own.signature & classes == 0 {
                continue;
            }
            match visit.newcomers {
                Some((from, to)) => {
                    for at in from..to {
                        let client = pass.newcomers[at as usize];
                        let known = &self.roles.clients[client];
                        if known.role == role && bit(known.class) & classes != 0 {
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
            for role in roles {
                self.walk(agent, role, classes, Round::Some, pass);
            }
            if some & classes != 0 {
                self.walk(agent, ROOT, some & classes, Round::Some, pass);
            }
        }
        self.roles.settle(&self.measure);
    }

    /// Stage 2 for an agent that only some have to be asked about.
    fn serve_newcomers(&mut self, agent: u32, (from, to): (u32, u32), pass: &mut Pass<'_>) {
        let mut clients: Vec<u32> = pass.newcomers[from as usize..to as usize].to_vec();
        if clients.len() > 1 {
            match self.config.role_sorter {
                crate::Sorter::FairShare => {
                    clients.sort_by(|one, other| self.roles.compare(*one, *other, &self.measure));
                }
                crate::Sorter::Random => shuffle(&mut clients, pass.rng),
            }
        }
        for client in clients {
            let class = bit(self.roles.clients[client].class);
            if self.agents[agent].is_free() && self.admitted(agent, class) != 0 {
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
            if *required > 0 {
                *amount = (*amount).min((headroom - required).max(0));
            }
        }
        let mut free = Amounts::of_common(plain);
        let (mut classes, mut roles) = (pass.own_minimum, Vec::new());
        for resource in &known.available.rare {
            if resource.is_revocable() {
                classes |= pass.revocable;
            }
            if let Some(role) = resource.top_role().and_then(|role| self.roles.find_above(role))
                && !roles.contains(&role)
            {
                roles.push(role);
            }
            if is_quota_counted(resource) {
                free.add(&rare_amounts([resource]));
            }
        }
        if self.minimums.iter().any(|minimum| reaches(&free, minimum)) {
            return Interest::Everybody;
        }
        // What is kept free for a guarantee is there for whoever is in or below its role.
        let is_owed = |id: &u32| {
            self.roles.nodes[*id].quota.as_ref().is_some_and(|quota| !quota.missing.is_zero())
                && !roles.contains(id)
        };
        let owed: Vec<u32> = pass.owed.iter().copied().filter(is_owed).collect();
        roles.extend(owed);
        if roles.len() > 1 {
            roles.sort_by(|one, other| self.roles.compare_roles(*one, *other, &self.measure));
        }
        Interest::Some { classes, roles }
    }

    /// Special resources of an agent that are numbers.
    fn rare_left(&self, agent: u32) -> Vec<Resource> {
        let rare = self.agents[agent].available.rare.iter();
        rare.filter(|resource| resource.as_scalar().is_some()).cloned().collect()
    }

    /// Asks clients below a role in order, as long as something is left that anybody may want.
    fn walk(&mut self, agent: u32, from: u32, classes: u64, round: Round, pass: &mut Pass<'_>) {
        let sorters = self.sorters();
        let left = Left {
            common: self.agents[agent].available.common,
            rare: self.rare_left(agent),
            minimums: self.minimums.clone(),
            own_minimum: pass.own_minimum,
            revocable: pass.revocable,
        };
        let is_spent = |roles: &Roles, id: u32| left.is_too_little(&roles.nodes[id]);
        let mut walker = std::mem::take(&mut pass.walker);
        walker.start(&mut self.roles, from, classes, &self.measure, sorters);
        while let Some(client) = walker.next(&mut self.roles, &self.measure, sorters, pass.rng, is_spent) {
            let is_asked = round != Round::Guarantee || self.roles.clients[client].role == from;
            let stage = if round == Round::Guarantee { Stage::Guarantees } else { Stage::Shares };
            if !is_asked || !self.try_offer(client, agent, stage, pass) {
                continue;
            }
            let goes_on = match round {
                Round::Everybody => matches!(self.interest(agent, pass), Interest::Everybody),
                Round::Guarantee | Round::Some => self.agents[agent].is_free(),
            };
            if !goes_on {
                break;
            }
        }
        pass.walker = walker;
    }

    /// Gives a client what it can be given of an agent; says whether that was anything.
    fn try_offer(&mut self, client: u32, agent: u32, stage: Stage, pass: &mut Pass<'_>) -> bool {
        let mut taken = std::mem::take(&mut pass.taken);
        let shared = if pass.shared.is_empty() { None } else { pass.shared.get(&agent) };
        let is_given = self.offerable(client, agent, stage, shared, &mut taken).is_ok();
        if is_given {
            self.give(client, agent, &taken, pass);
        }
        pass.taken = taken;
        is_given
    }

    fn give(&mut self, client: u32, agent: u32, taken: &Taken, pass: &mut Pass<'_>) {
        let bundle = self.take_available(agent, taken);
        let known = &self.agents[agent];
        let role = &self.roles.nodes[self.roles.clients[client].role].role;
        let resources = bundle.resources(known.order, Some(role));
        let shared = bundle.rare.iter().filter(|resource| resource.is_shared());
        for resource in shared {
            pass.shared.entry(agent).or_default().add_one(resource);
        }
        self.charge(client, agent, bundle);
        self.roles.count_allocation(client);
        self.refresh_agent(agent);
        self.consider_inverse(agent);
        pass.given.push(Given { client, agent, resources });
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
            return Bundle { common: taken.common, rare: Resources::empty() };
        }
        let is_whole = |at: usize| taken.rare.iter().any(|take| take.at == at && take.part.is_none());
        let is_shared = |at: usize| free.rare.iter().nth(at).is_some_and(Resource::is_shared);
        let others: Vec<Resource> = taken
            .rare
            .iter()
            .filter(|take| take.part.is_some() || is_shared(take.at))
            .filter_map(|take| part_of(&free.rare, *take))
            .collect();
        let mut at = 0;
        let mut rare = free.rare.extract(|resource| {
            at += 1;
            !resource.is_shared() && is_whole(at - 1)
        });
        for part in &others {
            if !part.is_shared() {
                free.rare.subtract_one(part);
            }
            rare.add_one(part);
        }
        self.headroom.subtract(&rare_amounts(rare.iter().filter(|resource| is_quota_counted(resource))));
        Bundle { common: taken.common, rare }
    }

    /// What was given, sorted by names.
    fn offers(&self, given: Vec<Given>) -> Vec<Allocation> {
        let mut clients: Vec<u32> = given.iter().map(|given| given.client).collect();
        clients.sort_unstable();
        clients.dedup();
        let name = |client: &u32| {
            let known = &self.roles.clients[*client];
            (&known.id, &self.roles.nodes[known.role].role)
        };
        let mut by_name = clients.clone();
        by_name.sort_by(|one, other| name(one).cmp(&name(other)));
        // One list per client, in the order of names.
        let mut place = vec![0_u32; clients.len()];
        for (at, client) in by_name.iter().enumerate() {
            if let Ok(known) = clients.binary_search(client) {
                place[known] = at as u32;
            }
        }
        let mut lists: Vec<Vec<Given>> = Vec::new();
        lists.resize_with(clients.len(), Vec::new);
        let total = given.len();
        for one in given {
            if let Ok(known) = clients.binary_search(&one.client) {
                lists[place[known] as usize].push(one);
            }
        }
        let mut offers: Vec<Allocation> = Vec::with_capacity(total);
        for (client, mut list) in by_name.iter().zip(lists) {
            let (framework, role) = name(client);
            let agent_id = |given: &Given| &self.agents[given.agent].id;
            list.sort_by(|one, other| agent_id(one).cmp(agent_id(other)));
            let mut last = None;
            for Given { agent, resources, .. } in list {
                // Both stages may give something of one agent.
                match offers.last_mut() {
                    Some(offer) if last == Some(agent) => offer.resources += resources,
                    _ => offers.push(Allocation {
                        framework: framework.clone(),
                        role: role.clone(),
                        agent: self.agents[agent].id.clone(),
                        resources,
                    }),
                }
                last = Some(agent);
            }
        }
        offers
    }
}
