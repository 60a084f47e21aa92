//! The tree of roles: who wants, who holds, what is reserved, who comes first.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use mezzo_ids::{FrameworkId, Role};
use mezzo_resources::Quantities;

use crate::{
    Quota,
    amounts::{Amounts, Common},
    classes::{Census, ClassSet, Mixed, bit},
    quota::RoleQuota,
    slots::Slots,
    sorted::{Sibling, Sorted},
};

/// The number of the node above all roles.
pub(crate) const ROOT: u32 = 0;
/// Stands for a role's own frameworks among its children (rule 124).
pub(crate) const OWN: u32 = u32::MAX;
/// Levels that are told apart. What lies deeper competes on the last of them, so that a name made of
/// nothing but slashes costs no more than any other.
const DEPTH_MAX: usize = 32;

/// What one client of a sorter holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    pub(crate) allocated: Amounts,
    /// How often it was given something; breaks ties (rule 122).
    pub(crate) count: u64,
}

/// One framework in one role.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) share: Share,
    /// The framework's.
    pub(crate) id: FrameworkId,
    pub(crate) framework: u32,
    pub(crate) role: u32,
    /// Its place among the frameworks of the role.
    rank: u32,
    pub(crate) class: u32,
    /// The framework is in the role; otherwise it only holds something for it.
    pub(crate) subscribed: bool,
    /// It wants offers.
    pub(crate) hungry: bool,
    /// It wants more than it was looked at for.
    pub(crate) dirty: bool,
    touched: bool,
    /// The first pass after its wishes last grew.
    pub(crate) grown: u64,
    /// Its own minimum (rule 105).
    pub(crate) minimum: Option<Vec<Amounts>>,
    /// Refusals of other epochs are forgotten.
    pub(crate) epoch: u64,
    /// How many there are of this epoch.
    pub(crate) refusals: usize,
    /// How many agents it holds something of.
    pub(crate) holds: usize,
    /// Those agents, some twice, and some that it held something of; see `Allocator::agents_of`.
    pub(crate) agents: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct RoleNode {
    pub(crate) role: Role,
    pub(crate) parent: u32,
    children: BTreeMap<Role, u32>,
    pub(crate) clients: BTreeMap<FrameworkId, u32>,
    /// Of exactly this role: the virtual leaf of rule 124.
    pub(crate) own: Share,
    /// With all descendants.
    pub(crate) subtree: Share,
    /// Unreserved and not revocable ones held in the subtree.
    pub(crate) quota_allocated: Amounts,
    /// Reserved in the subtree, held or not.
    pub(crate) reserved: Amounts,
    pub(crate) quota: Option<Box<RoleQuota>>,
    weight: f64,
    /// Those in exactly this role that want offers.
    pub(crate) hungry_own: Census,
    /// With all descendants.
    pub(crate) hungry: Census,
    /// Its children and itself, of which the latter has rank 0.
    pub(crate) level: Sorted,
    level_state: State,
    /// Its own frameworks.
    pub(crate) members: Sorted,
    members_state: State,
    /// Its place among its siblings.
    rank: u32,
    depth: u32,
}

/// Whether an order can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Somebody came or went, or a weight changed.
    #[default]
    Stale,
    /// Computed against this generation of totals, and updated since.
    Fresh(u64),
}

/// What shares are measured against.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    /// Totals of the common names; infinite where a name does not count.
    divisors: [f64; 4],
    rare: Quantities,
    generation: u64,
}

impl Measure {
    /// Totals changed.
    pub(crate) fn set(&mut self, total: &Amounts, excluded: &BTreeSet<String>) {
        self.generation += 1;
        for ((divisor, name), total) in self.divisors.iter_mut().zip(crate::amounts::NAMES).zip(total.common)
        {
            *divisor = if total == 0 || excluded.contains(name) { f64::INFINITY } else { total as f64 };
        }
        if !total.rare.is_empty() || !self.rare.is_empty() {
            self.rare = total
                .rare
                .iter()
                .filter(|(name, _)| !excluded.contains(name.as_str()))
                .map(|(n, a)| (n.clone(), a))
                .collect();
        }
    }

    /// Rules 121 and 123, before weights.
    pub(crate) fn dominant_share(&self, allocated: &Amounts) -> f64 {
        let mut share = 0.0_f64;
        for (amount, divisor) in allocated.common.iter().zip(self.divisors) {
            share = share.max(*amount as f64 / divisor);
        }
        for (name, amount) in allocated.rare.iter() {
            let total = self.rare.get(name);
            if !total.is_zero() {
                share = share.max(amount.thousandths() as f64 / total.thousandths() as f64);
            }
        }
        share
    }
}

/// The role and all roles above it, innermost first.
pub(crate) fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(role), |role| parent(role))
}

/// The role that competes with its siblings for `role`.
fn parent(role: &str) -> Option<&str> {
    match role.match_indices('/').nth(DEPTH_MAX - 2) {
        Some((at, _)) => Some(&role[..at]),
        None => role.rsplit_once('/').map(|(parent, _)| parent),
    }
}

#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) nodes: Slots<RoleNode>,
    ids: BTreeMap<Role, u32>,
    pub(crate) clients: Slots<Client>,
    pub(crate) weights: BTreeMap<Role, f64>,
    /// Roles with a quota.
    pub(crate) quotas: BTreeMap<Role, u32>,
    /// Rule 128: what must stay free for guarantees that are not met.
    pub(crate) required: Amounts,
    /// Who wants something of the classes that the tree does not tell apart.
    pub(crate) mixed: Mixed,
    /// Frameworks and roles that hold more or less than the orders know.
    touched: Vec<u32>,
    epochs: u64,
    /// Counts changes of who wants something, and of weights.
    pub(crate) changes: u64,
}

impl Roles {
    pub(crate) fn new(weights: BTreeMap<Role, f64>) -> Self {
        let mut roles = Self {
            nodes: Slots::default(),
            ids: BTreeMap::new(),
            clients: Slots::default(),
            weights,
            quotas: BTreeMap::new(),
            required: Amounts::default(),
            mixed: Mixed::default(),
            touched: Vec::new(),
            epochs: 0,
            changes: 0,
        };
        roles.nodes.insert(RoleNode::new(Role::from(""), ROOT, 0, 1.0));
        roles
    }

    pub(crate) fn find(&self, role: &str) -> Option<u32> {
        self.ids.get(role).copied()
    }

    /// The node that frameworks of `role` are in or below.
    pub(crate) fn find_above(&self, role: &str) -> Option<u32> {
        if role.match_indices('/').nth(DEPTH_MAX - 2).is_some() {
            return parent(role).and_then(|above| self.find(above));
        }
        self.find(role)
    }

    /// All roles with something in them, and those above; sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Role, &RoleNode)> {
        self.ids.iter().map(|(role, id)| (role, &self.nodes[*id]))
    }

    fn node(&mut self, role: &Role) -> u32 {
        if let Some(id) = self.find(role) {
            return id;
        }
        let missing: Vec<Role> =
            ancestors(role).take_while(|above| !self.ids.contains_key(*above)).map(Role::from).collect();
        let mut above = missing.last().and_then(|last| parent(last)).and_then(|above| self.find(above));
        for role in missing.into_iter().rev() {
            let parent = above.unwrap_or(ROOT);
            let depth = self.nodes[parent].depth + 1;
            let weight = self.weights.get(&role).copied().unwrap_or(1.0);
            let id = self.nodes.insert(RoleNode::new(role.clone(), parent, depth, weight));
            self.nodes[parent].children.insert(role.clone(), id);
            self.nodes[parent].level_state = State::Stale;
            self.ids.insert(role, id);
            above = Some(id);
        }
        above.unwrap_or(ROOT)
    }

    fn forget_if_idle(&mut self, mut id: u32) {
        while id != ROOT && self.nodes[id].is_idle() {
            let Some(node) = self.nodes.remove(id) else { return };
            self.ids.remove(&node.role);
            let parent = &mut self.nodes[node.parent];
            parent.children.remove(&node.role);
            parent.level_state = State::Stale;
            id = node.parent;
        }
    }

    /// The client of a framework in a role, made if there is none.
    pub(crate) fn client(&mut self, framework: u32, id: &FrameworkId, role: &Role) -> u32 {
        let node = self.node(role);
        if let Some(client) = self.nodes[node].clients.get(id) {
            return *client;
        }
        self.epochs += 1;
        let client = self.clients.insert(Client {
            share: Share::default(),
            id: id.clone(),
            framework,
            role: node,
            rank: 0,
            class: 0,
            subscribed: false,
            hungry: false,
            dirty: false,
            touched: false,
            grown: 0,
            minimum: None,
            epoch: self.epochs,
            refusals: 0,
            holds: 0,
            agents: Vec::new(),
        });
        self.nodes[node].clients.insert(id.clone(), client);
        self.nodes[node].members_state = State::Stale;
        client
    }

    /// Forgets a client that is not subscribed and holds nothing.
    pub(crate) fn forget_client(&mut self, client: u32) {
        self.set_hungry(client, false);
        let Some(gone) = self.clients.remove(client) else { return };
        let node = &mut self.nodes[gone.role];
        node.clients.remove(&gone.id);
        node.members_state = State::Stale;
        if gone.touched {
            // Nobody is left to tell the roles above by.
            let mut id = gone.role;
            loop {
                self.nodes[id].level_state = State::Stale;
                if id == ROOT {
                    break;
                }
                id = self.nodes[id].parent;
            }
        }
        self.forget_if_idle(gone.role);
    }

    /// Refusals of this client are forgotten.
    pub(crate) fn begin_epoch(&mut self, client: u32) {
        self.epochs += 1;
        let epoch = self.epochs;
        let client = &mut self.clients[client];
        client.epoch = epoch;
        client.refusals = 0;
    }

    /// Whether anybody wants offers.
    pub(crate) fn anybody_hungry(&self) -> bool {
        self.nodes[ROOT].hungry.total > 0
    }

    pub(crate) fn set_hungry(&mut self, client: u32, hungry: bool) {
        let known = &mut self.clients[client];
        if known.hungry == hungry {
            return;
        }
        known.hungry = hungry;
        self.changes += 1;
        self.mixed.change(known.class, client, hungry);
        let (class, rank, role) = (known.class, known.rank, known.role);
        let signature = if hungry { bit(class) } else { 0 };
        let sibling = Sibling { item: client, share: 0.0, count: 0, signature };
        let node = &mut self.nodes[role];
        if node.members_state != State::Stale {
            node.members.move_to(rank, &sibling);
        }
        let own_before = node.hungry_own.signature;
        node.hungry_own.change(class, hungry);
        if own_before != node.hungry_own.signature && node.level_state != State::Stale {
            let signature = node.hungry_own.signature;
            node.level.move_to(0, &Sibling { item: OWN, share: 0.0, count: 0, signature });
        }
        let mut id = role;
        loop {
            let node = &mut self.nodes[id];
            let before = node.hungry.signature;
            node.hungry.change(class, hungry);
            if id == ROOT {
                break;
            }
            let (signature, rank, parent) = (node.hungry.signature, node.rank, node.parent);
            let above = &mut self.nodes[parent];
            if before != signature && above.level_state != State::Stale {
                above.level.move_to(rank, &Sibling { item: id, share: 0.0, count: 0, signature });
            }
            id = parent;
        }
        // The places are right; the shares follow.
        self.touch(client);
    }

    /// A client is of another class.
    pub(crate) fn set_class(&mut self, client: u32, class: u32) {
        let hungry = self.clients[client].hungry;
        self.set_hungry(client, false);
        self.clients[client].class = class;
        self.set_hungry(client, hungry);
    }

    fn touch(&mut self, client: u32) {
        let known = &mut self.clients[client];
        if !known.touched {
            known.touched = true;
            self.touched.push(client);
        }
    }

    /// A client holds more; quota looks at `counted` of it.
    pub(crate) fn charge(&mut self, client: u32, amounts: &Amounts, counted: &Amounts) {
        self.change_held(client, |sum, of_quota| sum.add(if of_quota { counted } else { amounts }));
    }

    /// A client holds less.
    pub(crate) fn refund(&mut self, client: u32, amounts: &Amounts, counted: &Amounts) {
        self.change_held(client, |sum, of_quota| sum.subtract(if of_quota { counted } else { amounts }));
    }

    fn change_held(&mut self, client: u32, change: impl Fn(&mut Amounts, bool)) {
        change(&mut self.clients[client].share.allocated, false);
        let role = self.clients[client].role;
        change(&mut self.nodes[role].own.allocated, false);
        let mut id = role;
        while id != ROOT {
            let node = &mut self.nodes[id];
            change(&mut node.subtree.allocated, false);
            change(&mut node.quota_allocated, true);
            if node.quota.is_some() {
                node.refresh_missing(&mut self.required);
            }
            id = node.parent;
        }
        self.touch(client);
    }

    /// Counts one more allocation for tie-breaking (rule 122).
    pub(crate) fn count_allocation(&mut self, client: u32) {
        let known = &mut self.clients[client];
        known.share.count += 1;
        let mut id = known.role;
        self.nodes[id].own.count += 1;
        while id != ROOT {
            let node = &mut self.nodes[id];
            node.subtree.count += 1;
            id = node.parent;
        }
        self.touch(client);
    }

    /// Reservations of an agent's total came.
    pub(crate) fn add_reserved(&mut self, reserved: &BTreeMap<Role, Amounts>) {
        for (role, amounts) in reserved {
            let id = self.node(role);
            self.change_reserved(id, |sum| sum.add(amounts));
        }
    }

    /// Reservations of an agent's total went.
    pub(crate) fn remove_reserved(&mut self, reserved: &BTreeMap<Role, Amounts>) {
        for (role, amounts) in reserved {
            if let Some(id) = self.find(role) {
                self.change_reserved(id, |sum| sum.subtract(amounts));
                self.forget_if_idle(id);
            }
        }
    }

    fn change_reserved(&mut self, mut id: u32, change: impl Fn(&mut Amounts)) {
        while id != ROOT {
            let node = &mut self.nodes[id];
            change(&mut node.reserved);
            if node.quota.is_some() {
                node.refresh_missing(&mut self.required);
            }
            id = node.parent;
        }
    }

    pub(crate) fn set_quota(&mut self, role: &Role, quota: Option<Quota>) {
        let id = self.node(role);
        let node = &mut self.nodes[id];
        if let Some(before) = node.quota.take() {
            self.required.subtract(&before.missing);
        }
        match quota {
            Some(quota) => {
                node.quota = Some(Box::new(RoleQuota::new(quota)));
                node.refresh_missing(&mut self.required);
                self.quotas.insert(role.clone(), id);
            }
            None => {
                self.quotas.remove(role);
                self.forget_if_idle(id);
            }
        }
    }

    pub(crate) fn set_weight(&mut self, role: &Role, weight: f64) {
        self.weights.insert(role.clone(), weight);
        self.changes += 1;
        if let Some(id) = self.find(role) {
            let node = &mut self.nodes[id];
            node.weight = weight;
            let parent = node.parent;
            self.nodes[parent].level_state = State::Stale;
        }
    }

    /// A role and those above it, without the root.
    pub(crate) fn up_from(&self, id: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(id), |id| Some(self.nodes[*id].parent)).take_while(|id| *id != ROOT)
    }

    /// The quotas of a role and of those above it.
    pub(crate) fn quotas_above(&self, id: u32) -> impl Iterator<Item = &RoleQuota> {
        self.up_from(id).filter_map(|id| self.nodes[id].quota.as_deref())
    }

    /// Brings the orders up to date with what was charged and refunded.
    pub(crate) fn settle(&mut self, measure: &Measure) {
        while let Some(client) = self.touched.pop() {
            let Some(known) = self.clients.get_mut(client) else { continue };
            known.touched = false;
            let fresh = State::Fresh(measure.generation);
            let (rank, mut id) = (known.rank, known.role);
            let node = &mut self.nodes[id];
            if node.members_state == fresh {
                let share = measure.dominant_share(&known.share.allocated);
                node.members.update(rank, share, known.share.count);
            }
            if node.level_state == fresh {
                let share = measure.dominant_share(&node.own.allocated);
                node.level.update(0, share, node.own.count);
            }
            while id != ROOT {
                let node = &self.nodes[id];
                let (rank, parent, count) = (node.rank, node.parent, node.subtree.count);
                let share = measure.dominant_share(&node.subtree.allocated) / node.weight;
                let above = &mut self.nodes[parent];
                if above.level_state == fresh {
                    above.level.update(rank, share, count);
                }
                id = parent;
            }
        }
    }

    /// Makes the order of a role's own frameworks usable.
    pub(crate) fn freshen_members(&mut self, id: u32, measure: &Measure) {
        let Self { nodes, clients, .. } = self;
        let node = &mut nodes[id];
        if node.members_state == State::Fresh(measure.generation) {
            return;
        }
        node.members_state = State::Fresh(measure.generation);
        node.members.rebuild(node.clients.values().enumerate().map(|(rank, item)| {
            let client = &mut clients[*item];
            client.rank = rank as u32;
            Sibling {
                item: *item,
                share: measure.dominant_share(&client.share.allocated),
                count: client.share.count,
                signature: if client.hungry { bit(client.class) } else { 0 },
            }
        }));
    }

    /// Makes the order of a role's children and itself usable.
    pub(crate) fn freshen_level(&mut self, id: u32, measure: &Measure) {
        if self.nodes[id].level_state == State::Fresh(measure.generation) {
            return;
        }
        let node = &mut self.nodes[id];
        node.level_state = State::Fresh(measure.generation);
        let mut level = std::mem::take(&mut node.level);
        let children = std::mem::take(&mut node.children);
        let own = Sibling {
            item: OWN,
            share: measure.dominant_share(&node.own.allocated),
            count: node.own.count,
            signature: node.hungry_own.signature,
        };
        level.rebuild(std::iter::once(own).chain(children.values().enumerate().map(|(i, child)| {
            let node = &mut self.nodes[*child];
            node.rank = i as u32 + 1;
            Sibling {
                item: *child,
                share: measure.dominant_share(&node.subtree.allocated) / node.weight,
                count: node.subtree.count,
                signature: node.hungry.signature,
            }
        })));
        let node = &mut self.nodes[id];
        node.level = level;
        node.children = children;
    }

    /// Which of two clients is served first, in the order of fair shares.
    pub(crate) fn compare(&self, left: u32, right: u32, measure: &Measure) -> Ordering {
        let (one, other) = (&self.clients[left], &self.clients[right]);
        if one.role == other.role {
            let standing = |client: &Client| measure.dominant_share(&client.share.allocated);
            return standing(one)
                .total_cmp(&standing(other))
                .then(one.share.count.cmp(&other.share.count))
                .then_with(|| one.id.cmp(&other.id));
        }
        self.compare_roles(one.role, other.role, measure)
    }

    /// Which of two different roles is served first.
    pub(crate) fn compare_roles(&self, left: u32, right: u32, measure: &Measure) -> Ordering {
        // What of each path comes just below the last common role decides; a role that is the last common
        // one itself competes by what it holds itself.
        let (mut one, mut other) = ((left, None), (right, None));
        while one.0 != other.0 {
            let deeper = self.nodes[one.0].depth.cmp(&self.nodes[other.0].depth);
            if deeper.is_ge() {
                one = (self.nodes[one.0].parent, Some(one.0));
            }
            if deeper.is_le() {
                other = (self.nodes[other.0].parent, Some(other.0));
            }
        }
        let standing = |(common, below): (u32, Option<u32>)| match below {
            Some(below) => self.standing(below, false, measure),
            None => self.standing(common, true, measure),
        };
        standing(one).compare(&standing(other))
    }

    fn standing(&self, id: u32, own: bool, measure: &Measure) -> Standing<'_> {
        let node = &self.nodes[id];
        let (share, weight) = if own { (&node.own, 1.0) } else { (&node.subtree, node.weight) };
        let (count, path) = (share.count, node.role.as_str());
        Standing { share: measure.dominant_share(&share.allocated) / weight, count, path }
    }

    /// Rule 126: roles below one that want something of these classes, each with the product over its
    /// path of its weight among its siblings that want something.
    pub(crate) fn weigh(&self, from: u32, classes: ClassSet) -> Vec<(u32, f64)> {
        let mut weighed = Vec::new();
        let mut open = vec![(from, 1.0)];
        while let Some((id, share)) = open.pop() {
            let node = &self.nodes[id];
            let own = if node.hungry_own.signature & classes != 0 { 1.0 } else { 0.0 };
            let hungry = |child: &&u32| self.nodes[**child].hungry.signature & classes != 0;
            let weights: f64 =
                node.children.values().filter(hungry).map(|child| self.nodes[*child].weight).sum();
            let sum = own + weights;
            if own > 0.0 {
                weighed.push((id, share * own / sum));
            }
            for child in node.children.values().rev().filter(hungry) {
                open.push((*child, share * self.nodes[*child].weight / sum));
            }
        }
        weighed
    }
}

/// What decides between two siblings (rules 121, 122).
struct Standing<'a> {
    share: f64,
    count: u64,
    path: &'a str,
}

impl Standing<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        self.share
            .total_cmp(&other.share)
            .then(self.count.cmp(&other.count))
            .then_with(|| self.path.cmp(other.path))
    }
}

impl RoleNode {
    fn new(role: Role, parent: u32, depth: u32, weight: f64) -> Self {
        Self {
            role,
            parent,
            children: BTreeMap::new(),
            clients: BTreeMap::new(),
            own: Share::default(),
            subtree: Share::default(),
            quota_allocated: Amounts::default(),
            reserved: Amounts::default(),
            quota: None,
            weight,
            hungry_own: Census::default(),
            hungry: Census::default(),
            level: Sorted::default(),
            level_state: State::Stale,
            members: Sorted::default(),
            members_state: State::Stale,
            rank: 0,
            depth,
        }
    }

    fn is_idle(&self) -> bool {
        self.clients.is_empty() && self.children.is_empty() && self.reserved.is_zero() && self.quota.is_none()
    }

    /// Whether some of its descendants want something.
    pub(crate) fn has_hungry_children(&self) -> bool {
        self.hungry.total > self.hungry_own.total
    }

    /// Rule 146: held, and reserved whether held or not.
    pub(crate) fn consumed(&self, name: &str) -> i64 {
        self.quota_allocated.get(name).saturating_add(self.reserved.get(name))
    }

    /// What the role may be given before it reaches a limit, of the common names.
    pub(crate) fn left_of_limit(&self, quota: &RoleQuota) -> Common {
        let held = |at: usize| self.quota_allocated.common[at].saturating_add(self.reserved.common[at]);
        std::array::from_fn(|at| match quota.limit[at] {
            i64::MAX => i64::MAX,
            limit => (limit - held(at)).max(0),
        })
    }

    fn refresh_missing(&mut self, required: &mut Amounts) {
        let Some(quota) = &mut self.quota else { return };
        if quota.guarantee.is_zero() {
            return;
        }
        let held = self.quota_allocated.common.iter().zip(self.reserved.common);
        for (at, (held, reserved)) in held.enumerate() {
            let missing = (quota.guarantee.common[at] - held.saturating_add(reserved)).max(0);
            let change = missing - quota.missing.common[at];
            required.common[at] = required.common[at].saturating_add(change);
            quota.missing.common[at] = missing;
        }
        if !quota.guarantee.rare.is_empty() {
            required.rare.subtract(&quota.missing.rare);
            let mut missing = quota.guarantee.rare.clone();
            missing.subtract(&self.quota_allocated.rare);
            missing.subtract(&self.reserved.rare);
            required.rare += &missing;
            quota.missing.rare = missing;
        }
    }
}
